/**
 * The code of pages: compiled, and run where it is a program.
 *
 * A block of `ts` is part of its page's program, which is all such blocks in their order, after what the page has in comments that begin
 * with `<!-- ts` (imports that a reader need not see again). `ts alone` is a module by itself, `ts file NAME` one that the page's other
 * files import by its name, and `ts run` one that ends with `NodeRuntime.runMain(…)` and is run. What such a program prints may follow in a block of `text printed`, and the
 * frames that pass between its client and its runtime in one or more blocks of `jsonc frames`, all of them or those of the types that
 * the block names (`job.event/log` for the events of a kind). Both are compared with what really happens; `npm run docs:write` writes them.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { Clock, Console, Effect } from "effect"
import ts from "typescript"
import { FaultyTransport } from "../../src/testing/index.js"
import { problemsOfFiles } from "../support/compiling.js"
import { type Block, blocksOf, hiddenIn } from "./pages.js"

/** A module made of a page's code. */
export interface Shown {
  /** The page, and the number of the block in it from 1 where it is one block alone. */
  readonly name: string
  readonly text: string
  /** Only where it is run. */
  readonly block?: Block
  /** Only where other modules of its page import it: its page's folder and its name. */
  readonly file?: string
}

/** The modules of a page. */
export const shownBy = (path: string, page: string): ReadonlyArray<Shown> => {
  const together: Array<string> = []
  const modules: Array<Shown> = []
  for (const [i, block] of blocksOf(page).entries()) {
    if (block.language !== "ts") continue
    const [mode, file] = block.words
    const name = `${path}:${i + 1}`
    if (mode === undefined) together.push(block.text)
    else if (mode === "alone") modules.push({ name, text: block.text })
    else if (mode === "run") modules.push({ name, text: block.text, block })
    else if (mode === "file")
      modules.push({ name, text: block.text, file: `shown-${path.replace(/\W/g, "-")}/${file}` })
    else throw new Error(`${name}: a block of ts is alone, file, run or part of its page, and not ${mode}`)
  }
  return [
    ...(together.length === 0 ? [] : [{ name: path, text: [...hiddenIn(page), ...together].join("\n") }]),
    ...modules
  ]
}

/** What the compiler says of modules, each by itself. */
export const problemsOf = (modules: ReadonlyArray<Shown>): Promise<ReadonlyArray<string>> => {
  const config = ts.getParsedCommandLineOfConfigFile("tsconfig.check.json", undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"))
    }
  })!
  // What a snippet defines is for its reader.
  const options = { ...config.options, noUnusedLocals: false, noUnusedParameters: false }
  const host = ts.createCompilerHost(options)
  const { directoryExists, fileExists, getSourceFile } = host
  // Beside the examples, which pages may import.
  const at = (shown: Shown, i: number) => join(process.cwd(), "examples", shown.file ?? `shown-${i}.ts`)
  const files = new Map(modules.map((shown, i) => [at(shown, i), shown]))
  const folders = new Set([...files.keys()].map((path) => dirname(path)))
  host.directoryExists = (path) => folders.has(path) || directoryExists?.(path) !== false
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.getSourceFile = (path, ...rest) => {
    const shown = files.get(path)
    return shown === undefined
      ? getSourceFile(path, ...rest)
      : ts.createSourceFile(path, `${shown.text}\nexport {}`, ts.ScriptTarget.ES2022)
  }
  return problemsOfFiles(
    () => ts.createProgram([...files.keys()], options, host),
    [...files.keys()],
    (problem, file, path) => {
      const shown = files.get(path)!
      const line = problem.start === undefined ? 0 : file.getLineAndCharacterOfPosition(problem.start).line
      const code = shown.text.split("\n")[line] ?? ""
      return `${shown.name}: ${ts.flattenDiagnosticMessageText(problem.messageText, "\n")}\n  in: ${code.trim()}`
    }
  )
}

/** What a program has printed, and the frames that passed. */
export interface Happened {
  readonly printed: string
  readonly frames: ReadonlyArray<FaultyTransport.Passed>
}

/** The time of day of every frame on a page; durations pass as they do. */
const noon = Date.UTC(2026, 0, 1, 12)
const live = Clock.make()
const clock: Clock.Clock = {
  ...live,
  sleep: (duration) => live.sleep(duration),
  unsafeCurrentTimeNanos: () => live.unsafeCurrentTimeNanos(),
  currentTimeNanos: live.currentTimeNanos,
  unsafeCurrentTimeMillis: () => noon,
  currentTimeMillis: Effect.succeed(noon)
}

const folder = "test/docs/.shown"

/** Runs a module that ends with `NodeRuntime.runMain(…)`. */
export const run = async (shown: Shown): Promise<Happened> => {
  const main = /^NodeRuntime\.runMain\(([\s\S]*)\)\s*$/m
  if (!main.test(shown.text)) throw new Error(`${shown.name} must end with NodeRuntime.runMain(…)`)
  mkdirSync(folder, { recursive: true })
  const file = join(process.cwd(), folder, `${shown.name.replace(/[^a-z0-9]+/gi, "-")}.ts`)
  try {
    const text = shown.text.replace(main, (_, program: string) => `export const shown$ = ${program}\n`)
    writeFileSync(file, text.replaceAll('from "./', `from "${join(process.cwd(), "examples")}/`))
    const { shown$ } = (await import(/* @vite-ignore */ file)) as { readonly shown$: Effect.Effect<unknown, unknown> }
    const frames: Array<FaultyTransport.Passed> = []
    const printed: Array<string> = []
    const print = (...texts: ReadonlyArray<unknown>) =>
      void printed.push(texts.map((text) => (typeof text === "string" ? text : JSON.stringify(text))).join(" "))
    const console_: Console.Console = {
      ...Effect.runSync(Console.consoleWith(Effect.succeed)),
      log: (...texts) => Effect.sync(() => print(...texts)),
      unsafe: { ...console, log: print, info: print, error: print, warn: print }
    }
    await Effect.runPromise(
      shown$.pipe(
        Effect.timeout("30 seconds"),
        Effect.provideService(FaultyTransport.Tap, (passed) => void frames.push(passed)),
        Effect.withConsole(console_),
        Effect.withClock(clock)
      )
    )
    return { printed: printed.map((line) => `${line}\n`).join(""), frames }
  } finally {
    rmSync(file, { force: true })
  }
}

/** JSON for people: what fits on a line stays on one. */
const json = (value: unknown, indent = ""): string => {
  const text = spaced(value)
  if (indent.length + text.length <= 118 || typeof value !== "object" || value === null) return text
  const inner = `${indent}  `
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"]
  const entries = Array.isArray(value)
    ? value.map((item) => json(item, inner))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${json(item, inner)}`)
  return `${open}\n${entries.map((entry) => `${inner}${entry}`).join(",\n")}\n${indent}${close}`
}

const spaced = (value: unknown): string =>
  typeof value !== "object" || value === null
    ? JSON.stringify(value)
    : Array.isArray(value)
      ? `[${value.map(spaced).join(", ")}]`
      : `{${Object.entries(value)
          .map(([key, item]) => `${JSON.stringify(key)}: ${spaced(item)}`)
          .join(", ")}}`

interface Shape {
  readonly type: string
  readonly payload?: { readonly kind?: string }
}

/** Frames as a page shows them: of the given types (`job.event/log`: of a type and a kind), or all. */
export const framesText = (frames: Happened["frames"], types: ReadonlyArray<string>): string =>
  frames
    .map(({ frame, to }) => ({
      to,
      frame: typeof frame === "string" ? (JSON.parse(frame) as Shape) : (frame as Shape)
    }))
    .filter(
      ({ frame: { payload, type } }) =>
        types.length === 0 || types.includes(type) || types.includes(`${type}/${payload?.kind}`)
    )
    .map(({ frame, to }) => `// to the ${to}\n${json(frame)}\n`)
    .join("")

/** A page with what really happens in the blocks that follow each program. */
export const written = (
  page: string,
  happened: ReadonlyMap<Block, Happened>
): { readonly page: string; readonly checked: number } => {
  let last: Happened | undefined
  let text = page
  let shift = 0
  let checked = 0
  const real = [...happened]
  for (const block of blocksOf(page)) {
    const own = real.find(([{ from }]) => from === block.from)
    if (own !== undefined) last = own[1]
    const [mode, ...types] = block.words
    if (mode !== "printed" && mode !== "frames") continue
    if (last === undefined)
      throw new Error(`a block of what is ${mode} must follow a program: ${block.text.slice(0, 80)}`)
    const wanted = mode === "printed" ? last.printed : framesText(last.frames, types)
    if (wanted === "") throw new Error(`nothing is ${mode}${types.length === 0 ? "" : ` of ${types.join(", ")}`}`)
    text = text.slice(0, block.from + shift) + wanted + text.slice(block.to + shift)
    shift += wanted.length - (block.to - block.from)
    checked++
  }
  return { page: text, checked }
}

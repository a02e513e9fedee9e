/** The programs of `examples/`: a file, or a folder with a `main.ts`, that calls `runMain`. */
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

export interface Example {
  /** As `npm run example` takes it. */
  readonly name: string
  /** From the root of the repository. */
  readonly file: string
  /** The first sentence of its head. */
  readonly about: string
}

/** The first sentence of a file's first comment. */
export const firstSentence = (text: string): string => {
  const comment = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//.exec(text)?.[1] ?? ""
  const words = comment
    .replace(/^\s*\* ?/gm, "")
    .trim()
    .replace(/\s+/g, " ")
  return /^.*?[.:](?=\s|$)/.exec(words)?.[0].replace(/:$/, ".") ?? words
}

/** All of them, by name. */
export const examplesIn = (root: string): ReadonlyArray<Example> => {
  const folder = join(root, "examples")
  return readdirSync(folder, { withFileTypes: true })
    .map((entry) => ({
      name: entry.name.replace(/\.ts$/, ""),
      file: entry.isDirectory() ? `examples/${entry.name}/main.ts` : `examples/${entry.name}`
    }))
    .filter(({ file }) => file.endsWith(".ts") && existsSync(join(root, file)))
    .map((example) => ({ ...example, text: readFileSync(join(root, example.file), "utf8") }))
    .filter(({ text }) => /\brunMain\b/.test(text))
    .map(({ file, name, text }) => ({ name, file, about: firstSentence(text) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The example of a name, spelled with `-` or with `_`, with or without its ending. */
export const exampleNamed = (examples: ReadonlyArray<Example>, name: string): Example | undefined => {
  const wanted = name
    .replace(/^examples\//, "")
    .replace(/(\/main)?(\.ts)?$/, "")
    .replaceAll("_", "-")
  return examples.find((example) => example.name === wanted)
}

/** How a run of an example ended. */
export interface Ran {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
  readonly milliseconds: number
}

/** The longest that an example may take; one that has not ended by then is killed. */
const longest = 120_000

/** Runs a program of TypeScript, or with other options of Node another, to its end. */
export const run = (
  root: string,
  file: string,
  env: NodeJS.ProcessEnv = process.env,
  options: ReadonlyArray<string> = ["--import", "tsx"]
): Promise<Ran> =>
  new Promise((resolve) => {
    const started = performance.now()
    const child = spawn(process.execPath, [...options, file], {
      cwd: root,
      env,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: longest,
      killSignal: "SIGKILL"
    })
    let output = ""
    child.stdout.on("data", (data) => (output += data))
    child.stderr.on("data", (data) => (output += data))
    child.on("close", (code, signal) =>
      resolve({ code, signal, output, milliseconds: Math.round(performance.now() - started) })
    )
  })

/** Runs each of a list, so many at a time. */
export const inParallel = async <A>(
  list: ReadonlyArray<A>,
  atOnce: number,
  each: (item: A) => Promise<void>
): Promise<void> => {
  const left = [...list]
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await each(item)
    })
  )
}

/** The examples in the docstrings of `src` compile, each as a module of its own, all in one program. */
import { describe, expect, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { walk } from "../../scripts/syntax.js"
import { problemsOfFiles } from "../support/compiling.js"

const root = fileURLToPath(new URL("../../", import.meta.url)).replaceAll("\\", "/")

interface Example {
  /** Where its docstring is: `src/agent/Agent.ts:12`. */
  readonly at: string
  readonly code: string
}

interface Extracted {
  readonly examples: ReadonlyArray<Example>
  /** Docstrings with an `@example` that is not one whole block of code, or with a block that is not closed. */
  readonly faults: ReadonlyArray<string>
}

const fence = /^```ts\n(.*?)^```$/gms

/** The examples of a source, in the order of their docstrings; blocks of `ts` outside of an `@example` count too. */
const extract = (path: string, text: string): Extracted => {
  const examples: Array<Example> = []
  const faults: Array<string> = []
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
  const seen = new Set<number>()
  walk(file, (node) => {
    for (const doc of ts.getJSDocCommentsAndTags(node)) {
      if (!ts.isJSDoc(doc) || seen.has(doc.pos)) continue
      seen.add(doc.pos)
      const at = `${path}:${file.getLineAndCharacterOfPosition(doc.getStart(file)).line + 1}`
      const words = doc
        .getText(file)
        .replace(/^\/\*\*|\*\/$/g, "")
        .replace(/^\s*\* ?/gm, "")
      const found = [...words.matchAll(fence)].map((match) => match[1] ?? "")
      const tags = words.split(/^@example\b/m).slice(1)
      const isWhole = (tag: string) => [...(tag.split(/^@/m)[0] ?? "").matchAll(fence)].length === 1
      if (!tags.every(isWhole) || (words.match(/^```/gm) ?? []).length !== 2 * found.length) faults.push(at)
      examples.push(...found.map((code) => ({ at, code })))
    }
  })
  return { examples, faults }
}

/** What the compiler says of each example: where it is, and what is wrong. */
const problemsOf = (examples: ReadonlyArray<Example>): Promise<ReadonlyArray<string>> => {
  const config = ts.getParsedCommandLineOfConfigFile(
    `${root}tsconfig.check.json`,
    // what an example declares is there to be seen
    { noUnusedLocals: false, noUnusedParameters: false, declaration: false },
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) => expect.fail(String(diagnostic.messageText))
    }
  )!
  const files = new Map(examples.map((example, i) => [`${root}test/docs/apiExample${i}.ts`, example]))
  const host = ts.createCompilerHost(config.options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.getSourceFile = (path, language, ...rest) => {
    const example = files.get(path)
    if (example !== undefined) return ts.createSourceFile(path, example.code, language)
    return getSourceFile(path, language, ...rest)
  }
  return problemsOfFiles(
    () => ts.createProgram([...files.keys()], config.options, host),
    [...files.keys()],
    ({ messageText, start }, file, path) => {
      const line = file.getLineAndCharacterOfPosition(start ?? 0).line + 1
      return `${files.get(path)!.at}, line ${line} of the example: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`
    }
  )
}

const sources = readdirSync(`${root}src`, { recursive: true, encoding: "utf8" })
  .map((name) => `src/${name.replaceAll("\\", "/")}`)
  .filter((path) => path.endsWith(".ts"))
  .sort()

describe("examples of the API", () => {
  it("are whole blocks of code, and compile", { timeout: 120_000 }, async () => {
    const all = sources.map((path) => extract(path, readFileSync(root + path, "utf8")))
    expect(all.flatMap(({ faults }) => faults)).toEqual([])
    const examples = all.flatMap(({ examples }) => examples)
    expect(examples.length).toBeGreaterThanOrEqual(70)
    // what does not compile is seen: a wrong name, a wrong type, a wrong module, one name of another example
    const broken = [
      'import { nothing } from "effect-arcp/agent"',
      'import { Lease } from "effect-arcp/authority"\nconst lease: string = Lease.emptyLease',
      'import * as Nothing from "effect-arcp/nothing"',
      "const = 1"
    ].map((code, i) => ({ at: `broken ${i}`, code }))
    const problems = await problemsOf([...examples, ...broken])
    const place = (problem: string) => problem.split(",")[0]
    expect(problems.filter((problem) => !problem.startsWith("broken"))).toEqual([])
    expect([...new Set(problems.map(place))]).toEqual(broken.map(({ at }) => at))
  })

  it("are extracted from docstrings of modules, exports and members", () => {
    const example = (code: string) => `@example\n * \`\`\`ts\n * ${code}\n * \`\`\``
    const text = [
      `/**\n * Head.\n *\n * ${example("head()")}\n */`,
      'import "a"',
      `/**\n * A.\n *\n * ${example("a(`/**`)")}\n *\n * ${example("b()")}\n *\n * @since 0.1.0\n */\nexport class A {`,
      `  /**\n * C.\n *\n * \`\`\`ts\n * c()\n *\n * d()\n * \`\`\`\n */\n  c = 1\n}`,
      "// @example\nconst text = `/** @example */`"
    ].join("\n")
    expect(extract("src/a.ts", text)).toEqual({
      examples: [
        { at: "src/a.ts:1", code: "head()\n" },
        { at: "src/a.ts:10", code: "a(`/**`)\n" },
        { at: "src/a.ts:10", code: "b()\n" },
        { at: "src/a.ts:26", code: "c()\n\nd()\n" }
      ],
      faults: []
    })
  })

  it.each([
    ["without a block", "@example\n * a()"],
    ["with two", "@example\n * ```ts\n * a()\n * ```\n * ```ts\n * b()\n * ```"],
    ["of another language", "@example\n * ```js\n * a()\n * ```"],
    ["with a block that is not closed", "@example\n * ```ts\n * a()"]
  ])("an example %s is a fault", (_, example) => {
    expect(extract("src/a.ts", `/**\n * A.\n *\n * ${example}\n */\nexport const a = 1`).faults).toEqual(["src/a.ts:1"])
  })
})

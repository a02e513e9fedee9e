/** What the README and guides show compiles, each page as one program in the order of the page. */
import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const here = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

const blocksOf = (markdown: string): ReadonlyArray<string> =>
  [...markdown.matchAll(/^```ts\n(.*?)^```/gms)].map((match) => match[1] ?? "")

/** What the compiler says of a page's code. */
const problemsOf = (path: string, before: string, after: string): ReadonlyArray<string> => {
  const blocks = blocksOf(readFileSync(here(path), "utf8"))
  expect(blocks.length).toBeGreaterThanOrEqual(2)
  const text = [before, ...blocks, after].join("\n")
  const shown = here("test/docs/readme.shown.ts")
  const config = ts.getParsedCommandLineOfConfigFile(here("tsconfig.check.json"), undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => expect.fail(String(diagnostic.messageText))
  })!
  const host = ts.createCompilerHost(config.options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (path) => path === shown || fileExists(path)
  host.getSourceFile = (path, ...rest) =>
    path === shown ? ts.createSourceFile(path, text, ts.ScriptTarget.ES2022) : getSourceFile(path, ...rest)
  const program = ts.createProgram([shown], config.options, host)
  const file = program.getSourceFile(shown)!
  const problems = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
  return problems.map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, "\n"))
}

it("the README's code compiles", { timeout: 60_000 }, () => {
  const imports = 'import { expect, it } from "@effect/vitest"'
  expect(problemsOf("README.md", imports, "export const shown = [Main, program]")).toEqual([])
})

it("the code of the guide to a transport of one's own compiles", { timeout: 60_000 }, () => {
  expect(problemsOf("docs/guides/own-transport.md", "", "")).toEqual([])
})

/** What the README shows compiles, as one program in the order of the page. */
import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const here = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

const blocksOf = (markdown: string): ReadonlyArray<string> =>
  [...markdown.matchAll(/^```ts\n(.*?)^```/gms)].map((match) => match[1] ?? "")

it("the README's code compiles", { timeout: 60_000 }, () => {
  const blocks = blocksOf(readFileSync(here("README.md"), "utf8"))
  expect(blocks.length).toBeGreaterThanOrEqual(2)
  const text = ['import { expect, it } from "@effect/vitest"', ...blocks, "export const shown = [Main, program]"].join(
    "\n"
  )
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
  expect(problems.map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, "\n"))).toEqual([])
})

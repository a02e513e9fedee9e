/** Applies the rules of `shape.ts` to `src`; prints each finding with what to do, and exits 1 if there is one. */
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { checkShape, countWrites } from "./shape.js"

const root = fileURLToPath(new URL("../", import.meta.url)).replaceAll("\\", "/")

const failures: Array<string> = []
const config = ts.getParsedCommandLineOfConfigFile(
  `${root}tsconfig.build.json`,
  {},
  {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: ({ messageText }) => {
      failures.push(ts.flattenDiagnosticMessageText(messageText, "\n"))
    }
  }
)
const program = ts.createProgram(config?.fileNames ?? [], config?.options ?? {})
const findings = checkShape(program, root)
failures.push(...findings.flatMap(({ lines }) => lines))

const files = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(`${root}src/`)).length
// a run that saw no source has checked nothing
if (files === 0) failures.push("no file of src was read")
for (const line of failures) console.error(line)
const count = (rule: string) => findings.filter((finding) => finding.rule === rule).length
console.log(`${failures.length > 0 ? "FAILED" : "ok"} shape: ${files} files`)
for (const [kind, title] of [
  ["class", "fields of classes"],
  ["record", "fields of other types"],
  ["variable", "variables of modules"]
] as const) {
  const { fields, files, writes } = countWrites(findings, kind)
  console.log(`  ${title} written elsewhere: ${fields}, by ${writes} writes in ${files} files`)
}
console.log(`  functions too large: ${count("function-size")}, files too large: ${count("file-size")}`)
console.log(`  import circles: ${count("import-circle")}`)
process.exitCode = failures.length > 0 ? 1 : 0

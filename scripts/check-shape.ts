/**
 * Applies the rules of `shape.ts` to `src`; prints each finding that is not in `shape.json`, with what to do, and exits 1 if there is
 * one. `-- --all` prints those in the list too. `-- --record` writes what stands into the list; it makes the list longer, or a figure
 * larger, with `--allow-more` only.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { checkShape, countWrites } from "./shape.js"
import { complaints, growth, isEmpty, listOf, type Standing } from "./standing.js"

const root = fileURLToPath(new URL("../", import.meta.url)).replaceAll("\\", "/")
const listFile = `${root}scripts/shape.json`

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
const known: Standing = existsSync(listFile) ? (JSON.parse(readFileSync(listFile, "utf8")) as Standing) : {}
const list = listOf(findings)

if (process.argv.includes("--record")) {
  const more = process.argv.includes("--allow-more") ? [] : growth(list, known)
  if (more.length === 0) writeFileSync(listFile, `${JSON.stringify(list, undefined, 2)}\n`)
  else failures.push("shape.json is left as it is: the list may only shrink (--allow-more)", ...more)
} else {
  failures.push(...complaints(findings, known))
}

const files = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(`${root}src/`)).length
// a run that saw no source has checked nothing
if (files === 0) failures.push("no file of src was read")
if (process.argv.includes("--all")) for (const { lines } of findings) console.log(lines.join("\n"))
for (const line of failures) console.error(line)
const count = (rule: string) => findings.filter((finding) => finding.rule === rule).length
console.log(`${failures.length > 0 ? "FAILED" : "ok"} shape: ${files} files; what stands:`)
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
if (failures.length === 0 && isEmpty(list) && existsSync(listFile)) {
  console.log(
    "Nothing stands: delete scripts/shape.json and scripts/standing.ts, and let check-shape.ts print every finding."
  )
}
process.exitCode = failures.length > 0 ? 1 : 0

/** Applies the rules of `docs.ts` to `src`; prints each finding with what to do, and exits 1 if there is one. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { checkDocs, formatFinding } from "./docs.js"
import { entriesOf, type Manifest } from "./manifest.js"

const root = fileURLToPath(new URL("../", import.meta.url)).replaceAll("\\", "/")
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as Manifest
const { options } = ts.convertCompilerOptionsFromJson(
  { module: "NodeNext", moduleResolution: "NodeNext", target: "ES2022", strict: true, types: [] },
  root
)
const paths = [...entriesOf(manifest).values()].map((path) => root + path)
const { entries, exports, findings, members } = checkDocs(ts.createProgram(paths, options), root, manifest)
for (const finding of findings) console.error(formatFinding(manifest, finding))
// a run that saw no name has checked nothing
const failed = findings.length > 0 || exports === 0
console.log(
  `${failed ? "FAILED" : "ok"} docs: ${entries} entries, ${exports} exports, ${members} members, ${findings.length} findings`
)
process.exitCode = failed ? 1 : 0

/**
 * The diagnostics of `@effect/language-service` for every file of the project, as an editor shows them: `tsx scripts/lint-effect.ts` prints
 * errors and warnings, and exits 1 where there is one. The package's own command makes the whole program anew after each 50 files, and
 * takes twice as long.
 */
import { createRequire } from "node:module"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("..", import.meta.url))
const name = "@effect/language-service"

interface Plugin {
  readonly create: (info: object) => ts.LanguageService
}
const plugin = (createRequire(import.meta.url)(`${name}/index.js`) as (modules: object) => Plugin)({ typescript: ts })

const configPath = `${root}tsconfig.json`
const { config, error } = ts.readConfigFile(configPath, ts.sys.readFile)
if (error !== undefined) throw new Error(ts.flattenDiagnosticMessageText(error.messageText, "\n"))
const { errors, fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
if (errors.length > 0) throw new Error(ts.flattenDiagnosticMessageText(errors[0]!.messageText, "\n"))
const plugins = options.plugins as ReadonlyArray<{ readonly name: string }> | undefined
const configured = plugins?.find((plugin) => plugin.name === name)
if (configured === undefined) throw new Error(`${configPath} does not configure ${name}`)

const service = ts.createLanguageService({
  getCompilationSettings: () => options,
  getScriptFileNames: () => fileNames,
  getScriptVersion: () => "1",
  getScriptSnapshot: (file) => {
    const text = ts.sys.readFile(file)
    return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
  },
  getCurrentDirectory: () => root,
  getDefaultLibFileName: ts.getDefaultLibFilePath,
  fileExists: ts.sys.fileExists,
  readFile: ts.sys.readFile,
  readDirectory: ts.sys.readDirectory,
  directoryExists: ts.sys.directoryExists,
  getDirectories: ts.sys.getDirectories,
  realpath: ts.sys.realpath!
})
// `npm run check` tells what TypeScript itself finds.
const quiet: ts.LanguageService = { ...service, getSemanticDiagnostics: () => [] }
const checked = plugin.create({
  languageService: quiet,
  languageServiceHost: {},
  config: { ...configured, diagnosticsName: false },
  project: { log: () => undefined },
  serverHost: ts.sys
})

let found = 0
for (const file of fileNames) {
  for (const { category, file: source, messageText, start } of checked.getSemanticDiagnostics(file)) {
    if (category !== ts.DiagnosticCategory.Error && category !== ts.DiagnosticCategory.Warning) continue
    found++
    const { character, line } = source!.getLineAndCharacterOfPosition(start!)
    const text = ts.flattenDiagnosticMessageText(messageText, "\n")
    console.log(`${relative(root, file)}:${line + 1}:${character + 1}: ${text}`)
  }
}
console.log(`${fileNames.length} files, ${found} errors and warnings`)
if (found > 0) process.exitCode = 1

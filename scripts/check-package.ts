/**
 * A user's program against the package as it is published: `test/package`, and a file that imports every entry, are compiled with
 * `skipLibCheck: false` over the packed files, as Node resolves modules and as bundlers do, and the program runs. It implements each of
 * the runtime's concerns and a transport from nothing but the public entries. What is reported are its own problems and those of this
 * package's declarations; those of other packages are theirs.
 */
import { spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { entriesOf, type Manifest } from "./manifest.js"

const root = fileURLToPath(new URL("../", import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest & { readonly version: string }
const { name, version } = manifest
const entries = [...entriesOf(manifest).keys()]

const run = (command: string, args: ReadonlyArray<string>, cwd: string): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 120_000 })
  if (status === 0) return stdout
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `exit ${status}`}\n${stdout}${stderr}`)
}

/** Installs the packed package and the packages that it needs, as a user has them. */
const install = (folder: string): void => {
  cpSync(join(root, "test/package"), folder, { recursive: true })
  writeFileSync(
    join(folder, "src/entries.ts"),
    entries.map((entry, at) => `export * as entry${at} from "${name}/${entry}"\n`).join("")
  )
  const modules = join(folder, "node_modules")
  mkdirSync(join(modules, name), { recursive: true })
  run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], root)
  run(
    "tar",
    ["-xzf", join(folder, `${name}-${version}.tgz`), "--strip-components=1", "-C", join(modules, name)],
    folder
  )
  for (const entry of readdirSync(join(root, "node_modules"))) {
    if (!entry.startsWith(".") && entry !== name) symlinkSync(join(root, "node_modules", entry), join(modules, entry))
  }
}

/** As Node resolves modules, which the program's own configuration says; and as bundlers do. */
const resolutions = {
  nodenext: {},
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, noEmit: true }
} as const satisfies Readonly<Record<string, ts.CompilerOptions>>

/** The declarations of an entry, in `dist`. */
const declarationOf = (entry: string): string =>
  (entriesOf(manifest).get(entry) ?? "").replace(/^src\//, "").replace(/\.ts$/, ".d.ts")

/** What the compiler says of the program and of the package's declarations. */
const compile = (folder: string, resolution: ts.CompilerOptions): ReadonlyArray<string> => {
  const config = ts.getParsedCommandLineOfConfigFile(join(folder, "tsconfig.json"), resolution, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"))
    }
  })
  if (config === undefined || config.options.skipLibCheck !== false)
    throw new Error("test/package checks no declarations")
  const program = ts.createProgram(config.fileNames, config.options)
  const seen = program.getSourceFiles().filter(({ fileName }) => fileName.includes(`/node_modules/${name}/dist/`))
  // a compilation that did not see the declarations of the package has checked nothing
  const unseen = entries.filter(
    (entry) => !seen.some(({ fileName }) => fileName.endsWith(`/${name}/dist/${declarationOf(entry)}`))
  )
  if (unseen.length > 0) throw new Error(`the program did not reach the declarations of ${unseen.join(", ")}`)
  const real = ts.sys.realpath?.(folder) ?? folder
  const diagnostics = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics]
  return diagnostics
    .filter(({ file }) => file === undefined || file.fileName.startsWith(folder) || file.fileName.startsWith(real))
    .map((diagnostic) =>
      ts.formatDiagnostic(diagnostic, {
        ...ts.sys,
        getCanonicalFileName: (path) => path,
        getNewLine: () => "\n",
        getCurrentDirectory: () => folder
      })
    )
}

const folder = mkdtempSync(join(tmpdir(), "arcp-package-"))
try {
  if (!existsSync(join(root, "dist"))) throw new Error("there is no dist: npm run build")
  install(folder)
  for (const [resolution, options] of Object.entries(resolutions)) {
    const problems = compile(folder, options)
    for (const problem of problems) console.error(problem)
    if (problems.length > 0) process.exitCode = 1
    console.log(
      `${problems.length > 0 ? "FAILED" : "ok"} package, ${resolution}: ${entries.length} entries, ${problems.length} problems`
    )
  }
  if (process.exitCode === undefined) process.stdout.write(run(process.execPath, ["out/main.js"], folder))
} finally {
  rmSync(folder, { recursive: true, force: true })
}

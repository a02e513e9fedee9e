/**
 * A user's program against the package as it is published: `test/package` is compiled with `skipLibCheck: false` over the packed files, and
 * run. It implements each of the runtime's concerns and a transport from nothing but the public entries. What is reported are its own
 * problems and those of this package's declarations; those of other packages are theirs.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../", import.meta.url))
const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  name: string
  version: string
}

const run = (command: string, args: ReadonlyArray<string>, cwd: string): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 120_000 })
  if (status === 0) return stdout
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `exit ${status}`}\n${stdout}${stderr}`)
}

/** Installs the packed package and the packages that it needs, as a user has them. */
const install = (folder: string): void => {
  cpSync(join(root, "test/package"), folder, { recursive: true })
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

/** What the compiler says of the program and of the package's declarations. */
const compile = (folder: string): ReadonlyArray<string> => {
  const config = ts.getParsedCommandLineOfConfigFile(join(folder, "tsconfig.json"), undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"))
    }
  })
  if (config === undefined || config.options.skipLibCheck !== false)
    throw new Error("test/package checks no declarations")
  const program = ts.createProgram(config.fileNames, config.options)
  const seen = program.getSourceFiles().filter(({ fileName }) => fileName.includes(`/node_modules/${name}/dist/`))
  // a compilation that saw no declaration of the package has checked nothing
  if (seen.length === 0) throw new Error(`the program did not reach a declaration of ${name}`)
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
  const problems = compile(folder)
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  else process.stdout.write(run(process.execPath, ["out/main.js"], folder))
  console.log(`${problems.length > 0 ? "FAILED" : "ok"} package: ${problems.length} problems`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/**
 * Loads every entry of the built package by its name, as a user's Node does, and starts each program of it. The tests run the
 * sources; this runs what is published.
 */
import { spawn, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = new URL("../", import.meta.url)
const { bin, exports, name } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"))

const entries = Object.keys(exports).filter((key) => typeof exports[key]?.default === "string")
for (const entry of entries) {
  const loaded = await import(`${name}${entry.slice(1)}`)
  if (Object.keys(loaded).length === 0) throw new Error(`${name}${entry.slice(1)} exports nothing`)
}

// Entries that must load where `ws` is not installed: here, for a resolver that does not find it. One that needs it shows that it works.
const hooks =
  'export const resolve = (specifier, context, next) => { if (specifier === "ws") throw new Error("ws is not installed"); return next(specifier, context) }'
const register = `import { register } from "node:module"; register("data:text/javascript,${encodeURIComponent(hooks)}")`
const withoutWs = (entry) =>
  spawnSync(
    process.execPath,
    [
      ...["--import", `data:text/javascript,${encodeURIComponent(register)}`],
      ...["--input-type=module", "--eval", `await import(${JSON.stringify(`${name}/${entry}`)})`]
    ],
    { cwd: fileURLToPath(root), encoding: "utf8", timeout: 30_000 }
  )
for (const entry of ["transport", "transport/stdio", "client", "agent", "runtime"]) {
  const { status, stderr } = withoutWs(entry)
  if (status !== 0) throw new Error(`${name}/${entry} does not load without ws:\n${stderr}`)
}
if (!withoutWs("transport/ws").stderr.includes("ws is not installed")) {
  throw new Error(`${name}/transport/ws loads without ws: the check checks nothing`)
}

for (const [program, path] of Object.entries(bin)) {
  const file = fileURLToPath(new URL(path, root))
  // As `npx` starts it in a clone: the file itself, which must be executable. Windows has no such mode.
  const [command, args] = process.platform === "win32" ? [process.execPath, [file, "version"]] : [file, ["version"]]
  const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 30_000 })
  if (status !== 0) throw new Error(`${program} version: ${error?.message ?? `exit ${status}`}\n${stderr}`)
}
// The demo agents are part of the program: it must find them where it was built.
const serving = spawn(
  process.execPath,
  [fileURLToPath(new URL(bin.arcp, root)), "serve", "--demo", "--anonymous", "--port", "0"],
  { stdio: ["ignore", "ignore", "pipe"] }
)
const said = await new Promise((resolve) => {
  let text = ""
  const timer = setTimeout(() => resolve(text), 30_000)
  serving.stderr.on("data", (data) => {
    text += data
    if (text.includes("listening on ws://")) resolve(text)
  })
  serving.on("exit", () => resolve(text))
  serving.on("close", () => clearTimeout(timer))
})
serving.kill("SIGTERM")
if (!said.includes("listening on ws://")) throw new Error(`arcp serve --demo does not start: ${said}`)

console.log(`ok ${entries.length} entries, ${Object.keys(bin).length} program`)

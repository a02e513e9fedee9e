/** How long a program takes from its start until it listens. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { BackendName } from "./processes.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

const bare = `import { WebSocketServer } from "ws"
new WebSocketServer({ port: 0, host: "127.0.0.1" }, () => console.error("listening on ws"))`

const serve = ["dist/cli/bin.js", "serve", "--demo", "--anonymous", "--port", "0"]

const listening = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    let said = ""
    child.stderr!.on("data", (data) => {
      said += String(data)
      if (said.includes("listening on")) resolve()
    })
    child.once("exit", () => reject(new Error(`the program ended: ${said}`)))
  })

/** Milliseconds until a new process listens: a bare `ws` server, or `arcp serve` with a store. */
export const coldStart = async (name: BackendName): Promise<number> => {
  const folder = mkdtempSync(join(tmpdir(), "arcp-bench-"))
  const args = {
    floor: ["--input-type=module", "--eval", bare],
    memory: serve,
    sqlite: [...serve, "--store", join(folder, "arcp.db")]
  }[name]
  const begin = performance.now()
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "pipe"] })
  try {
    await listening(child)
    return performance.now() - begin
  } finally {
    const exited = new Promise((resolve) => child.once("exit", resolve))
    child.kill("SIGKILL")
    await exited
    rmSync(folder, { recursive: true, force: true })
  }
}

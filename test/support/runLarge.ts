/** Runs `largeResult.ts` with a bounded heap. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bundle } from "../bundle.js"

/** How a run ended. */
export interface LargeRun {
  readonly code: number | null
  readonly out: string
  readonly error: string
}

/** Streams `mib` MiB to a file, in a process whose heap has at most `heap` MiB. */
export const runLarge = (mib: number, heap: number): Promise<LargeRun> => {
  const program = join(bundle({ large: "test/support/largeResult.ts" }), "large.js")
  const folder = mkdtempSync(join(tmpdir(), "arcp-large-"))
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`--max-old-space-size=${heap}`, program, String(mib), join(folder, "out")])
    let out = ""
    let error = ""
    child.stdout.on("data", (data) => (out += String(data)))
    child.stderr.on("data", (data) => (error += String(data)))
    child.on("close", (code) => {
      rmSync(folder, { recursive: true, force: true })
      resolve({ code, out, error })
    })
  })
}

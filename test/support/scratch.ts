/** Folders for the files of tests, which are gone when the process of the tests ends. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

// One listener for all files of a process, however often this module is loaded: more than ten make Node warn of a leak.
const key = Symbol.for("effect-arcp/test/scratch")
const shared = globalThis as { [key]?: Set<string> }

/** A new, empty folder, whose name begins with `prefix`: in the system's folder for such, or in `parent`. */
export const scratch = (prefix: string, parent = tmpdir()): string => {
  const folder = mkdtempSync(join(parent, prefix))
  if (shared[key] === undefined) {
    const folders = new Set<string>()
    shared[key] = folders
    process.on("exit", () => {
      for (const path of folders) rmSync(path, { recursive: true, force: true })
    })
  }
  shared[key].add(folder)
  return folder
}

/** Writes what the programs of the pages print, and the frames that pass, into the blocks for it: see `test/docs/shown.ts`. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const { status } = spawnSync(
  process.execPath,
  [
    "node_modules/vitest/vitest.mjs",
    "run",
    "test/docs/shown.test.ts",
    "-t",
    "its programs run",
    ...process.argv.slice(2)
  ],
  { cwd: root, stdio: "inherit", env: { ...process.env, ARCP_DOCS_WRITE: "1" } }
)
process.exitCode = status ?? 1

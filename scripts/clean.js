/** Removes the last build, so that no file of a module that has gone is published. */
import { rmSync } from "node:fs"

rmSync(new URL("../dist", import.meta.url), { recursive: true, force: true })

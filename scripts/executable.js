/** Makes the program that has been built executable: `npx arcp` in a clone runs the file itself. */
import { chmodSync } from "node:fs"

chmodSync(new URL("../dist/cli/bin.js", import.meta.url), 0o755)

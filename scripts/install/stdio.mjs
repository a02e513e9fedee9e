/** A client whose runtime is a child process, and no port. */
import { StdioTransport } from "effect-arcp/transport/stdio"
import { echoed } from "./echoed.mjs"

const program = "node_modules/effect-arcp/dist/cli/bin.js"
await echoed(
  StdioTransport.layerClient({
    command: process.execPath,
    args: [program, "serve", "--stdio", "--demo", "--anonymous"],
    stderr: "ignore"
  })
)

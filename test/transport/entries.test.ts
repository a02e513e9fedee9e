/** `effect-arcp/transport/stdio` works where `ws` is not installed. */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { bundle } from "../bundle.js"

const folder = bundle({ stdio: "src/transport/stdio.ts", node: "src/transport/node.ts", ws: "src/transport/ws.ts" }, [
  "ws"
])

/** Loads a module in a Node whose resolver does not find `ws`. */
const load = (name: string) => {
  const hooks =
    'export const resolve = (specifier, context, next) => { if (specifier === "ws") throw new Error("ws is not installed"); return next(specifier, context) }'
  const register = `import { register } from "node:module"; register("data:text/javascript,${encodeURIComponent(hooks)}")`
  const script = `console.log(Object.keys(await import(${JSON.stringify(pathToFileURL(join(folder, `${name}.js`)).href)})).join())`
  const { stderr, stdout } = spawnSync(
    process.execPath,
    [
      ...["--import", `data:text/javascript,${encodeURIComponent(register)}`],
      ...["--input-type=module", "--eval", script]
    ],
    { encoding: "utf8" }
  )
  return { stdout: stdout.trim(), refused: stderr.includes("ws is not installed") }
}

describe("transport entries", () => {
  it("§4 transport/stdio loads without ws; transport/ws and the sum of both need it", () => {
    expect(load("stdio")).toEqual({ stdout: "StdioTransport", refused: false })
    expect(load("ws")).toEqual({ stdout: "", refused: true })
    expect(load("node")).toEqual({ stdout: "", refused: true })
  })
})

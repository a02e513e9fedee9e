/** The README as a reader follows it: its host, its client and its test run as they stand, in a folder of their own. */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { ended, filesOf, freePort, installed, start } from "./installed.js"

describe("README.md", () => {
  it("has a host, a client and a test that run", { timeout: 300_000 }, async () => {
    const files = filesOf(readFileSync("README.md", "utf8"))
    expect([...files.keys()]).toEqual(["host.ts", "client.ts", "greet.test.ts"])
    const port = await freePort()
    const folder = installed(files, port)

    const host = start(folder, ["--import", "tsx", "host.ts"])
    let listening: (out: string) => void = () => {}
    const heard = new Promise<string>((resolve) => (listening = (out) => void (out.includes("\n") && resolve(out))))
    const stopped = ended(host, listening)
    try {
      const said = await Promise.race([heard, stopped.then(({ err, out }) => `the host ended: ${out}${err}`)])
      expect(said).toBe(`listening on ws://127.0.0.1:${port}/arcp\n`)
      const client = await ended(start(folder, ["--import", "tsx", "client.ts"]))
      expect([client.code, client.err]).toEqual([0, ""])
      const kinds = ["status", "progress", "tool_call", "tool_result", "metric", "metric"]
      const events = kinds.map((kind, i) => `${i + 1} ${kind}\n`).join("")
      expect(client.out).toBe(`${events}{ summary: '// host.ts\\nimport { FileSystem } from "@' }\n`)
    } finally {
      host.kill("SIGTERM")
    }
    expect((await stopped).code).not.toBeNull()

    const tested = await ended(start(folder, ["node_modules/vitest/vitest.mjs", "run"]))
    expect(tested.out).toMatch(/Tests +1 passed/)
    expect(tested.code).toBe(0)
  })
})

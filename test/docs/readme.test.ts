/** The README as a reader follows it: its host, its client and its test run as they stand, in a folder of their own. */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { filesOf, freePort, installed, walked } from "./installed.js"

describe("README.md", () => {
  it("has a host, a client and a test that run", { timeout: 300_000 }, async () => {
    const files = filesOf(readFileSync("README.md", "utf8"))
    expect([...files.keys()]).toEqual(["host.ts", "client.ts", "greet.test.ts"])
    const port = await freePort()
    const folder = installed(files, port)

    const { client, said, tested } = await walked(folder)
    expect(said).toBe(`listening on ws://127.0.0.1:${port}/arcp\n`)
    expect([client.code, client.err]).toEqual([0, ""])
    const kinds = ["status", "progress", "tool_call", "tool_result", "metric", "metric"]
    const events = kinds.map((kind, i) => `${i + 1} ${kind}\n`).join("")
    expect(client.out).toBe(`${events}{ summary: '// host.ts\\nimport { FileSystem } from "@' }\n`)
    expect(tested.out).toMatch(/Tests +1 passed/)
    expect(tested.code).toBe(0)
  })
})

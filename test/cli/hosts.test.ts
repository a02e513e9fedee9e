/** §14 Where `arcp serve` listens, which hosts it takes there, and what it says of it. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { rawClient, requestText } from "../transport/rawPeer.js"
import { serve } from "./processes.js"

const args = ["--demo", "--anonymous"]
const status = (url: string, ...headers: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const port = Number(new URL(url).port)
      const raw = yield* rawClient(port)
      raw.write(requestText(port, { headers }))
      return Number((yield* raw.until("\r\n\r\n")).split(" ")[1])
    })
  )
const page = (name: string) => [`Host: ${name}`, `Origin: http://${name}`]

describe("arcp serve", () => {
  it.scopedLive(
    "§14 on an address of other machines takes the hosts that are named, and warns that nothing is encrypted",
    () =>
      Effect.gen(function* () {
        const { said, url } = yield* serve([
          ...args,
          "--host",
          "0.0.0.0",
          "--allowed-host",
          "agents.example",
          "--allowed-host",
          "localhost"
        ])
        expect(said()).toMatch(/^arcp: warning: ws:\/\/ on 0\.0\.0\.0 is not encrypted.*wss:/m)
        const { port } = new URL(url)
        expect(yield* status(url, "Host: agents.example")).toBe(101)
        expect(yield* status(url, ...page(`agents.example:${port}`))).toBe(101)
        expect(yield* status(url, `Host: localhost:${port}`)).toBe(101)
        expect(yield* status(url, ...page(`evil.example:${port}`))).toBe(403)
        expect(yield* status(url, `Host: 127.0.0.1:${port}`)).toBe(403)
      })
  )

  it.scopedLive("§14 with * takes any host", () =>
    Effect.gen(function* () {
      const { url } = yield* serve([...args, "--host", "0.0.0.0", "--allowed-host", "*"])
      expect(yield* status(url, "Host: agents.example")).toBe(101)
    })
  )

  it.scopedLive("§14 on loopback takes its own names and no rebound page, and warns of nothing", () =>
    Effect.gen(function* () {
      for (const host of ["localhost", "127.0.0.1"]) {
        const { said, url } = yield* serve([...args, "--host", host])
        expect(said()).not.toContain("warning")
        const { port } = new URL(url)
        expect(yield* status(url, `Host: localhost:${port}`)).toBe(101)
        expect(yield* status(url, ...page(`evil.example:${port}`))).toBe(403)
        expect(yield* status(url, `Host: evil.example:${port}`)).toBe(403)
      }
      const behind = yield* serve([...args, "--allowed-host", "agents.example"])
      expect(behind.said()).not.toContain("warning")
      expect(yield* status(behind.url, "Host: agents.example")).toBe(101)
    })
  )
})

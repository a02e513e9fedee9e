/** The rooms that a browser runs too: they bundle without a module of Node, and work where there is no global of Node. */
import { createContext, runInContext } from "node:vm"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { bundleForBrowser } from "../bundle.js"

/** Peers of the package that no browser has. */
const native =
  /node_modules\/(ws|jose|better-sqlite3|@effect\/(platform-node|platform-node-shared|sql|sql-sqlite-node))\//

describe("bundles for a browser", () => {
  for (const entry of ["protocol", "authority", "transport", "client", "agent"]) {
    it(`effect-arcp/${entry} bundles whole, and loads nothing of Node`, { timeout: 30_000 }, () => {
      const { inputs, text } = bundleForBrowser(`export * from "effect-arcp/${entry}"`)
      expect(Object.keys(inputs)).toContain(`src/${entry}/index.ts`)
      expect(Object.keys(inputs).filter((input) => native.test(input))).toEqual([])
      expect(text).not.toMatch(/["'`]node:/)
      expect(text).not.toMatch(/\brequire\(["'`]/)
    })
  }

  it("a contract of agents and tools, a client and a lease work without Node's globals", { timeout: 30_000 }, () => {
    const { text } = bundleForBrowser(
      `
      import * as Effect from "effect/Effect"
      import * as Either from "effect/Either"
      import * as Schema from "effect/Schema"
      import { Agent, Tool } from "effect-arcp/agent"
      import { Lease } from "effect-arcp/authority"
      import { ArcpClient } from "effect-arcp/client"
      import { MemoryTransport, WebSocketGlobal } from "effect-arcp/transport"

      class Summarize extends Agent.make("summarize", {
        version: "1.2.0",
        input: Schema.Struct({ path: Schema.String }),
        output: Schema.Struct({ summary: Schema.String })
      }) {}
      class Look extends Tool.make("look", { input: Schema.Struct({ at: Schema.Number }), output: Schema.String }) {}
      const layer = ArcpClient.layer({})
      answer = {
        agent: [Summarize.agentName, Summarize.version],
        tool: Look.toolName,
        input: Schema.encodeSync(Summarize.input)({ path: "/a" }),
        lease: Either.isRight(Lease.compile({ "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] })),
        client: typeof layer === "object" && typeof MemoryTransport === "object" && typeof WebSocketGlobal === "object",
        effect: Effect.runSync(Effect.succeed(1))
      }
      `,
      "iife"
    )
    const realm: Record<string, unknown> = {
      answer: undefined,
      TextEncoder,
      TextDecoder,
      URL,
      URLSearchParams,
      AbortController,
      setTimeout,
      clearTimeout,
      setInterval,
      clearInterval,
      queueMicrotask,
      performance,
      crypto,
      console
    }
    runInContext(text, createContext(realm))
    expect(realm.answer).toEqual({
      agent: ["summarize", "1.2.0"],
      tool: "look",
      input: { path: "/a" },
      lease: true,
      client: true,
      effect: 1
    })
  })

  it("a client over a browser's WebSocket, with an agent's contract, stays within its size", {
    timeout: 30_000
  }, () => {
    const minified = (program: string) => {
      const { text, used } = bundleForBrowser(program, "esm", true)
      return { used, size: gzipSync(text, { level: 9 }).length }
    }
    // What any program of Effect with a Schema and a Stream takes.
    const effect = `
      import * as Effect from "effect/Effect"
      import * as Layer from "effect/Layer"
      import * as Schema from "effect/Schema"
      import * as Stream from "effect/Stream"

      export const decode = Schema.decodeUnknown(Schema.Struct({ path: Schema.String }))
      export const run = (show) =>
        Effect.fork(Stream.runForEach(Stream.make(1), (event) => Effect.sync(() => show(event)))).pipe(
          Effect.provide(Layer.empty),
          Effect.scoped,
          Effect.runPromise
        )
    `
    const client = `
      import * as Effect from "effect/Effect"
      import * as Layer from "effect/Layer"
      import * as Schema from "effect/Schema"
      import * as Stream from "effect/Stream"
      import { Agent } from "effect-arcp/agent"
      import { ArcpClient } from "effect-arcp/client"
      import { WebSocketGlobal } from "effect-arcp/transport"

      class Summarize extends Agent.make("summarize", {
        version: "1.2.0",
        input: Schema.Struct({ path: Schema.String }),
        output: Schema.Struct({ summary: Schema.String })
      }) {}

      export const summary = (url, path, show) =>
        Effect.gen(function* () {
          const client = yield* ArcpClient
          const job = yield* client.submit(Summarize, { path })
          yield* Effect.fork(Stream.runForEach(job.events, (event) => Effect.sync(() => show(event))))
          return yield* job.result
        }).pipe(
          Effect.provide(Layer.provide(ArcpClient.layer({}), WebSocketGlobal.layer({ url }))),
          Effect.scoped,
          Effect.runPromise
        )
    `
    const { size: whole, used } = minified(client)
    const { size: base } = minified(effect)
    // What only hosts an agent stays out, and so do the Schemas of what only a runtime decodes.
    expect(used).toContain("src/client/internal/core.ts")
    expect(used.filter((input) => input.includes("/@effect/"))).toEqual([])
    for (const apart of ["agent/Guard", "protocol/Requests", "protocol/ClientMessages", "protocol/EventBodies"])
      expect(used).not.toContain(`src/${apart}.ts`)
    const figure = `${(whole / 1000).toFixed(1)} KB minified and gzipped, of which Effect itself is ${(base / 1000).toFixed(1)} KB`
    expect(whole, `the client's bundle is ${figure}; 122 KB are allowed`).toBeLessThanOrEqual(122_000)
    expect(whole - base, `the client's bundle is ${figure}; 50 KB are allowed beside it`).toBeLessThanOrEqual(50_000)
    // Less would not be the client.
    expect(whole - base).toBeGreaterThan(20_000)
  })
})

/** The demo agents of `arcp serve --demo`, through a whole runtime over a real WebSocket. */
import { FetchHttpClient, FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Layer, Redacted, Stream } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { DemoAgents } from "../../examples/agents.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient, type ObservedJob } from "../../src/client/index.js"
import { ArcpRuntime } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { webSocket } from "../runtime/backends.js"

const main = ArcpClient.layer({ auth: { token: Redacted.make("t") } }).pipe(
  Layer.provideMerge(
    ArcpRuntime.layer().pipe(
      Layer.provide(DemoAgents),
      Layer.provideMerge(webSocket),
      Layer.provide(MemoryStore.layer),
      Layer.provide(Authenticator.layerBearer({ t: "alice" })),
      Layer.provide(FetchHttpClient.layer)
    )
  ),
  Layer.provideMerge(NodeContext.layer)
)

const run = (agent: string, input: unknown, lease: Record<string, ReadonlyArray<string>> = {}) =>
  Effect.flatMap(ArcpClient, (client) =>
    Effect.flatMap(client.submit(agent, input, { lease }), (job) => Effect.either(job.result))
  )

const kinds = (job: ObservedJob<unknown>) =>
  Effect.map(Stream.runCollect(job.events), (events) => Chunk.toReadonlyArray(events).map((event) => event.kind))

const pages = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly stop: () => void }>((resume) => {
    const server = createServer((request, response) => {
      if (request.url === "/away") response.writeHead(302, { location: "/secret" })
      response.end(request.url)
    })
    server.listen(0, "127.0.0.1", () =>
      resume(
        Effect.succeed({
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          stop: () => server.close()
        })
      )
    )
  }),
  ({ stop }) => Effect.sync(stop)
)

describe("demo agents", () => {
  it.scopedLive("read: a file that the lease covers, and no other", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* Effect.flatMap(fs.makeTempDirectoryScoped(), fs.realPath)
      yield* fs.writeFileString(`${folder}/a.txt`, "hello")
      yield* fs.symlink("/etc/passwd", `${folder}/link.txt`)
      const lease = { "fs.read": [`${folder}/**`] }
      expect(yield* run("read", { path: `${folder}/a.txt` }, lease)).toMatchObject({
        right: { bytes: 5, text: "hello" }
      })
      for (const path of [`${folder}/../${folder}x`, `${folder}/link.txt`, "/etc/passwd"]) {
        expect(yield* run("read", { path }, lease)).toMatchObject({ left: { code: "PERMISSION_DENIED" } })
      }
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("fetch: a URL that the lease covers, and no redirect out of it", () =>
    Effect.gen(function* () {
      const { url } = yield* pages
      const lease = { "net.fetch": [`${url}/open/**`, `${url}/away`] }
      expect(yield* run("fetch", { url: `${url}/open/a` }, lease)).toMatchObject({
        right: { status: 200, text: "/open/a" }
      })
      expect(yield* run("fetch", { url: `${url}/away` }, lease)).toMatchObject({ left: { code: "PERMISSION_DENIED" } })
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("spend: the charge that exhausts the budget is counted, the next call is refused (§13.5)", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(
        "spend",
        { charges: ["USD:0.42", "USD:0.70", "USD:0.10"], tool: "fetch.url" },
        { lease: { "tool.call": ["fetch.*"], "cost.budget": ["USD:1.00"] } }
      )
      expect(job.budget).toEqual({ USD: 1 })
      expect(yield* job.result).toEqual({ calls: 2, refused: ["BUDGET_EXHAUSTED"], remaining: { USD: "-0.12" } })
      const paid = ["tool_call", "tool_result", "metric", "metric"]
      expect(yield* kinds(job)).toEqual(["status", ...paid, ...paid, "tool_call", "tool_result"])
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("model: only what the lease names (§9.7)", () =>
    Effect.gen(function* () {
      const lease = { "model.use": ["tier-fast/*"] }
      expect(yield* run("model", { id: "tier-fast/a" }, lease)).toMatchObject({ right: { used: "tier-fast/a" } })
      expect(yield* run("model", { id: "tier-slow/a" }, lease)).toMatchObject({ left: { code: "PERMISSION_DENIED" } })
      expect(yield* run("model", { id: "tier-fast/a" })).toMatchObject({ left: { code: "PERMISSION_DENIED" } })
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("delegate: within the lease, and the client hears of the child (§10)", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const children = yield* Stream.runHead(client.children).pipe(Effect.fork)
      yield* Effect.yieldNow()
      const lease = { "agent.delegate": ["echo"], "tool.call": ["a.*"] }
      const narrower = { agent: "echo", input: { n: 1 }, lease_request: { "tool.call": ["a.b"] } }
      const wider = { agent: "echo", lease_request: { "tool.call": ["**"] } }
      expect(yield* run("delegate", narrower, lease)).toMatchObject({ right: { n: 1 } })
      const child = yield* Effect.flatten(children)
      expect(child).toMatchObject({ agent: "echo@1.0.0", lease: { "tool.call": ["a.b"] } })
      expect(yield* child.result).toEqual({ n: 1 })
      expect(yield* run("delegate", wider, lease)).toMatchObject({ left: { code: "LEASE_SUBSET_VIOLATION" } })
      expect(yield* run("delegate", { agent: "sleep" }, lease)).toMatchObject({ left: { code: "PERMISSION_DENIED" } })
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("artifact: kept, announced, and fetched by its owner", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("artifact", { text: "kept" })
      const { uri } = (yield* job.result) as { readonly uri: string }
      expect(yield* kinds(job)).toEqual(["status", "artifact_ref"])
      const fetched = yield* client.artifacts.fetch(uri)
      expect(new TextDecoder().decode(fetched.bytes)).toBe("kept")
    }).pipe(Effect.provide(main))
  )
})

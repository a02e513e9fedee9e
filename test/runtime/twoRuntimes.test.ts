/** Several runtimes in one program share nothing but what is given to each of them. */
import { createServer } from "node:http"
import { HttpLayerRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Schema, type Scope } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime, LeasePolicy, Limits } from "../../src/runtime/index.js"
import { ArtifactStore, MemoryStore } from "../../src/store/index.js"
import { Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { WebSocketRoute } from "../../src/transport/platform.js"
import { decorate } from "../../src/store/decorate.js"
import { Store } from "../../src/store/Store.js"
import { sqliteFile } from "./backends.js"
import { dial, hello, run, submit } from "./peer.js"

class Lookup extends Tool.make("lookup", { input: Schema.Unknown, output: Schema.String }) {}

const secret = Agent.untyped("secret", () => Effect.succeed("the admin's"))
const both = Agent.untyped("both", () => Effect.succeed("for both"))
const caller = Agent.untyped("caller", () => Lookup.call(1))
const adminTool = Lookup.toLayer(() => Effect.succeed("the admin's tool"))
const publicTool = Lookup.toLayer(() => Effect.succeed("the public tool"))

class AdminConnector extends Context.Tag("test/AdminConnector")<
  AdminConnector,
  Context.Tag.Service<typeof Connector>
>() {}
class PublicConnector extends Context.Tag("test/PublicConnector")<
  PublicConnector,
  Context.Tag.Service<typeof Connector>
>() {}

const as = <I>(tag: Context.Tag<I, Context.Tag.Service<typeof Connector>>) =>
  Layer.effect(
    tag,
    Effect.map(Connector, (connector) => connector)
  )

const leases = LeasePolicy.layer({ allowed: () => undefined })
const admin = <E, R>(transport: Layer.Layer<Server, E, R>, store: Layer.Layer<Store, unknown>) =>
  ArcpRuntime.layer({ name: "admin", drainTime: 0 }).pipe(
    Layer.provide([secret, both, caller, adminTool, leases]),
    Layer.provide(Authenticator.layerBearer({ "admin-token": "admin" })),
    Layer.provide(store),
    Layer.provide(transport)
  )
const open = <E, R>(transport: Layer.Layer<Server, E, R>, store: Layer.Layer<Store, unknown>) =>
  ArcpRuntime.layer({ name: "public", drainTime: 0 }).pipe(
    Layer.provide([both, caller, publicTool, leases]),
    Layer.provide(Limits.layer({ jobsPerPrincipal: 1 })),
    Layer.provide(Authenticator.layerAnonymous),
    Layer.provide(store),
    Layer.provide(transport)
  )
const memory = () => MemoryTransport.layerWith({ encoded: true })

/** Two runtimes whose layers are built by one program. */
const inMemory = (order: "admin first" | "public first", stores: () => Layer.Layer<Store, unknown>) => {
  const a = memory()
  const p = memory()
  const adminLayer = Layer.provideMerge(admin(a, stores()), Layer.provide(as(AdminConnector), a))
  const publicLayer = Layer.provideMerge(open(p, stores()), Layer.provide(as(PublicConnector), p))
  return order === "admin first" ? Layer.merge(adminLayer, publicLayer) : Layer.merge(publicLayer, adminLayer)
}

const onTwoPaths = (order: "admin first" | "public first") => {
  const adminLayer = admin(WebSocketRoute.layer("/admin"), MemoryStore.layer)
  const publicLayer = open(WebSocketRoute.layer("/public"), MemoryStore.layer)
  const routes = order === "admin first" ? Layer.merge(adminLayer, publicLayer) : Layer.merge(publicLayer, adminLayer)
  const serving = HttpLayerRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(
      NodeHttpServer.layer(() => WebSocketRoute.guardUpgrades(createServer()), { port: 0, host: "127.0.0.1" })
    )
  )
  const connector = (path: string) =>
    Layer.unwrapEffect(
      Effect.map(HttpServer.HttpServer, ({ address }) =>
        WebSocketClient.layer({ url: `ws://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}${path}` })
      )
    )
  return Layer.merge(
    Layer.provide(as(AdminConnector), connector("/admin")),
    Layer.provide(as(PublicConnector), connector("/public"))
  ).pipe(Layer.provideMerge(serving))
}

const through = <A, E, I>(
  tag: Context.Tag<I, Context.Tag.Service<typeof Connector>>,
  effect: Effect.Effect<A, E, Connector | Scope.Scope>
) => Effect.flatMap(tag, (connector) => Effect.provideService(effect, Connector, connector))

const anonymous = Effect.gen(function* () {
  const peer = yield* dial
  yield* peer.send("session.hello", {
    client: { name: "t", version: "1" },
    capabilities: { encodings: ["json"], features: ["agent_versions", "list_jobs"] }
  })
  const welcome = yield* peer.next("session.welcome")
  return { ...peer, welcome }
})

const names = (welcome: { readonly payload: Record<string, any> }) =>
  (welcome.payload.capabilities.agents as ReadonlyArray<{ name: string }>).map(({ name }) => name).toSorted()

const apart = Effect.gen(function* () {
  const guest = yield* through(PublicConnector, anonymous)
  const boss = yield* through(AdminConnector, hello({ token: "admin-token" }))
  expect(names(guest.welcome)).toEqual(["both", "caller"])
  expect(names(boss.welcome)).toEqual(["both", "caller", "secret"])
  expect(guest.welcome.payload.runtime.name).toBe("public")
  expect(boss.welcome.payload.runtime.name).toBe("admin")
  expect((yield* submit(guest, "secret")).payload.code).toBe("AGENT_NOT_AVAILABLE")
  expect((yield* run(boss, "secret")).payload.result).toBe("the admin's")
  const lease = { lease_request: { "tool.call": ["**"] } }
  expect((yield* run(guest, "caller", 1, lease)).payload.result).toBe("the public tool")
  expect((yield* run(boss, "caller", 1, lease)).payload.result).toBe("the admin's tool")
  expect((yield* run(guest, "both")).payload.result).toBe("for both")
  // The admin's jobs are in another store.
  const mine = yield* Effect.flatMap(boss.send("session.list_jobs"), boss.reply)
  expect(mine.payload.jobs.map((job: { agent: string }) => job.agent).toSorted()).toEqual([
    "caller@1.0.0",
    "secret@1.0.0"
  ])
  // The token of one runtime is nothing to the other, and an anonymous client is nobody to the admin's.
  const stranger = yield* through(AdminConnector, dial)
  yield* stranger.send("session.hello", { client: { name: "t", version: "1" } })
  expect((yield* stranger.next("session.error")).payload.code).toBe("UNAUTHENTICATED")
}).pipe(Effect.scoped)

describe("two runtimes in one program", () => {
  for (const order of ["admin first", "public first"] as const) {
    it.scopedLive(`have their own agents, tools, sessions and limits: in memory, ${order}`, () =>
      Effect.provide(
        apart,
        inMemory(order, () => MemoryStore.layer)
      )
    )
    it.scopedLive(`have their own agents, tools, sessions and limits: on SQLite, ${order}`, () =>
      Effect.provide(
        apart,
        inMemory(order, () => Layer.fresh(sqliteFile))
      )
    )
    it.scopedLive(`have their own agents, tools, sessions and limits: on two paths of one port, ${order}`, () =>
      Effect.provide(apart, onTwoPaths(order))
    )
  }

  const startOf = (layer: Layer.Layer<never, unknown>) =>
    Effect.map(Effect.exit(Effect.scoped(Layer.build(layer))), (exit) =>
      Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "started"
    )

  it.scopedLive(
    "one store for two runtimes is refused at the second's start, decorated or not, and free after the first's end",
    () =>
      Effect.gen(function* () {
        const context = yield* Layer.build(MemoryStore.layer)
        const store = Context.get(context, Store)
        const shared = Layer.succeed(Store, store)
        const decorated = Layer.succeed(
          Store,
          decorate(store, (_, run) => run)
        )
        const first = admin(memory(), shared)
        const second = open(memory(), decorated)
        expect(yield* startOf(Layer.merge(first, second))).toMatch(/store is in use by another runtime of this program/)
        expect(yield* startOf(Layer.merge(second, first))).toMatch(/store is in use by another runtime of this program/)
        expect(yield* startOf(first)).toBe("started")
        expect(yield* startOf(second)).toBe("started")
      })
  )

  it.scopedLive("one store of artifacts, and one server, for two runtimes are refused", () =>
    Effect.gen(function* () {
      const artifacts = Layer.succeed(
        ArtifactStore,
        Context.get(yield* Layer.build(ArtifactStore.layerMemory), ArtifactStore)
      )
      const first = admin(memory(), Layer.merge(MemoryStore.layer, artifacts))
      const second = open(memory(), Layer.merge(MemoryStore.layer, artifacts))
      expect(yield* startOf(Layer.merge(first, second))).toMatch(/store is in use by another runtime of this program/)
      const transport = memory()
      expect(
        yield* startOf(Layer.merge(admin(transport, MemoryStore.layer), open(transport, MemoryStore.layer)))
      ).toMatch(/server is in use by another runtime of this program/)
    })
  )

  it.scopedLive("§7.5 two registrations of one version fail at the start, one registration given twice does not", () =>
    Effect.gen(function* () {
      const start = (agents: Layer.Layer<never>) =>
        startOf(
          ArcpRuntime.layer().pipe(
            Layer.provide(agents),
            Layer.provide([memory(), MemoryStore.layer, Authenticator.layerBearer({ t: "a" })])
          )
        )
      const again = Agent.untyped("both", () => Effect.succeed("another"))
      expect(yield* start(Layer.merge(both, again))).toMatch(/the agent both@1\.0\.0 is registered twice/)
      expect(yield* start(Layer.provideMerge(again, both))).toMatch(/the agent both@1\.0\.0 is registered twice/)
      expect(yield* start(Layer.merge(both, both))).toBe("started")
      expect(yield* start(Layer.merge(both, Layer.fresh(both)))).toBe("started")
      expect(yield* start(Layer.merge(adminTool, publicTool))).toMatch(/the tool lookup is registered twice/)
      expect(yield* start(Agent.untyped("Not a name", () => Effect.void))).toMatch(/cannot be registered/)
    })
  )

  it.scopedLive("a client's job finds its own runtime's agents when it delegates", () =>
    Effect.gen(function* () {
      const asks = Agent.untyped("asks", () => Effect.either(Job.delegate("secret")))
      const a = memory()
      const p = memory()
      yield* Effect.gen(function* () {
        const guest = yield* through(PublicConnector, anonymous)
        const end = yield* run(guest, "asks", 1, { lease_request: { "agent.delegate": ["**"] } })
        expect(JSON.stringify(end.payload.result)).toContain("secret is not registered")
      }).pipe(
        Effect.scoped,
        Effect.provide(
          Layer.merge(
            admin(a, MemoryStore.layer),
            Layer.provideMerge(
              ArcpRuntime.layer({ drainTime: 0 }).pipe(
                Layer.provide([asks, leases, MemoryStore.layer, Authenticator.layerAnonymous, p])
              ),
              Layer.provide(as(PublicConnector), p)
            )
          )
        )
      )
    })
  )
})

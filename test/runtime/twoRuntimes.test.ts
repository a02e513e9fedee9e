/** Several runtimes in one program share nothing but what is given to each of them. */
import { createServer } from "node:http"
import { HttpLayerRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, FiberId, Layer, Metric, MetricState, Schema, type Scope } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime, LeasePolicy, Limits, Metrics } from "../../src/runtime/index.js"
import { ArtifactStore, MemoryStore } from "../../src/store/index.js"
import { Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { WebSocketRoute } from "../../src/transport/platform.js"
import { decorate } from "../../src/store/decorate.js"
import { Store } from "../../src/store/Store.js"
import { sqliteFile } from "./backends.js"
import { allFeatures, barrier, dial, hello, run, submit } from "./peer.js"

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

  /** The metrics of a runtime, as an exporter reads them: by name and by its other tags. */
  const metricsOf = (runtime: string) =>
    new Map(
      Metric.unsafeSnapshot()
        .filter(({ metricKey: { tags } }) => tags.some(({ key, value }) => key === "runtime" && value === runtime))
        .map(({ metricKey: { name, tags }, metricState: state }) => [
          [name, ...tags.filter(({ key }) => key !== "runtime").map(({ key, value }) => `${key}=${value}`)].join(" "),
          MetricState.isGaugeState(state)
            ? Number(state.value)
            : MetricState.isCounterState(state) || MetricState.isHistogramState(state)
              ? Number(state.count)
              : Number.NaN
        ])
    )

  for (const order of ["north first", "south first"] as const) {
    it.scopedLive(`have metrics of their own, tagged with the runtime's name: ${order}`, () => {
      const [north, south] = [`north of ${order}`, `south of ${order}`]
      const opened = Deferred.unsafeMake<void>(FiberId.none)
      const held = Agent.untyped("held", () => Effect.as(Deferred.await(opened), "let go"))
      const echo = Agent.untyped("echo", (input) => Effect.succeed(input))
      const logs = Agent.untyped("logs", (input) => Effect.ignore(Job.log("x".repeat(input as number))))
      const steps = Agent.untyped("steps", () =>
        Effect.ignore(
          Effect.zipRight(
            Job.step("one", Schema.Number, Effect.succeed(1)),
            Job.step("two", Schema.Number, Effect.succeed(2))
          )
        )
      )
      const runtime = (name: string, limits: Layer.Layer<never>, transport: ReturnType<typeof memory>) =>
        ArcpRuntime.layer({ name, drainTime: 0 }).pipe(
          Layer.provide([
            held,
            echo,
            logs,
            steps,
            leases,
            limits,
            MemoryStore.layer,
            Layer.fresh(ArtifactStore.layerMemory)
          ]),
          Layer.provide(Authenticator.layerBearer({ "alice-token": "alice" })),
          Layer.provide(transport)
        )
      const small = { sessionsPerPrincipal: 1, jobsPerPrincipal: 1, eventPayload: 200, inlineResult: 100, steps: 1 }
      const [n, s] = [memory(), memory()]
      const northLayer = Layer.provideMerge(runtime(north, Layer.empty, n), Layer.provide(as(AdminConnector), n))
      const southLayer = Layer.provideMerge(
        runtime(south, Limits.layer({ ...small, badFramesInARow: 2, artifactBytes: 10, concurrentRequests: 8 }), s),
        Layer.provide(as(PublicConnector), s)
      )
      const features = [...allFeatures.filter((feature) => feature !== "heartbeat"), "artifacts"]
      return Effect.gen(function* () {
        const inNorth = yield* through(AdminConnector, hello({ features }))
        yield* through(AdminConnector, hello({ features }))
        const inSouth = yield* through(PublicConnector, hello({ features }))
        for (let job = 0; job < 3; job++) yield* run(inNorth, "echo", "x".repeat(101))
        yield* run(inNorth, "logs", 201)
        yield* run(inNorth, "steps")
        yield* submit(inNorth, "held")
        const second = yield* submit(inNorth, "held")
        yield* run(inSouth, "echo", "x".repeat(101))
        yield* run(inSouth, "logs", 201)
        yield* run(inSouth, "steps")
        const only = yield* submit(inSouth, "held")
        yield* submit(inSouth, "held")
        const put = { content_type: "text/plain", data: Buffer.alloc(20).toString("base64") }
        for (const peer of [inNorth, inSouth]) yield* Effect.flatMap(peer.send("artifact.put", put), peer.reply)
        const refused = yield* through(PublicConnector, dial)
        yield* refused.send("session.hello", {
          client: { name: "test", version: "1" },
          auth: { scheme: "bearer", token: "alice-token" },
          capabilities: { encodings: ["json"], features }
        })
        yield* refused.next("session.error")

        const [inN, inS] = [metricsOf(north), metricsOf(south)]
        expect([inN.get("arcp_sessions"), inS.get("arcp_sessions")]).toEqual([2, 1])
        expect([inN.get("arcp_connections"), inS.get("arcp_connections")]).toEqual([2, 1])
        expect([inN.get("arcp_jobs_running"), inS.get("arcp_jobs_running")]).toEqual([2, 1])
        expect([inN.get("arcp_jobs_pending"), inS.get("arcp_jobs_pending")]).toEqual([0, 0])
        expect([inN.get("arcp_jobs_ended status=success"), inS.get("arcp_jobs_ended status=success")]).toEqual([5, 2])
        expect([inN.get("arcp_jobs_ended status=error"), inS.get("arcp_jobs_ended status=error")]).toEqual([
          undefined,
          1
        ])
        expect(inN.get("arcp_events_stored")).toBe(inNorth.events().length)
        expect(inS.get("arcp_events_stored")).toBe(inSouth.events().length)
        for (const each of [inN, inS]) expect(each.get("arcp_commit_milliseconds")).toBeGreaterThan(3)
        const reached = (all: ReadonlyMap<string, number>) =>
          [...all].filter(([name]) => name.startsWith("arcp_limit_reached")).toSorted()
        expect(reached(inN)).toEqual([])
        expect(reached(inS)).toEqual(
          [...Object.keys(small), "artifactBytes"].toSorted().map((limit) => [`arcp_limit_reached limit=${limit}`, 1])
        )

        yield* inNorth.send("job.cancel", { job_id: second.job_id })
        yield* inNorth.terminal(second.job_id!)
        for (let frame = 0; frame < 2; frame++) yield* inSouth.raw("{")
        yield* inSouth.ended
        yield* barrier(inNorth)
        const after = [metricsOf(north), metricsOf(south)]
        const both = (name: string) => after.map((all) => all.get(name))
        expect(both("arcp_jobs_running")).toEqual([1, 1])
        expect(both("arcp_jobs_ended status=cancelled")).toEqual([1, undefined])
        expect(both("arcp_bad_messages")).toEqual([undefined, 2])
        expect(both("arcp_limit_reached limit=badFramesInARow")).toEqual([undefined, 1])
        expect(only.type).toBe("job.accepted")

        // What a program reads through the exported handles.
        const tagged = Metric.tagged(Metrics.runningJobs, "runtime", north)
        expect((yield* Metric.value(tagged)).value).toBe(1)
        const untagged = Metric.unsafeSnapshot().filter(
          ({ metricKey: { name, tags } }) => name.startsWith("arcp_") && !tags.some(({ key }) => key === "runtime")
        )
        expect(untagged).toEqual([])
      }).pipe(
        Effect.provide(
          order === "north first" ? Layer.merge(northLayer, southLayer) : Layer.merge(southLayer, northLayer)
        )
      )
    })
  }

  it.scopedLive("the gauges of a runtime go back to zero at its end, and its counters stay", () => {
    const transport = memory()
    const runtime = ArcpRuntime.layer({ name: "ended", drainTime: 0 }).pipe(
      Layer.provide([Agent.untyped("never", () => Effect.never), both, Limits.layer({ runningJobs: 1 })]),
      Layer.provide([MemoryStore.layer, Authenticator.layerBearer({ "alice-token": "alice" })]),
      Layer.provideMerge(transport)
    )
    const gauges = ["arcp_sessions", "arcp_connections", "arcp_jobs_running", "arcp_jobs_pending"]
    const shown = () => gauges.map((name) => metricsOf("ended").get(name))
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        yield* run(peer, "both")
        yield* submit(peer, "never")
        yield* submit(peer, "never")
        expect(shown()).toEqual([1, 1, 1, 1])
      }).pipe(Effect.scoped, Effect.provide(runtime))
      expect(shown()).toEqual([0, 0, 0, 0])
      expect(metricsOf("ended").get("arcp_journal_queue")).toBe(0)
      expect(metricsOf("ended").get("arcp_jobs_ended status=success")).toBe(1)
    })
  })

  it.scopedLive("of one name count together, and one without a name is tagged effect-arcp", () => {
    const value = (runtime: string) => metricsOf(runtime).get("arcp_jobs_ended status=success") ?? 0
    const runtime = (name: string | undefined, transport: ReturnType<typeof memory>) =>
      ArcpRuntime.layer({ name, drainTime: 0 }).pipe(
        Layer.provide([both, MemoryStore.layer, Authenticator.layerBearer({ "alice-token": "alice" })]),
        Layer.provideMerge(transport)
      )
    const once = (name: string | undefined) =>
      Effect.provide(
        Effect.flatMap(hello(), (peer) => run(peer, "both")),
        runtime(name, memory())
      ).pipe(Effect.scoped)
    return Effect.gen(function* () {
      yield* once("twin")
      yield* once("twin")
      const before = value("effect-arcp")
      yield* once(undefined)
      expect([value("twin"), value("effect-arcp") - before]).toEqual([2, 1])
    })
  })
})

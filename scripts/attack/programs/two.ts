/**
 * Two runtimes in one program, a public one and one for administrators, that share nothing but what they are both given. The
 * argument is the order in which they are composed, or what they are made to share.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Agent, Tool } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime, Limits } from "effect-arcp/runtime"
import { MemoryStore, Store } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketServer } from "effect-arcp/transport/node"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import { Job } from "effect-arcp/agent"
import { say } from "./common.js"

const [mode = "public-first"] = process.argv.slice(2)

class Wipe extends Tool.make("wipe", { input: Schema.Unknown, output: Schema.String }) {}

const echo = Agent.untyped("echo", (input) => Effect.succeed(input))
const publicAgents = Layer.mergeAll(
  echo,
  Agent.untyped("calls", () => Job.callTool("wipe", null)),
  Agent.untyped("delegates", () => Job.delegate("secrets", null))
)
const adminAgents = Layer.mergeAll(
  echo,
  Agent.untyped("secrets", () => Effect.succeed("the secrets")),
  Wipe.toLayer(() => Effect.succeed("wiped"))
)

/** Each with a server of its own, or both on one port by two paths. */
const server = (path: string) => {
  if (mode !== "paths") return WebSocketServer.layer({ port: 0, path })
  return WebSocketServer.layerFromServer(http, { path })
}
const http = createServer()

const publicLive = ArcpRuntime.layer({ name: "public", drainTime: 100 }).pipe(
  Layer.provide(publicAgents),
  Layer.provide(Limits.layer({ jobsPerPrincipal: 1 })),
  Layer.provideMerge(server("/public")),
  Layer.provide(Authenticator.layerBearer({ guest: "same" })),
  Layer.provide(MemoryStore.layer)
)

const adminLive = ArcpRuntime.layer({ name: "admin", drainTime: 100 }).pipe(
  Layer.provide(adminAgents),
  Layer.provide(Limits.layer({ jobsPerPrincipal: 50 })),
  Layer.provideMerge(server("/admin")),
  Layer.provide(Authenticator.layerBearer({ root: "same" })),
  Layer.provide(MemoryStore.layer)
)

/** The address of a runtime, reported once it serves. */
const told = (name: string, live: Layer.Layer<Server, unknown>) =>
  Layer.effectDiscard(Effect.map(Server, ({ address }) => say("serves", { name, address }))).pipe(Layer.provide(live))

const publicTold = told("public", publicLive)
const adminTold = told("admin", adminLive)

// Metrics are read as an exporter reads them.
const metrics = Effect.map(Metric.snapshot, (pairs) =>
  pairs
    .filter(({ metricKey }) => metricKey.name.startsWith("arcp_"))
    .map(({ metricKey }) => ({
      name: metricKey.name,
      tags: metricKey.tags.map(({ key, value }) => `${key}=${value}`)
    }))
)

const report = Effect.forever(
  Effect.zipRight(
    Effect.sleep(200),
    Effect.map(metrics, (all) => say("metrics", { all }))
  )
)

/** One store given to both: the second is refused at its start. */
const shared = Effect.gen(function* () {
  const context = yield* Layer.build(MemoryStore.layer)
  const store = Layer.succeedContext(Context.merge(context, Context.make(Store, Context.get(context, Store))))
  const one = (name: string) =>
    ArcpRuntime.layer({ name, drainTime: 100 }).pipe(
      Layer.provide(echo),
      Layer.provide(WebSocketServer.layer({ port: 0 })),
      Layer.provide(Authenticator.layerBearer({ guest: "same" })),
      Layer.provide(store)
    )
  const first = yield* Effect.exit(Layer.build(one("first")))
  const second = yield* Effect.exit(Layer.build(one("second")))
  const third = yield* Effect.exit(Layer.build(one("twice").pipe(Layer.provide(echo))))
  say("shared", {
    first: Exit.isSuccess(first),
    second: Exit.isSuccess(second),
    third: Exit.isSuccess(third),
    why: Exit.isFailure(second) ? Cause.pretty(second.cause).slice(0, 200) : ""
  })
}).pipe(Effect.scoped)

/** Two registrations of one version. */
const twice = Effect.gen(function* () {
  const live = (agents: Layer.Layer<never>) =>
    ArcpRuntime.layer({ name: "twice", drainTime: 100 }).pipe(
      Layer.provide(agents),
      Layer.provide(WebSocketServer.layer({ port: 0 })),
      Layer.provide(Authenticator.layerBearer({ guest: "same" })),
      Layer.provide(MemoryStore.layer)
    )
  const again = Agent.untyped("echo", () => Effect.succeed("another"))
  const agents = yield* Effect.exit(Layer.build(live(Layer.mergeAll(echo, again))))
  const tools = yield* Effect.exit(
    Layer.build(
      live(
        Layer.mergeAll(
          Wipe.toLayer(() => Effect.succeed("a")),
          Wipe.toLayer(() => Effect.succeed("b"))
        )
      )
    )
  )
  say("twice", { agents: Exit.isSuccess(agents), tools: Exit.isSuccess(tools) })
}).pipe(Effect.scoped)

const both = mode === "admin-first" ? Layer.merge(adminTold, publicTold) : Layer.merge(publicTold, adminTold)
const serving = Effect.gen(function* () {
  if (mode === "paths") {
    yield* Effect.async<void>((resume) => void http.listen(0, "127.0.0.1", () => resume(Effect.void)))
    say("port", { port: (http.address() as AddressInfo).port })
  }
  yield* Layer.build(both)
  say("ready", { address: "both" })
  return yield* report
}).pipe(Effect.scoped)

NodeRuntime.runMain(mode === "shared" ? shared : mode === "twice" ? twice : serving)

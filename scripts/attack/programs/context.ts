/**
 * A runtime with everything that this package offers provided below its agents, above them, and to the fiber that runs it. Its
 * agents and tools report the keys that they can see.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Reactivity from "@effect/experimental/Reactivity"
import * as ServerAgents from "effect-arcp/agent"
import { ArcpClient } from "effect-arcp/client"
import { Ids } from "effect-arcp/protocol"
import * as Runtimes from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { SqlStore } from "effect-arcp/store/sql"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { platform, say, tokens } from "./common.js"

const { Agent, Job, Tool } = ServerAgents
const { ArcpRuntime, CredentialProvisioner, LeasePolicy, Limits, ObservationPolicy } = Runtimes

const inMemory = process.argv[2] === "memory"

const isContext = (value: unknown): value is Context.Context<never> =>
  typeof value === "object" && value !== null && (value as { unsafeMap?: unknown }).unsafeMap instanceof Map

const keysOf = (context: Context.Context<never>): ReadonlyArray<string> => [...context.unsafeMap.keys()].map(String)

/** Every key that is reachable from where this runs: the context, the runtime, and whatever context a fiber's reference holds. */
const seen = (where: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    const keys = new Set<string>()
    for (const key of keysOf(yield* Effect.context<never>())) keys.add(key)
    for (const key of keysOf((yield* Effect.runtime<never>()).context)) keys.add(key)
    const refs = yield* Effect.getFiberRefs
    for (const ref of FiberRefs.fiberRefs(refs)) {
      const value = FiberRefs.getOrDefault(refs, ref)
      if (isContext(value)) for (const key of keysOf(value)) keys.add(key)
    }
    say("keys", { where, keys: [...keys] })
  })

class Look extends Tool.make("look", { input: Schema.Unknown, output: Schema.Null }) {}

/** Looks in every place where an author's code runs. */
const looks = (name: string) =>
  Effect.gen(function* () {
    yield* seen(`${name}: handler`)
    yield* Effect.addFinalizer(() => seen(`${name}: finalizer`))
    yield* Effect.fork(seen(`${name}: forked fiber`)).pipe(Effect.flatMap((fiber) => fiber.await))
    yield* Effect.forkDaemon(seen(`${name}: daemon`)).pipe(Effect.flatMap((fiber) => fiber.await))
    yield* Job.tool("inline", null, seen(`${name}: tool`))
    yield* Job.step("step", Schema.Void, seen(`${name}: step`))
    yield* Job.model("model", seen(`${name}: model`))
    yield* Job.reserve("USD:0.01", seen(`${name}: reservation`))
    yield* Job.callTool("look", null)
    return yield* Job.streamResult(
      Stream.fromEffect(Effect.as(seen(`${name}: stream`), "text")).pipe(Stream.ensuring(seen(`${name}: stream's end`)))
    )
  })

/** Every tag that an entry of the package exports, whatever it is called. */
const tagsOf = (entry: object): ReadonlyArray<{ readonly key: string }> =>
  Object.values(entry).filter(
    (value): value is { readonly key: string } =>
      typeof value === "function" && typeof (value as { key?: unknown }).key === "string"
  )

/** A layer that an entry exports under a name that a later version need not have. */
const optional = (entry: object, tag: string, field = "layer"): Layer.Layer<never> => {
  const found = (entry as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>)[tag]?.[field]
  return Layer.isLayer(found) ? (found as unknown as Layer.Layer<never>) : Layer.empty
}

const sql = Layer.provide(SqliteClient.layer({ filename: ":memory:" }), Reactivity.layer)
const store = inMemory ? MemoryStore.layer : Layer.provideMerge(SqlStore.layer({ immediate: true }), sql)

const outer = ArcpRuntime.layerWithConcerns({ name: "outer", drainTime: 100 }).pipe(
  Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
  Layer.provideMerge(tokens),
  Layer.provide(Layer.fresh(MemoryStore.layer))
)

const everything = Layer.mergeAll(
  platform,
  Ids.layer,
  optional(ServerAgents, "AgentRegistry"),
  optional(ServerAgents, "ToolRegistry"),
  Limits.layer({}),
  LeasePolicy.layer({}),
  ObservationPolicy.layer({ visibility: () => "nothing", listed: () => [] }),
  Layer.succeed(CredentialProvisioner, { issue: () => Effect.succeed([]), revoke: () => Effect.void }),
  ArcpClient.layer({}).pipe(Layer.provideMerge(WebSocketClient.layer({ url: "ws://127.0.0.1:9/none" })))
).pipe(Layer.provideMerge(outer), Layer.provideMerge(store))

const all = [ServerAgents, Runtimes].flatMap(tagsOf)

const agents = Layer.mergeAll(
  Agent.untyped("looks", () => looks("agent")),
  Agent.untyped("vouched", () => looks("vouched agent"), {
    unguarded: [...all, { key: "effect-arcp/store/Store" }, { key: "@effect/sql/SqlClient" }]
  }),
  Look.toLayer(() => Effect.as(seen("hosted tool"), null))
)

const Main = ArcpRuntime.layer({ name: "inner", drainTime: 500 }).pipe(
  Layer.provide(Layer.provide(agents, everything)),
  Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
  Layer.provide(everything)
)

const host = Effect.gen(function* () {
  const { address } = yield* Server
  say("ready", { address })
  return yield* Effect.never
})

// What the fiber has is built apart from what the runtime has.
// @effect-diagnostics-next-line multipleEffectProvide:off
NodeRuntime.runMain(host.pipe(Effect.provide(Main), Effect.provide(everything)))

/** §9.3 What a handler finds in its context: its job, what its author made, and nothing of the runtime that runs it. */
import { FetchHttpClient, KeyValueStore } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Option, Schema } from "effect"
import { Agent, AgentRegistry, Job, Tool, ToolRegistry } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import {
  ArcpRuntime,
  CredentialProvisioner,
  LeasePolicy,
  Limits,
  ObservationPolicy,
  SlowConsumers
} from "../../src/runtime/index.js"
import { Deadlines } from "../../src/runtime/kernel/Deadlines.js"
import { ArtifactStore, CredentialLedger, Store } from "../../src/store/index.js"
import { SqlStore } from "../../src/store/sql.js"
import { Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { hello, run } from "./peer.js"

class Mailer extends Context.Tag("test/Mailer")<Mailer, { readonly send: string }>() {}
/** A database of the author's own, beside the runtime's. */
class Books extends Context.Tag("test/Books")<Books, SqlClient.SqlClient>() {}

/** All that a context holds, and all that it hands out by tag. */
const seen = Effect.gen(function* () {
  const { unsafeMap } = yield* Effect.context<never>()
  const byTag: Array<string> = []
  for (const tag of [
    Store,
    ArtifactStore,
    CredentialLedger,
    Authenticator,
    AgentRegistry,
    ToolRegistry,
    CredentialProvisioner,
    Ids,
    Deadlines,
    Server,
    Connector,
    ArcpClient,
    Job,
    Mailer,
    Books,
    SqlClient.SqlClient,
    SqliteClient.SqliteClient
  ] as ReadonlyArray<Context.Tag<any, any>>) {
    if (Option.isSome(yield* Effect.serviceOption(tag))) byTag.push(tag.key)
  }
  return { keys: [...unsafeMap.keys()].toSorted(), byTag: byTag.toSorted() }
})

class Look extends Tool.make("look", { input: Schema.Unknown, output: Schema.Unknown }) {}

const everywhere = {
  unguarded: [Store, ArtifactStore, CredentialLedger, SqlClient.SqlClient, AgentRegistry, Ids, Server]
}
const agents = Layer.mergeAll(
  Agent.untyped("look", () => seen),
  Agent.untyped("unguarded", () => seen, everywhere),
  Agent.untyped("forked", () => Effect.flatMap(Effect.forkDaemon(seen), Fiber.join)),
  Agent.untyped("finalizer", () =>
    Effect.gen(function* () {
      let found: unknown
      yield* Effect.scoped(Effect.addFinalizer(() => Effect.map(seen, (all) => void (found = all))))
      return found
    })
  ),
  Agent.untyped("tool", () => Look.call(1)),
  Agent.untyped("agents", () =>
    Effect.map(Effect.context<never>(), ({ unsafeMap }) => [...unsafeMap.keys()].filter((k) => /Hosted|Memo/.test(k)))
  ),
  Look.toLayer(() => seen)
)

const allowed = new Set([
  "@effect/platform/CommandExecutor",
  "@effect/platform/FileSystem",
  "@effect/platform/HttpClient",
  "@effect/platform/KeyValueStore",
  "@effect/platform/Path",
  "@effect/sql/SqlClient",
  "@effect/sql-sqlite-node/SqliteClient",
  "effect-arcp/agent/Job",
  "effect-arcp/client/ArcpClient",
  "effect/ParentSpan",
  "effect/Scope",
  "effect/Tracer/ParentSpan",
  "test/Books",
  "test/Mailer"
])

/** A tool is trusted code, and has what it was built with. */
const ofTools = new Set(["@effect/platform/Terminal", "@effect/platform/Worker/WorkerManager"])

const provisioner = Layer.succeed(CredentialProvisioner, { issue: () => Effect.succeed([]), revoke: () => Effect.void })
const sql = SqliteClient.layer({ filename: ":memory:" })
const stores = SqlStore.layer().pipe(Layer.provideMerge(sql))
const mine = Layer.mergeAll(
  Layer.succeed(Mailer, { send: "sent" }),
  Layer.effect(Books, SqlClient.SqlClient).pipe(Layer.provide(SqliteClient.layer({ filename: ":memory:" }))),
  KeyValueStore.layerMemory,
  NodeContext.layer,
  FetchHttpClient.layer
)

describe("a handler's context", () => {
  const everything = <A, E, R>(transport: Layer.Layer<Server | Connector>, layer: Layer.Layer<A, E, R>) =>
    layer.pipe(
      Layer.provide([AgentRegistry.layer, ToolRegistry.layer, Ids.layer, Deadlines.layer, provisioner]),
      Layer.provide([
        Limits.layer({}),
        LeasePolicy.layer({}),
        SlowConsumers.layer({}),
        ObservationPolicy.layer({ visibility: () => "nothing", listed: () => [] })
      ]),
      Layer.provide(Layer.succeed(ArcpClient, {} as Context.Tag.Service<ArcpClient>)),
      Layer.provideMerge(transport),
      Layer.provide([mine, Authenticator.layerBearer({ "alice-token": "alice" })]),
      Layer.provide(stores)
    )

  const world = () => {
    const transport = MemoryTransport.layerWith({ encoded: true })
    // The agents get everything by themselves, and the runtime gets it again around them.
    const hosted = everything(transport, agents)
    return everything(transport, ArcpRuntime.layer({ drainTime: 0 }).pipe(Layer.provide(hosted)))
  }

  it.scopedLive("§9.3 holds what the author made, the job and the author's client, and nothing of the runtime", () =>
    Effect.gen(function* () {
      const peer = yield* hello({})
      for (const agent of ["look", "unguarded", "forked", "finalizer", "tool"]) {
        const end = yield* run(peer, agent, 1, { lease_request: { "tool.call": ["look"] } })
        const { byTag, keys } = end.payload.result as { keys: ReadonlyArray<string>; byTag: ReadonlyArray<string> }
        expect(
          keys.filter((key) => !allowed.has(key) && !(agent === "tool" && ofTools.has(key))),
          agent
        ).toEqual([])
        // The SqlClient under the runtime's store is nobody's, even where the author hands it over openly.
        expect(byTag, agent).toEqual([
          "effect-arcp/agent/Job",
          "effect-arcp/client/ArcpClient",
          "test/Books",
          "test/Mailer"
        ])
      }
      expect((yield* run(peer, "agents")).payload.result).toEqual([])
    }).pipe(Effect.provide(world()))
  )
})

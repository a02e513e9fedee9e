/** Runtimes with a gateway for the tests of provisioned credentials: agents that use their keys, over each durable ledger. */
import { Deferred, Effect, Layer, Logger, Redacted, Stream } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Ids } from "../../src/protocol/index.js"
import { type ArcpRuntime, CredentialProvisioner, Limits, type LimitsShape } from "../../src/runtime/index.js"
import { running } from "../../src/runtime/internal/wiring.js"
import { type CredentialLedger, MemoryStore, Store, StoreError } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { TestGateway, type TestGatewayOptions } from "../../src/testing/index.js"
import { type Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { webSocket } from "./backends.js"
import { durableMemory } from "./credentialWorld.js"
import { type Peer } from "./peer.js"
import { gate } from "./world.js"
import { scratch } from "../support/scratch.js"

export const folder = scratch("arcp-provisioned-")
let files = 0

export interface Backend {
  readonly transport: Layer.Layer<Server | Connector, unknown>
  readonly store: Layer.Layer<Store | CredentialLedger, unknown>
  /** Everything that the store has written, as text; empty where it is in memory. */
  readonly written: () => string
}

/** The bytes of every file whose name begins so: the database and what SQLite keeps beside it. */
export const written = (name: string): string =>
  readdirSync(folder)
    .filter((file) => file.startsWith(name))
    .map((file) => readFileSync(join(folder, file), "latin1"))
    .join("")

export const provisionedBackends: ReadonlyArray<readonly [string, () => Backend]> = [
  [
    "memory by reference, a ledger beside the store",
    () => ({
      transport: MemoryTransport.layer,
      store: Layer.merge(MemoryStore.layer, durableMemory),
      written: () => ""
    })
  ],
  [
    "memory encoded, SQLite in memory",
    () => ({
      transport: MemoryTransport.layerEncoded,
      store: SqliteStore.layer({ filename: ":memory:", durable: true }),
      written: () => ""
    })
  ],
  [
    "WebSocket, SQLite file",
    () => {
      const name = `${files++}.db`
      return {
        transport: webSocket,
        store: SqliteStore.layer({ filename: join(folder, name) }),
        written: () => written(name)
      }
    }
  ]
]

const keyOf = Effect.map(Job.credentials, ([first]) => first!.value)

const ended = (mode: string): Effect.Effect<unknown, { readonly message: string }> =>
  mode === "fail"
    ? Effect.fail({ message: "no luck" })
    : mode === "die"
      ? Effect.dieMessage("broken")
      : mode === "never"
        ? Effect.never
        : mode === "stubborn"
          ? Effect.uninterruptible(Effect.never)
          : Effect.succeed("done")

/** What the agents need of the gateway is what the world provides. */
export const agents = Layer.mergeAll(
  // The figure of §13.7.
  Agent.untyped("research-summarizer", () =>
    Effect.gen(function* () {
      const gateway = yield* TestGateway
      yield* Job.model("tier-fast/a", gateway.call(yield* keyOf, { model: "tier-fast/a", cost: "0.83 USD" }))
      yield* Job.spend("cost.inference", "0.83 USD")
      return { summary: "short" }
    })
  ),
  // Says that it waits, then passes a gate: `{ name }`.
  Agent.untyped("keeper", (input) =>
    Effect.gen(function* () {
      yield* Job.log("waiting")
      yield* Deferred.await(gate((input as { name: string }).name))
      return (yield* Job.credentials).length
    })
  ),
  // The same, and it is started again after a restart.
  Agent.untyped("phoenix", () => Effect.zipRight(Job.log("waiting"), Effect.never), { onRestart: "rerun" }),
  // Its provisioner never answers.
  Agent.untyped("stuck", () => Effect.succeed("started")),
  Agent.untyped("ends", (input) => Effect.zipRight(Job.log("runs"), ended((input as { mode: string }).mode))),
  // Uses its key for whatever the input says, and does not handle a refusal.
  Agent.untyped("caller", (input) =>
    Effect.gen(function* () {
      const { calls } = input as { calls: ReadonlyArray<{ model: string; cost?: string }> }
      const gateway = yield* TestGateway
      const key = (yield* Job.credentials)[0]?.value ?? "none"
      yield* Effect.forEach(calls, (call) => gateway.call(key, call))
    })
  ),
  // An upstream's error quotes the key, in a call and then at the end.
  Agent.untyped("quoted", (input) =>
    Effect.gen(function* () {
      const quote = Effect.fail({ message: `401: ${Redacted.value(yield* keyOf)} is not good here` })
      yield* Effect.ignore(Job.tool("gateway.chat", {}, quote))
      return yield* input === "die" ? Effect.orDie(quote) : quote
    })
  ),
  // Makes the same calls as calls of a tool, of a model or under a reservation, and says what it was told.
  Agent.untyped("careful", (input) =>
    Effect.gen(function* () {
      const { as, calls } = input as { as: string; calls: ReadonlyArray<{ model: string; cost?: string }> }
      const gateway = yield* TestGateway
      const key = (yield* Job.credentials)[0]?.value ?? "none"
      const told: Array<string> = []
      for (const request of calls) {
        const call = gateway.call(key, request)
        const operation: Effect.Effect<void, { readonly _tag: string }, Job> =
          as === "tool"
            ? Job.tool("gateway.chat", {}, call)
            : as === "model"
              ? Job.model("tier-fast/a", call)
              : Job.reserve("0.01 USD", call)
        told.push(yield* Effect.match(operation, { onFailure: (error) => error._tag, onSuccess: () => "answered" }))
      }
      return told
    })
  ),
  // Delegates with the lease that it is told, waits for the child's end or for a gate.
  Agent.untyped("parent", (input) =>
    Effect.gen(function* () {
      const {
        agent,
        gate: name,
        input: childInput,
        lease
      } = input as {
        agent: string
        input: unknown
        lease: Record<string, ReadonlyArray<string>>
        gate?: string
      }
      const child = yield* Job.startChild(agent, childInput, { lease })
      const result = yield* Effect.either(child.result)
      yield* Job.log(`the child has ended: ${result._tag}`)
      if (name !== undefined) yield* Deferred.await(gate(name))
      return result._tag
    })
  )
)

/** The gateway's provisioner, but one that never answers for the agent `stuck`. */
const stuckFor = Layer.effect(
  CredentialProvisioner,
  Effect.map(CredentialProvisioner, (inner) =>
    CredentialProvisioner.of({
      ...inner,
      issue: (request) => (request.agent.startsWith("stuck@") ? Effect.never : inner.issue(request))
    })
  )
)

export interface ProvisionedOptions {
  /** In the place of those of this file. */
  readonly agents?: Layer.Layer<never, never, TestGateway>
  readonly gateway?: TestGatewayOptions
  readonly runtime?: ArcpRuntime.RuntimeOptions
  readonly limits?: Partial<LimitsShape>
  /** In front of the backend's store. */
  readonly store?: (store: Layer.Layer<Store | CredentialLedger, unknown>) => Layer.Layer<Store, unknown>
  readonly transport?: (inner: Layer.Layer<Server | Connector, unknown>) => Layer.Layer<Server | Connector, unknown>
}

/** A runtime with the gateway, and all concerns of it in hand. */
export const provisioned = (backend: Backend, options: ProvisionedOptions = {}) => {
  const gateway = Layer.provide(TestGateway.layer(options.gateway), Ids.layer)
  return Layer.provide(running({ drainTime: 0, ...options.runtime }), Ids.layer).pipe(
    Layer.provide(options.agents ?? agents),
    Layer.provide(Limits.layer(options.limits ?? {})),
    Layer.provideMerge(options.transport?.(backend.transport) ?? backend.transport),
    Layer.provide(stuckFor),
    Layer.provideMerge(gateway),
    Layer.provideMerge(options.store?.(backend.store) ?? backend.store),
    Layer.provide(Authenticator.layerBearer({ "alice-token": "alice", "bob-token": "bob", "carol-token": "carol" }))
  )
}

/** The lease of the figure. */
export const lease = {
  "tool.call": ["fetch.*", "gateway.*"],
  "cost.budget": ["USD:2.00"],
  "model.use": ["tier-fast/*"]
}

export const leased = { lease_request: lease }

/** Waits until something that no frame tells has come about, one turn of the event loop after the other. */
export const eventually = <R>(check: Effect.Effect<boolean, never, R>): Effect.Effect<void, never, R> =>
  Effect.asVoid(
    Effect.repeat(
      Effect.zipRight(
        Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))),
        check
      ),
      { until: (done) => done }
    )
  )

/** Waits until no key is live, and answers all that there were. */
export const allRevoked = Effect.gen(function* () {
  const gateway = yield* TestGateway
  yield* eventually(Effect.map(gateway.liveKeys, (keys) => keys.length === 0))
  return yield* gateway.keys
})

/** Everything that a peer has been sent. */
export const heard = (peer: Peer): string => JSON.stringify(peer.seen)

export const request = (peer: Peer, type: string, payload: object = {}) =>
  Effect.flatMap(peer.send(type, payload), peer.reply)

/** Collects every log line as text. */
export const logged = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.replace(
      Logger.defaultLogger,
      Logger.make((options) => void lines.push(Logger.jsonLogger.log(options)))
    )
  }
}

/** A store whose commits of new jobs fail while a test says so. */
export const failingStore = (faults: { failing: boolean }) => (inner: Layer.Layer<Store | CredentialLedger, unknown>) =>
  Layer.effect(
    Store,
    Effect.map(Store, (store) =>
      Store.of({
        ...store,
        commit: (batch) =>
          faults.failing && batch.jobs.length > 0
            ? Effect.fail(new StoreError({ operation: "commit", message: "the disk is full" }))
            : store.commit(batch)
      })
    )
  ).pipe(Layer.provideMerge(inner))

/** Connections that look as if they came over an open network, while a test says so. */
export const openNetwork =
  (network: { open: boolean }) =>
  (inner: Layer.Layer<Server | Connector, unknown>): Layer.Layer<Server | Connector, unknown> =>
    Layer.effect(
      Server,
      Effect.map(Server, (server) =>
        Server.of({
          ...server,
          connections: Stream.map(server.connections, (connection) =>
            network.open
              ? Object.create(connection, {
                  secure: { value: false },
                  remoteAddress: { value: "203.0.113.9" }
                })
              : connection
          )
        })
      )
    ).pipe(Layer.provideMerge(inner))

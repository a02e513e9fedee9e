/** What a runtime is given anyway can be replaced too: store, artifacts, authenticator, provisioner, policies, transport. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Queue, Redacted, Sink, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Lease } from "../../src/authority/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { PrincipalId, Unauthenticated } from "../../src/protocol/index.js"
import {
  ArcpRuntime,
  CredentialProvisioner,
  LeasePolicy,
  ObservationPolicy,
  SlowConsumers
} from "../../src/runtime/index.js"
import { ArtifactStore, decorate, MemoryStore, Store } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { type ConnectionStreams, MemoryTransport, StreamTransport } from "../../src/transport/index.js"

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("keys", () => Effect.map(Job.credentials, (keys) => keys.map(({ value }) => Redacted.value(value)))),
  Agent.untyped("tool", () => Job.tool("search", {}, Effect.succeed("found"))),
  Agent.untyped("leaves", () =>
    Effect.map(Job.artifact(new Uint8Array([1, 2, 3]), { contentType: "text/plain" }), ({ byteSize }) => byteSize)
  )
)

type Given = {
  readonly store?: Layer.Layer<Store | ArtifactStore>
  readonly auth?: Layer.Layer<Authenticator>
  readonly more?: Layer.Layer<never>
  readonly transport?: typeof MemoryTransport.layerEncoded
}

/** Alice's client of a runtime that is made of what is given; `token` is another's. */
const world = ({ auth, more, store, transport }: Given, token = "alice-token") => {
  const runtime = ArcpRuntime.layer({ drainTime: 0 }).pipe(
    Layer.provide(agents),
    Layer.provide(more ?? Layer.empty),
    Layer.provide(store ?? MemoryStore.layer),
    Layer.provide(auth ?? Authenticator.layerBearer({ "alice-token": "alice", "bob-token": "bob" })),
    Layer.provideMerge(transport ?? MemoryTransport.layerEncoded)
  )
  const client = (token: string) => ArcpClient.layer({ auth: { token: Redacted.make(token) } })
  return Layer.provideMerge(client(token), runtime)
}

const submit = (agent: string, input?: unknown, options: object = {}) =>
  Effect.flatMap(ArcpClient, (client) =>
    Effect.flatMap(client.submit(agent, input, { lease: { "tool.call": ["**"] }, ...options }), (job) => job.result)
  )

describe("what is given to a runtime", () => {
  it.scoped("Store: what it is asked to write is what happens", () => {
    const operations: Array<string> = []
    const Counting = Layer.effect(
      Store,
      Effect.map(Store, (own) =>
        decorate(own, (operation, run) =>
          Effect.zipRight(
            Effect.sync(() => operations.push(operation)),
            run
          )
        )
      )
    ).pipe(Layer.provideMerge(MemoryStore.layer))
    return Effect.gen(function* () {
      expect(yield* submit("echo", 1)).toBe(1)
      expect(operations[0]).toBe("recover")
      expect(operations.filter((operation) => operation === "commit").length).toBeGreaterThan(1)
    }).pipe(Effect.provide(world({ store: Counting })))
  })

  it.scoped("ArtifactStore: it keeps what a job leaves", () => {
    const kept: Array<string> = []
    const Noting = Layer.effect(
      ArtifactStore,
      Effect.map(ArtifactStore, (own) => ({
        ...own,
        put: (record, data) => {
          kept.push(`${record.principalId} ${record.contentType} ${data.length}`)
          return own.put(record, data)
        }
      }))
    ).pipe(Layer.provideMerge(MemoryStore.layer))
    return Effect.gen(function* () {
      expect(yield* submit("leaves")).toBe(3)
      expect(kept).toEqual(["alice text/plain 3"])
    }).pipe(Effect.provide(world({ store: Noting })))
  })

  it.scoped("§6.1 Authenticator: it says who a client is", () => {
    const seen: Array<string> = []
    const Own = Layer.succeed(Authenticator, {
      authenticate: ({ peer, token }) => {
        seen.push(peer.transport)
        return token !== undefined && Redacted.value(token) === "swordfish"
          ? Effect.succeed({ id: PrincipalId("mouse"), anonymous: false, claims: {} })
          : new Unauthenticated({ message: "auth: what is the password?" })
      }
    })
    return Effect.gen(function* () {
      expect(yield* Effect.provide(submit("echo", "in"), world({ auth: Own }, "swordfish"))).toBe("in")
      const refused = yield* Effect.flip(Effect.provide(submit("echo", "in"), world({ auth: Own }, "guess")))
      expect(refused).toMatchObject({ code: "UNAUTHENTICATED" })
      expect(seen).toEqual(["memory", "memory"])
    })
  })

  it.scopedLive("§9.8 CredentialProvisioner: its keys are the job's, and are revoked", () => {
    const revoked: Array<string> = []
    const Own = Layer.succeed(CredentialProvisioner, {
      issue: ({ principalId, reference }) =>
        Effect.succeed([
          { handle: reference, value: Redacted.make(`key of ${principalId}`), endpoint: "https://gateway.test/v1" }
        ]),
      revoke: (handle) => Effect.sync(() => void revoked.push(handle))
    })
    const store = Layer.orDie(SqliteStore.layer({ filename: ":memory:", durable: true }))
    return Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.provide(
          Effect.flatMap(submit("keys"), (keys) => Effect.sync(() => expect(keys).toEqual(["key of alice"]))),
          world({ store: Layer.merge(store, Own) as unknown as Layer.Layer<Store | ArtifactStore> })
        )
      )
      expect(revoked.length).toBe(1)
    })
  })

  it.scoped("§9 LeasePolicy and §6.6 ObservationPolicy: what is granted, and who sees what", () => {
    const policies = Layer.mergeAll(
      LeasePolicy.layer({ allowed: () => Lease.emptyLease }),
      ObservationPolicy.layer({ visibility: () => "observe", listed: () => "all" }),
      SlowConsumers.layer({ policy: "throttle" })
    )
    const asBob = Effect.flatMap(ArcpClient, (client) => Stream.runCollect(client.listJobs()))
    return Effect.gen(function* () {
      expect(yield* Effect.flip(submit("tool"))).toMatchObject({ code: "PERMISSION_DENIED" })
      const bob = ArcpClient.layer({ auth: { token: Redacted.make("bob-token") } })
      expect([...(yield* Effect.provide(asBob, bob))].map(({ agent }) => agent)).toEqual(["tool@1.0.0"])
    }).pipe(Effect.provide(world({ more: policies })))
  })

  it.scopedLive("§4 transport: a pair of Streams carries a job", () => {
    const half = (inbound: Queue.Queue<string>, outbound: Queue.Queue<string>): ConnectionStreams<never> => ({
      inbound: Stream.fromQueue(inbound),
      outbound: Sink.forEach((frame) => Queue.offer(outbound, String(frame))),
      close: () => Effect.asVoid(Effect.all([Queue.shutdown(inbound), Queue.shutdown(outbound)])),
      peer: { transport: "queues", secure: true }
    })
    const queues = Layer.unwrapEffect(
      Effect.map(Queue.unbounded<ConnectionStreams<never>>(), (dialled) =>
        Layer.merge(
          StreamTransport.layerServer({ peers: Stream.fromQueue(dialled) }),
          StreamTransport.layerClient({
            open: Effect.gen(function* () {
              const up = yield* Queue.bounded<string>(1)
              const down = yield* Queue.bounded<string>(1)
              yield* Queue.offer(dialled, half(up, down))
              return half(down, up)
            })
          })
        )
      )
    )
    return Effect.gen(function* () {
      expect(yield* submit("echo", "carried")).toBe("carried")
    }).pipe(Effect.provide(world({ transport: queues })))
  })
})

import { beforeEach, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Redacted, TestClock } from "effect"
import { upstreamOf } from "../../src/runtime/credentials/UpstreamErrors.js"
import { Credentials } from "../../src/runtime/index.js"
import { type CredentialLedger, Store } from "../../src/store/index.js"
import { TestGateway } from "../../src/testing/index.js"
import { barrier, hello, type Peer, submit } from "./peer.js"
import { eventually, leased, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

const [, backend] = provisionedBackends[0]!

/** A store whose commits wait for a gate of the test, once that is set. */
const heldStore = (held: { by: string | undefined }) => (inner: Layer.Layer<Store | CredentialLedger, unknown>) =>
  Layer.effect(
    Store,
    Effect.map(Store, (store) =>
      Store.of({
        ...store,
        commit: (batch) =>
          Effect.suspend(() =>
            held.by === undefined
              ? store.commit(batch)
              : Effect.zipRight(Deferred.await(gate(held.by)), store.commit(batch))
          )
      })
    )
  ).pipe(Layer.provideMerge(inner))

const works = (value: string) =>
  Effect.flatMap(TestGateway, (gateway) =>
    Effect.map(Effect.exit(gateway.call(value, { model: "tier-fast/a" })), Exit.isSuccess)
  )
const keep = (peer: Peer) =>
  Effect.gen(function* () {
    const accepted = yield* submit(peer, "keeper", { name: "job" }, leased)
    yield* peer.next("job.event", (f) => f.payload.body?.message === "waiting")
    const [{ id, value }] = accepted.payload.credentials as [{ id: string; value: string }]
    return { jobId: accepted.job_id!, id, value }
  })
const rotated = (peer: Peer) => peer.next("job.event", (f) => f.payload.body?.phase === "credential_rotated")
const heardOf = (peer: Peer) => JSON.stringify(peer.seen).includes("credential_rotated")

it.scoped("§9.8.2 the prior value of a rotation works until its event is durable, and dies then", () => {
  const held: { by: string | undefined } = { by: undefined }
  return Effect.gen(function* () {
    const peer = yield* hello()
    const { id, jobId, value } = yield* keep(peer)
    held.by = "store"
    const fresh = yield* (yield* Credentials).rotate(jobId, id)
    expect(fresh.id).toBe(id)
    yield* TestClock.adjust("4 seconds")
    expect([yield* works(value), heardOf(peer)]).toEqual([true, false])
    yield* Deferred.succeed(gate("store"), undefined)
    const told = (yield* rotated(peer)).payload.body
    yield* eventually(Effect.map(works(value), (live) => !live))
    expect([told.id, yield* works(told.value)]).toEqual([id, true])
  }).pipe(Effect.provide(provisioned(backend(), { store: heldStore(held) })))
})

it.scoped(
  "§9.8.2 a store that does not take the event keeps the prior value alive for the notify time-out alone",
  () => {
    const held: { by: string | undefined } = { by: undefined }
    return Effect.gen(function* () {
      const peer = yield* hello()
      const { id, jobId, value } = yield* keep(peer)
      held.by = "store"
      yield* (yield* Credentials).rotate(jobId, id)
      yield* TestClock.adjust("5 seconds")
      yield* eventually(Effect.map(works(value), (live) => !live))
      expect(heardOf(peer)).toBe(false)
      yield* Deferred.succeed(gate("store"), undefined)
      expect(yield* works((yield* rotated(peer)).payload.body.value)).toBe(true)
    }).pipe(Effect.provide(provisioned(backend(), { store: heldStore(held) })))
  }
)

it.scoped(
  "§9.8.2 the owner is told of a value that was changed in place after the caller of the rotation has gone",
  () =>
    Effect.gen(function* () {
      const gateway = yield* TestGateway
      const peer = yield* hello()
      const { id, jobId, value } = yield* keep(peer)
      yield* gateway.slow("15 seconds")
      const rotating = yield* Effect.fork(Effect.flip((yield* Credentials).rotate(jobId, id)))
      yield* TestClock.adjust("10 seconds")
      expect((yield* Fiber.join(rotating)).code).toBe("INTERNAL_ERROR")
      expect(heardOf(peer)).toBe(false)
      yield* gateway.slow(0)
      yield* TestClock.adjust("5 seconds")
      const told = (yield* rotated(peer)).payload.body
      expect(told.value).not.toBe(value)
      expect([told.id, yield* works(told.value), yield* works(value)]).toEqual([id, true, false])
    }).pipe(Effect.provide(provisioned(backend(), { gateway: { rotation: "in place" } })))
)

it.scoped("§9.8.2 the owner is sent a value whose event is durable together with the job's end", () => {
  const held: { by: string | undefined } = { by: undefined }
  return Effect.gen(function* () {
    const peer = yield* hello()
    const { id, jobId } = yield* keep(peer)
    held.by = "store"
    // A commit is under way, so that what comes now is one batch.
    yield* peer.send("job.submit", { agent: "keeper", input: { name: "other" } })
    yield* barrier(peer)
    const fresh = yield* (yield* Credentials).rotate(jobId, id)
    yield* Deferred.succeed(gate("job"), undefined)
    yield* barrier(peer)
    expect(heardOf(peer)).toBe(false)
    yield* Deferred.succeed(gate("store"), undefined)
    const told = (yield* rotated(peer)).payload.body
    expect([told.id, typeof told.value]).toEqual([fresh.id, "string"])
    yield* peer.terminal(jobId)
  }).pipe(Effect.provide(provisioned(backend(), { store: heldStore(held) })))
})

it.scoped("§14 the values that were replaced are hidden in a job's texts as the live one is; sixteen of them", () =>
  Effect.gen(function* () {
    const credentials = yield* Credentials
    const peer = yield* hello()
    const { id, jobId, value } = yield* keep(peer)
    const values = [value]
    for (let i = 0; i < 3; i++) values.push(Redacted.value((yield* credentials.rotate(jobId, id)).value))
    expect(new Set(values).size).toBe(4)
    const { hide } = upstreamOf(credentials.hidden(jobId))!
    expect(hide(`expired: ${values.join(" ")}`)).toBe("expired: <redacted> <redacted> <redacted> <redacted>")
    expect(credentials.of(jobId).length).toBe(1)
    for (let i = 0; i < 20; i++) yield* credentials.rotate(jobId, id)
    expect(credentials.hidden(jobId).length).toBe(17)
  }).pipe(Effect.provide(provisioned(backend())))
)

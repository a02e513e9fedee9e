/** Values of a caller that cannot be sent: they fail the call that passes them, and nothing else. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Duration, Effect, Exit, Fiber, Layer, Option, Redacted, Schema, Stream, TestClock } from "effect"
import { ArcpClient, type ArcpClientService, type ClientOptions } from "../../src/client/index.js"
import type { AgentSpec } from "../../src/protocol/index.js"
import { Ids, SessionId } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import type { Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { webSocket } from "../runtime/backends.js"
import { world } from "../runtime/world.js"
import { absent, thrown, unencodable } from "./hostile.js"

const transports: ReadonlyArray<readonly [string, Layer.Layer<Server | Connector, unknown>]> = [
  ["memory by reference", MemoryTransport.layer],
  ["memory encoded", MemoryTransport.layerEncoded],
  ["WebSocket", webSocket]
]

const over = (transport: Layer.Layer<Server | Connector, unknown>) =>
  ArcpClient.layer({ auth: { token: Redacted.make("alice-token") } }).pipe(Layer.provideMerge(world({ transport })))

/** The error of a call, which must be neither a success nor a defect. */
const errorOf = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<E> =>
  Effect.map(Effect.exit(call), (exit) => {
    if (Exit.isSuccess(exit)) throw new Error("the call succeeded")
    const error = Cause.failureOption(exit.cause)
    if (Option.isNone(error)) throw new Error("the call failed without a typed error")
    return error.value
  })

/** Expects one `InvalidRequest` of one bounded line that names the field. */
const refused = <A, E>(what: string, field: string, call: Effect.Effect<A, E>): Effect.Effect<void> =>
  Effect.map(errorOf(call), (error) => {
    expect(error, what).toMatchObject({ _tag: "InvalidRequest", message: expect.stringMatching(/^[^\n]{1,512}$/) })
    expect((error as { readonly message: string }).message, what).toContain(field)
  })

const bad = (value: unknown): never => value as never

/** Each call with a value in each place that becomes part of a frame, and the field that its error names. */
const calls = (
  client: ArcpClientService,
  cancel: (reason?: string) => Effect.Effect<void, unknown>
): ReadonlyArray<readonly [string, (value: unknown) => Effect.Effect<unknown, unknown>]> => [
  ["payload.input", (value) => client.submit("echo", value)],
  ["payload.agent", (value) => client.submit(bad({ agentName: value, input: Schema.Any, output: Schema.Any }), 1)],
  ["payload.lease_request", (value) => client.submit("echo", 1, { lease: bad(value) })],
  ["payload.lease_request", (value) => client.submit("echo", 1, { lease: { "fs.read": [bad({ value })] } })],
  ["payload.lease_constraints.expires_at", (value) => client.submit("echo", 1, { expiresAt: bad(value) })],
  ["payload.idempotency_key", (value) => client.submit("echo", 1, { idempotencyKey: bad(value) })],
  ["payload.max_runtime_sec", (value) => client.submit("echo", 1, { maxRuntimeSec: bad(value) })],
  ["trace_id", (value) => client.submit("echo", 1, { trace: { traceId: bad(value) } })],
  ["extensions", (value) => client.submit("echo", 1, { trace: { traceId: "a", traceState: bad({ value }) } })],
  ["payload.reason", (value) => cancel(bad(value))],
  ["payload.job_id", (value) => client.subscribe(bad(value))],
  ["payload.from_event_seq", (value) => client.subscribe("j", { history: true, fromEventSeq: bad(value) })],
  ["payload.job_id", (value) => client.unsubscribe(bad(value))],
  ["payload.filter.status", (value) => Stream.runCollect(client.listJobs({ status: bad(value) }))],
  ["payload.limit", (value) => Stream.runCollect(client.listJobs({ pageSize: bad(value) }))],
  ["contentType", (value) => client.artifacts.put(new Uint8Array(1), { contentType: bad(value) })],
  ["bytes", (value) => client.artifacts.put(bad(value), { contentType: "text/plain" })],
  ["artifact_id", (value) => client.artifacts.fetch(bad(value))],
  ["artifact_id", (value) => client.artifacts.release(bad(value))]
]

describe.each(transports)("values that cannot be sent, over %s", (_, transport) => {
  it.scopedLive("fail the submit that passes them; jobs, other calls and the status go on", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const statuses: Array<string> = []
      yield* Effect.forkScoped(Stream.runForEach(client.status, ({ _tag }) => Effect.sync(() => statuses.push(_tag))))
      yield* client.connected
      const running = yield* client.submit("never")
      for (const [what, value] of [...unencodable, ...absent]) {
        yield* refused(what, "payload.input: is not JSON: ", client.submit("echo", value()))
      }
      const job = yield* client.submit("echo", { id: 1 })
      expect(yield* job.result).toEqual({ id: 1 })
      yield* running.cancel("done")
      expect(yield* Effect.flip(running.result)).toMatchObject({ _tag: "Cancelled" })
      expect(Duration.toMillis(yield* client.ping)).toBeGreaterThanOrEqual(0)
      expect(statuses.at(-1)).toBe("Connected")
      expect(statuses).not.toContain("Disconnected")
    }).pipe(Effect.provide(over(transport)))
  )

  it.scopedLive("fail the call that passes them, whichever call and field", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const running = yield* client.submit("never")
      for (const [field, call] of calls(client, running.cancel)) {
        for (const [what, value] of unencodable.slice(0, 8)) yield* refused(`${field}: ${what}`, field, call(value()))
      }
      // An id is looked at before it is made into a frame, however long it is.
      const long = "j".repeat(4_097)
      for (const call of [client.subscribe(long), client.attach(long), client.unsubscribe(long)]) {
        yield* refused("a long id", "payload.job_id", Effect.asVoid(call))
      }
      const job = yield* client.submit("echo", "after")
      expect(yield* job.result).toBe("after")
    }).pipe(Effect.provide(over(transport)))
  )

  it.scopedLive("§7.1 the agent gets the value as it was in the call, read once", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      let reads = 0
      const value = {
        get n() {
          return ++reads
        },
        toJSON() {
          return { n: this.n, m: ++reads }
        }
      }
      expect(yield* (yield* client.submit("echo", value)).result).toEqual({ n: 1, m: 2 })
      expect(reads).toBe(2)
    }).pipe(Effect.provide(over(transport)))
  )
})

// A scripted runtime answers no session.close, and nobody moves the clock when the scope ends.
const scripted = (options: ClientOptions = {}, transport = MemoryTransport.layer) =>
  ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0, ...options }).pipe(
    Layer.provideMerge(transport),
    Layer.provideMerge(Ids.layerSeeded(9))
  )

const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

const features = ["ack", "list_jobs", "subscribe", "agent_versions"]

const greet = <R>(next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>, session_id = "s") =>
  Effect.gen(function* () {
    const peer = yield* next
    const hello = yield* peer.expect("session.hello")
    yield* peer.send(
      "session.welcome",
      { resume_token: "rt", capabilities: { features, agents: ["a"] } },
      { session_id }
    )
    return { ...peer, hello }
  })

/** Ends a connection, and lets the client come back. */
const away = (peer: ScriptedPeer.ScriptedPeer) =>
  Effect.gen(function* () {
    const { status } = yield* ArcpClient
    const waiting = yield* Effect.fork(Stream.runHead(Stream.filter(status, ({ _tag }) => _tag === "Reconnecting")))
    yield* peer.close(1001, "away")
    yield* Fiber.join(waiting)
    yield* TestClock.adjust("1 second")
  })

const accept = (peer: ScriptedPeer.ScriptedPeer, submit: { readonly id: string }, job_id = "j") =>
  peer.send("job.accepted", { request_id: submit.id, job_id, agent: "a@1" }, { session_id: "s", job_id })

describe("what is sent again", () => {
  it.scoped("§7.2 a submit is the same bytes as before, whatever has become of the caller's objects", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const input: { n: unknown; list: Array<unknown> } = { n: 1, list: [1, 2] }
      const lease: Record<string, Array<string>> = { "fs.read": ["/data/**"] }
      const trace = { traceId: "0123456789abcdef0123456789abcdef", traceState: "a=b" }
      const submitting = yield* Effect.fork(arcp.submit("a", input, { lease, trace }))
      yield* Effect.yieldNow()
      // Before it is sent, and after.
      input.n = 2
      lease["fs.write"] = ["/**"]
      const first = yield* greet(next)
      const one = yield* first.expect("job.submit")
      input.n = 1n
      input.list.push(input)
      trace.traceState = "c=d"
      yield* away(first)
      const second = yield* greet(next)
      const two = yield* second.expect("job.submit")
      expect(one.payload).toMatchObject({ input: { n: 1, list: [1, 2] }, lease_request: { "fs.read": ["/data/**"] } })
      expect(one.payload.lease_request).not.toHaveProperty("fs.write")
      expect(JSON.stringify(two.payload)).toBe(JSON.stringify(one.payload))
      expect(two.extensions).toEqual(one.extensions)
      yield* accept(second, two)
      const job = yield* Fiber.join(submitting)
      // A new session: the job is recovered by its key.
      yield* away(second)
      const third = yield* greet(next, "other")
      const subscribe = yield* third.expect("job.subscribe")
      yield* third.send(
        "job.subscribed",
        { request_id: subscribe.id, job_id: "j", current_status: "running" },
        { session_id: "other" }
      )
      const three = yield* third.expect("job.submit")
      expect(JSON.stringify(three.payload)).toBe(JSON.stringify(one.payload))
      yield* accept(third, three)
      yield* third.send(
        "job.result",
        { final_status: "success", result: "whole" },
        { session_id: "other", job_id: "j", event_seq: 1 }
      )
      expect(yield* job.result).toBe("whole")
    }).pipe(Effect.provide(scripted()))
  )

  it.scoped("§6.6 every page of a listing is asked for with the same filter", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const filter: { status: Array<string>; agent?: unknown } = { status: ["running"] }
      const listing = yield* Effect.fork(Stream.runCollect(arcp.listJobs(filter as never)))
      const peer = yield* greet(next)
      const one = yield* peer.expect("session.list_jobs")
      filter.status.push("error")
      filter.agent = 1n
      yield* peer.send("session.jobs", { request_id: one.id, jobs: [], next_cursor: "c" }, { session_id: "s" })
      const two = yield* peer.expect("session.list_jobs")
      yield* peer.send("session.jobs", { request_id: two.id, jobs: [], next_cursor: null }, { session_id: "s" })
      expect([one.payload.filter, two.payload.filter]).toEqual([{ status: ["running"] }, { status: ["running"] }])
      expect(Chunk.size(yield* Fiber.join(listing))).toBe(0)
    }).pipe(Effect.provide(scripted()))
  )
})

const spec = (parts: Partial<AgentSpec<unknown, unknown, unknown, unknown>>) => ({
  agentName: "a",
  version: undefined,
  input: Schema.Unknown as Schema.Schema<unknown>,
  output: Schema.Unknown as Schema.Schema<unknown>,
  ...parts
})

const transforming = (decode: () => unknown, encode: () => unknown): Schema.Schema<unknown> =>
  Schema.transform(Schema.Unknown, Schema.Unknown, { strict: false, decode, encode })

const throws = (what: unknown) => (): never => {
  throw what
}

describe("a typed agent", () => {
  it.scoped("§7.1 a Schema that throws, and one that encodes to what JSON cannot hold, fail their submit only", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      yield* Effect.forkScoped(greet(next))
      yield* arcp.connected
      for (const [what, make] of thrown) {
        const input = transforming(() => 1, throws(make()))
        yield* refused(what, "payload.input: ", arcp.submit(spec({ input }), 1))
      }
      for (const [what, make] of unencodable) {
        const input = transforming(() => 1, make)
        yield* refused(what, "payload.input: is not JSON: ", arcp.submit(spec({ input }), 1))
      }
      const one = Schema.Literal(1n) as unknown as Schema.Schema<unknown>
      yield* refused("a bigint literal", "input: must be 1n", arcp.submit(spec({ input: one }), 2))
      for (const field of ["agentName", "version", "input", "output"]) {
        const agent = Object.defineProperty(spec({}), field, { get: throws(Object.create(null)) })
        yield* refused(field, "options: cannot be read", arcp.submit(agent, 1))
      }
      yield* refused("no agent", "options: cannot be read", arcp.submit(bad(null), 1))
      expect(yield* Stream.runHead(arcp.status)).toMatchObject({ value: { _tag: "Connected" } })
    }).pipe(Effect.provide(scripted()))
  )

  it.scoped("§7.1 an output Schema that throws, or is none, fails the result only", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next)
      const outputs = [...thrown.map(([, make]) => transforming(throws(make()), () => 1)), bad({}), bad("no schema")]
      for (const [index, output] of outputs.entries()) {
        const submitting = yield* Effect.fork(arcp.submit(spec({ output }), 1))
        yield* accept(peer, yield* peer.expect("job.submit"), `j${index}`)
        const job = yield* Fiber.join(submitting)
        yield* peer.send(
          "job.result",
          { final_status: "success", result: 1 },
          { session_id: "s", job_id: `j${index}`, event_seq: index + 1 }
        )
        expect(yield* errorOf(job.result)).toMatchObject({ _tag: "ResultInvalid", jobId: `j${index}` })
      }
      expect(yield* Stream.runHead(arcp.status)).toMatchObject({ value: { _tag: "Connected" } })
    }).pipe(Effect.provide(scripted()))
  )
})

describe("arguments that cannot be read", () => {
  const guarded = (keys: ReadonlyArray<string>): object =>
    keys.reduce((all, key) => Object.defineProperty(all, key, { enumerable: true, get: throws(Symbol(key)) }), {})

  it.scoped("options with throwing getters, and null in their place, fail their call", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      yield* Effect.forkScoped(greet(next))
      yield* arcp.connected
      const submitKeys = ["lease", "expiresAt", "idempotencyKey", "maxRuntimeSec", "trace"]
      for (const options of [null, ...submitKeys.map((key) => guarded([key])), { trace: guarded(["traceId"]) }]) {
        yield* refused("submit", "options: cannot be read", arcp.submit("a", 1, bad(options)))
      }
      for (const options of [null, ...["history", "fromEventSeq", "output"].map((key) => guarded([key]))]) {
        yield* refused("subscribe", "options: cannot be read", arcp.subscribe("j", bad(options)))
      }
      for (const options of [null, ...["contentType", "retainSeconds", "sha256"].map((key) => guarded([key]))]) {
        yield* refused("put", "options: cannot be read", arcp.artifacts.put(new Uint8Array(1), bad(options)))
      }
      yield* refused("list", "filter: cannot be read", Stream.runCollect(arcp.listJobs(bad(guarded(["status"])))))
      for (const time of [Number.NaN, Number.POSITIVE_INFINITY, 8.65e15]) {
        const field = "payload.lease_constraints.expires_at"
        yield* refused(`${time}`, field, arcp.submit("a", 1, { expiresAt: time }))
      }
      const detached = new Uint8Array(8)
      structuredClone(detached.buffer, { transfer: [detached.buffer] })
      yield* refused("detached", "bytes", arcp.artifacts.put(detached, { contentType: "text/plain" }))
      expect(yield* Stream.runHead(arcp.status)).toMatchObject({ value: { _tag: "Connected" } })
    }).pipe(Effect.provide(scripted()))
  )
})

describe("a hello that cannot be made", () => {
  const ends = (what: string, options: ClientOptions, error: object) =>
    it.scoped(`§6.1 ${what} ends the client with a typed error`, () =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        expect(yield* errorOf(arcp.submit("a", 1))).toMatchObject(error)
        expect(yield* errorOf(arcp.connected)).toMatchObject(error)
        const last = yield* Stream.runLast(arcp.status)
        expect(last).toMatchObject({ value: { _tag: "Closed", error } })
      }).pipe(Effect.provide(scripted(options)))
    )

  const wiped = Redacted.make("secret")
  Redacted.unsafeWipe(wiped)
  const invalid = (field: string) => ({ _tag: "InvalidRequest", message: expect.stringContaining(field) })

  ends("a name of the client that is not JSON", { client: bad({ name: 1n }) }, invalid("payload.client"))
  ends("a feature that is not JSON", { features: bad(["ack", 1n]) }, invalid("payload.capabilities"))
  ends("a scheme that is not JSON", { auth: bad({ scheme: 1n, token: Redacted.make("t") }) }, invalid("payload.auth"))
  ends("a token that was wiped", { auth: { token: wiped } }, invalid("auth.token"))
  ends("a token that is no text", { auth: { token: bad(Redacted.make(1n)) } }, invalid("auth.token"))
  ends("a token Effect without a token", { auth: { token: Effect.succeed(bad(undefined)) } }, invalid("auth.token"))
  ends(
    "a resume with a token that was wiped",
    { resume: { sessionId: SessionId("s"), resumeToken: wiped, lastEventSeq: 0 } },
    invalid("resume.resumeToken")
  )
  ends(
    "a resume at no number",
    { resume: { sessionId: SessionId("s"), resumeToken: Redacted.make("t"), lastEventSeq: bad(1n) } },
    invalid("resume.lastEventSeq")
  )
  for (const [what, make] of thrown) {
    const token = Effect.suspend(() => Effect.die(make()))
    ends(`a token Effect that dies of ${what}`, { auth: { token } }, { _tag: "SessionEnded", reason: "gave_up" })
  }
  ends(
    "a token Effect that interrupts itself",
    { auth: { token: Effect.interrupt } },
    { _tag: "SessionEnded", reason: "gave_up" }
  )
})

/** The audit trail (ARCP 1.1 §14): which act makes which record, and what no record holds. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Either, Layer, Logger, LogLevel, Metric, Redacted, Schema, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Lease } from "../../src/authority/index.js"
import { PrincipalId, Unauthenticated } from "../../src/protocol/index.js"
import {
  Audit,
  AuditMemory,
  AuditRecord,
  Credentials,
  LeasePolicy,
  Metrics,
  ObservationPolicy
} from "../../src/runtime/index.js"
import { TestGateway } from "../../src/testing/index.js"
import { webSocket } from "./backends.js"
import { allFeatures, barrier, dial, hello, type Peer, run, submit } from "./peer.js"
import { allRevoked, leased, provisioned, provisionedBackends, type ProvisionedOptions } from "./provisionedWorld.js"
import { scripted, type Step } from "./script.js"
import { resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

type Type = AuditRecord["type"]
type Of<T extends Type> = Extract<AuditRecord, { readonly type: T }>

const features = allFeatures.filter((feature) => feature !== "heartbeat")

/** The first record of a type, of those that fit. */
const first = <T extends Type>(type: T, fits: (record: Of<T>) => boolean = () => true) =>
  Effect.flatMap(AuditMemory, (memory) =>
    memory.first((record) => record.type === type && fits(record as Of<T>))
  ) as Effect.Effect<Of<T>, never, AuditMemory>

const kept = Effect.flatMap(AuditMemory, (memory) => memory.kept)

/** All of the records of a type; behind one that comes for certain. */
const all = <T extends Type>(type: T) =>
  Effect.map(kept, (records) => records.filter((record): record is Of<T> => record.type === type))

const audited = (options: WorldOptions = {}) => world(options).pipe(Layer.provideMerge(Audit.layerMemory()))

const perform = (peer: Peer, steps: ReadonlyArray<Step>, lease: object = {}) =>
  run(peer, "script", { steps }, { lease_request: { "agent.delegate": ["**"], ...lease } })

const request = (peer: Peer, type: string, payload: object = {}) => Effect.flatMap(peer.send(type, payload), peer.reply)

/** A hello that is refused. */
const knock = (payload: object) =>
  Effect.gen(function* () {
    const peer = yield* dial
    const id = yield* peer.send("session.hello", payload)
    const refusal = yield* peer.next("session.error")
    return { id, refusal }
  })

const encoded = Schema.encodeSync(AuditRecord)
const decoded = Schema.decodeUnknownSync(AuditRecord, { onExcessProperty: "error" })

/** What every record holds to: its Schema, which has no field too many, one line, and numbers without a gap. */
const sound = Effect.map(kept, (records) => {
  for (const record of records) {
    const line = Audit.toLine(record)
    expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
    expect(decoded(JSON.parse(line))).toEqual(record)
    expect(encoded(record)).toEqual(record)
  }
  expect(records.map(({ seq }) => seq)).toEqual(records.map((_, i) => i + 1))
  return records
})

describe("sessions", () => {
  it.scoped("§6.2, §6.3, §6.7 opened, closed, resumed, taken over, each with who and from where", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const opened = yield* first("session.opened")
      expect(opened).toMatchObject({
        v: 1,
        seq: 1,
        runtime: "effect-arcp",
        principal: "alice",
        session_id: peer.sessionId,
        transport: "memory",
        secure: true,
        anonymous: false,
        client_name: "test",
        client_version: "1"
      })
      expect(opened.features).toContain("subscribe")
      expect(opened.request_id).toMatch(/^m\d+$/)
      yield* peer.drop
      expect(yield* first("session.closed")).toMatchObject({
        principal: "alice",
        session_id: peer.sessionId,
        cause: "connection",
        resumable: true
      })
      const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
      const second = yield* hello({ features, resume })
      expect(yield* first("session.resumed")).toMatchObject({ session_id: peer.sessionId, last_event_seq: 0 })
      expect(yield* all("session.taken_over")).toEqual([])
      const third = yield* hello({ features, resume: { ...resume, resume_token: second.token } })
      expect(yield* first("session.taken_over")).toMatchObject({ principal: "alice", session_id: peer.sessionId })
      yield* third.send("session.close")
      expect(yield* first("session.closed", ({ cause }) => cause === "client")).toMatchObject({ resumable: true })
      yield* TestClock.adjust("11 minutes")
      expect(yield* first("session.closed", ({ cause }) => cause === "expired")).toMatchObject({
        session_id: peer.sessionId,
        resumable: false
      })
      const types = (yield* sound).map(({ type }) => type)
      expect(types).toEqual([
        "session.opened",
        "session.closed",
        "session.resumed",
        "session.taken_over",
        "session.resumed",
        "session.closed",
        "session.closed"
      ])
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§14 over a network each act has the peer's address", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      expect((yield* first("session.opened")).remote_address).toMatch(/127\.0\.0\.1|::1/)
      yield* submit(peer, "echo", 1)
      expect((yield* first("job.admitted")).remote_address).toMatch(/127\.0\.0\.1|::1/)
      yield* knock({ auth: { scheme: "bearer", token: "wrong-token" } })
      expect((yield* first("authentication.failed")).remote_address).toMatch(/127\.0\.0\.1|::1/)
      const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
      yield* hello({ features, resume })
      const takenOver = yield* first("session.taken_over")
      expect(takenOver.remote_address).toMatch(/127\.0\.0\.1|::1/)
      expect(takenOver.previous_remote_address).toMatch(/127\.0\.0\.1|::1/)
    }).pipe(Effect.provide(audited({ transport: webSocket })))
  )

  it.scoped("§6.4 that the runtime ends says why", () =>
    Effect.gen(function* () {
      yield* hello()
      yield* TestClock.adjust("61 seconds")
      expect(yield* first("session.closed")).toMatchObject({ cause: "runtime", reason: "HEARTBEAT_LOST" })
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§14 that makes room for another", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      yield* TestClock.adjust("10 minutes")
      yield* hello({ features })
      expect(yield* first("session.closed")).toMatchObject({
        cause: "idle",
        resumable: false,
        session_id: peer.sessionId
      })
    }).pipe(Effect.provide(audited({ limits: { sessionsPerPrincipal: 1, idleSession: 60_000 } })))
  )

  it.scoped("§6.3 a refused resume has the reason that its client is not told, and no token", () =>
    Effect.gen(function* () {
      const bob = yield* hello({ features, token: "bob-token" })
      const resume = (session_id: string, resume_token: string) =>
        knock({ auth: { scheme: "bearer", token: "alice-token" }, resume: { session_id, resume_token } })
      const { refusal } = yield* resume(bob.sessionId, bob.token)
      expect(refusal.payload.code).toBe("RESUME_WINDOW_EXPIRED")
      expect(yield* first("session.refused")).toMatchObject({
        principal: "alice",
        session_id: bob.sessionId,
        reason: "resume",
        code: "RESUME_WINDOW_EXPIRED",
        detail: "the session is another principal's"
      })
      // Clients that put the token in the place of the id, too.
      yield* resume("rt_a-token-in-the-wrong-place", "rt_a-token-in-the-wrong-place")
      const gone = yield* first("session.refused", ({ detail }) => detail === "there is no such session")
      expect(gone).not.toHaveProperty("session_id")
      yield* resume("sess_00000000000000000000000000", bob.token)
      yield* first("session.refused", ({ session_id }) => session_id === "sess_00000000000000000000000000")
      const text = (yield* sound).map(Audit.toLine).join("\n")
      expect(text).not.toContain("rt_")
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§14 a session that was opened says nothing of the token, wherever its client has put it", () =>
    Effect.gen(function* () {
      const peer = yield* dial
      yield* peer.send("session.hello", {
        client: { name: "with alice-token", version: "alice-token" },
        auth: { scheme: "bearer", token: "alice-token" },
        capabilities: { encodings: ["json"], features }
      })
      yield* peer.next("session.welcome")
      expect(yield* first("session.opened")).toMatchObject({ principal: "alice" })
      expect((yield* sound).map(Audit.toLine).join("\n")).not.toContain("alice-token")
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§5.1, §14 refused before authentication: no hello, too slow, too many", () =>
    Effect.gen(function* () {
      const lost = yield* dial
      yield* lost.send("session.ping", { nonce: "n" })
      yield* lost.ended
      expect(yield* first("session.refused")).toMatchObject({ reason: "handshake", code: "INVALID_REQUEST" })
      const slow = yield* dial
      yield* Effect.yieldNow()
      yield* TestClock.adjust("11 seconds")
      yield* slow.ended
      expect(yield* first("session.refused", ({ reason }) => reason === "timeout")).toMatchObject({
        code: "INVALID_REQUEST"
      })
      yield* hello({ features })
      yield* knock({ auth: { scheme: "bearer", token: "alice-token" } })
      expect(yield* first("session.refused", ({ reason }) => reason === "session")).toMatchObject({
        principal: "alice",
        code: "INTERNAL_ERROR"
      })
      yield* sound
    }).pipe(Effect.provide(audited({ limits: { sessions: 1 } })))
  )

  it.scoped("§14 a flood of strangers makes a bounded number of records, and says how many more there were", () =>
    Effect.gen(function* () {
      const scream = Effect.scoped(
        Effect.gen(function* () {
          const peer = yield* dial
          yield* peer.raw("no frame")
          yield* peer.ended
        })
      )
      yield* Effect.repeatN(scream, 649)
      yield* TestClock.adjust("10 seconds")
      yield* scream
      expect(yield* first("session.refusals_omitted")).toMatchObject({ count: 50 })
      yield* first("session.refused", ({ seq }) => seq === 602)
      expect(yield* all("session.refused")).toHaveLength(601)
      yield* sound
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§14 a flood that stops is told all the same, after ten seconds", () =>
    Effect.gen(function* () {
      yield* Effect.repeatN(
        Effect.scoped(
          Effect.gen(function* () {
            const peer = yield* dial
            yield* peer.raw("no frame")
            yield* peer.ended
          })
        ),
        609
      )
      yield* TestClock.adjust("9 seconds")
      expect(yield* all("session.refusals_omitted")).toEqual([])
      yield* TestClock.adjust("1 seconds")
      expect(yield* first("session.refusals_omitted")).toMatchObject({ count: 10, seq: 601 })
      yield* sound
    }).pipe(Effect.provide(audited()))
  )
})

describe("refusals of one principal", () => {
  const denied = Agent.untyped("denied", (input) =>
    Effect.flatMap(Job, (job) =>
      Effect.as(Effect.repeatN(Effect.ignore(job.authorize("fs.read", "/etc/passwd")), Number(input) - 1), "done")
    )
  )
  const agents = Layer.merge(scripted, denied)

  it.scoped(
    "§9.3, §14 an agent that is denied without end makes a bounded number of records, and pushes out nobody's",
    () =>
      Effect.gen(function* () {
        const alice = yield* hello({ features })
        const bob = yield* hello({ features, token: "bob-token" })
        const { job_id } = yield* run(alice, "denied", 2_000, { lease_request: { "fs.read": ["/data/**"] } })
        const second = yield* run(alice, "denied", 10, { lease_request: { "fs.read": ["/data/**"] } })
        const bobs = yield* run(bob, "denied", 3, { lease_request: { "fs.read": ["/data/**"] } })
        // What is refused to alice in other ways counts to the same number.
        yield* request(alice, "job.submit", { agent: "none" })
        yield* TestClock.adjust("10 seconds")
        expect(yield* first("refusals.omitted")).toMatchObject({ principal: "alice", anonymous: false, count: 1_411 })
        const records = yield* all("lease.denied")
        expect(records.filter((one) => one.job_id === job_id)).toHaveLength(600)
        expect(records.filter((one) => one.job_id === second.job_id)).toEqual([])
        expect(records.filter((one) => one.job_id === bobs.job_id)).toHaveLength(3)
        expect(yield* all("job.refused")).toEqual([])
        expect(yield* all("audit.lost")).toEqual([])
        // Acts that were done are recorded, each of them.
        expect((yield* all("job.admitted")).map((one) => one.job_id)).toEqual([job_id, second.job_id, bobs.job_id])
        // Ten seconds later there is room for a hundred more.
        const third = yield* run(alice, "denied", 1, { lease_request: { "fs.read": ["/data/**"] } })
        yield* first("lease.denied", (one) => one.job_id === third.job_id)
        yield* sound
      }).pipe(Effect.provide(audited({ agents })))
  )

  it.scoped("§14 submits, cancels and subscriptions that are refused, and the next one that is recorded tells", () =>
    Effect.gen(function* () {
      const alice = yield* hello({ features })
      const refused = [
        request(alice, "job.submit", { agent: "none" }),
        request(alice, "job.cancel", { job_id: "job_01JZZZZZZZZZZZZZZZZZZZZZZZ" }),
        request(alice, "job.subscribe", { job_id: "job_01JZZZZZZZZZZZZZZZZZZZZZZZ" })
      ]
      for (let i = 0; i < 220; i++) yield* Effect.all(refused)
      const types = ["job.refused", "job.cancel_refused", "subscription.refused"] as const
      for (const type of types) expect(yield* all(type)).toHaveLength(200)
      yield* TestClock.adjust("5 seconds")
      yield* refused[0]!
      expect(yield* first("refusals.omitted")).toMatchObject({ principal: "alice", count: 60 })
      expect(yield* all("job.refused")).toHaveLength(201)
      yield* sound
    }).pipe(Effect.provide(audited({ agents })))
  )
})

describe("authentication", () => {
  it.scoped("§6.1 that failed has its class, and nothing of the token", () =>
    Effect.gen(function* () {
      const { id } = yield* knock({ auth: { scheme: "bearer", token: "a-secret-that-is-wrong" } })
      expect(yield* first("authentication.failed")).toMatchObject({
        reason: "refused",
        scheme: "bearer",
        request_id: id,
        transport: "memory"
      })
      yield* knock({})
      expect(yield* first("authentication.failed", ({ reason }) => reason === "missing")).toMatchObject({
        scheme: "none"
      })
      // Some put it elsewhere.
      yield* knock({ auth: { scheme: "a-secret-that-is-wrong", token: "a-secret-that-is-wrong" } })
      yield* first("authentication.failed", ({ scheme }) => scheme === "other")
      // One statement of one act.
      expect(yield* all("session.refused")).toEqual([])
      expect((yield* sound).map(Audit.toLine).join("\n")).not.toContain("secret")
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§6.1 tells a credential that has expired, an id that is none, and what nobody judged, apart", () =>
    Effect.gen(function* () {
      for (const [token, reason] of [
        ["expired", "expired"],
        ["jwt", "expired"],
        ["blank", "principal"],
        ["down", "unavailable"],
        ["dies", "unavailable"]
      ] as const) {
        const { id } = yield* knock({ auth: { scheme: "bearer", token } })
        expect((yield* first("authentication.failed", (record) => record.request_id === id)).reason, token).toBe(reason)
      }
      const peer = yield* hello({ features, token: "brief" })
      yield* TestClock.adjust("1 minute")
      expect(yield* first("authentication.expired")).toMatchObject({ principal: "brief", session_id: peer.sessionId })
      expect(yield* first("session.closed")).toMatchObject({ cause: "runtime", reason: "UNAUTHENTICATED" })
      yield* sound
    }).pipe(
      Effect.provide(
        audited({
          auth: Layer.succeed(Authenticator, {
            authenticate: ({ token }) => {
              const id = token === undefined ? "" : Redacted.value(token)
              if (id === "jwt") return new Unauthenticated({ message: "auth.token: has expired" })
              if (id === "down") return Effect.fail(new Unauthenticated({ message: "later", retryable: true }))
              if (id === "dies") return Effect.dieMessage("no database")
              const principal = { id: PrincipalId(id === "blank" ? " " : id), anonymous: false, claims: {} }
              return Effect.succeed(
                id === "expired"
                  ? { ...principal, expiresAt: 0 }
                  : id === "brief"
                    ? { ...principal, expiresAt: 60_000 }
                    : principal
              )
            }
          })
        })
      )
    )
  )
})

describe("a peer that leaves while it is authenticated", () => {
  it.scoped("§14 has not failed: nothing is recorded, and its address may try again", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const auth = Layer.succeed(Authenticator, {
        authenticate: ({ token }) => {
          const id = token === undefined ? "" : Redacted.value(token)
          return id === "slow"
            ? Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never)
            : Effect.succeed({ id: PrincipalId(id), anonymous: false, claims: {} })
        }
      })
      yield* Effect.gen(function* () {
        const peer = yield* dial
        yield* peer.send("session.hello", { auth: { scheme: "bearer", token: "slow" } })
        yield* Deferred.await(asked)
        yield* peer.drop
        yield* peer.ended
        // The bound is one: a failure would bar the next.
        yield* hello({ features, token: "alice" })
        yield* first("session.opened")
        expect((yield* kept).map(({ type }) => type)).toEqual(["session.opened"])
      }).pipe(
        Effect.provide(
          audited({
            auth,
            transport: webSocket,
            limits: { failedAuthentications: 1, failedAuthenticationsPerAddress: 1 }
          })
        )
      )
    })
  )
})

describe("jobs", () => {
  it.scoped("§7.1, §7.2 one record for an admission, none for its repeats, one for each refusal", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
      const lease_request = { "tool.call": ["x"], "fs.read": ["/data/**"] }
      const payload = { agent: "echo", input: 1, idempotency_key: "once", lease_request }
      const id = yield* peer.send("job.submit", payload, { trace_id })
      const { job_id } = yield* peer.reply(id)
      expect(yield* first("job.admitted")).toMatchObject({
        principal: "alice",
        session_id: peer.sessionId,
        job_id,
        trace_id,
        request_id: id,
        agent: "echo@1.0.0",
        capabilities: ["tool.call", "fs.read"]
      })
      yield* request(peer, "job.submit", payload)
      const refused = yield* peer.send("job.submit", { agent: "nobody", input: 1 })
      yield* peer.reply(refused)
      expect(yield* first("job.refused")).toMatchObject({
        principal: "alice",
        session_id: peer.sessionId,
        request_id: refused,
        code: "AGENT_NOT_AVAILABLE",
        agent: "nobody"
      })
      yield* request(peer, "job.submit", { ...payload, input: 2 })
      yield* first("job.refused", ({ code }) => code === "DUPLICATE_KEY")
      // What cannot be decoded is a submit that was refused, too.
      yield* request(peer, "job.submit", { agent: 5 })
      expect(yield* first("job.refused", ({ code }) => code === "INVALID_REQUEST")).not.toHaveProperty("agent")
      expect(yield* all("job.admitted")).toHaveLength(1)
      yield* sound
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§7.4 by whom one is cancelled, and who may not", () =>
    Effect.gen(function* () {
      const alice = yield* hello({ features })
      const bob = yield* hello({ features, token: "bob-token" })
      const { job_id } = yield* submit(alice, "gate", { name: "a" })
      const foreign = yield* bob.send("job.cancel", { job_id })
      yield* bob.reply(foreign)
      expect(yield* first("job.cancel_refused")).toMatchObject({
        principal: "bob",
        session_id: bob.sessionId,
        request_id: foreign,
        job_id,
        code: "JOB_NOT_FOUND"
      })
      const id = yield* alice.send("job.cancel", { job_id, reason: "no longer\nneeded" })
      yield* alice.terminal(job_id!)
      expect(yield* first("job.cancelled")).toMatchObject({
        principal: "alice",
        session_id: alice.sessionId,
        job_id,
        request_id: id,
        by: "client",
        detail: expect.stringContaining("no longer")
      })
      expect(yield* all("job.cancelled")).toHaveLength(1)
      yield* sound
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("§10 a delegated job is admitted under its parent, and ends with it", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const lease_request = { "agent.delegate": ["**"] }
      const steps = [
        { do: "start", input: { steps: [{ do: "never" }] } },
        { do: "log", message: "started" },
        { do: "never" }
      ]
      const { job_id } = yield* submit(peer, "script", { steps }, { lease_request })
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "started")
      const child = yield* first("job.admitted", (record) => record.parent_job_id === job_id)
      expect(child).toMatchObject({ principal: "alice", session_id: peer.sessionId, agent: "script@1.0.0" })
      expect(child.delegate_id).toMatch(/^del_/)
      yield* request(peer, "job.cancel", { job_id })
      yield* peer.terminal(job_id!)
      expect(yield* first("job.cancelled", (record) => record.job_id === child.job_id)).toMatchObject({ by: "parent" })
      yield* sound
    }).pipe(Effect.provide(audited({ agents: scripted })))
  )
})

describe("leases", () => {
  it.scoped("§9.3 what was denied: which operation on what, once for each", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id } = yield* perform(
        peer,
        [
          { do: "authorize", capability: "fs.read", target: "/data/a" },
          { do: "authorize", capability: "fs.read", target: "/etc/passwd" },
          { do: "authorize", capability: "net.fetch", target: "https://x.example/a?key=secret#secret" },
          { do: "authorize", capability: "net.fetch", target: "https://me:secret@x.example/a" },
          { do: "tool", name: "deploy" },
          { do: "delegate", agent: "other", input: { steps: [] } },
          { do: "handoff", agent: "other", input: { steps: [] } }
        ],
        { "fs.read": ["/data/**"], "agent.delegate": ["echo"] }
      )
      const facts = { principal: "alice", session_id: peer.sessionId, job_id, code: "PERMISSION_DENIED" }
      yield* first("lease.denied", ({ operation }) => operation === "handoff")
      const denied = yield* all("lease.denied")
      expect(denied).toEqual(denied.map((one) => expect.objectContaining({ ...facts, trace_id: one.trace_id })))
      expect(denied.map(({ capability, operation, target }) => [operation, capability, target])).toEqual([
        ["use", "fs.read", "/etc/passwd"],
        ["use", "net.fetch", "https://x.example/a?…"],
        ["use", "net.fetch", "…"],
        ["tool_call", "tool.call", "deploy"],
        ["delegate", "agent.delegate", "other"],
        ["handoff", "agent.delegate", "other"]
      ])
      expect((yield* sound).map(Audit.toLine).join("\n")).not.toContain("secret")
    }).pipe(Effect.provide(audited({ agents: scripted })))
  )

  it.scoped("§9.3 an operation after the job's end is denied, and recorded", () =>
    Effect.gen(function* () {
      const late = yield* Deferred.make<void>()
      const agents = Agent.untyped("haunting", () =>
        Effect.flatMap(Job, (job) =>
          Effect.as(
            Effect.forkDaemon(
              Effect.zipRight(Deferred.await(late), Effect.ignore(job.authorize("fs.read", "/data/late")))
            ),
            "done"
          )
        )
      )
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { job_id } = yield* run(peer, "haunting", null, { lease_request: { "fs.read": ["/data/**"] } })
        yield* Deferred.succeed(late, undefined)
        expect(yield* first("lease.denied")).toMatchObject({ job_id, reason: "job_ended", target: "/data/late" })
      }).pipe(Effect.provide(audited({ agents })))
    })
  )

  it.scoped("§9, §9.4 what was narrowed: at admission, by inheritance, and what was refused", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const steps: ReadonlyArray<Step> = [
        { do: "delegate", input: { steps: [] }, options: { lease: { "fs.read": ["/data/x/**"] } } },
        { do: "delegate", input: { steps: [] }, options: { lease: { "fs.read": ["/**"] } } }
      ]
      const { job_id } = yield* run(
        peer,
        "script",
        { steps },
        {
          lease_request: { "fs.read": ["/**"], "agent.delegate": ["**"] },
          lease_constraints: { expires_at: "1970-01-01T01:00:00Z" }
        }
      )
      expect(yield* first("lease.narrowed")).toMatchObject({
        principal: "alice",
        job_id,
        at: "admission",
        outcome: "reduced",
        agent: "script@1.0.0",
        withheld: ['fs.read: "/**" was not granted, only "/data/**"']
      })
      expect(yield* first("lease.narrowed", ({ at }) => at === "delegation")).toMatchObject({
        outcome: "reduced",
        withheld: [expect.stringContaining("the lease expires at")]
      })
      expect(yield* first("lease.narrowed", ({ outcome }) => outcome === "refused")).toMatchObject({
        job_id,
        at: "delegation",
        agent: "script"
      })
      yield* sound
    }).pipe(
      Effect.provide(
        Layer.provide(
          audited({ agents: scripted }),
          LeasePolicy.layer({
            allowed: () => Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"], "agent.delegate": ["**"] }))
          })
        )
      )
    )
  )

  it.scoped("§9.5 the end of a lease ends its job: one record, and one for its child", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id } = yield* submit(
        peer,
        "script",
        { steps: [{ do: "start", input: { steps: [{ do: "never" }] } }, { do: "never" }] },
        {
          lease_request: { "agent.delegate": ["**"] },
          lease_constraints: { expires_at: "1970-01-01T00:01:00Z" }
        }
      )
      yield* peer.next("job.accepted", (frame) => frame.payload.parent_job_id === job_id)
      yield* TestClock.adjust("2 minutes")
      yield* peer.terminal(job_id!)
      expect(yield* first("lease.expired", (record) => record.job_id === job_id)).toMatchObject({
        principal: "alice",
        expires_at: "1970-01-01T00:01:00Z"
      })
      yield* first("lease.expired", (record) => record.job_id !== job_id)
      expect(yield* all("lease.expired")).toHaveLength(2)
      expect(yield* all("job.cancelled")).toEqual([])
      yield* sound
    }).pipe(Effect.provide(audited({ agents: scripted })))
  )

  it.scoped("§9.6 what was refused for want of money", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id } = yield* perform(
        peer,
        [
          { do: "reserve", amount: "2.00 USD" },
          { do: "spend", amount: "1.00 USD" },
          { do: "authorize", capability: "fs.read", target: "/data/a" }
        ],
        { "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] }
      )
      yield* first("budget.exhausted", ({ operation }) => operation === "use")
      expect(yield* all("budget.exhausted")).toMatchObject([
        { job_id, operation: "reserve", capability: "cost.budget", target: "USD:2", currency: "USD" },
        { job_id, operation: "use", capability: "fs.read", target: "/data/a", currency: "USD" }
      ])
      expect(yield* all("lease.denied")).toEqual([])
      yield* sound
    }).pipe(Effect.provide(audited({ agents: scripted })))
  )
})

describe("subscriptions", () => {
  it.scoped("§7.6 each one: who, whose job, and what was decided", () =>
    Effect.gen(function* () {
      const alice = yield* hello({ features })
      const bob = yield* hello({ features, token: "bob-token" })
      const carol = yield* hello({ features, token: "carol-token" })
      const { job_id } = yield* submit(alice, "gate", { name: "a" })
      const id = yield* bob.send("job.subscribe", { job_id, history: true })
      yield* bob.reply(id)
      expect(yield* first("subscription.opened")).toMatchObject({
        principal: "bob",
        session_id: bob.sessionId,
        request_id: id,
        job_id,
        owner: "alice",
        history: true
      })
      yield* request(carol, "job.subscribe", { job_id })
      expect(yield* first("subscription.refused")).toMatchObject({
        principal: "carol",
        job_id,
        owner: "alice",
        code: "PERMISSION_DENIED"
      })
      yield* request(carol, "job.subscribe", { job_id: "job_00000000000000000000000000" })
      const unknown = yield* first("subscription.refused", ({ code }) => code === "JOB_NOT_FOUND")
      expect(unknown).not.toHaveProperty("owner")
      yield* sound
    }).pipe(
      Effect.provide(
        Layer.provide(
          audited(),
          ObservationPolicy.layer({
            visibility: ({ id }, owner) => (id === owner || id === "bob" ? "observe" : "know"),
            listed: () => []
          })
        )
      )
    )
  )
})

const [, memory] = provisionedBackends[0]!

const withKeys = (options: ProvisionedOptions = {}) =>
  provisioned(memory(), options).pipe(Layer.provideMerge(Audit.layerMemory()))

describe("credentials", () => {
  it.scoped("§9.8.2 issued, rotated, revoked: ids, and never a value or a handle", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id, payload } = yield* submit(peer, "ends", { mode: "never" }, leased)
      const [{ id }] = payload.credentials
      const issued = yield* first("credential.issued")
      expect(issued).toMatchObject({
        principal: "alice",
        job_id,
        credential_id: id,
        endpoint: "https://gateway.test/v1"
      })
      yield* (yield* Credentials).rotate(job_id!, id)
      const rotated = yield* first("credential.rotated")
      expect(rotated).toMatchObject({ job_id, credential_id: id })
      expect(yield* first("credential.revoked")).toMatchObject({ credential_id: id, reference: issued.reference })
      yield* request(peer, "job.cancel", { job_id })
      yield* peer.terminal(job_id!)
      yield* first("credential.revoked", ({ reference }) => reference === rotated.reference)
      const keys = yield* allRevoked
      expect(keys).toHaveLength(2)
      const text = (yield* sound).map(Audit.toLine).join("\n")
      expect(text).not.toMatch(/sk-test|vk_/)
    }).pipe(Effect.provide(withKeys()))
  )

  it.scoped("§9.8.2 a revocation that fails: at first, and for good", () =>
    Effect.gen(function* () {
      const gateway = yield* TestGateway
      const peer = yield* hello({ features })
      yield* gateway.failRevokes(1)
      const one = yield* run(peer, "ends", { mode: "succeed" }, leased)
      expect(yield* first("credential.revocation_failed")).toMatchObject({
        job_id: one.job_id,
        attempts: 1,
        final: false
      })
      yield* TestClock.adjust("1 minute")
      yield* first("credential.revoked", ({ job_id }) => job_id === one.job_id)
      yield* gateway.refuseRevokes(true)
      const other = yield* run(peer, "ends", { mode: "succeed" }, leased)
      expect(yield* first("credential.revocation_failed", ({ final }) => final)).toMatchObject({
        job_id: other.job_id,
        attempts: 1
      })
      yield* sound
    }).pipe(Effect.provide(withKeys()))
  )

  it.scoped("§13.7 a refusal of the upstream is a denial of its own", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const calls = [{ model: "tier-fast/a", cost: "2 USD" }, { model: "tier-fast/a" }, { model: "tier-dear/a" }]
      yield* run(peer, "careful", { as: "tool", calls }, leased)
      expect(yield* first("budget.exhausted")).toMatchObject({ source: "upstream", operation: "upstream_call" })
      expect(yield* first("lease.denied")).toMatchObject({
        source: "upstream",
        capability: "model.use",
        code: "PERMISSION_DENIED",
        reason: "upstream"
      })
      yield* sound
    }).pipe(Effect.provide(withKeys()))
  )

  it.scoped("§14 a value in the name of an operation, in a reason, cut or whole, is in no record", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id, payload } = yield* submit(peer, "quoting", null, leased)
      const [{ value }] = payload.credentials
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "asked")
      yield* request(peer, "job.cancel", { job_id, reason: `leaked ${value}` })
      yield* peer.terminal(job_id!)
      yield* first("job.cancelled")
      const text = (yield* sound).map(Audit.toLine).join("\n")
      expect(yield* all("lease.denied")).toHaveLength(4)
      expect(text).toContain("<redacted>")
      // No piece of it either, as where a text was cut before it was cleaned.
      for (let at = 8; at + 10 < value.length; at++) expect(text).not.toContain(value.slice(at, at + 10))
    }).pipe(
      Effect.provide(
        withKeys({
          agents: Agent.untyped("quoting", () =>
            Effect.gen(function* () {
              const value = Redacted.value((yield* Job.credentials)[0]!.value)
              yield* Effect.ignore(Job.tool(`call ${value}`, {}, Effect.void))
              yield* Effect.ignore(Job.tool(`${"x".repeat(240)}${value}`, {}, Effect.void))
              yield* Effect.ignore(Job.authorize("fs.read", `/data/${encodeURIComponent(value)}`))
              yield* Effect.ignore(Job.authorize("net.fetch", `https://x.example/${value}/a?b=${value}`))
              yield* Job.log("asked")
              return yield* Effect.never
            })
          )
        })
      )
    )
  )
})

describe("what a peer or an agent says", () => {
  it.scoped("§14 four megabytes and control characters are one short line", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const huge = 'a\n\r\u2028\u0000\u202e{}"'.repeat(60_000)
      yield* peer.send("job.submit", { agent: huge, input: 1 })
      yield* first("job.refused")
      yield* peer.send("job.cancel", { job_id: huge })
      yield* first("job.cancel_refused")
      yield* run(peer, "loud", null, { lease_request: { "tool.call": ["x"] } })
      yield* first("lease.denied")
      for (const record of yield* sound) expect(Audit.toLine(record).length).toBeLessThan(8_192)
    }).pipe(
      Effect.provide(
        audited({
          agents: Agent.untyped("loud", () =>
            Effect.ignore(Job.authorize("fs.read", `/${"t\u2029\n".repeat(1_400_000)}`))
          )
        })
      )
    )
  )
})

describe("readers", () => {
  it.scoped("a slow one loses what is too much for it, is told how many, and holds nobody up", () =>
    Effect.gen(function* () {
      const audit = yield* Audit
      const go = yield* Deferred.make<void>()
      const started = yield* Deferred.make<void>()
      const read: Array<AuditRecord> = []
      const reader = yield* audit.records(4).pipe(
        Stream.takeUntil(({ type }) => type === "job.cancel_refused"),
        Stream.runForEach((record) =>
          Effect.gen(function* () {
            read.push(record)
            yield* Deferred.succeed(started, undefined)
            yield* Deferred.await(go)
          })
        ),
        Effect.fork
      )
      yield* Effect.yieldNow()
      const peer = yield* hello({ features })
      yield* Deferred.await(started)
      for (let n = 0; n < 20; n++) yield* run(peer, "echo", n)
      yield* first("job.admitted", ({ seq }) => seq === 21)
      yield* Deferred.succeed(go, undefined)
      // What it reads next comes when there is room again.
      yield* Effect.repeatN(Effect.yieldNow(), 100)
      yield* request(peer, "job.cancel", { job_id: "job_none" })
      yield* reader.await
      expect(read.map(({ seq, type }) => [seq, type])).toEqual([
        [1, "session.opened"],
        [2, "job.admitted"],
        [3, "job.admitted"],
        [4, "job.admitted"],
        [5, "job.admitted"],
        [21, "audit.lost"],
        [22, "job.cancel_refused"]
      ])
      expect(read[5]).toMatchObject({ count: 16 })
      yield* sound
    }).pipe(Effect.provide(audited()))
  )

  it.scoped("a stream ends with its trail, with all that was given to it", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkDaemon(Stream.runCollect((yield* Audit).records()))
        yield* Effect.yieldNow()
        yield* hello({ features })
        return fiber
      }).pipe(Effect.scoped, Effect.provide(world().pipe(Layer.provideMerge(Audit.layerStream))))
      const exit = yield* fiber.await
      expect([...(yield* exit)].map(({ type }) => type)).toEqual(["session.opened", "session.closed"])
    })
  )
})

describe("levels", () => {
  const logged = () => {
    const lines: Array<{ readonly message: unknown; readonly annotations: Record<string, unknown> }> = []
    const logger = Logger.map(Logger.structuredLogger, ({ annotations, message }) => {
      lines.push({ message, annotations })
    })
    return {
      lines,
      layer: Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All))
    }
  }
  const acts = Effect.gen(function* () {
    const peer = yield* hello({ features })
    const { job_id } = yield* run(peer, "echo", 1)
    yield* request(peer, "job.subscribe", { job_id })
    yield* knock({
      auth: { scheme: "bearer", token: "bob-token" },
      resume: { session_id: peer.sessionId, resume_token: peer.token }
    })
    yield* barrier(peer)
  })

  it.scoped("§14 without a trail none of these acts makes a line, and none a record", () => {
    const { layer, lines } = logged()
    return Effect.gen(function* () {
      yield* acts
      expect(lines).toEqual([])
    }).pipe(Effect.provide(Layer.provide(world(), layer)))
  })

  it.scoped("`layerLogger` makes a line of each", () => {
    const { layer, lines } = logged()
    return Effect.gen(function* () {
      yield* acts.pipe(Effect.provide(world().pipe(Layer.provide(Audit.layerLogger), Layer.provide(layer))))
      expect(lines.map(({ message }) => message)).toEqual([
        "session.opened",
        "job.admitted",
        "subscription.opened",
        "session.refused",
        "session.closed"
      ])
      expect(lines[3]!.annotations).toMatchObject({ principal: "bob", detail: "the session is another principal's" })
    })
  })

  it.effect("§14 `layerLogger` lets no client make a line of its own", () => {
    const lines: Array<string> = []
    const loggers = [Logger.stringLogger, Logger.logfmtLogger, Logger.jsonLogger].map((logger) =>
      Logger.add(Logger.map(logger, (line) => void lines.push(line)))
    )
    const record: AuditRecord = {
      v: 1,
      run: "run",
      runtime: "demo",
      seq: 1,
      ts: "2026-01-01T12:00:00.000Z",
      type: "session.opened",
      principal: "alice",
      transport: "memory",
      secure: true,
      anonymous: false,
      client_name: "x\u001b[2J\ntimestamp=2026 level=ERROR message=fake \u202e\u2028",
      features: ["ack", "b\nc"]
    }
    return Effect.gen(function* () {
      yield* (yield* Audit).write([record])
      expect(lines).toHaveLength(3)
      for (const line of lines) {
        expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u202e]/)
        expect(line).toContain("alice")
      }
    }).pipe(
      Effect.provide(
        Layer.provideMerge(Audit.layerLogger, Layer.mergeAll(Logger.remove(Logger.defaultLogger), ...loggers))
      )
    )
  })

  it.scoped("what was lost is counted for its runtime", () =>
    Effect.gen(function* () {
      const lost = Metric.value(Metric.tagged(Metrics.auditLost, "runtime", "lossy"))
      const before = (yield* lost).count
      yield* acts.pipe(
        Effect.provide(
          world({ runtime: { name: "lossy" } }).pipe(
            Layer.provide(Audit.layer(() => Effect.fail("no"))),
            Layer.provide(Logger.remove(Logger.defaultLogger))
          )
        )
      )
      expect((yield* lost).count - before).toBe(5)
    })
  )
})

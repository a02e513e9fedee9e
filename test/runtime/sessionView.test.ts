/**
 * What a session is sent of a job is what it negotiated and how its client speaks, whichever way it comes: live, replayed after a
 * reconnect, as history, by the repeat of a key, and from the store of an earlier process (ARCP 1.1 §6.2, §6.3, §7.2, §7.6, §8.4).
 */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { type Context, Deferred, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import { copyFileSync, existsSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { type ArcpError, VendorError } from "../../src/protocol/index.js"
import { CredentialProvisioner, Credentials } from "../../src/runtime/index.js"
import type { CredentialLedger, Store } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import type { Connector } from "../../src/transport/Connection.js"
import { scratch } from "../support/scratch.js"
import { allFeatures, barrier, dial, eventsOf, type Frame, type Peer, submit } from "./peer.js"
import { gate, resetGates, worldWithConcerns } from "./world.js"

beforeEach(resetGates)

const folder = scratch("arcp-views-")
let machines = 0

const ends = (what: unknown): Effect.Effect<unknown, ArcpError, Job> =>
  what === "fails"
    ? Effect.fail(new VendorError({ code: "NO_LUCK", message: "no luck", details: { at: 3 } }))
    : what === "streams"
      ? Job.streamResult(Stream.make("first;", "second;").pipe(Stream.rechunk(1)))
      : Effect.succeed(what === "large" ? "x".repeat(600_000) : "short")

const gated = (name: string) => Deferred.await(gate(name))

/** The gate of each run of an agent. */
const passing = (name: string) => Effect.flatMap(Job, ({ attempt }) => gated(`${name} ${attempt}`))

const agents = Layer.mergeAll(
  Agent.untyped("ends", (what) =>
    Effect.gen(function* () {
      yield* Job.log("waiting")
      yield* gated("end")
      return yield* ends(what)
    })
  ),
  Agent.untyped(
    "parent",
    () =>
      Effect.gen(function* () {
        yield* Job.log("waiting")
        yield* passing("parent")
        const child = yield* Job.startChild("child", null)
        return yield* child.result
      }),
    { onRestart: "rerun" }
  ),
  Agent.untyped("child", () => Effect.zipRight(Job.log("child waits"), passing("child")), { onRestart: "rerun" }),
  // Emits so many events, waits, emits as many as it is told, and waits again.
  Agent.untyped(
    "holder",
    (counts) =>
      Effect.gen(function* () {
        const [before, behind] = counts as readonly [number, number]
        const job = yield* Job
        for (let n = 1; n <= before; n++) yield* job.log(`event ${n}`)
        yield* job.log("filled")
        yield* gated("more")
        for (let n = 1; n <= behind; n++) yield* job.log(`event ${n}`)
        yield* job.log("full")
        yield* passing("holder")
        return (yield* Job.credentials).length
      }),
    { onRestart: "rerun" }
  )
)

let keys = 0
const provisioner = Layer.succeed(CredentialProvisioner, {
  issue: ({ models, reference }) =>
    Effect.sync(() =>
      models === undefined
        ? []
        : [{ handle: reference, value: Redacted.make(`sk-${++keys}`), endpoint: "https://gateway.example/v1" }]
    ),
  revoke: () => Effect.void
})

type Process = Context.Context<Connector | Credentials>

/** Runtimes on one file; each start kills the one before. */
const machine = (peers: "auto" | "strict") => {
  const name = `m${machines++}`
  let starts = 0
  return {
    start: Effect.gen(function* () {
      const [from, to] = [join(folder, `${name}-${starts}.db`), join(folder, `${name}-${++starts}.db`)]
      for (const end of ["", "-wal"]) if (existsSync(from + end)) copyFileSync(from + end, to + end)
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer(() => Effect.forkDaemon(Scope.close(scope, Exit.void)))
      const store: Layer.Layer<Store | CredentialLedger, unknown> = SqliteStore.layer({ filename: to })
      const process = Layer.provide(worldWithConcerns({ store, agents, runtime: { peers } }), provisioner)
      return (yield* Scope.extend(Layer.build(process), scope)) as unknown as Process
    })
  }
}

const core = allFeatures.filter((name) => name !== "ack" && name !== "heartbeat" && !name.startsWith("x-"))
const without = (features: ReadonlyArray<string>, ...names: ReadonlyArray<string>) =>
  features.filter((name) => !names.includes(name))

interface Kind {
  readonly features: ReadonlyArray<string>
  readonly sdk?: "go" | "java"
}

const kinds = {
  "with every feature": { features: [...core, "x-vendor.effect-arcp.agent_errors"] },
  "with few features": { features: ["subscribe"] },
  "of Go": { features: core, sdk: "go" },
  "of Go without result_chunk": { features: without(core, "result_chunk"), sdk: "go" },
  "of Java": { features: core.toSorted(), sdk: "java" }
} as const satisfies Record<string, Kind>

type Client = Peer & { readonly sessionId: string; readonly token: string }

let hellos = 0
const helloId = ({ sdk }: Kind): string => {
  const n = String(++hellos)
  return sdk === "go"
    ? `01920000-0000-7000-8000-${n.padStart(12, "0")}`
    : sdk === "java"
      ? `01ARZ3NDEKTSV4RRFFQ6${n.padStart(6, "0")}`
      : `m-hello-${n}`
}

/** Says hello as a client of a kind does; `from` is the session that it resumes, behind a number. */
const greet = (process: Process, kind: Kind, from?: { readonly client: Client; readonly after: number }) =>
  Effect.gen(function* () {
    const peer = yield* dial
    const facts = from && { resume_token: from.client.token, last_event_seq: from.after }
    const resume =
      from === undefined
        ? {}
        : kind.sdk === "java"
          ? facts
          : { resume: { ...facts, session_id: from.client.sessionId } }
    yield* peer.raw(
      JSON.stringify({
        arcp: "1.1",
        id: helloId(kind),
        type: "session.hello",
        payload: {
          client: { name: "test", version: "1" },
          auth: { scheme: "bearer", token: "alice-token" },
          capabilities: { features: kind.features },
          ...resume
        }
      })
    )
    const welcome = yield* peer.next("session.welcome")
    const client: Client = {
      ...peer,
      sessionId: welcome.session_id!,
      token: welcome.payload.resume_token as string
    }
    if (from !== undefined) expect(client.sessionId).toBe(from.client.sessionId)
    return client
  }).pipe(Effect.provide(process))

const ask = (peer: Peer, type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)
const heard = (peer: Peer, message: string) =>
  peer.next("job.event", ({ payload }) => payload.body?.message === message)
const open = (name: string) => Deferred.succeed(gate(name), undefined)
const lastSeq = (peer: Peer) => peer.events().at(-1)?.event_seq ?? 0

/** The end of a job as a client was sent it, with what its chunks say; a long text by its length. */
const endOf = (peer: Peer, jobId: string) =>
  Effect.map(peer.terminal(jobId), ({ payload, type }) => {
    const { completed_at, result_id, ...rest } = payload
    expect(completed_at).toMatch(/Z$/)
    const chunks = eventsOf(peer, jobId).flatMap((frame) =>
      frame.payload.kind === "result_chunk" && frame.payload.body.result_id === result_id
        ? [frame.payload.body.data as string]
        : []
    )
    const short = Object.entries(rest).map(([name, value]) => [
      name,
      typeof value === "string" && value.length > 1_000 ? value.length : value
    ])
    return { type, ...Object.fromEntries(short), streamed: chunks.join("") }
  })

const expected = (what: string, { features, sdk }: Kind, strict: boolean): object => {
  const go = sdk === "go" && !strict
  const inline = (result: unknown) => ({
    type: "job.result",
    final_status: "success",
    result,
    ...(go ? { output: result } : {}),
    streamed: ""
  })
  if (what === "short") return inline("short")
  // Both spellings do not fit a frame.
  if (what === "large")
    return go ? { type: "job.result", final_status: "success", output: 600_000, streamed: "" } : inline(600_000)
  if (what === "streams") {
    return features.includes("result_chunk")
      ? { type: "job.result", final_status: "success", result_size: 13, streamed: "first;second;" }
      : inline("first;second;")
  }
  const own = { code: "NO_LUCK", message: "no luck", retryable: false, details: { at: 3 } }
  return {
    type: "job.error",
    final_status: "error",
    streamed: "",
    ...(features.includes("x-vendor.effect-arcp.agent_errors")
      ? own
      : { code: "INTERNAL_ERROR", message: "no luck", retryable: true, details: { agent_error: own } })
  }
}

/** Every kind of client; those of other SDKs also where the runtime does not tell them apart. */
const spoken = Object.entries<Kind>(kinds).flatMap(([name, kind]) =>
  (kind.sdk === undefined ? ["auto" as const] : ["auto" as const, "strict" as const]).map(
    (peers) => [name, peers, kind] as const
  )
)

const cases = spoken.flatMap(([name, peers, kind]) =>
  ["short", "streams", "fails", ...(kind.sdk === "go" ? ["large"] : [])].map(
    (what) => [name, what, peers, kind] as const
  )
)

describe("the end of a job", () => {
  it.scoped.each(cases)(
    "§6.2 to a client %s, of a job that is %s, peers %s, is the same each way it comes",
    ([, what, peers, kind]) =>
      Effect.gen(function* () {
        const { start } = machine(peers)
        const process = yield* start
        const ended: Record<string, unknown> = {}
        const key = { idempotency_key: "k" }
        const submitter = yield* greet(process, kinds["with every feature"])
        const id = (yield* submit(submitter, "ends", what, key)).job_id!
        yield* heard(submitter, "waiting")
        const owner = yield* greet(process, kind)
        const own = (yield* submit(owner, "ends", what)).job_id!
        yield* heard(owner, "waiting")
        const repeater = yield* greet(process, kind)
        expect((yield* submit(repeater, "ends", what, key)).job_id).toBe(id)
        const observer = yield* greet(process, kind)
        yield* ask(observer, "job.subscribe", { job_id: id })
        const away = yield* greet(process, kind)
        yield* submit(away, "ends", what, key)
        const left = yield* greet(process, kind)
        yield* ask(left, "job.subscribe", { job_id: id, history: true })
        yield* Effect.all([barrier(away), barrier(left)])
        yield* Effect.all([away.drop, left.drop])
        yield* open("end")
        ended["live, to its owner"] = yield* endOf(owner, own)
        ended["live, to a later owner"] = yield* endOf(repeater, id)
        ended["live, to an observer"] = yield* endOf(observer, id)
        const cameBack = yield* greet(process, kind, { client: away, after: lastSeq(away) })
        ended["after a reconnect, to an owner"] = yield* endOf(cameBack, id)
        const cameBackToo = yield* greet(process, kind, { client: left, after: lastSeq(left) })
        ended["after a reconnect, to an observer"] = yield* endOf(cameBackToo, id)
        const late = yield* greet(process, kind)
        yield* ask(late, "job.subscribe", { job_id: id, history: true })
        ended["as history"] = yield* endOf(late, id)
        const again = yield* greet(process, kind)
        yield* submit(again, "ends", what, key)
        ended["by a repeat"] = yield* endOf(again, id)

        const next = yield* start
        ended["after a restart, to its owner"] = yield* endOf(
          yield* greet(next, kind, { client: owner, after: 0 }),
          own
        )
        for (const [name, client] of [
          ["a later owner", repeater],
          ["an observer", observer],
          ["who was away", cameBack],
          ["who had the history", late],
          ["who had repeated", again]
        ] as const) {
          ended[`after a restart, to ${name}`] = yield* endOf(yield* greet(next, kind, { client, after: 0 }), id)
        }
        const later = yield* greet(next, kind)
        yield* ask(later, "job.subscribe", { job_id: id, history: true })
        ended["after a restart, as history"] = yield* endOf(later, id)
        const lastOne = yield* greet(next, kind)
        yield* submit(lastOne, "ends", what, key)
        ended["after a restart, by a repeat"] = yield* endOf(lastOne, id)

        const same = expected(what, kind, peers === "strict")
        expect(ended).toEqual(Object.fromEntries(Object.keys(ended).map((column) => [column, same])))
      })
  )
})

describe("a refused request", () => {
  const errors = (client: Peer, from: number) =>
    client.seen
      .slice(from)
      .flatMap(({ event_seq, id, job_id, payload, type }) =>
        type === "session.error"
          ? [`${payload.request_id} ${payload.code}`]
          : type === "job.error" && event_seq === undefined
            ? [`${id} ${job_id}`]
            : []
      )

  it.scoped.each(spoken)("§12 of a client %s, peers %s, is refused alike in every connection", ([, peers, kind]) =>
    Effect.gen(function* () {
      const { start } = machine(peers)
      const process = yield* start
      const twice = kind.sdk === "java" && peers === "auto"
      const key = { idempotency_key: "k" }
      const refusals = (client: Client) =>
        Effect.gen(function* () {
          const from = client.seen.length
          const wanted: Array<string> = []
          for (const [type, payload, code, jobId] of [
            ["job.submit", { agent: "nobody" }, "AGENT_NOT_AVAILABLE", undefined],
            ["job.submit", { agent: "ends", input: "other", ...key }, "DUPLICATE_KEY", undefined],
            ["job.subscribe", { job_id: "job_none" }, "JOB_NOT_FOUND", "job_none"],
            ["job.subscribe", { job_id: 7 }, "INVALID_REQUEST", undefined],
            ["job.cancel", { job_id: "job_none" }, "JOB_NOT_FOUND", "never"]
          ] as const) {
            const id = yield* client.send(type, payload)
            yield* client.reply(id)
            wanted.push(`${id} ${code}`)
            if (twice && jobId !== "never") wanted.push(`${id} ${jobId}`)
          }
          yield* barrier(client)
          expect(errors(client, from)).toEqual(wanted)
        })
      const client = yield* greet(process, {
        ...kind,
        features: [...new Set([...kind.features, "subscribe"])].toSorted()
      })
      yield* submit(client, "ends", "short", key)
      yield* heard(client, "waiting")
      yield* refusals(client)
      const resumed = yield* greet(process, kind, { client, after: lastSeq(client) })
      yield* refusals(resumed)
      const next = yield* start
      yield* refusals(yield* greet(next, kind, { client: resumed, after: 0 }))
    })
  )
})

describe("a child's acceptance", () => {
  it.scoped.each(spoken)(
    "§10 to the owners of its parent, to a client %s, peers %s: live, by a repeat, after a restart",
    ([, peers, kind]) =>
      Effect.gen(function* () {
        const { start } = machine(peers)
        const process = yield* start
        const wanted = kind.sdk === "java" && peers === "auto" ? 0 : 1
        const rest = { idempotency_key: "k", lease_request: { "agent.delegate": ["**"] } }
        const children = (peer: Peer, from = 0) => peer.seen.slice(from).filter(({ payload }) => payload.parent_job_id)
        const owner = yield* greet(process, kind)
        const id = (yield* submit(owner, "parent", null, rest)).job_id!
        yield* heard(owner, "waiting")
        const second = yield* greet(process, kind)
        expect((yield* submit(second, "parent", null, rest)).job_id).toBe(id)
        const observer = yield* greet(process, kind)
        yield* ask(observer, "job.subscribe", { job_id: id })
        yield* open("parent 1")
        yield* Effect.all([heard(owner, "child waits"), heard(second, "child waits")])
        const late = yield* greet(process, kind)
        yield* submit(late, "parent", null, rest)
        yield* Effect.all([barrier(late), barrier(observer)])
        expect([owner, second, late, observer].map((peer) => children(peer).length)).toEqual([
          wanted,
          wanted,
          wanted,
          0
        ])

        const next = yield* start
        const back = yield* greet(next, kind, { client: owner, after: lastSeq(owner) })
        yield* open("parent 2")
        yield* heard(back, "child waits")
        expect(children(back).length).toBe(wanted)
        const again = yield* greet(next, kind)
        yield* submit(again, "parent", null, rest)
        yield* barrier(again)
        expect(children(again).length).toBe(wanted)
        for (const attempt of [1, 2]) yield* open(`child ${attempt}`)
        for (const peer of [back, again]) expect((yield* peer.terminal(id)).payload.final_status).toBe("success")
      })
  )
})

describe("a rotated credential", () => {
  const models = { "model.use": ["tier-fast/*"] }
  const secretive = { features: without(core, "provisioned_credentials") }
  const plain = { features: core }
  /** What a client was told of the rotation: its value, in both places. */
  const told = (peer: Peer, jobId: string) =>
    eventsOf(peer, jobId).flatMap(({ payload }: Frame) =>
      payload.body?.phase === "credential_rotated"
        ? [payload.body.value ?? null, payload.body.details?.value ?? null]
        : []
    )

  // The newest events are in memory; what is older is read from the store, in pages that may reach into them.
  it.scoped.each([
    [0, 0],
    [600, 0],
    [0, 2_500]
  ])("§9.8.2 goes to each owner that may see it, live and replayed: behind %i events, and before %i", (counts) =>
    Effect.gen(function* () {
      const { start } = machine("auto")
      const process = yield* start
      const rest = { idempotency_key: "k", lease_request: models }
      const owner = yield* greet(process, plain)
      const accepted = yield* submit(owner, "holder", counts, rest)
      const id = accepted.job_id!
      yield* heard(owner, "filled")
      const repeat = (kind: Kind) =>
        Effect.gen(function* () {
          const peer = yield* greet(process, kind)
          expect((yield* submit(peer, "holder", counts, rest)).job_id).toBe(id)
          return peer
        })
      const [second, blind, away] = [yield* repeat(plain), yield* repeat(secretive), yield* repeat(plain)]
      const observer = yield* greet(process, plain)
      yield* ask(observer, "job.subscribe", { job_id: id })
      yield* barrier(away)
      yield* away.drop
      const { credentials } = accepted.payload as { credentials: ReadonlyArray<{ id: string; value: string }> }
      const rotated = yield* Effect.provide(
        Effect.flatMap(Credentials, ({ rotate }) => rotate(id, credentials[0]!.id)),
        process
      )
      const value = Redacted.value(rotated.value)
      expect(value).not.toBe(credentials[0]!.value)
      const phase = (frame: Frame) => frame.payload.body?.phase === "credential_rotated"
      for (const peer of [owner, second, blind, observer]) yield* peer.next("job.event", phase)
      yield* open("more")
      yield* heard(owner, "full")
      const back = yield* greet(process, plain, { client: away, after: lastSeq(away) })
      const whole = yield* greet(process, plain, { client: owner, after: 0 })
      const late = yield* greet(process, plain)
      yield* ask(late, "job.subscribe", { job_id: id, history: true })
      for (const peer of [back, whole, late]) yield* peer.next("job.event", phase)
      const asks = yield* greet(process, plain)
      const again = yield* submit(asks, "holder", counts, rest)
      expect({
        owner: told(owner, id),
        "a later owner": told(second, id),
        "an owner without the feature": told(blind, id),
        "an observer": told(observer, id),
        "an owner that was away": told(back, id),
        "an owner that reads all of it again": told(whole, id),
        "a late observer": told(late, id),
        "a repeat": again.payload.credentials.map((credential: { value: string }) => credential.value)
      }).toEqual({
        owner: [value, value],
        "a later owner": [value, value],
        "an owner without the feature": [null, null],
        "an observer": [null, null],
        "an owner that was away": [value, value],
        "an owner that reads all of it again": [value, value],
        "a late observer": [null, null],
        "a repeat": [value]
      })

      // The value was in memory alone, and is revoked: the job has a new one, and says so.
      const next = yield* start
      const after = yield* greet(next, plain, { client: whole, after: 0 })
      yield* heard(after, "full")
      yield* heard(after, "full")
      const renewed = (yield* submit(after, "holder", counts, rest)).payload.credentials
      expect(renewed).toEqual([expect.objectContaining({ value: expect.stringMatching(/^sk-/) })])
      expect(renewed[0].value).not.toBe(value)
      expect(told(after, id)).toEqual([null, null, renewed[0].value, renewed[0].value])
      yield* open("holder 2")
      expect((yield* after.terminal(id)).payload.result).toBe(1)
    })
  )
})

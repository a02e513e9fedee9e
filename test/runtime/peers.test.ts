/**
 * The runtime and clients of other SDKs, each played from its observed behaviour (`test/support/peers`). Every flow ends within
 * `bound`, in its result or in an error that the client has a name for: none hangs.
 */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, type Scope, Stream, TestClock, TestServices } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Credentials } from "../../src/runtime/index.js"
import type { Connector, TransportError } from "../../src/transport/Connection.js"
import { GoClient } from "../support/peers/goClient.js"
import { JavaClient } from "../support/peers/javaClient.js"
import { PythonClient } from "../support/peers/pythonClient.js"
import type { SdkClient, SdkError } from "../support/peers/sdkClient.js"
import { TypeScriptClient } from "../support/peers/typescriptClient.js"
import { lease, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { agents, gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

/** Real time that a flow may take. */
const bound = "10 seconds"

const within = <A, E, R>(what: string, flow: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.raceFirst(
    flow,
    Effect.zipRight(TestServices.provideLive(Effect.sleep(bound)), Effect.dieMessage(`${what} hangs`))
  )

const clients = [
  ["Go", () => new GoClient()],
  ["Java", () => new JavaClient()],
  ["Python", () => new PythonClient()],
  ["TypeScript", () => new TypeScriptClient()]
] as const

const more = Layer.mergeAll(
  agents,
  Agent.untyped("parent", () =>
    Effect.gen(function* () {
      yield* Job.log("waiting")
      yield* Deferred.await(gate("parent"))
      const child = yield* Job.startChild("echo", "from the child", { lease: {} })
      return yield* child.result
    })
  ),
  Agent.untyped("megabytes", () => Job.streamResult(Stream.range(1, 40).pipe(Stream.map(() => "x".repeat(100_000)))))
)

const main = (options: WorldOptions = {}) => world({ agents: more, ...options })
const delegating = { "agent.delegate": ["*"] }

type Opened = Effect.Effect<SdkClient, SdkError | TransportError, Connector | Scope.Scope>

const opened = (make: () => SdkClient): Opened =>
  Effect.suspend(() => {
    const client = make()
    return Effect.as(client.connect("alice-token"), client)
  })

/** What a flow ended with: its value, or the code of its error. */
const ending = <A, R>(
  what: string,
  flow: Effect.Effect<A, SdkError | TransportError, R>
): Effect.Effect<unknown, never, R> =>
  within(
    what,
    Effect.match(flow, {
      onSuccess: (value) => value,
      onFailure: (error) => (error as { code?: string }).code ?? error._tag
    })
  )

const waiting = (client: SdkClient) =>
  within(
    "the first event",
    Effect.repeat(Effect.yieldNow(), {
      until: () => client.seen.some((frame) => frame.payload.body?.message === "waiting")
    })
  )

const open = (name: string) => Deferred.succeed(gate(name), undefined)

describe.each(clients)("a client of the %s SDK", (name, make) => {
  const diesOf = (code: string): string => (name === "Python" ? "READER_DIED" : code)

  it.scoped("§7.1 submits and reads the result", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("echo", { text: "hi" }))
      expect(yield* ending("result", job.result)).toEqual({ text: "hi" })
      expect(client.dead).toBeUndefined()
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§12 is told of a refused submit, and the next submit is its own", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      expect(yield* ending("refusal", client.submit("nobody"))).toBe("AGENT_NOT_AVAILABLE")
      const refused = [
        ending("bad lease", client.submit("echo", 1, { lease: { "cost.budget": ["much"] } })),
        ending("bad run time", client.submit("echo", 1, { maxRuntimeSec: -1 }))
      ]
      for (const one of refused) expect(yield* one).toBe("INVALID_REQUEST")
      const job = yield* within("submit", client.submit("echo", "mine"))
      expect(yield* ending("result", job.result)).toBe("mine")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§7.6 is told of a refused subscription", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const subscription = Effect.flatMap(client.subscribe("job_none", true), ({ result }) => result)
      expect(yield* ending("refusal", subscription)).toBe("JOB_NOT_FOUND")
      const job = yield* within("submit", client.submit("echo", "mine"))
      expect(yield* ending("result", job.result)).toBe("mine")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§6.1 is told that its token is wrong, or that the connection ended", () =>
    Effect.gen(function* () {
      const client = make()
      const code = yield* ending("refusal", client.connect("wrong"))
      // It reads no session.error, and the close behind it.
      expect(code).toBe(name === "Java" ? "TRANSPORT" : "UNAUTHENTICATED")
      expect(client.seen[0]).toMatchObject({ type: "session.error", session_id: expect.stringMatching(/^sess_/) })
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§7.4 cancels", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("never"))
      yield* client.cancel(job.jobId)
      // Its reader dies of the final_status.
      expect(yield* ending("cancel", Effect.raceFirst(job.result, Deferred.await(client.death)))).toBe(
        diesOf("CANCELLED")
      )
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§7.4 a refused cancel does not end the job", () =>
    Effect.gen(function* () {
      const first = yield* opened(make)
      const job = yield* within("submit", first.submit("gate", { name: "kept" }))
      yield* waiting(first)
      const second = yield* opened(make)
      const observed = yield* within("subscribe", second.subscribe(job.jobId, false))
      yield* second.cancel(job.jobId)
      yield* within(
        "the refusal",
        Effect.repeat(Effect.yieldNow(), { until: () => second.seen.some(({ type }) => type === "session.error") })
      )
      expect(second.seen.filter(({ type }) => type === "job.error")).toEqual([])
      yield* open("kept")
      expect(yield* ending("result", job.result)).toBe("kept")
      // A session.error fails everything that these two have, and Go takes it for its job.
      if (name === "Java") expect(yield* ending("observer", observed.result)).toBe("kept")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§7.3 learns that a job has timed out", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("slow", null, { maxRuntimeSec: 1 }))
      yield* TestClock.adjust("1 second")
      expect(yield* ending("time-out", Effect.raceFirst(job.result, Deferred.await(client.death)))).toBe(
        diesOf("TIMEOUT")
      )
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§12 an agent's own failure is INTERNAL_ERROR, retryable, with the agent's code in the details", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("fail"))
      expect(yield* within("failure", Effect.flip(job.result))).toMatchObject({
        code: "INTERNAL_ERROR",
        message: "no luck",
        retryable: true,
        details: { agent_error: { code: "NO_LUCK" } }
      })
      const dead = yield* within("submit", client.submit("die"))
      expect(yield* within("defect", Effect.flip(dead.result))).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true
      })
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§6.3 resumes in the shape that it sends, and is sent what it missed and what comes", () =>
    Effect.gen(function* () {
      const first = yield* opened(make)
      const job = yield* within("submit", first.submit("gate", { name: "resumed" }))
      yield* waiting(first)
      yield* first.drop
      const second = make()
      const welcome = (yield* within("resume", second.connect("alice-token", first.facts))) as { session_id: string }
      expect(welcome.session_id).toBe(first.sessionId)
      yield* open("resumed")
      const terminal = () => second.seen.find((frame) => frame.type === "job.result" && frame.job_id === job.jobId)
      yield* within("the end", Effect.repeat(Effect.yieldNow(), { until: () => terminal() !== undefined }))
      expect(terminal()!.payload.result).toBe("resumed")
      expect(second.seen.filter((frame) => frame.event_seq !== undefined).map((frame) => frame.event_seq)).toEqual(
        Array.from({ length: second.lastSeq - first.lastSeq }, (_, i) => first.lastSeq + 1 + i)
      )
      const next = yield* within("submit", second.submit("echo", "after"))
      expect(yield* ending("result", next.result)).toBe("after")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§6.3 a session that is gone ends the resume", () =>
    Effect.gen(function* () {
      const client = make()
      const gone = { sessionId: "sess_gone", resumeToken: "rt_gone", lastSeq: 3 }
      const code = yield* ending("resume", client.connect("alice-token", gone))
      expect(code).toBe(name === "Java" ? "TRANSPORT" : "RESUME_WINDOW_EXPIRED")
      expect((yield* within("the close", client.ended)).code).toBe(1008)
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§7.2 repeats a key in another session, while the job runs and when it has ended", () =>
    Effect.gen(function* () {
      const key = { idempotencyKey: "again" }
      const first = yield* opened(make)
      const job = yield* within("submit", first.submit("gate", { name: "again" }, key))
      yield* waiting(first)
      const second = yield* opened(make)
      const repeated = yield* within("repeat", second.submit("gate", { name: "again" }, key))
      expect(repeated.jobId).toBe(job.jobId)
      yield* open("again")
      expect(yield* ending("result", repeated.result)).toBe("again")
      const third = yield* opened(make)
      const ended = yield* within("repeat", third.submit("gate", { name: "again" }, key))
      expect(yield* ending("result", ended.result)).toBe("again")
      const conflict = yield* ending("conflict", third.submit("gate", { name: "other" }, key))
      expect(conflict).toBe("DUPLICATE_KEY")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§7.6 observes a job with its history", () =>
    Effect.gen(function* () {
      const owner = yield* opened(make)
      const job = yield* within("submit", owner.submit("gate", { name: "observed" }))
      yield* waiting(owner)
      const observer = yield* opened(make)
      const observed = yield* within("subscribe", observer.subscribe(job.jobId, true))
      yield* waiting(observer)
      yield* open("observed")
      expect(yield* ending("observer", observed.result)).toBe("observed")
      expect(yield* ending("owner", job.result)).toBe("observed")
      const messages = observed.events.flatMap(({ body }) => (body.message === undefined ? [] : [body.message]))
      expect(messages).toEqual(["waiting", "through"])
      const late = yield* opened(make)
      const ended = yield* within("subscribe", late.subscribe(job.jobId, true))
      expect(yield* ending("late observer", ended.result)).toBe("observed")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§8.3 runs eight jobs at once, each with its own events and result", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const runs = Array.from({ length: 8 }, (_, i) =>
        Effect.gen(function* () {
          const job = yield* client.submit("counter", { count: 100 + i })
          expect(yield* job.result).toEqual({ count: 100 + i })
          return job.events.filter(({ kind }) => kind === "log").length
        })
      )
      const counts = yield* within("eight jobs", Effect.all(runs, { concurrency: "unbounded" }))
      expect(counts).toEqual([100, 101, 102, 103, 104, 105, 106, 107])
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§14 reads a large result: no frame is larger than it takes", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const text = "é".repeat(350_000)
      const inline = yield* within("submit", client.submit("echo", text))
      expect(yield* ending("inline", inline.result)).toBe(text)
      const streamed = yield* within("submit", client.submit("megabytes"))
      expect(yield* ending("stream", streamed.result)).toHaveLength(4_000_000)
      for (const frame of client.seen) expect(Buffer.byteLength(JSON.stringify(frame))).toBeLessThan(1_000_000)
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§6.6 lists its jobs", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("never"))
      const [row, ...others] = yield* within("listing", client.list())
      expect(others).toEqual([])
      expect(row).toMatchObject({ job_id: job.jobId, status: "running" })
      expect(row!.submitted_at).toBe(row!.created_at)
      expect(client.dead).toBeUndefined()
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§10 reads the result of a job that delegates", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("parent", null, { lease: delegating }))
      yield* waiting(client)
      yield* open("parent")
      expect(yield* ending("result", job.result)).toBe("from the child")
      const children = client.seen.filter((frame) => frame.type === "job.accepted" && frame.payload.parent_job_id)
      // It would take it for the answer to its next submit.
      expect(children).toHaveLength(name === "Java" ? 0 : 1)
      const next = yield* within("submit", client.submit("echo", "mine"))
      expect(yield* ending("result", next.result)).toBe("mine")
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§9.5 sets an expiry in its spelling, and §9.6 a budget", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const expiresAt = "2099-01-01T00:00:00Z"
      const job = yield* within("submit", client.submit("echo", 1, { expiresAt }))
      expect(job.accepted.lease_constraints).toEqual({ expires_at: expiresAt })
      const budgeted = client.submit("echo", 2, { lease: { "cost.budget": ["USD:1.00"] } })
      const code = yield* ending(
        "budget",
        Effect.flatMap(budgeted, ({ result }) => result)
      )
      // It takes a budget in words only.
      expect(code).toBe(name === "Python" ? "READER_DIED" : 2)
    }).pipe(Effect.provide(main()))
  )

  it.scoped("§6.7, 1.0 §6.4 closes; its job goes on, and the session can be resumed", () =>
    Effect.gen(function* () {
      const client = yield* opened(make)
      const job = yield* within("submit", client.submit("gate", { name: "left" }))
      yield* waiting(client)
      yield* client.close
      expect((yield* within("the close", client.ended)).code).toBe(1000)
      yield* open("left")
      const again = make()
      yield* within("resume", again.connect("alice-token", client.facts))
      const ended = () => again.seen.some((frame) => frame.type === "job.result" && frame.job_id === job.jobId)
      yield* within("the end", Effect.repeat(Effect.yieldNow(), { until: ended }))
    }).pipe(Effect.provide(main()))
  )
})

describe("strict peers", () => {
  const strict = () => main({ runtime: { peers: "strict" } })

  it.scoped("1.0 §5 every client is sent the same: no output beside result, and children are announced", () =>
    Effect.gen(function* () {
      const go = yield* opened(() => new GoClient())
      const job = yield* within("submit", go.submit("echo", "in result"))
      yield* ending("result", job.result)
      const end = go.seen.find(({ type }) => type === "job.result")!
      expect(end.payload).not.toHaveProperty("output")
      expect(end.payload.result).toBe("in result")
      const java = yield* opened(() => new JavaClient())
      const parent = yield* within("submit", java.submit("parent", null, { lease: delegating }))
      yield* open("parent")
      yield* ending("result", parent.result)
      expect(java.seen.filter((frame) => frame.payload.parent_job_id)).not.toEqual([])
      yield* Effect.fork(java.submit("nobody"))
      yield* within(
        "the refusal",
        Effect.repeat(Effect.yieldNow(), { until: () => java.seen.some(({ type }) => type === "session.error") })
      )
      yield* within("the listing", java.list())
      expect(java.seen.filter(({ type }) => type === "job.error")).toEqual([])
    }).pipe(Effect.provide(strict()))
  )
})

describe("credentials", () => {
  it.scoped.each([
    ["Go", () => new GoClient()],
    ["Java", () => new JavaClient()],
    ["TypeScript", () => new TypeScriptClient()]
  ] as const)("§9.8.2 a %s client reads a rotated value from the body and from its details", ([_name, make]) =>
    Effect.gen(function* () {
      const client: SdkClient = yield* opened(make)
      const job = yield* within("submit", client.submit("keeper", { name: "rotated" }, { lease }))
      const [{ id }] = job.accepted.credentials
      yield* waiting(client)
      const { value } = yield* (yield* Credentials).rotate(job.jobId, id)
      const body = () => job.events.map((event) => event.body).find(({ phase }) => phase === "credential_rotated")
      yield* within("the rotation", Effect.repeat(Effect.yieldNow(), { until: () => body() !== undefined }))
      expect(body()!.details).toEqual({ id, value: body()!.value })
      expect(body()).toMatchObject({ id, value: expect.stringMatching(/^sk-test-/) })
      expect(String(value)).toBe("<redacted>")
      yield* open("rotated")
      yield* ending("result", job.result)
    }).pipe(Effect.provide(provisioned(provisionedBackends[1]![1]())))
  )
})

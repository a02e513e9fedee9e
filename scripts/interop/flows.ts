/** What a client of this library does with another SDK's runtime, whose agents are those of `peer.py`. Each flow fails where it is not as it should be. */
import { Chunk, Data, Effect, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"

/** A flow went otherwise. */
class Otherwise extends Data.TaggedError("Otherwise")<{ readonly message: string }> {}

const equal = (actual: unknown, expected: unknown): Effect.Effect<void, Otherwise> =>
  Effect.suspend(() => {
    const [is, should] = [JSON.stringify(actual) ?? "undefined", JSON.stringify(expected)]
    return is === should
      ? Effect.void
      : new Otherwise({ message: `${is.slice(0, 80)} instead of ${should.slice(0, 80)}` })
  })

/** What a call fails with: its code, or its name. */
const failing = <A, E, R>(call: Effect.Effect<A, E, R>): Effect.Effect<string, Otherwise, R> =>
  Effect.matchEffect(call, {
    onSuccess: () => Effect.fail(new Otherwise({ message: "no error" })),
    onFailure: (error) => {
      const { _tag, code } = error as { readonly _tag?: string; readonly code?: string }
      return Effect.succeed(code ?? _tag ?? String(error))
    }
  })

const result = (agent: string, input: unknown, rest: object = {}) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit(agent, input, rest)
    return yield* job.result
  })

/** A job that waits at its gate. */
const waiting = (name: string, rest: object = {}) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    return yield* client.submit("gate", name, rest)
  })

type Flow = Effect.Effect<unknown, unknown, ArcpClient>

export const flows: ReadonlyArray<readonly [name: string, flow: Flow]> = [
  ["submit", Effect.flatMap(result("echo", { text: "hi" }), (value) => equal(value, { text: "hi" }))],
  [
    "events and progress",
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("counter", { count: 300 })
      const seen = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      const logs = seen.flatMap((event) => (event._tag === "log" ? [event.body.message] : []))
      yield* equal(
        logs,
        Array.from({ length: 300 }, (_, n) => `event ${n + 1}`)
      )
      yield* equal(
        seen.flatMap((event) => (event._tag === "progress" ? [event.body.current] : [])),
        [300]
      )
      yield* equal(yield* job.result, { count: 300 })
    })
  ],
  [
    "refused submit, then another",
    Effect.gen(function* () {
      yield* equal(yield* failing(result("nobody", 1)), "AGENT_NOT_AVAILABLE")
      yield* equal(yield* result("echo", 1), 1)
    })
  ],
  ["the agent's own failure", Effect.flatMap(failing(result("fail", 1)), (code) => equal(code, "INTERNAL_ERROR"))],
  [
    "streamed result of 4 MB",
    Effect.flatMap(result("stream", { chunks: 40, size: 100_000 }), (value) => equal(String(value).length, 4_000_000))
  ],
  [
    "listing",
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* waiting("listing")
      const rows = Chunk.toReadonlyArray(yield* Stream.runCollect(client.listJobs()))
      yield* equal(
        rows.some((row) => row.job_id === job.jobId),
        true
      )
    })
  ],
  [
    "eight jobs at once",
    Effect.gen(function* () {
      const counts = Array.from({ length: 8 }, (_, n) => 200 + n)
      const results = yield* Effect.forEach(counts, (count) => result("counter", { count }), {
        concurrency: "unbounded"
      })
      yield* equal(
        results,
        counts.map((count) => ({ count }))
      )
    })
  ],
  [
    "cancel",
    Effect.gen(function* () {
      const job = yield* waiting("cancel")
      yield* job.cancel()
      yield* equal(yield* failing(job.result), "CANCELLED")
    })
  ],
  [
    "time out",
    Effect.flatMap(failing(Effect.flatMap(waiting("time out", { maxRuntimeSec: 1 }), (job) => job.result)), (code) =>
      equal(code, "TIMEOUT")
    )
  ],
  ["budget", Effect.flatMap(result("echo", 1, { lease: { "cost.budget": ["USD:1.00"] } }), (value) => equal(value, 1))],
  [
    "repeat of a key",
    Effect.gen(function* () {
      const job = yield* waiting("repeat", { idempotencyKey: "repeat" })
      const again = yield* waiting("repeat", { idempotencyKey: "repeat" })
      yield* equal(again.jobId, job.jobId)
      yield* result("open", "repeat")
      yield* equal(yield* job.result, "repeat")
    })
  ],
  [
    "observer, with history",
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* waiting("observe")
      const observed = yield* client.subscribe(job.jobId, { history: true })
      yield* result("open", "observe")
      yield* equal(yield* observed.result, "observe")
      yield* equal(yield* job.result, "observe")
    })
  ],
  [
    "refused subscription",
    Effect.gen(function* () {
      const client = yield* ArcpClient
      yield* equal(yield* failing(client.subscribe("job_none")), "JOB_NOT_FOUND")
    })
  ],
  [
    "unsubscribe",
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* waiting("unsubscribe")
      yield* client.subscribe(job.jobId)
      yield* client.unsubscribe(job.jobId)
    })
  ],
  ["ping", Effect.flatMap(ArcpClient, (client) => client.ping)],
  [
    "close",
    Effect.gen(function* () {
      const client = yield* ArcpClient
      yield* result("echo", 1)
      yield* client.close
    })
  ]
]

/**
 * A client against the runtimes of four other SDKs, as scripted peers: each flow ends in its result or in a typed error within
 * the seconds that it states, whatever the peer does.
 */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Either, Exit, Fiber, Layer, Option, Redacted, Stream, TestClock } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { goRuntime } from "../support/peers/goRuntime.js"
import { javaRuntime } from "../support/peers/javaRuntime.js"
import { pythonRuntime } from "../support/peers/pythonRuntime.js"
import { listen, type Traits } from "../support/peers/sdkRuntime.js"
import { typescriptRuntime } from "../support/peers/typescriptRuntime.js"
import { isTyped } from "./typed.js"

const world = MemoryTransport.layerEncoded.pipe(Layer.provideMerge(Ids.layerSeeded(11)))

const client = (options: ClientOptions = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(ArcpClient.layerNoIds({ auth: { token: Redacted.make("t") }, ...options }))),
    (context) => context.unsafeMap.get(ArcpClient.key) as ArcpClient["Type"]
  )

const settle = Effect.repeatN(Effect.yieldNow(), 100)

/** Runs an effect while the clock goes on, second by second; fails where it has not ended within so many. */
const within = <A, E, R>(seconds: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    for (let second = 0; second <= seconds; second++) {
      yield* settle
      if (Option.isSome(yield* Fiber.poll(fiber))) return yield* Fiber.join(fiber)
      yield* TestClock.adjust("1 second")
    }
    return yield* Effect.dieMessage(`nothing came within ${seconds} seconds`)
  })

/** How an effect ended within so many seconds: its value, or its typed error. */
const outcome = <A, E, R>(seconds: number, effect: Effect.Effect<A, E, R>) =>
  Effect.map(within(seconds, Effect.exit(effect)), (exit): Either.Either<A, E> => {
    if (Exit.isSuccess(exit)) return Either.right(exit.value)
    const error = Cause.failureOption(exit.cause)
    if (Option.isNone(error)) return expect.fail(Cause.pretty(exit.cause))
    expect(isTyped(error.value)).toBe(true)
    return Either.left(error.value)
  })

const texts = (events: Iterable<{ readonly _tag: string; readonly body: unknown }>) =>
  [...events].map((event) => (event.body as { readonly text?: string }).text)

const runtimes: ReadonlyArray<readonly [string, Traits]> = [
  ["Go", goRuntime],
  ["Java", javaRuntime],
  ["Python", pythonRuntime],
  ["TypeScript", typescriptRuntime]
]

describe.each(runtimes)("a client of the %s SDK's runtime", (sdk, traits) => {
  const flow = (title: string, run: Effect.Effect<void, unknown, any>) =>
    it.scoped(title, () => run.pipe(Effect.provide(world), Effect.orDie) as Effect.Effect<void, never, never>)

  flow(
    "§7.1 submits, and gets the events, the budget and the result",
    Effect.gen(function* () {
      yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("echo", { a: 1 }, { lease: { "cost.budget": ["USD:1.50"] } }))
      expect(job.budget).toEqual({ USD: 1.5 })
      expect(yield* within(2, job.result)).toEqual({ a: 1 })
      expect(texts(yield* within(2, Stream.runCollect(job.events)))).toEqual(["one", "two"])
      const absent = yield* within(2, arcp.submit("echo"))
      expect(yield* within(2, absent.result)).toBe(null)
    })
  )

  flow(
    "§14 a submit over what the peer reads fails alone, after one reconnect; the job beside it goes on",
    Effect.gen(function* () {
      // 100 MiB would only take long.
      const frameBytes = Math.min(traits.frameBytes, 1_048_576)
      const { runtime } = yield* listen({ ...traits, frameBytes })
      const arcp = yield* client({ maxFrameBytes: 4_194_304 })
      const beside = yield* within(2, arcp.submit("never"))
      const before = runtime.connects
      const large = yield* outcome(5, arcp.submit("echo", "x".repeat(frameBytes)))
      expect(large).toMatchObject({ left: { code: "INVALID_REQUEST" } })
      expect(runtime.connects - before).toBeLessThanOrEqual(1)
      const small = yield* within(5, arcp.submit("echo", "small"))
      // Nothing of a job comes after a resume at this peer.
      const result = yield* outcome(15, small.result)
      if (sdk === "Python") expect(result).toMatchObject({ left: { _tag: "ResultInvalid" } })
      else expect(result).toEqual(Either.right("small"))
      expect((yield* outcome(5, arcp.submit("echo", "x".repeat(frameBytes))))._tag).toBe("Left")
      expect(runtime.connects - before).toBeLessThanOrEqual(1)
      expect((yield* outcome(20, Effect.zipRight(beside.cancel("enough"), beside.result)))._tag).toBe("Left")
    })
  )

  flow(
    "§7.1 a refused submit fails alone and at once; the job that is accepted next is given to its own call",
    Effect.gen(function* () {
      const { runtime } = yield* listen(traits)
      const arcp = yield* client()
      yield* within(2, arcp.connected)
      const calls = ["nothing", "echo", "none", "gate"].map((agent) =>
        Effect.either(Effect.map(arcp.submit(agent, agent), (job) => job.agent))
      )
      const answers = yield* within(
        5,
        Effect.withSpan(Effect.all(calls, { concurrency: "unbounded" }), "one span for all of them")
      )
      expect(answers.map((one) => (Either.isLeft(one) ? (one.left as { code?: string }).code : one.right))).toEqual([
        "AGENT_NOT_AVAILABLE",
        "echo",
        "AGENT_NOT_AVAILABLE",
        "gate"
      ])
      expect(runtime.connects).toBe(1)
    })
  )

  flow(
    "§7.2 a refused repeat of a key is DUPLICATE_KEY for its call, and the job that has the key goes on",
    Effect.gen(function* () {
      const { open } = yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("gate", 1, { idempotencyKey: "k" }))
      const again = yield* outcome(5, arcp.submit("echo", 1, { idempotencyKey: "k" }))
      expect(Either.isLeft(again) && again.left).toMatchObject({ code: "DUPLICATE_KEY" })
      yield* open
      expect(yield* within(5, job.result)).toBe(1)
    })
  )

  flow(
    "§7.4 a cancel is acknowledged, the job ends as cancelled, and one that comes later is answered",
    Effect.gen(function* () {
      const { runtime } = yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("never"))
      yield* within(2, job.cancel())
      expect(yield* within(2, Effect.flip(job.result))).toMatchObject({ code: "CANCELLED" })
      const late = yield* outcome(2, job.cancel())
      expect(Either.isLeft(late) && late.left).toMatchObject({ code: "INVALID_REQUEST" })
      yield* within(5, arcp.ping)
      yield* TestClock.adjust("10 seconds")
      expect(runtime.connects).toBe(1)
      expect(runtime.seen.filter(({ type }) => type === "job.cancel").length).toBe(1)
    })
  )

  flow(
    "§7.3 a job that times out fails with TIMEOUT",
    Effect.gen(function* () {
      yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("late", 1, { maxRuntimeSec: 1 }))
      expect(yield* within(2, Effect.flip(job.result))).toMatchObject({ code: "TIMEOUT" })
    })
  )

  flow(
    "§6.3 a job goes on over a resume, or ends in a typed error within 40 seconds",
    Effect.gen(function* () {
      const { cut, open } = yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("gate", "in"))
      yield* cut
      yield* within(5, arcp.ping)
      yield* open
      const result = yield* outcome(40, job.result)
      const events = yield* outcome(1, Stream.runCollect(job.events))
      // The result that a Python runtime does not send again is missing, and said to be.
      if (sdk === "Python") expect(Either.isLeft(result) && result.left).toMatchObject({ _tag: "ResultInvalid" })
      else {
        expect(result).toEqual(Either.right("in"))
        expect(texts(Either.getOrThrow(events))).toEqual(["one", "after"])
      }
    })
  )

  flow(
    "§6.3 a job that runs when a resume leaves it silent is found by a subscription",
    Effect.gen(function* () {
      const { cut, open } = yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("gate", "in"))
      yield* cut
      yield* within(5, arcp.ping)
      yield* TestClock.adjust("20 seconds")
      yield* open
      expect(yield* within(5, job.result)).toBe("in")
      expect(texts(yield* within(1, Stream.runCollect(job.events)))).toEqual(["one", "after"])
    })
  )

  for (const forgetsJobs of [false, true]) {
    flow(
      `§6.3 a session that is gone (its jobs ${forgetsJobs ? "too" : "not"}) is replaced; the job goes on or ends in a typed error within 40 seconds`,
      Effect.gen(function* () {
        const { cut, forget, open, runtime } = yield* listen(traits)
        const arcp = yield* client()
        const job = yield* within(2, arcp.submit("gate", "in"))
        yield* forget(forgetsJobs)
        yield* cut
        yield* within(5, arcp.ping)
        yield* TestClock.adjust("1 second")
        yield* open
        const result = yield* outcome(40, job.result)
        if (forgetsJobs) expect(Either.isLeft(result) && result.left).toMatchObject({ code: "JOB_NOT_FOUND" })
        else expect(result).toEqual(Either.right("in"))
        const other = yield* within(2, arcp.submit("echo", 2))
        expect(yield* within(2, other.result)).toBe(2)
        expect(runtime.connects).toBeLessThan(5)
      })
    )
  }

  flow(
    "§7.2 the repeat of an ended key ends in the result or in a typed error within 15 seconds",
    Effect.gen(function* () {
      yield* listen(traits)
      const first = yield* client()
      const job = yield* within(2, first.submit("echo", 5, { idempotencyKey: "k" }))
      expect(yield* within(2, job.result)).toBe(5)
      for (const arcp of [first, yield* client()]) {
        const again = yield* within(2, arcp.submit("echo", 5, { idempotencyKey: "k" }))
        expect(again.jobId).toBe(job.jobId)
        const result = yield* outcome(15, again.result)
        if (sdk === "TypeScript") expect(result).toEqual(Either.right(5))
        else expect(Either.isLeft(result)).toBe(true)
      }
    })
  )

  flow(
    "§7.6 a running job is observed with its history, every event once",
    Effect.gen(function* () {
      const { open, runtime } = yield* listen(traits)
      const owner = yield* client()
      const job = yield* within(2, owner.submit("gate", 3))
      const arcp = yield* client()
      const other = yield* within(2, arcp.submit("echo", 4))
      expect(yield* within(2, other.result)).toBe(4)
      const observed = yield* within(2, arcp.subscribe(job.jobId, { history: true }))
      yield* open
      expect(yield* within(2, observed.result)).toBe(3)
      expect(texts(yield* within(2, Stream.runCollect(observed.events)))).toEqual(["one", "after"])
      const last = yield* within(2, arcp.submit("echo", 6))
      expect(yield* within(2, last.result)).toBe(6)
      yield* TestClock.adjust("10 seconds")
      expect(runtime.connects).toBe(2)
    })
  )

  flow(
    "§7.6 a subscribe to an ended job ends in its result or in a typed error within 15 seconds",
    Effect.gen(function* () {
      yield* listen(traits)
      const owner = yield* client()
      const job = yield* within(2, owner.submit("echo", 3))
      yield* within(2, job.result)
      const arcp = yield* client()
      for (const history of [true, false]) {
        const result = yield* outcome(
          15,
          Effect.flatMap(arcp.subscribe(job.jobId, { history }), (observed) => observed.result)
        )
        if (sdk === "TypeScript") expect(result).toEqual(Either.right(3))
        else {
          expect(Either.isLeft(result) && result.left).toMatchObject(
            sdk === "Go" ? { code: "JOB_NOT_FOUND" } : { _tag: "ResultInvalid" }
          )
        }
      }
    })
  )

  flow(
    "§7.6 an unknown job is refused, also while other requests wait",
    Effect.gen(function* () {
      yield* listen(traits)
      const arcp = yield* client()
      const job = yield* within(2, arcp.submit("never"))
      const answers = yield* within(
        5,
        Effect.all([Effect.either(arcp.subscribe("job_unknown")), Effect.either(Stream.runCollect(arcp.listJobs()))], {
          concurrency: "unbounded"
        })
      )
      expect(Either.isLeft(answers[0]) && answers[0].left).toMatchObject({ code: "JOB_NOT_FOUND" })
      expect(Either.getOrThrow(answers[1]).pipe(Chunk.map((row) => [row.job_id, row.created_at]))).toEqual(
        Chunk.of([job.jobId, "2026-01-01T00:00:00.000Z"])
      )
    })
  )

  flow(
    "§8.3 eight jobs at once lose no event, and the session is not resumed",
    Effect.gen(function* () {
      const { runtime } = yield* listen(traits)
      const arcp = yield* client()
      yield* within(2, arcp.connected)
      const input = { of: 8, events: 300 }
      const jobs = yield* within(
        5,
        Effect.all(
          Array.from({ length: 8 }, () => arcp.submit("burst", input)),
          { concurrency: "unbounded" }
        )
      )
      for (const job of jobs) {
        expect(yield* within(2, job.result)).toBe(job.jobId)
        const expected = Array.from({ length: input.events }, (_, n) => `${job.jobId} ${n}`)
        expect(texts(yield* within(2, Stream.runCollect(job.events)))).toEqual(["one", ...expected])
      }
      yield* TestClock.adjust("10 seconds")
      expect(runtime.connects).toBe(1)
      expect((yield* arcp.session)?.lastEventSeq).toBe(8 * (input.events + 2))
    })
  )

  flow(
    "§6.7 the client closes within the time that it gives the answer",
    Effect.gen(function* () {
      yield* listen(traits)
      const arcp = yield* client({ closeTimeout: "2 seconds" })
      const job = yield* within(2, arcp.submit("never"))
      const waiting = yield* Effect.fork(Effect.exit(job.result))
      yield* within(3, arcp.close)
      const exit = yield* within(1, Fiber.join(waiting))
      expect(Exit.isFailure(exit)).toBe(true)
      expect(yield* within(1, Effect.flip(arcp.ping))).toMatchObject({ _tag: "ClientClosed" })
    })
  )
})

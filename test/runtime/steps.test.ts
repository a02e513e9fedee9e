/** Durable steps, over runtimes that die and start again on the same store. */
import { describe, expect, it } from "@effect/vitest"
import { type Context, DateTime, Deferred, Effect, Exit, Layer, Option, Schema, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { fingerprint } from "../../src/runtime/jobs/handler/fingerprint.js"
import { Store, StoreError } from "../../src/store/Store.js"
import type { Connector } from "../../src/transport/Connection.js"
import { makeStore, resumed, start, stores } from "./mortal.js"
import { eventsOf, hello, type Peer, submit } from "./peer.js"

const stepsOf = (store: typeof Store.Service, jobId: string, name: string) =>
  Effect.map(store.step(jobId, name), Option.getOrUndefined)

/** A job of the agent `steps`, once it has come to a point. */
const until = <A>(process: Context.Context<Connector>, reached: Deferred.Deferred<A>) =>
  Effect.gen(function* () {
    const peer = yield* hello()
    const { job_id } = yield* submit(peer, "steps")
    yield* Deferred.await(reached)
    return { peer, jobId: job_id! }
  }).pipe(Effect.provide(process))

describe.each(stores)("durable steps over %s", (_name, layer) => {
  it.scoped("a rerun answers what was recorded and goes on where it was, over any number of crashes", () =>
    Effect.gen(function* () {
      const { die, layer: stored } = yield* makeStore(layer())
      const ran: Array<string> = []
      let reached = yield* Deferred.make<void>()
      const step = (name: string) =>
        Job.step(
          name,
          Schema.Struct({ name: Schema.String, at: Schema.DateTimeUtc }),
          Effect.zipRight(
            Job.log(`in ${name}`),
            Effect.sync(() => {
              ran.push(name)
              return { name, at: DateTime.unsafeMake(ran.length) }
            })
          )
        )
      const agents = Agent.untyped(
        "steps",
        () =>
          Effect.gen(function* () {
            const { attempt } = yield* Job
            const results: Array<{ readonly name: string; readonly at: DateTime.Utc }> = []
            for (let n = 1; n <= 4; n++) {
              results.push(yield* step(`s${n}`))
              if (n === attempt) {
                yield* Deferred.succeed(reached, undefined)
                return yield* Effect.never
              }
            }
            expect(results.every(({ at }) => DateTime.isDateTime(at))).toBe(true)
            return { attempt, results: results.map(({ at, name }) => `${name}@${at.epochMillis}`) }
          }),
        { onRestart: "rerun" }
      )
      const { jobId, peer } = yield* until(yield* start(stored, agents), reached)
      let last: Peer & { readonly sessionId: string; readonly token: string } = peer
      const seen = [...eventsOf(peer, jobId)]
      for (let attempt = 2; attempt <= 5; attempt++) {
        yield* die
        reached = yield* Deferred.make<void>()
        const process = yield* start(stored, agents)
        const cursor = seen.length
        last = yield* hello({
          resume: { session_id: peer.sessionId, resume_token: last.token, last_event_seq: cursor }
        }).pipe(Effect.provide(process))
        if (attempt < 5) {
          yield* Deferred.await(reached)
          yield* last.next("job.event", ({ payload }) => payload.body.message === `in s${attempt}`)
        } else yield* last.terminal(jobId)
        seen.push(...eventsOf(last, jobId))
      }
      expect(ran).toEqual(["s1", "s2", "s3", "s4"])
      expect(seen.map((frame) => frame.event_seq)).toEqual(seen.map((_, i) => i + 1))
      expect(seen.flatMap(({ payload }) => (payload.kind === "log" ? [payload.body.message] : []))).toEqual([
        "in s1",
        "in s2",
        "in s3",
        "in s4"
      ])
      expect((yield* last.terminal(jobId)).payload.result).toEqual({
        attempt: 5,
        results: ["s1@1", "s2@2", "s3@3", "s4@4"]
      })
    })
  )

  it.scoped("steps side by side keep their place by name, and one name runs once", () =>
    Effect.gen(function* () {
      const { die, layer: stored, store } = yield* makeStore(layer())
      const ran: Array<string> = []
      const parked = yield* Deferred.make<void>()
      const step = (name: string) =>
        Job.step(
          name,
          Schema.Number,
          Effect.zipRight(
            Effect.yieldNow(),
            Effect.sync(() => ran.push(name))
          )
        )
      const agents = Agent.untyped(
        "steps",
        () =>
          Effect.gen(function* () {
            const { attempt } = yield* Job
            // In another order in each attempt, and each name twice at once.
            const names = ["a", "b", "c", "a", "b", "c"]
            const results = yield* Effect.forEach(attempt === 1 ? names : names.toReversed(), step, {
              concurrency: "unbounded"
            })
            if (attempt > 1) return results
            yield* Deferred.succeed(parked, undefined)
            return yield* Effect.never
          }),
        { onRestart: "rerun" }
      )
      const { jobId, peer } = yield* until(yield* start(stored, agents), parked)
      expect(ran.toSorted()).toEqual(["a", "b", "c"])
      const recorded = yield* Effect.forEach(["c", "b", "a"], (name) => stepsOf(store, jobId, name))
      yield* die
      const second = yield* start(stored, agents)
      const again = yield* Effect.provide(resumed(peer), second)
      const values = recorded.map((record) => Number(record!.value))
      expect((yield* again.terminal(jobId)).payload.result).toEqual([...values, ...values])
      expect(values.toSorted()).toEqual([1, 2, 3])
      expect(ran.toSorted()).toEqual(["a", "b", "c"])
    })
  )

  it.scoped("a changed schema is refused, and the step is not run", () =>
    Effect.gen(function* () {
      const { die, layer: stored } = yield* makeStore(layer())
      const parked = yield* Deferred.make<void>()
      let ran = 0
      const count = Effect.sync(() => ++ran)
      const agents = Agent.untyped(
        "steps",
        () =>
          Effect.gen(function* () {
            const { attempt } = yield* Job
            if (attempt === 1) {
              yield* Job.step("count", Schema.Number, count)
              yield* Job.step("narrow", Schema.Number, Effect.succeed(-1))
              yield* Deferred.succeed(parked, undefined)
              return yield* Effect.never
            }
            const other = yield* Effect.flip(Job.step("count", Schema.NumberFromString, count))
            // The same JSON, and a value that no longer fits.
            const narrow = yield* Effect.flip(Job.step("narrow", Schema.NonNegative, count))
            const same = yield* Job.step("count", Schema.Int, count)
            return { other, narrow: narrow.message, same }
          }),
        { onRestart: "rerun" }
      )
      const { jobId, peer } = yield* until(yield* start(stored, agents), parked)
      yield* die
      const again = yield* Effect.provide(resumed(peer), yield* start(stored, agents))
      const { result } = (yield* again.terminal(jobId)).payload
      expect(result.other).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true,
        details: { reason: "step_changed", step: "count" },
        message:
          'step "count": its recorded result was written with another schema; a step whose result has changed needs another name'
      })
      expect(result.narrow).toMatch(/^step "narrow": its recorded result does not fit the schema: /)
      expect(result.same).toBe(1)
      expect(ran).toBe(1)
    })
  )

  it.scoped("a step that was running when the process died, or that failed, runs again", () =>
    Effect.gen(function* () {
      const { die, layer: stored } = yield* makeStore(layer())
      const parked = yield* Deferred.make<void>()
      const ran: Array<string> = []
      const agents = Agent.untyped(
        "steps",
        () =>
          Effect.gen(function* () {
            const { attempt } = yield* Job
            const failed = yield* Effect.exit(
              Job.step(
                "fails",
                Schema.String,
                Effect.suspend(() => {
                  ran.push(`fails ${attempt}`)
                  return attempt === 1 ? Effect.fail("no luck" as const) : Effect.succeed("luck")
                })
              )
            )
            if (attempt === 1) expect(Exit.isFailure(failed)).toBe(true)
            return yield* Job.step(
              "long",
              Schema.Void,
              Effect.suspend(() => {
                ran.push(`long ${attempt}`)
                return attempt > 1 ? Effect.void : Effect.zipRight(Deferred.succeed(parked, undefined), Effect.never)
              })
            )
          }),
        { onRestart: "rerun" }
      )
      const { jobId, peer } = yield* until(yield* start(stored, agents), parked)
      yield* die
      const again = yield* Effect.provide(resumed(peer), yield* start(stored, agents))
      expect((yield* again.terminal(jobId)).type).toBe("job.result")
      expect(ran).toEqual(["fails 1", "long 1", "fails 2", "long 2"])
    })
  )

  it.scoped("bounds: names, results and their number; what is not JSON; a step inside itself", () =>
    Effect.gen(function* () {
      const { layer: stored } = yield* makeStore(layer())
      const message = <A, E extends { readonly message: string }>(effect: Effect.Effect<A, E, Job>) =>
        Effect.map(Effect.flip(effect), (error) => error.message)
      const agents = Agent.untyped("steps", () =>
        Effect.gen(function* () {
          const ok = Effect.succeed("x")
          return [
            yield* message(Job.step("", Schema.String, ok)),
            yield* message(Job.step("n".repeat(257), Schema.String, ok)),
            yield* Job.step("n".repeat(256), Schema.String, Effect.succeed("y".repeat(98))),
            yield* message(Job.step("long", Schema.String, Effect.succeed("y".repeat(99)))),
            yield* message(Job.step("bigint", Schema.Unknown, Effect.succeed(1n))),
            yield* message(Job.step("nan", Schema.Number, Effect.succeed(Number.NaN))),
            yield* message(Job.step("itself", Schema.String, Job.step("itself", Schema.String, ok))),
            (yield* Job.step("nothing", Schema.Void, Effect.void)) === undefined,
            // The third does not fit, however often those before it are called again.
            yield* message(Job.step("third", Schema.String, ok)),
            yield* Job.step("n".repeat(256), Schema.String, ok)
          ]
        })
      )
      const process = yield* start(stored, agents, { steps: 2, stepResult: 100 })
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "steps")
        const { result } = (yield* peer.terminal(job_id!)).payload
        expect(result).toEqual([
          "step: a name has 1 to 256 characters",
          "step: a name has 1 to 256 characters",
          "y".repeat(98),
          'step "long": the result is 101 characters long, at most 100 are recorded; keep it as an artifact',
          'step "bigint": the result is not JSON: it has a cycle or a bigint',
          'step "nan": the result does not fit the schema, or is another once it has been JSON: result: must be a number',
          'step "itself": is inside itself',
          true,
          'step "third": a job has at most 2 steps',
          "y".repeat(98)
        ])
      }).pipe(Effect.provide(process))
    })
  )

  it.scoped("a store that fails holds the step until it has taken the result", () =>
    Effect.gen(function* () {
      const { store } = yield* makeStore(layer())
      let failing = false
      const tried = yield* Deferred.make<void>()
      const flaky = Layer.succeed(Store, {
        ...store,
        commit: (batch: Parameters<typeof store.commit>[0]) =>
          failing
            ? Effect.zipRight(
                Deferred.succeed(tried, undefined),
                Effect.fail(new StoreError({ operation: "commit", message: "the disk is full" }))
              )
            : store.commit(batch)
      })
      let returned = false
      const agents = Agent.untyped("steps", () =>
        Effect.gen(function* () {
          yield* Job.step(
            "one",
            Schema.Number,
            Effect.sync(() => {
              failing = true
              return 1
            })
          )
          returned = true
        })
      )
      const process = yield* start(flaky, agents)
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "steps")
        yield* Deferred.await(tried)
        expect(returned).toBe(false)
        failing = false
        // However long the journal waits before it tries again.
        yield* Effect.raceFirst(peer.terminal(job_id!), Effect.forever(TestClock.adjust("1 second")))
        expect(returned).toBe(true)
      }).pipe(Effect.provide(process))
    })
  )
})

describe("the fingerprint of a schema", () => {
  interface Tree {
    readonly value: string
    readonly children: ReadonlyArray<Tree>
  }
  const Tree = Schema.Struct({
    value: Schema.String,
    children: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Tree))
  })
  class Named extends Schema.Class<Named>("Named")({ a: Schema.String, b: Schema.NumberFromString }) {}

  it("is the same for what writes the same JSON", () => {
    const same: ReadonlyArray<readonly [Schema.Schema.AnyNoContext, Schema.Schema.AnyNoContext]> = [
      [Schema.Number, Schema.Int],
      [Schema.Date, Schema.String],
      [Schema.Struct({ a: Schema.String, b: Schema.Number }), Schema.Struct({ b: Schema.Number, a: Schema.String })],
      [Named, Schema.Struct({ a: Schema.String, b: Schema.String })],
      [Schema.Union(Schema.String, Schema.Null), Schema.NullOr(Schema.String)]
    ]
    for (const [a, b] of same) expect(fingerprint(a)).toBe(fingerprint(b))
  })

  it("is another for what does not", () => {
    const all: ReadonlyArray<Schema.Schema.AnyNoContext> = [
      Schema.String,
      Schema.Number,
      Schema.Boolean,
      Schema.Void,
      Schema.Literal("a"),
      Schema.Literal("a", "b"),
      Schema.NullOr(Schema.String),
      Schema.Array(Schema.String),
      Schema.Tuple(Schema.String),
      Schema.Tuple(Schema.optionalElement(Schema.String)),
      Schema.Struct({ a: Schema.String }),
      Schema.Struct({ a: Schema.optional(Schema.String) }),
      Schema.Struct({ a: Schema.Number }),
      Schema.Record({ key: Schema.String, value: Schema.String }),
      Schema.TemplateLiteral("a", Schema.String),
      Schema.Enums({ A: "a" } as const),
      Tree,
      Named
    ]
    expect(new Set(all.map(fingerprint)).size).toBe(all.length)
  })
})

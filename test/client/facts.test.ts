/** Going on in another process: what facts count as processed, and what an attached job shows (ARCP 1.1 §6.3). */
import { describe, expect, it } from "@effect/vitest"
import {
  Chunk,
  Deferred,
  Effect,
  Exit,
  FastCheck as fc,
  Fiber,
  Layer,
  Option,
  Redacted,
  Schema,
  Scope,
  Stream
} from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient, type ArcpClientService, type SessionFacts, SessionFactsJson } from "../../src/client/index.js"
import type { Connector } from "../../src/transport/Connection.js"
import { Faults, layer as faulty } from "../../src/testing/FaultyTransport.js"
import { world } from "../runtime/world.js"
import { runs } from "../support/properties.js"

/** Numbers from 1; waits for its gate after the first `before`. */
const gates = new Map<string, Deferred.Deferred<void>>()
const gate = (name: string) => {
  const found = gates.get(name) ?? Effect.runSync(Deferred.make<void>())
  gates.set(name, found)
  return found
}
const agents = Layer.mergeAll(
  Agent.untyped("numbers", (input) =>
    Effect.gen(function* () {
      const { before, count, name } = input as { before: number; count: number; name: string }
      for (let n = 1; n <= count; n++) {
        yield* Job.log(`${n}`)
        if (n === before) yield* Deferred.await(gate(name))
      }
      return name
    })
  ),
  Agent.untyped("pieces", (input) => {
    const { name } = input as { name: string }
    return Job.streamResult(
      Stream.range(1, 10).pipe(
        Stream.mapEffect((n) => Effect.as(n === 5 ? Deferred.await(gate(name)) : Effect.void, `${n};`))
      )
    )
  })
)

const runtime = Layer.provideMerge(
  faulty,
  world({ agents, limits: { runningJobsPerPrincipal: 1_000 }, runtime: { resumeWindow: 60_000 } })
)

/** A process with a client: `kill` ends it as a crash does, without a word to the runtime. */
const process = (resume?: SessionFacts) =>
  Effect.gen(function* () {
    const faults = yield* Faults
    const scope = yield* Scope.make()
    const client = yield* Scope.extend(
      ArcpClient.make({ auth: { token: Redacted.make("alice-token") }, resume, closeTimeout: 0, backoff: 1 }),
      scope
    )
    yield* client.connected
    const kill = Effect.gen(function* () {
      yield* faults.refuseConnects(1_000)
      yield* faults.cut
      yield* Scope.close(scope, Exit.void)
      yield* faults.refuseConnects(0)
    })
    return { client, kill }
  })

const numbersOf = (events: Chunk.Chunk<{ readonly _tag: string; readonly body?: unknown }>) =>
  Chunk.toReadonlyArray(events).flatMap((e) =>
    e._tag === "log" ? [Number((e.body as { message: string }).message)] : []
  )

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

const factsOf = (client: ArcpClientService) =>
  Effect.map(client.session, (facts) => facts ?? expect.fail("there is no session"))

describe("§6.3 session facts", () => {
  it.scopedLive(
    "count what was processed: twenty of two hundred, and another process goes on with the twenty-first",
    () =>
      Effect.gen(function* () {
        const first = yield* process()
        const job = yield* first.client.submit("numbers", { name: "a", before: 200, count: 400 })
        const unread = yield* first.client.submit("numbers", { name: "b", before: 5, count: 10 })
        // The status and twenty numbers are processed when the next pull comes.
        const pulled = yield* Deferred.make<void>()
        let seen = 0
        const reading = yield* job.eventsWith({ chunkSize: 1 }).pipe(
          Stream.runForEach(() =>
            ++seen === 22 ? Effect.zipRight(Deferred.succeed(pulled, undefined), Effect.never) : Effect.void
          ),
          Effect.fork
        )
        yield* Deferred.await(pulled)
        // All that was emitted has come.
        yield* first.client.ping
        const facts = yield* factsOf(first.client)
        yield* Fiber.interrupt(reading)
        expect(yield* factsOf(first.client)).toEqual(facts)
        yield* first.kill

        const second = yield* process(facts)
        expect((yield* factsOf(second.client)).sessionId).toBe(facts.sessionId)
        const again = yield* second.client.attach(job.jobId)
        const other = yield* second.client.attach(unread.jobId)
        yield* Deferred.succeed(gate("a"), undefined)
        yield* Deferred.succeed(gate("b"), undefined)
        expect(numbersOf(yield* Stream.runCollect(again.events))).toEqual(range(21, 400))
        expect(yield* again.result).toBe("a")
        expect(again.agent).toBe("numbers@1.0.0")
        // Its handle was never read: all of its history.
        expect(numbersOf(yield* Stream.runCollect(other.events))).toEqual(range(1, 10))
        const whole = yield* second.client.subscribe(job.jobId, { history: true })
        expect(numbersOf(yield* Stream.runCollect(whole.events))).toEqual(range(1, 400))
        const later = yield* factsOf(second.client)
        yield* second.kill
        const third = yield* process(later)
        const last = yield* third.client.attach(job.jobId)
        expect(numbersOf(yield* Stream.runCollect(last.events))).toEqual([])
        expect(yield* last.result).toBe("a")
      }).pipe(Effect.provide(runtime))
  )

  it.scopedLive(
    "of a job that ended while no process was there: its rest, its result, and cancel is refused as ended",
    () =>
      Effect.gen(function* () {
        const first = yield* process()
        const job = yield* first.client.submit("numbers", { name: "c", before: 10, count: 20 })
        yield* Stream.runDrain(Stream.takeUntil(job.events, (e) => e._tag === "log" && e.body.message === "10"))
        const facts = yield* factsOf(first.client)
        yield* first.kill
        yield* Deferred.succeed(gate("c"), undefined)
        const second = yield* process(
          yield* Schema.decode(SessionFactsJson)(yield* Schema.encode(SessionFactsJson)(facts))
        )
        const again = yield* second.client.attach(job.jobId, { output: Schema.String })
        const shown = numbersOf(yield* Stream.runCollect(again.events))
        expect(shown).toEqual(range(shown[0]!, 20))
        expect(shown[0]).toBeLessThanOrEqual(11)
        expect(yield* again.result).toBe("c")
        expect(yield* Effect.flip(again.cancel())).toMatchObject({ _tag: "InvalidRequest" })
      }).pipe(Effect.provide(runtime))
  )

  it.scopedLive(
    "a running job that is attached can be cancelled; history: true in a resumed session is the job's history",
    () =>
      Effect.gen(function* () {
        const first = yield* process()
        const job = yield* first.client.submit("numbers", { name: "never", before: 5, count: 6 })
        yield* Stream.runDrain(Stream.takeUntil(job.events, (e) => e._tag === "log" && e.body.message === "5"))
        const facts = yield* factsOf(first.client)
        yield* first.kill
        const second = yield* process(facts)
        const whole = yield* second.client.subscribe(job.jobId, { history: true })
        const again = yield* second.client.attach(job.jobId)
        yield* again.cancel("enough")
        expect(yield* Effect.flip(again.result)).toMatchObject({ _tag: "Cancelled" })
        expect(numbersOf(yield* Stream.runCollect(whole.events))).toEqual(range(1, 5))
      }).pipe(Effect.provide(runtime))
  )

  it.scopedLive("a stream that owned a result goes on with the next chunk; without one the result is whole", () =>
    Effect.gen(function* () {
      const first = yield* process()
      const owned = yield* first.client.submit("pieces", { name: "d" })
      const taken = yield* Deferred.make<void>()
      let text = ""
      yield* owned.chunks.pipe(
        Stream.runForEach((piece) => {
          text += String(piece)
          return text.endsWith("3;") ? Deferred.succeed(taken, undefined) : Effect.void
        }),
        Effect.fork
      )
      const kept = yield* first.client.submit("pieces", { name: "e" })
      yield* Effect.fork(Stream.runDrain(kept.events))
      yield* Deferred.await(taken)
      yield* first.client.ping
      const facts = yield* factsOf(first.client)
      yield* first.kill
      const second = yield* process(facts)
      const again = yield* second.client.attach(owned.jobId)
      const other = yield* second.client.attach(kept.jobId)
      const rest = yield* Effect.fork(Stream.runCollect(again.chunks))
      yield* Deferred.succeed(gate("d"), undefined)
      yield* Deferred.succeed(gate("e"), undefined)
      expect(text + Chunk.join(Chunk.map(yield* Fiber.join(rest), String), "")).toBe("1;2;3;4;5;6;7;8;9;10;")
      expect(yield* Effect.flip(again.result)).toMatchObject({ _tag: "ResultStreamed" })
      expect(yield* other.result).toBe("1;2;3;4;5;6;7;8;9;10;")
    }).pipe(Effect.provide(runtime))
  )

  it.scopedLive("come as changes: the token of each connection, and the mark; the stream ends with the client", () =>
    Effect.gen(function* () {
      const { client } = yield* process()
      const faults = yield* Faults
      const all: Array<SessionFacts> = []
      const watching = yield* Effect.fork(
        Stream.runForEach(client.sessionChanges, (facts) => Effect.sync(() => void all.push(facts)))
      )
      yield* client.sessionChanges.pipe(Stream.take(1), Stream.runDrain)
      const token = Redacted.value((yield* factsOf(client)).resumeToken)
      yield* faults.cut
      yield* client.sessionChanges.pipe(
        Stream.takeUntil((facts) => Redacted.value(facts.resumeToken) !== token),
        Stream.runDrain
      )
      const job = yield* client.submit("numbers", { name: "f", before: 0, count: 3 })
      yield* Stream.runDrain(job.events)
      yield* client.sessionChanges.pipe(
        Stream.takeUntil((facts) => facts.lastEventSeq >= 5),
        Stream.runDrain
      )
      yield* client.close
      yield* Fiber.join(watching)
      expect(new Set(all.map((facts) => Redacted.value(facts.resumeToken))).size).toBeGreaterThanOrEqual(2)
      expect(all.at(-1)).toMatchObject({ lastEventSeq: 5, jobs: [{ jobId: job.jobId }] })
      expect(JSON.stringify(all)).not.toContain(token)
    }).pipe(Effect.provide(runtime))
  )

  it.scopedLive(
    "random jobs, streams and crashes: no event is lost, and no stream shows one twice",
    () =>
      Effect.gen(function* () {
        const context = yield* Effect.context<Connector | Faults>()
        let run = 0
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(
              fc.array(
                fc.record({
                  count: fc.integer({ min: 1, max: 30 }),
                  before: fc.integer({ min: 1, max: 30 }),
                  // How much each stream takes in each life; undefined: the handle is not read.
                  lives: fc.array(fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }), {
                    minLength: 2,
                    maxLength: 2
                  }),
                  chunkSize: fc.constantFrom(1, 3, 100)
                }),
                { minLength: 1, maxLength: 4 }
              ),
              fc.boolean(),
              (jobs, cut) =>
                // @effect-diagnostics-next-line runEffectInsideEffect:off
                Effect.runPromise(
                  Effect.gen(function* () {
                    const id = ++run
                    const faults = yield* Faults
                    const shown = jobs.map(() => new Array<number>())
                    const processed = jobs.map(() => 0)
                    const ids: Array<string> = []
                    let facts: SessionFacts | undefined
                    for (let life = 0; life < 3; life++) {
                      const { client, kill } = yield* process(facts)
                      for (const [i, job] of jobs.entries()) {
                        const name = `r${id}.${i}`
                        const handle =
                          life === 0
                            ? yield* client.submit("numbers", { ...job, before: Math.min(job.before, job.count), name })
                            : yield* client.attach(ids[i]!)
                        ids[i] = handle.jobId
                        if (life === 2) yield* Deferred.succeed(gate(name), undefined)
                        const most = life === 2 ? Number.POSITIVE_INFINITY : job.lives[life]
                        if (most === undefined) continue
                        const mine: Array<number> = []
                        const emitted = life === 2 ? job.count : Math.min(job.before, job.count)
                        // What one pull takes is processed with the next one.
                        yield* handle.eventsWith({ chunkSize: job.chunkSize }).pipe(
                          Stream.chunks,
                          Stream.takeUntil((chunk) => {
                            processed[i] = Math.max(processed[i]!, ...mine)
                            mine.push(...numbersOf(chunk))
                            return mine.length >= most || (life < 2 && Math.max(0, ...mine) >= emitted)
                          }),
                          Stream.runDrain,
                          Effect.timeout("5 seconds"),
                          Effect.option,
                          Effect.map(Option.getOrElse(() => undefined))
                        )
                        expect(new Set(mine).size).toBe(mine.length)
                        // Nothing is left out between what was processed and what comes.
                        if (mine.length > 0) expect(mine).toEqual(range(mine[0]!, mine.at(-1)!))
                        shown[i]!.push(...mine)
                      }
                      if (cut && life === 0) yield* faults.cut
                      yield* client.ping
                      facts = yield* factsOf(client)
                      yield* kill
                    }
                    for (const [i, job] of jobs.entries()) {
                      expect([...new Set(shown[i]!)].sort((a, b) => a - b)).toEqual(range(1, job.count))
                    }
                  }).pipe(Effect.scoped, Effect.provide(context))
                )
            ),
            { numRuns: runs(25) }
          )
        )
      }).pipe(Effect.provide(runtime)),
    60_000
  )
})

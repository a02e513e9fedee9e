/**
 * A commit that fails has never been (ARCP 1.1 §6.3, §7.2): all that is in memory is as it was before, and what is asked or written again
 * comes to what it would have come to.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Logger, LogLevel, TestClock, TestContext } from "effect"
import { JobScheduler } from "../../src/runtime/jobs/JobScheduler.js"
import { EventLog } from "../../src/runtime/log/EventLog.js"
import { MemoryStore } from "../../src/store/index.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { besides, type Call, called, calls, makeModel } from "../support/batchModel.js"
import { Batch, Copies, type JobLog, reached, same, type SessionLog, watchBatches } from "../support/liveState.js"
import { runs } from "../support/properties.js"
import { faultyWithConcerns } from "./faultyWorld.js"
import { type Act, acts, agents, resumeWindow, Room } from "./revertActs.js"
import { resetGates } from "./world.js"

const runtime = faultyWithConcerns(() => MemoryStore.layer, {
  agents,
  runtime: { resumeWindow },
  // Several chunks of a few bytes.
  limits: { resultChunk: 4 }
})

/** The first wait before a batch is written again, then the second. */
const waits = [50, 100]

/** No session's numbers have a gap, or are there twice. */
const checkNumbers = ({ clients }: Room): void => {
  for (const { peer } of clients) {
    const numbers = peer.events().map(({ event_seq }) => event_seq!)
    expect(numbers).toEqual(numbers.map((_, n) => numbers[0]! + n))
  }
}

/**
 * Does what some acts do while a commit is under way, so that it is one batch, whose commit fails, and once more where something of it is
 * kept. What there was before is compared with what there is after each failure; then the store is well, and the acts come to their ends.
 */
const revertsTo = (chosen: ReadonlyArray<Act>) =>
  Effect.gen(function* () {
    resetGates()
    const faults = yield* StoreFaults
    const journal = yield* EventLog
    const scheduler = yield* JobScheduler
    const room = new Room()
    const copies = new Copies()
    const { sessionId } = yield* room.connect()
    const prepared = new Map<Act, Effect.Effect.Success<ReturnType<Act["prepare"]>>>()
    for (const act of [...chosen.filter(({ first }) => first), ...chosen.filter(({ first }) => !first)])
      prepared.set(act, yield* act.prepare(room, `gate ${prepared.size}`))
    yield* room.settled

    const known = (): ReadonlyArray<SessionLog | JobLog> =>
      reached(room.clients.map(({ sessionId }) => journal.sessions.get(sessionId)))
    const owners = known()
    const state = () => copies.all(owners)
    const undone = yield* watchBatches(copies, known)

    yield* faults.stall("commit")
    journal.change({ write: (batch) => batch.session(journal.sessions.get(sessionId)!) })
    yield* room.settled
    expect((yield* faults.counts("commit")).stalled).toBe(1)
    const before = state()
    for (const act of chosen) {
      yield* prepared.get(act)!.act
      yield* room.settled
    }
    same(state(), before)
    // In one step: the commit that is under way succeeds, and the next one fails.
    yield* Effect.zipRight(faults.heal, faults.fail("commit"))
    yield* room.settled
    expect((yield* faults.counts("commit")).failed).toBe(1)
    same(state(), before)
    yield* TestClock.adjust(waits[0]!)
    yield* room.settled
    same(state(), before)
    yield* faults.heal
    yield* TestClock.adjust(waits[1]!)
    yield* room.settled
    // No batch that was undone has left anything, whatever else went on.
    expect(undone.length).toBeGreaterThan(0)
    for (const { after, before: had } of undone) same(after, had)
    for (const act of chosen) yield* prepared.get(act)!.after
    yield* room.settled
    checkNumbers(room)
    expect(scheduler.counts()).toEqual({ pending: 0, running: 0 })
    return undone.length
  }).pipe(
    // What fails here is told at once: a runtime does not end well over a store that fails.
    Effect.ensuring(Effect.flatMap(StoreFaults, ({ heal }) => heal)),
    Effect.scoped,
    Effect.provide(runtime),
    Logger.withMinimumLogLevel(LogLevel.None)
  )

const running = (chosen: ReadonlyArray<Act>) =>
  revertsTo(chosen).pipe(Effect.provide(TestContext.TestContext), Effect.runPromise)

describe("a commit that fails", () => {
  it.each(acts.map((act) => [act.title, act] as const))(
    "%s: leaves everything as it was, and then comes to its end",
    async (_title, act) => {
      expect(await running([act])).toBeGreaterThan(0)
    }
  )

  it("leaves everything as it was, whatever it is that stands in one batch", async () => {
    const titled = new Map(acts.map((act) => [act.title, act]))
    const checked = await fc.check(
      fc.asyncProperty(fc.shuffledSubarray([...titled.keys()], { minLength: 2, maxLength: 7 }), async (titles) => {
        await running(titles.map((title) => titled.get(title)!))
      }),
      { numRuns: runs(40) }
    )
    expect(checked.failed, fc.defaultReportMessage(checked)).toBe(false)
  })
})

describe("a batch of the log", () => {
  it("is called by these properties with every method that changes something", () => {
    const others = new Set(["constructor", "publish", "answer", "revert", "rows", "hasEnd"])
    const inner = new Set(["assigned", "append", "has", "toLink", "sessionRecord", "jobState", "lastOwnerSeq"])
    const methods = Object.entries(Object.getOwnPropertyDescriptors(Batch.prototype))
      .filter(([name, { value }]) => typeof value === "function" && !others.has(name) && !inner.has(name))
      .map(([name]) => name)
    expect([...called].toSorted()).toEqual(methods.toSorted())
  })

  it("keeps a subscription that was given up twice and asked for again (ARCP 1.1 §7.6)", () => {
    const model = makeModel(0)
    const call = (name: Call["name"]): Call => ({ name, job: 0, session: 1, n: 0 })
    model.commit([call("unobserve"), call("unobserve"), call("observe")])
    const { live, stored } = model.kept()
    expect(stored.subscriptions).toEqual(["sess_1 job_0"])
    expect(stored).toEqual(live)
  })

  it("that failed leaves everything as it was, and the next comes to what it would have without it", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 0, 0, 255, 256),
        fc.array(
          fc.record({ beside: besides, failed: fc.array(calls, { maxLength: 2 }), kept: fc.boolean(), written: calls }),
          { minLength: 1, maxLength: 6 }
        ),
        (warm, batches) => {
          const one = makeModel(warm)
          const other = makeModel(warm)
          for (const { beside, failed, kept, written } of batches) {
            for (const model of [one, other]) beside.forEach(model.beside)
            // What is kept of a failed batch comes first again; the rest of it is dropped.
            for (const calls of kept ? failed.map((dropped) => [...written, ...dropped]) : failed) {
              const before = one.state()
              one.fail(calls)
              same(one.state(), before)
            }
            same(one.commit(written), other.commit(written))
            same(one.state(), other.state())
            const { live, stored } = one.kept()
            same(stored, live)
          }
          expect(one.answers).toEqual(other.answers)
          expect(one.posted()).toEqual(other.posted())
        }
      ),
      { numRuns: runs(200) }
    )
  })
})

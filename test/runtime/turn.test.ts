/** Turns of the event loop: order, liveness, and what a task that throws does to the others. What is counted is tasks, never time. */
import { afterEach, beforeEach, expect, it, vi } from "@effect/vitest"
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { Effect, FastCheck as fc, Layer, ManagedRuntime, Runtime, Scheduler } from "effect"
import {
  type Due,
  fewestOps,
  isOver,
  nextTurn,
  pause,
  promptScheduler,
  scheduled,
  sendSoon,
  turnMillis,
  workingScheduler,
  writeInNext,
  writeSoon
} from "../../src/runtime/kernel/Turn.js"
import { runs } from "../support/properties.js"

const root = {} as never

const soon = (by: (due: Due) => void, run: () => void): void => by({ run, timed: true })

/** What the runtime's own logger has written. */
const reported: Array<string> = []
beforeEach(() => {
  reported.length = 0
  vi.spyOn(console, "log").mockImplementation((line) => void reported.push(String(line)))
})
afterEach(() => void vi.restoreAllMocks())

/** Keeps the thread until the turn is over. */
const burn = () => {
  isOver()
  for (const end = performance.now() + turnMillis + 1; performance.now() < end; );
}

/** An event of the loop, before the next immediate. */
const byTimer = (run: () => void): void => void setTimeout(run, 0)

/** As a program runs effects, outside of all others. */
const forked = (effect: Effect.Effect<unknown>, scheduler?: Scheduler.Scheduler) => () =>
  Effect.runFork(effect, { scheduler })
const synchronously = (effect: Effect.Effect<unknown>) => () => Effect.runSync(effect)

/** Waits for real turns of the loop, on Effect's own scheduler. */
const until = (done: () => boolean) =>
  Effect.whileLoop({
    while: () => !done(),
    body: () => Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))),
    step: () => {}
  })

it.live("a task that throws is reported, and the tasks before and behind it run", () =>
  Effect.gen(function* () {
    for (const scheduler of [promptScheduler, workingScheduler]) {
      // From a microtask, from an immediate where the turn is over, and from a timer.
      const starts = [queueMicrotask, setImmediate, (run: () => void) => setTimeout(run, 0)]
      for (const start of starts) {
        for (const before of [() => {}, burn]) {
          const ran: Array<number> = []
          start(() => {
            before()
            for (let n = 0; n < 5; n++) {
              scheduler.scheduleTask(
                () => {
                  ran.push(n)
                  if (n % 2 === 1) throw { message: "unlucky", cause: Object.create(null) }
                },
                0,
                root
              )
            }
          })
          yield* until(() => ran.length === 5)
          expect(ran).toEqual([0, 1, 2, 3, 4])
        }
      }
    }
    expect(reported.filter((line) => line.includes("unlucky"))).toHaveLength(2 * 3 * 2 * 2)
    // The lanes are as they were: fibers on them run.
    expect(yield* Effect.withScheduler(Effect.as(Effect.yieldNow(), 1), promptScheduler)).toBe(1)
    expect(yield* Effect.withScheduler(Effect.as(nextTurn, 2), workingScheduler)).toBe(2)
  })
)

it.live("what sends and throws harms neither what sends beside it nor the loop", () =>
  Effect.gen(function* () {
    const ran: Array<number> = []
    for (let n = 0; n < 3; n++) {
      soon(sendSoon, () => {
        ran.push(n)
        if (n === 1) throw new Error("deferred")
      })
    }
    yield* until(() => ran.length === 3)
    expect(ran).toEqual([0, 1, 2])
    expect(reported).toHaveLength(1)
  })
)

it.live("each lane is first in, first out, and what is prompt in a turn runs before what works", () =>
  Effect.gen(function* () {
    const ran: Array<string> = []
    yield* Effect.async<void>((resume) => {
      // Behind a turn that is over, so that all of them begin in one.
      setImmediate(() => {
        burn()
        for (let n = 0; n < 3; n++) {
          workingScheduler.scheduleTask(() => void ran.push(`working ${n}`), 0, root)
          promptScheduler.scheduleTask(() => void ran.push(`prompt ${n}`), 0, root)
        }
        workingScheduler.scheduleTask(() => resume(Effect.void), 0, root)
      })
    })
    expect(ran).toEqual(["prompt 0", "prompt 1", "prompt 2", "working 0", "working 1", "working 2"])
  })
)

const task = fc.record({
  from: fc.constantFrom("microtask", "immediate", "timer", "now"),
  how: fc.constantFrom("prompt", "working", "write", "send", "nextTurn", "pause"),
  priority: fc.integer({ min: 0, max: 2 }),
  long: fc.boolean(),
  throws: fc.boolean(),
  more: fc.integer({ min: 0, max: 3 })
})

it.live("every task runs, wherever it is scheduled from and whatever the others do", () =>
  Effect.promise(() =>
    fc.assert(
      fc.asyncProperty(fc.array(task, { minLength: 1, maxLength: 12 }), async (tasks) => {
        const total = tasks.reduce((sum, t) => sum + 1 + t.more, 0)
        let ran = 0
        const schedule = (t: (typeof tasks)[number], more: number): void => {
          const run = () => {
            ran++
            if (t.long) burn()
            if (more > 0) schedule(t, more - 1)
            if (t.throws && t.how !== "nextTurn" && t.how !== "pause") throw new Error("thrown")
          }
          const how = { prompt: promptScheduler, working: workingScheduler }
          if (t.how === "prompt" || t.how === "working") how[t.how].scheduleTask(run, t.priority, root)
          else if (t.how === "send") soon(sendSoon, run)
          else if (t.how === "write") soon(writeSoon, run)
          else {
            const wait = t.how === "pause" ? pause : nextTurn
            Effect.runFork(Effect.withScheduler(Effect.zipRight(wait, Effect.sync(run)), promptScheduler))
          }
        }
        for (const t of tasks) {
          const start = () => schedule(t, t.more)
          if (t.from === "now") start()
          else if (t.from === "microtask") queueMicrotask(start)
          else if (t.from === "immediate") setImmediate(start)
          else setTimeout(start, 0)
        }
        await Effect.runPromise(until(() => ran >= total))
        expect(ran).toBe(total)
      }),
      { numRuns: runs(40) }
    )
  )
)

it.live("a fiber has some operations each time that it runs, also where its turn is over at once", () =>
  Effect.gen(function* () {
    const fiber = { currentOpCount: 0, getFiberRef: () => 1_000 } as never
    // Each asks after every operation, and each operation outlasts a turn.
    const asked = () => {
      let left = 0
      do burn()
      while (workingScheduler.shouldYield(fiber) === false && ++left < 100)
      return left
    }
    const counts: Array<number> = []
    for (let n = 0; n < 4; n++) workingScheduler.scheduleTask(() => void counts.push(asked()), 0, root)
    yield* until(() => counts.length === 4)
    for (const count of counts.slice(1)) expect(count).toBe(fewestOps - 1)
  })
)

it.live("these operations are more than what to give way takes: it gets on, and its stack does not grow", () =>
  Effect.gen(function* () {
    let left = 0
    let runs = 0
    // As the lanes' own rule, with a clock by which every turn is over.
    const over = Scheduler.make(
      (run) =>
        void setImmediate(() => {
          if (++runs > 1_000) return
          left = fewestOps
          run()
        }),
      () => (--left > 0 ? false : 0)
    )
    let done = 0
    yield* Effect.fork(
      Effect.withScheduler(
        Effect.repeatN(
          Effect.sync(() => done++),
          9
        ),
        over
      )
    )
    yield* until(() => done === 10 || runs > 1_000)
    expect(done).toBe(10)
  })
)

/** A client of the platform that does `sent` for each request. */
const request = (sent: Effect.Effect<void>) =>
  HttpClient.make((asked) => Effect.as(sent, HttpClientResponse.fromWeb(asked, new Response()))).get(
    "http://localhost/"
  )

/** Runs an effect as a runtime's own fibers run, or as its agents' do. */
const inside = <A, E>(scheduler: Scheduler.Scheduler, effect: Effect.Effect<A, E>) =>
  Effect.zipRight(Effect.yieldNow(), effect).pipe(
    Effect.withScheduler(scheduler),
    Layer.effectDiscard,
    scheduled,
    Layer.build,
    Effect.scoped
  )

it.live("the loop does not turn between the step that opens a request's socket and the fibers that listen to it", () =>
  Effect.gen(function* () {
    for (const scheduler of [promptScheduler, workingScheduler]) {
      const seen: Array<string> = []
      const opened = Effect.sync(() => {
        byTimer(() => seen.push("event"))
        burn()
      })
      const listens = (name: string) => Effect.sync(() => void seen.push(name))
      yield* inside(
        scheduler,
        request(Effect.zipRight(opened, Effect.zipRight(listens("body"), listens("response"), { concurrent: true })))
      )
      yield* until(() => seen.length === 3)
      expect(seen).toEqual(["body", "response", "event"])
    }
  })
)

it.live("nor where the request is made in the step of a commit, as a handler's first step is", () =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const opened = Effect.sync(() => {
      byTimer(() => seen.push("event"))
      burn()
    })
    const listens = (name: string) => Effect.sync(() => void seen.push(name))
    const asks = request(
      Effect.zipRight(opened, Effect.zipRight(listens("body"), listens("response"), { concurrent: true }))
    )
    const inCommit = Effect.flatMap(Effect.runtime(), (runtime) =>
      Effect.sync(() =>
        writeSoon({ run: () => void Runtime.runFork(runtime)(asks, { scheduler: workingScheduler }), timed: true })
      )
    )
    yield* Effect.scoped(Layer.build(scheduled(Layer.effectDiscard(inCommit))))
    yield* until(() => seen.length === 3)
    expect(seen).toEqual(["body", "response", "event"])
  })
)

it.live("a request that is never done with opening its socket does not keep the loop", () =>
  Effect.gen(function* () {
    let turns = 0
    const turn = () => {
      turns++
      if (turns < 3) setImmediate(turn)
    }
    setImmediate(turn)
    const endless: Effect.Effect<void> = Effect.suspend(() =>
      turns < 3 ? Effect.zipRight(fork, endless) : Effect.void
    )
    const fork = Effect.forkDaemon(
      Effect.whileLoop({ while: () => turns < 3, body: () => Effect.void, step: () => {} })
    )
    yield* inside(workingScheduler, request(endless))
    expect(turns).toBe(3)
  })
)

it.live(
  "fibers of a layer are on the prompt scheduler however it is built, unless the program has chosen another",
  () =>
    Effect.gen(function* () {
      const found: Array<Scheduler.Scheduler> = []
      const look = Effect.withFiberRuntime((fiber) => Effect.sync(() => void found.push(fiber.currentScheduler)))
      const layer = scheduled(Layer.effectDiscard(Effect.forkDaemon(Effect.zipRight(Effect.yieldNow(), look))))
      const built = (by: () => unknown) =>
        Effect.gen(function* () {
          by()
          yield* until(() => found.length === 1)
          return found.pop()
        })
      const once = Effect.scoped(Layer.build(layer))
      expect(yield* built(forked(once))).toBe(promptScheduler)
      expect(yield* built(synchronously(once))).toBe(promptScheduler)
      const managed = ManagedRuntime.make(layer)
      expect(yield* built(() => managed.runFork(Effect.void))).toBe(promptScheduler)
      yield* managed.disposeEffect
      const own = Scheduler.make((task) => queueMicrotask(task))
      expect(yield* built(forked(once, own))).toBe(own)
    })
)

it.live("a turn writes for all that was read in it together, writes again what that leads to, and then sends", () =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    yield* Effect.async<void>((resume) => {
      setImmediate(() => {
        burn()
        for (const name of ["a", "b"]) {
          promptScheduler.scheduleTask(
            () => {
              seen.push(`read ${name}`)
              soon(sendSoon, () => seen.push(`sent ${name}`))
              soon(writeSoon, () => {
                seen.push(`written ${name}`)
                soon(writeSoon, () => seen.push(`written again ${name}`))
              })
            },
            0,
            root
          )
        }
        workingScheduler.scheduleTask(() => void seen.push("worked"), 0, root)
        workingScheduler.scheduleTask(() => resume(Effect.void), 0, root)
      })
    })
    expect(seen).toEqual([
      "read a",
      "read b",
      "written a",
      "written b",
      "written again a",
      "written again b",
      "sent a",
      "sent b",
      "worked"
    ])
  })
)

it.live("what writes and sends without end leaves the loop its turns, and agents theirs", () =>
  Effect.gen(function* () {
    let done = false
    let worked = 0
    const again = (by: (due: Due) => void) => {
      const run = () => {
        if (done) return
        burn()
        soon(by, run)
      }
      soon(by, run)
    }
    again(writeSoon)
    again(sendSoon)
    const work = () => {
      worked++
      if (worked < 5) workingScheduler.scheduleTask(work, 0, root)
    }
    workingScheduler.scheduleTask(work, 0, root)
    let turns = 0
    const turn = () => {
      turns++
      if (turns < 5) setImmediate(turn)
    }
    setImmediate(turn)
    yield* until(() => turns === 5 && worked === 5)
    done = true
  })
)

it.live("what a test's clock rules is written and sent in one turn, however long it takes", () =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const note = (line: string) => () => {
      burn()
      seen.push(line)
    }
    yield* Effect.async<void>((resume) => {
      setImmediate(() => {
        for (const name of ["a", "b"]) sendSoon({ run: note(`sent ${name}`), timed: false })
        writeSoon({
          run: () => {
            note("written")()
            writeSoon({ run: note("written again"), timed: false })
          },
          timed: false
        })
        setImmediate(() => setImmediate(() => resume(Effect.sync(() => void seen.push("next turn")))))
      })
    })
    expect(seen).toEqual(["written", "written again", "sent a", "sent b", "next turn"])
  })
)

it.live("what is to be written in the next turn waits for events of the loop", () =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    yield* Effect.async<void>((resume) => {
      soon(writeSoon, () => {
        seen.push("busy")
        byTimer(() => seen.push("event"))
        burn()
        soon(writeInNext, () => {
          seen.push("written")
          resume(Effect.void)
        })
      })
    })
    expect(seen).toEqual(["busy", "event", "written"])
  })
)

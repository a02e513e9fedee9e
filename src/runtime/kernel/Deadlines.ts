/**
 * The runtime's two times, and every deadline of it in one heap with one sleeping fiber: job timeouts, lease expiries, cancel grace, session
 * windows, handshakes and heartbeats.
 *
 * Durations are elapsed time ({@link DeadlinesShape.mono}): setting the machine's clock neither stops nor hurries them. Wall time is for what
 * other machines and other processes read: expiries, timestamps, ages. Nobody adds a duration to wall time to wait for it.
 *
 * A deadline costs no fiber. Deadlines further away than a timer can count (24.8 days) are slept towards in steps. A
 * callback runs once, at or after its time, never after it was cancelled; a callback that fails harms no other. Callbacks that are
 * due together run in as many turns of the event loop as they need, earliest first.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { elapsedOf } from "../../protocol/Elapsed.js"
import { isOver, pause } from "./Turn.js"

/** A scheduled callback. */
export interface Deadline {
  /** Makes sure that the callback does not run (any more). Harmless afterwards. */
  readonly cancel: () => void
}

interface Entry extends Deadline {
  readonly at: number
  run: (() => void) | undefined
}

/** The longest single sleep; far below 2^31 ms. */
const longestSleep = 1_000_000_000

/** How often a deadline of wall time looks whether the clock was set meanwhile, where so many milliseconds are left: the further away the rarer. */
const wallLook = (left: number): number => Math.min(left, Math.max(30_000, left / 16))

const push = (heap: Array<Entry>, entry: Entry): void => {
  let i = heap.push(entry) - 1
  while (i > 0) {
    const parent = (i - 1) >> 1
    if (heap[parent]!.at <= entry.at) break
    heap[i] = heap[parent]!
    i = parent
  }
  heap[i] = entry
}

const pop = (heap: Array<Entry>): Entry | undefined => {
  const top = heap[0]
  const last = heap.pop()
  if (top === undefined || last === undefined || heap.length === 0) return top
  let i = 0
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++
    if (heap[child]!.at >= last.at) break
    heap[i] = heap[child]!
    i = child
  }
  heap[i] = last
  return top
}

/** The runtime's times, and callbacks by them. */
export interface DeadlinesShape {
  /** Elapsed time in milliseconds since an origin that means nothing; it never goes back, and does not jump. For durations. */
  readonly mono: () => number
  /** Wall time in milliseconds since the epoch, as the machine's clock shows it: it can be set, forth and back. For expiries, timestamps, ages. */
  readonly wall: () => number
  /** Runs `callback` at or after `at`, of {@link mono}. */
  readonly schedule: (at: number, callback: () => void) => Deadline
  /**
   * Runs `callback` when {@link wall} has reached `at`. Where the clock is set back meanwhile it waits on; where it is set forth, that is
   * seen within 30 seconds, or within a sixteenth of the time that was left.
   */
  readonly scheduleWall: (at: number, callback: () => void) => Deadline
}

/** Schedules callbacks by the runtime's clock. */
export class Deadlines extends Context.Tag("effect-arcp/runtime/Deadlines")<Deadlines, DeadlinesShape>() {
  static readonly layer: Layer.Layer<Deadlines> = Layer.scoped(
    Deadlines,
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const heap: Array<Entry> = []
      let cancelled = 0
      let sleepingUntil = Number.POSITIVE_INFINITY
      let wake: (() => void) | undefined
      const mono = elapsedOf(clock)
      const wall = () => clock.unsafeCurrentTimeMillis()

      const schedule = (at: number, callback: () => void): Deadline => {
        const entry: Entry = {
          at,
          run: callback,
          cancel: () => {
            if (entry.run === undefined) return
            entry.run = undefined
            // Cancelled entries are swept when they are the most of the heap, so that it cannot grow without bound.
            if (++cancelled > 1024 && cancelled * 2 > heap.length) {
              const live = heap.filter((e) => e.run !== undefined)
              heap.length = 0
              for (const e of live) push(heap, e)
              cancelled = 0
            }
          }
        }
        push(heap, entry)
        if (at < sleepingUntil) wake?.()
        return entry
      }

      const scheduleWall = (at: number, callback: () => void): Deadline => {
        let step: Deadline
        const wait = (): void => {
          const left = at - wall()
          step = schedule(mono() + wallLook(left), () => (wall() >= at ? callback() : wait()))
        }
        wait()
        return { cancel: () => step.cancel() }
      }

      const sleep = Effect.suspend(() => {
        const next = heap[0]
        const time = mono()
        if (next !== undefined && next.at <= time) return Effect.void
        const millis = next === undefined ? longestSleep : Math.min(Math.ceil(next.at - time), longestSleep)
        sleepingUntil = next === undefined ? Number.POSITIVE_INFINITY : time + millis
        // From here on: the fiber may give way before it waits, and a deadline be set that is earlier than what it sleeps for.
        let woken = false
        wake = () => {
          woken = true
        }
        const waken = Effect.async<void>((resume) => {
          if (woken) return resume(Effect.void)
          wake = () => {
            wake = undefined
            resume(Effect.void)
          }
        })
        return next === undefined ? waken : Effect.raceFirst(Clock.sleep(millis), waken)
      })

      const runDue = Effect.suspend(() => {
        wake = undefined
        sleepingUntil = Number.NEGATIVE_INFINITY
        const failures: Array<unknown> = []
        let ran = false
        for (let next = heap[0]; next !== undefined && (next.run === undefined || next.at <= mono()); next = heap[0]) {
          if (ran && isOver()) break
          ran = true
          pop(heap)
          const { run } = next
          next.run = undefined
          if (run === undefined) {
            cancelled = Math.max(0, cancelled - 1)
            continue
          }
          try {
            run()
          } catch (defect) {
            failures.push(defect)
          }
        }
        const told = Effect.forEach(failures, (defect) => Effect.logError("a deadline's callback failed", defect), {
          discard: true
        })
        // What is left is still due, and is found so where the fiber would go to sleep.
        return Effect.zipRight(told, pause)
      })

      yield* sleep.pipe(Effect.zipRight(runDue), Effect.forever, Effect.interruptible, Effect.forkScoped)
      return { mono, wall, schedule, scheduleWall }
    })
  )
}

/** Which jobs a client looks at where it acknowledges, and where it waits for its consumers; and how their streams wait. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { vi } from "vitest"
import { defaultBounds } from "../../src/client/internal/bounds.js"
import { Core } from "../../src/client/internal/core.js"
import { ClientJob } from "../../src/client/internal/job.js"
import { eventsOf } from "../../src/client/internal/jobStreams.js"
import { Lag } from "../../src/client/internal/lag.js"

const make = (count: number) => {
  let ids = 0
  const core = new Core({
    features: ["ack"],
    bounds: { ...defaultBounds, events: 8 },
    newId: () => `id${++ids}`,
    newTraceId: () => "0".repeat(32),
    times: { mono: () => 0, wall: () => 0 }
  })
  const read = (type: string, payload: object, more: object = {}) =>
    core.read(
      JSON.stringify({ arcp: "1.1", id: `r${String(++ids).padStart(6, "0")}`, type, session_id: "s", payload, ...more })
    )
  read("session.welcome", { resume_token: "rt", capabilities: { features: ["ack"] } })
  const jobs = Array.from({ length: count }, (_, i) => core.adopt(`job${i}`, { _tag: "owner", submit: "" }))
  const body = { level: "info", message: "m" }
  /** Events of a job, and what follows each chunk of frames. */
  const emit = (job: ClientJob, count = 1) => {
    for (let n = 0; n < count; n++) {
      read("job.event", { kind: "log", ts: "t", body }, { job_id: job.jobId, event_seq: core.lastSeq + 1 })
    }
    core.registry.flush()
  }
  const open = (job: ClientJob) => {
    const reader = job.read()
    core.registry.opened(job)
    return reader
  }
  return { core, emit, jobs, lag: new Lag(core), open, read }
}

describe("§6.5 a client with many jobs", () => {
  it("looks only at jobs of which a reader is behind", () => {
    const { core, emit, jobs, lag, open } = make(500)
    for (const job of jobs) open(job)
    for (const job of jobs) emit(job)
    const held = vi.spyOn(ClientJob.prototype, "held")
    try {
      expect([core.processedSeq, lag.isOver()]).toEqual([500, false])
      expect(held).not.toHaveBeenCalled()
      emit(jobs[7]!, 5)
      expect([core.processedSeq, lag.isOver()]).toEqual([7, false])
      emit(jobs[7]!, 5)
      expect(lag.isOver()).toBe(true)
      expect(held.mock.calls.length).toBeLessThan(20)
    } finally {
      held.mockRestore()
    }
  })

  it("waits for a reader that has begun behind, until it has caught up, ended, or its job has", () => {
    const { core, emit, jobs, lag, open, read } = make(3)
    const [first, second, third] = jobs as [ClientJob, ClientJob, ClientJob]
    for (const job of jobs) emit(job, 10)
    // Nobody reads: nothing is held up.
    expect([core.processedSeq, lag.isOver()]).toEqual([30, false])
    const [one, two] = [open(first), open(second)]
    open(third)
    expect([core.processedSeq, lag.isOver()]).toEqual([0, true])
    first.take(one, 100)
    expect([core.processedSeq, lag.isOver()]).toEqual([10, true])
    second.stop(two)
    expect([core.processedSeq, lag.isOver()]).toEqual([20, true])
    read("job.result", { status: "success" }, { job_id: third.jobId, event_seq: 31 })
    core.registry.flush()
    expect([core.processedSeq, lag.isOver()]).toEqual([31, false])
  })
})

describe("a stream of events", () => {
  it.effect("loses nothing and wakes nothing where a pull that waits is interrupted", () =>
    Effect.gen(function* () {
      const { emit, jobs } = make(1)
      const job = jobs[0]!
      const scope = yield* Scope.make()
      const hooks = { opened: () => {}, taken: () => {} }
      const pull = yield* Scope.extend(Stream.toPull(eventsOf(job, hooks, () => Effect.die("no gap"))), scope)
      const waiting = yield* Effect.fork(pull)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiting)
      emit(job, 2)
      expect(Chunk.size(yield* pull)).toBe(2)
      const again = yield* Effect.fork(pull)
      yield* Effect.yieldNow()
      emit(job)
      expect(Chunk.size(yield* Fiber.join(again))).toBe(1)
      yield* Scope.close(scope, Exit.void)
      expect(job.readers.size).toBe(0)
    })
  )
})

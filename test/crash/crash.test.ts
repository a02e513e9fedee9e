/** Small versions of `npm run crash` and `npm run soak`: real processes, real sockets, real files, `kill -9`. */
import { afterAll, describe, expect, it } from "@effect/vitest"
import { problemsOf } from "./checks.js"
import { live } from "./crash.js"
import type { Frame, JobLedger } from "./ledger.js"
import { Runtimes } from "./runtimes.js"
import { flood, isFlat, soak } from "./soak.js"
import { problemsOfTrail } from "./trail.js"

describe("runtimes that are killed", () => {
  let runtimes: Runtimes | undefined
  afterAll(() => runtimes?.end())

  it.each([1, 2, 3])("seed %i: nothing lost, nothing twice, one end for each job", async (seed) => {
    runtimes ??= new Runtimes()
    const report = await live(seed, runtimes)
    expect(report.problems).toEqual([])
    expect(report).toMatchObject({ lost: 0, repeated: 0 })
    expect(report.kills).toBeGreaterThanOrEqual(2)
    expect(report.events).toBeGreaterThan(100)
  })
})

describe("a runtime that is busy for long", () => {
  it("loses nothing, repeats nothing, and a reader that never reads costs it no memory", async () => {
    const result = await soak({ sessions: 40, millis: 3_000, seed: 7 })
    expect(result.problems).toEqual([])
    expect(result).toMatchObject({ lost: 0, repeated: 0 })
    expect(result.cuts).toBeGreaterThan(0)
    expect(result.resumes).toBeGreaterThan(0)
    expect(result.events).toBeGreaterThan(1_000)
    const deaf = await flood(1_500, 20_001)
    expect(deaf.emitted).toBeGreaterThan(20_000)
    expect(deaf.peak - deaf.before).toBeLessThan(64 * 1_048_576)
  })
})

describe("the ledger itself", () => {
  const frame = (type: string, payload: Record<string, unknown>): Frame => ({ type, id: "i", job_id: "j", payload })
  const log = (message: string) => frame("job.event", { kind: "log", body: { level: "info", message } })
  const running = frame("job.event", { kind: "status", body: { phase: "running" } })
  const result = frame("job.result", { final_status: "success", result: { count: 2, attempt: 1 } })
  const job = (events: ReadonlyArray<Frame>, repeats = 0): JobLedger => ({
    jobId: "j",
    agent: "count",
    input: { n: 2 },
    accepted: true,
    seqs: events.map((_, i) => i + 1),
    events: [...events],
    repeats
  })
  const whole = [running, log("a1 c1"), log("a1 c2"), result]

  it("takes what is whole, and notices what is not", () => {
    expect(problemsOf(job(whole))).toEqual([])
    expect(problemsOf(job([...whole, result], 1))).toEqual([])
    const bad: ReadonlyArray<ReadonlyArray<Frame>> = [
      [running, log("a1 c2"), result],
      [running, log("a1 c1"), result],
      [running, log("a1 c1"), log("a1 c1"), log("a1 c2"), result],
      [running, log("a1 c2"), log("a1 c1"), result],
      whole.slice(0, 3),
      whole.slice(1),
      [...whole, result],
      [...whole, log("a1 c3")],
      [...whole, frame("job.error", { final_status: "error", code: "CANCELLED" })],
      [running, frame("job.error", { final_status: "error", code: "INTERNAL_ERROR", retryable: true })]
    ]
    for (const events of bad) expect(problemsOf(job(events))).not.toEqual([])
  })

  it("takes an audit trail that kills have cut, and notices what no kill does", () => {
    const record = (run: string, seq: number, more: object = { type: "authentication.expired" }) =>
      JSON.stringify({ v: 1, run, runtime: "r", seq, ts: "2026-01-01T00:00:00.000Z", ...more })
    const opened = { type: "session.opened", transport: "memory", secure: true, anonymous: false, features: [] }
    const admitted = { type: "job.admitted", principal: "alice", job_id: "j", agent: "count", capabilities: [] }
    const problems = (...lines: ReadonlyArray<string>) => problemsOfTrail(lines.join("\n"), (jobId) => jobId === "j")
    const whole = [record("a", 1), record("a", 2, admitted), record("b", 1, opened)]
    expect(problems(...whole, "")).toEqual([])
    expect(problems(record("a", 1), `{"v":1,"ru`, record("b", 1, opened), `{"v"`)).toEqual([])
    expect(problems(record("a", 1, opened), record("a", 4, { type: "audit.lost", count: 3 }), "")).toEqual([])
    const bad: ReadonlyArray<ReadonlyArray<string>> = [
      [record("b", 2, opened)],
      [record("a", 1), record("a", 3), record("b", 1, opened)],
      [record("a", 1), record("a", 1), record("b", 1, opened)],
      [record("a", 1), record("b", 1, opened), record("a", 2, opened)],
      [record("b", 1, opened), record("b", 4, { type: "audit.lost", count: 2 })],
      [...whole.slice(0, 2), record("a", 3, admitted), whole[2]!],
      [record("a", 1, { ...admitted, job_id: "k" }), whole[2]!],
      [whole[2]!, record("c", 1)],
      [record("a", 1, { type: "none" }), whole[2]!],
      [record("a", 1, { type: "authentication.expired", token: "t" }), whole[2]!],
      ["no record", whole[2]!],
      [record("a", 1, { type: "authentication.expired", principal: "secret-of-alice" }), whole[2]!]
    ]
    for (const lines of bad) expect(problems(...lines), lines.join()).toHaveLength(1)
  })

  it("tells memory that is flat from memory that grows", () => {
    const samples = (heapAt: (i: number) => number) =>
      Array.from({ length: 30 }, (_, i) => ({ at: i, heap: heapAt(i) * 1_048_576, rss: 0 }))
    expect(isFlat(samples((i) => 100 + (i % 3)))).toBe(true)
    expect(isFlat(samples((i) => 100 + i * 5))).toBe(false)
  })
})

/** Spellings of other runtimes that a client reads (§6.6, §7.1, §7.3, §7.6, §9.6, §10). */
import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import { Envelope, Event, Message } from "../../src/protocol/index.js"

const read = (type: string, payload: object) =>
  Either.map(
    Message.decodeRuntime(
      Either.getOrThrowWith(Envelope.fromUnknown({ arcp: "1.1", id: "i", type, payload }), ({ error }) => error)
    ),
    (message) => message.payload as Record<string, unknown>
  )

const refused = (type: string, payload: object) => {
  const decoded = read(type, payload)
  return Either.isLeft(decoded) ? decoded.left.message : "read"
}

describe("a client reads", () => {
  it("§6.6 submitted_at for created_at; created_at counts where both are there; one of them must be", () => {
    const jobs = (row: object) => ({ jobs: [{ job_id: "j", agent: "a", status: "running", ...row }] })
    const createdAt = (row: object) =>
      Either.map(read("session.jobs", jobs(row)), ({ jobs }) => (jobs as ReadonlyArray<Record<string, unknown>>)[0])
    expect(Either.getOrThrow(createdAt({ submitted_at: "t" }))).toMatchObject({ created_at: "t", parent_job_id: null })
    expect(Either.getOrThrow(createdAt({ created_at: "c", submitted_at: "t" }))).toMatchObject({ created_at: "c" })
    expect(refused("session.jobs", jobs({}))).toContain("created_at")
    expect(refused("session.jobs", jobs({ submitted_at: 5 }))).toContain("payload.jobs.0")
  })

  it("§9.6 amounts of a budget as numbers and as text, alone, in a list and by currency", () => {
    const budget = (value: unknown) =>
      Either.map(read("job.accepted", { job_id: "j", budget: value }), (payload) => payload.budget)
    for (const [value, expected] of [
      [{ USD: 1.5 }, { USD: 1.5 }],
      [{ USD: "1.50" }, { USD: 1.5 }],
      [{ USD: "USD:1.50" }, { USD: 1.5 }],
      [{ "cost.budget": "USD:1.50" }, { USD: 1.5 }],
      ["USD:1.50", { USD: 1.5 }],
      [["USD:1.50", "credits:-2"], { USD: 1.5, credits: -2 }],
      [{}, {}],
      [null, undefined]
    ] as const) {
      expect(Either.getOrThrow(budget(value))).toEqual(expected)
    }
    for (const value of [
      { USD: "much" },
      { USD: null },
      "1.50",
      ["1.50"],
      { USD: "USD:1e999" },
      { USD: [1] },
      5,
      ["USD:"]
    ]) {
      expect(refused("job.accepted", { job_id: "j", budget: value })).toContain("payload.budget")
    }
  })

  it("§7.6 replayed as a number", () => {
    const replayed = (value: unknown) =>
      read("job.subscribed", { job_id: "j", current_status: "running", replayed: value })
    for (const value of [true, false, 0, 12]) expect(Either.getOrThrow(replayed(value)).replayed).toBe(value)
    for (const value of ["yes", -1, {}]) expect(Either.isLeft(replayed(value))).toBe(true)
  })

  it("§7.3, §12 an error without a message, and details that are null", () => {
    for (const type of ["job.error", "session.error"]) {
      for (const message of [undefined, null]) {
        expect(Either.getOrThrow(read(type, { code: "CANCELLED", message, details: null }))).toMatchObject({
          message: ""
        })
      }
      expect(refused(type, { message: "m" })).toContain("payload.code")
      expect(refused(type, { code: "CANCELLED", message: 5 })).toContain("payload.message")
    }
  })

  it("§7.3 output for result", () => {
    expect(Either.getOrThrow(read("job.result", { output: 1 })).output).toBe(1)
  })

  it("§10 a delegate event that names the child and the agent alone", () => {
    const event = Event.fromWire("j", 1, { kind: "delegate", body: { child_job_id: "c", agent: "b" } })
    expect(event).toMatchObject({ _tag: "delegate", body: { child_job_id: "c", delegate_id: "c", agent: "b" } })
    for (const body of [{ agent: "b" }, { child_job_id: "", agent: "b" }, { child_job_id: "c" }, null]) {
      expect(Event.fromWire("j", 1, { kind: "delegate", body })).toMatchObject({ _tag: "other", malformed: true, body })
    }
  })
})

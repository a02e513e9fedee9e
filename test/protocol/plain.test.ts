/** What is read and written by hand is what the Schemas read and the general encoder writes. */
import { expect, it } from "@effect/vitest"
import { Either, FastCheck as fc, Schema } from "effect"
import { Envelope, JobId, Message } from "../../src/protocol/index.js"
import { acceptedFrame } from "../../src/runtime/sessions/Requests.js"
import { runs } from "../support/properties.js"

const values = fc.oneof(
  fc.constantFrom<unknown>("echo", "", null, undefined, 0, -0, -1, 1.5, 2 ** 53, 7, Number.NaN, true, {}, [], "7"),
  fc.jsonValue()
)

const fields = ["agent", "input", "last_processed_seq", "idempotency_key", "max_runtime_sec", "lease_request", "more"]

/** Objects with what belongs there, what does not, and prototypes that say something of their own. */
const payloads = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...fields, "__proto__"), values, { maxKeys: 4 }),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant({}) },
      fc.record({ agent: fc.constant("echo") }),
      fc.record({ agent: fc.string(), input: fc.jsonValue() }),
      fc.record({ last_processed_seq: fc.nat() })
    ),
    fc.constantFrom<object | null>(Object.prototype, Object.prototype, null, { agent: "other" }, { input: 1, more: 2 })
  )
  .map(([some, others, prototype]) =>
    Object.assign(Object.create(prototype) as Record<string, unknown>, { ...some, ...others })
  )

it("§5 a submit and an ack are decoded as their Schemas decode them, whatever their payload is", () => {
  let taken = 0
  fc.assert(
    fc.property(fc.constantFrom("job.submit", "session.ack"), payloads, (type, payload) => {
      const decoded = Message.decodeClient({ arcp: "1.1", id: "m", type, payload })
      const read: Schema.Schema.Any = Message.clientMessages[type as "job.submit"]
      const expected = Schema.decodeUnknownEither(read as Schema.Schema<object>)(payload)
      expect(Either.isRight(decoded)).toBe(Either.isRight(expected))
      if (Either.isLeft(decoded) || Either.isLeft(expected)) return
      taken++
      expect(Object.entries(decoded.right.payload)).toEqual(Object.entries(expected.right))
      expect(JSON.stringify(decoded.right.payload)).toBe(JSON.stringify(expected.right))
    }),
    { numRuns: runs(2_000) }
  )
  expect(taken).toBeGreaterThan(runs(2_000) / 20)
})

it("§5 a message is encoded with its head in the order of the wire, and without what it has not", () => {
  const maybe = <A>(value: fc.Arbitrary<A>) => fc.option(value, { nil: undefined })
  const heads = fc.record({
    id: fc.string(),
    session_id: maybe(fc.string()),
    trace_id: maybe(fc.string()),
    job_id: maybe(fc.string()),
    event_seq: maybe(fc.nat()),
    priority: maybe(fc.constantFrom(...Envelope.priorities)),
    extensions: maybe(fc.constant({ "x-vendor.a.b": 1 }))
  })
  fc.assert(
    fc.property(heads, (head) => {
      const { id, ...rest } = head
      const general = { arcp: "1.1", id, type: "session.closed", ...rest, payload: { request_id: "m" } }
      const made = Message.runtime("session.closed", head, { request_id: "m" })
      expect(Envelope.toText(made)).toBe(JSON.stringify(general))
      expect(Object.keys(made)).toEqual(Object.keys(JSON.parse(JSON.stringify(general)) as object))
    }),
    { numRuns: runs(500) }
  )
})

it("§7.1 the text of job.accepted is that of the general encoder", () => {
  const strings = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constantFrom('"', "\\", "\ud800", "\u2028"))
  const accepted = fc.record({ job_id: strings, agent: strings, lease: fc.dictionary(strings, fc.array(strings)) })
  fc.assert(
    fc.property(strings, strings, strings, strings, accepted, (id, sessionId, traceId, requestId, payload) => {
      const head = { id, session_id: sessionId, trace_id: traceId, job_id: payload.job_id }
      const made = Message.runtime("job.accepted", head, { request_id: requestId, ...payload })
      const answer = { jobId: JobId(payload.job_id), traceId }
      expect(acceptedFrame({ id, sessionId }, answer, requestId, JSON.stringify(payload))).toBe(Envelope.toText(made))
    }),
    { numRuns: runs(500) }
  )
})

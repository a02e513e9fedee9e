/** §14 What takes the place of a frame that is larger than frames may be: it fits, it is a message, and it says what is missing. */
import { Buffer } from "node:buffer"
import { describe, expect, it } from "@effect/vitest"
import { Either, FastCheck as fc } from "effect"
import * as Errors from "../../src/protocol/Errors.js"
import { Envelope, Message } from "../../src/protocol/index.js"
import { errorFrame } from "../../src/runtime/kernel/ErrorFrame.js"
import * as FrameSize from "../../src/runtime/kernel/FrameSize.js"
import { runs } from "../support/properties.js"

/** The least that a runtime takes as its bound. */
const least = 4_096

const head = { id: "msg_1", session_id: "sess_1" }

const bytesOf = (text: string): number => Buffer.byteLength(text)

/** The message of a frame's text; fails where it is none of a runtime. */
const messageOf = (text: string) =>
  Either.getOrThrow(
    Either.flatMap(
      Either.mapLeft(Envelope.fromText(text), ({ error }) => error),
      Message.decodeRuntime
    )
  )

/** Texts that are short, long, and longer as UTF-8 or once they are escaped. */
const text = (maxLength: number) =>
  fc
    .tuple(fc.constantFrom("a", "é", "語", "😀", '"', "\u0001"), fc.integer({ min: 1, max: maxLength }))
    .map(([unit, length]) => unit.repeat(length).slice(0, length))

const requestId = text(256)

const accepted = {
  job_id: "job_1",
  agent: "a@1.0.0",
  lease: {},
  accepted_at: "2026-01-01T00:00:00.000Z",
  trace_id: "0123456789abcdef0123456789abcdef"
}

describe("§14 the size of frames", () => {
  it("a text fits where its bytes do, however long it is", () => {
    fc.assert(
      fc.property(text(200), fc.integer({ min: 0, max: 700 }), (value, bytes) => {
        expect(FrameSize.fits(value, bytes)).toBe(bytesOf(value) <= bytes)
      }),
      { numRuns: runs(300) }
    )
  })

  it("what fits is sent as it is", () => {
    const frame = JSON.stringify(Message.runtime("session.closed", head, { request_id: "r" }))
    expect(FrameSize.smaller(frame, bytesOf(frame))).toBe(frame)
  })

  it("an error keeps its code, and whether it is permanent, without its details", () => {
    fc.assert(
      fc.property(text(2_000), text(60_000), requestId, fc.boolean(), (message, note, id, isPermanent) => {
        const error = isPermanent
          ? Errors.permanentError(message, { note })
          : new Errors.InternalError({ message, details: { note } })
        const frame = JSON.stringify(errorFrame(head, error, id))
        const sent = FrameSize.smaller(frame, least)
        expect(bytesOf(sent)).toBeLessThanOrEqual(least)
        const { payload, type } = messageOf(sent)
        expect(type).toBe("session.error")
        expect(payload).toMatchObject({ code: "INTERNAL_ERROR", request_id: id })
        const { details } = payload as { readonly details?: Record<string, unknown> }
        if (bytesOf(frame) > least) expect(details).toHaveProperty("omitted")
        expect(details?.permanent).toBe(isPermanent ? true : undefined)
      }),
      { numRuns: runs(100) }
    )
  })

  it("a cancel's answer loses the reason, an acceptance its lease, which says so", () => {
    fc.assert(
      fc.property(text(60_000), requestId, (long, id) => {
        const cancelled = JSON.stringify(
          Message.runtime("job.cancelled", head, { job_id: "job_1", request_id: id, reason: long })
        )
        const acceptance = JSON.stringify(
          Message.runtime("job.accepted", head, { ...accepted, request_id: id, lease: { "fs.read": [long] } })
        )
        for (const frame of [cancelled, acceptance]) {
          const sent = FrameSize.smaller(frame, least)
          expect(bytesOf(sent)).toBeLessThanOrEqual(least)
          const before = messageOf(frame)
          const { payload, type } = messageOf(sent)
          expect(type).toBe(before.type)
          if (bytesOf(frame) <= least) expect(sent).toBe(frame)
          else if (type === "job.accepted")
            expect(JSON.parse(sent).payload).toMatchObject({ job_id: "job_1", lease: {}, lease_omitted: true })
          else expect(payload).toEqual({ job_id: "job_1", request_id: id })
        }
      }),
      { numRuns: runs(100) }
    )
  })

  it("a reply that can lose nothing becomes a permanent error to its request", () => {
    const rows = Array.from({ length: 100 }, (_, n) => ({ agent: `agent-${n}`, versions: ["1.0.0"], default: "1.0.0" }))
    const frame = JSON.stringify({
      ...Message.runtime("session.closed", head, { request_id: "r" }),
      payload: { request_id: "r", rows }
    })
    const sent = FrameSize.smaller(frame, least)
    expect(messageOf(sent)).toMatchObject({
      type: "session.error",
      payload: {
        code: "INTERNAL_ERROR",
        request_id: "r",
        message: `the session.closed has ${bytesOf(frame)} bytes, at most ${least} are sent in a frame`,
        details: { reason: "frame_too_large", permanent: true }
      }
    })
  })

  it("bytes of an artifact are exempt: they have a bound of their own", () => {
    const frame = JSON.stringify({
      ...Message.runtime("session.closed", head, {}),
      type: "artifact.fetched",
      payload: { data: "x".repeat(9_000) }
    })
    expect(FrameSize.smaller(frame, least)).toBe(frame)
  })

  it("a listed job whose lease is too large is listed without it, and says so", () => {
    const row = { job_id: "job_1", agent: "a@1.0.0", status: "success", lease: { "fs.read": ["x".repeat(5_000)] } }
    const kept = JSON.stringify({ ...row, lease: {} })
    expect(FrameSize.row(kept, least)).toBe(kept)
    expect(JSON.parse(FrameSize.row(JSON.stringify(row), least))).toEqual({ ...row, lease: {}, lease_omitted: true })
  })

  it("an acceptance that cannot show its credentials refuses the job, for good", () => {
    const limits = { maxFrameBytes: 10_000 } as Parameters<typeof FrameSize.tooManyCredentials>[2]
    expect(FrameSize.tooManyCredentials("{}", [], limits)).toBeUndefined()
    expect(FrameSize.tooManyCredentials("{}", [{ value: "x".repeat(100) }], limits)).toBeUndefined()
    expect(FrameSize.tooManyCredentials("{}", [{ value: "x".repeat(9_000) }], limits)).toMatchObject({
      code: "INTERNAL_ERROR",
      details: { permanent: true, reason: "frame_too_large" }
    })
  })

  it("an event that was stored under other limits is replaced under its number", () => {
    const large = "x".repeat(5_000)
    const ts = "2026-01-01T00:00:00.000Z"
    const error = FrameSize.event(
      "job.error",
      JSON.stringify({ code: "TIMEOUT", final_status: "timed_out", details: { large, permanent: true } }),
      900
    )
    expect(error.type).toBe("job.error")
    expect(JSON.parse(error.payload)).toMatchObject({ code: "TIMEOUT", details: { permanent: true } })
    const result = FrameSize.event(
      "job.result",
      JSON.stringify({ final_status: "success", result: large, completed_at: ts }),
      900
    )
    expect(result.type).toBe("job.error")
    expect(JSON.parse(result.payload)).toMatchObject({
      final_status: "error",
      completed_at: ts,
      details: { reason: "frame_too_large" }
    })
    const log = FrameSize.event("job.event", JSON.stringify({ kind: "metric", ts, body: { name: large } }), 900)
    expect(JSON.parse(log.payload)).toMatchObject({ kind: "log", ts, body: { level: "warn" } })
    for (const { payload } of [error, result, log]) expect(bytesOf(payload)).toBeLessThanOrEqual(900)
  })
})

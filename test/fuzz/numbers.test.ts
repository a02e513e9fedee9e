/** Numbers that a double cannot hold, or holds without every whole number near them: refused by name, never rounded. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import * as Amount from "../../src/authority/Amount.js"
import { Envelope, Message } from "../../src/protocol/index.js"
import { hello, submit } from "../runtime/peer.js"
import { world } from "../runtime/world.js"

/** As JSON spells them: `JSON.parse` makes the last two infinite, and rounds the first. */
const beyond = ["9007199254740993", "9007199254740992", "18446744073709551616", "1e300", "1e309", "-1e309"]

const decode = (text: string): Either.Either<unknown, { readonly message: string }> => {
  const raw = Envelope.fromText(text)
  if (Either.isLeft(raw)) return Either.left(raw.left.error)
  return Message.isClientType(raw.right.type) ? Message.decodeClient(raw.right) : Message.decodeRuntime(raw.right)
}

const frame = (type: string, payload: string, head = "") =>
  `{"arcp":"1.1","id":"n","type":"${type}"${head},"payload":${payload}}`

describe("numbers beyond those that count", () => {
  it.each([
    [
      "event_seq",
      (n: string) => frame("job.event", `{"kind":"log","body":{"level":"info","message":"m"}}`, `,"event_seq":${n}`)
    ],
    ["payload.last_processed_seq", (n: string) => frame("session.ack", `{"last_processed_seq":${n}}`)],
    [
      "payload.resume.last_event_seq",
      (n: string) => frame("session.hello", `{"resume":{"session_id":"s","resume_token":"t","last_event_seq":${n}}}`)
    ],
    ["payload.last_event_seq", (n: string) => frame("session.resume", `{"resume_token":"t","last_event_seq":${n}}`)],
    ["payload.from_event_seq", (n: string) => frame("job.subscribe", `{"job_id":"j","from_event_seq":${n}}`)],
    ["payload.max_runtime_sec", (n: string) => frame("job.submit", `{"agent":"a","max_runtime_sec":${n}}`)],
    ["payload.limit", (n: string) => frame("session.list_jobs", `{"limit":${n}}`)],
    [
      "payload.retain_seconds",
      (n: string) => frame("artifact.put", `{"content_type":"a/b","data":"","retain_seconds":${n}}`)
    ],
    ["payload.result_size", (n: string) => frame("job.result", `{"result_id":"r","result_size":${n}}`)],
    [
      "payload.jobs.0.last_event_seq",
      (n: string) =>
        frame(
          "session.jobs",
          `{"jobs":[{"job_id":"j","agent":"a","status":"running","created_at":"t","last_event_seq":${n}}]}`
        )
    ],
    [
      "payload.byte_size",
      (n: string) =>
        frame("artifact.ref", `{"artifact_id":"a","uri":"u","content_type":"a/b","byte_size":${n},"sha256":"s"}`)
    ],
    [
      "payload.subscribed_from",
      (n: string) => frame("job.subscribed", `{"job_id":"j","current_status":"running","subscribed_from":${n}}`)
    ]
  ])("§5 %s", (field, make) => {
    expect(Either.isRight(decode(make("9007199254740991")))).toBe(true)
    for (const number of beyond) {
      const decoded = decode(make(number))
      expect(Either.isLeft(decoded) && decoded.left.message, number).toContain(`${field}: must be`)
    }
  })

  it("§9.6 budgets are finite on the wire, and exact in a lease however many digits they have", () => {
    for (const number of ["1e309", "-1e309"]) {
      const decoded = decode(frame("job.accepted", `{"job_id":"j","budget":{"USD":${number}}}`))
      expect(Either.isLeft(decoded) && decoded.left.message, number).toContain("payload.budget.USD: must be")
    }
    const exact = "USD:9007199254740993.000000000000000000000000000001"
    expect(Amount.print(Either.getOrThrow(Amount.parse(exact)))).toBe(exact)
    for (const text of ["USD:1e309", "USD:Infinity", "USD:NaN", `USD:${"9".repeat(31)}`, `USD:0.${"1".repeat(31)}`]) {
      expect(Either.isLeft(Amount.parse(text)), text).toBe(true)
    }
    for (const value of [Number.POSITIVE_INFINITY, Number.NaN, -1]) {
      expect(Either.isLeft(Amount.fromNumber(value))).toBe(true)
    }
  })

  it.scoped("§9.6, §6.5 a runtime answers them by name, and the session goes on", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      for (const [text, field] of [
        [frame("session.ack", `{"last_processed_seq":9007199254740993}`), "last_processed_seq"],
        [frame("job.submit", `{"agent":"echo","input":1,"max_runtime_sec":1e309}`), "max_runtime_sec"],
        [
          frame("job.submit", `{"agent":"echo","input":1,"lease_request":{"cost.budget":["USD:${"9".repeat(31)}"]}}`),
          "cost.budget"
        ]
      ] as const) {
        yield* peer.raw(text)
        const { payload } = yield* peer.next("session.error")
        expect(payload).toMatchObject({ code: "INVALID_REQUEST", request_id: "n" })
        expect(payload.message).toContain(field)
      }
      expect((yield* submit(peer, "echo", 1)).type).toBe("job.accepted")
    }).pipe(Effect.provide(world()))
  )
})

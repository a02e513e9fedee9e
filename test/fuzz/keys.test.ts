/** Keys from the wire that are special in JavaScript: they are keys like others. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import { MemoryStore } from "../../src/store/index.js"
import { Envelope, fromWire, Message } from "../../src/protocol/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { hello, submit } from "../runtime/peer.js"
import { world } from "../runtime/world.js"

const keys = (value: string) => `{"__proto__":${value},"b":${value}}`
const object = keys(`{"reason":"taken_over"}`)
const patterns = keys(`["x"]`)

const decode = (type: string, payload: string) => {
  const text = `{"arcp":"1.1","id":"a","type":"${type}","extensions":${object},"payload":${payload}}`
  const raw = Either.getOrThrow(Envelope.fromText(text))
  return Message.isRuntimeType(type)
    ? Either.getOrThrow(Message.decodeRuntime(raw))
    : Either.getOrThrow(Message.decodeClient(raw))
}

/** Every record in a value that was sent with both keys. */
const records = (value: unknown): ReadonlyArray<object> =>
  typeof value === "object" && value !== null
    ? [...(Object.hasOwn(value, "b") ? [value] : []), ...Object.values(value).flatMap(records)]
    : []

describe("a key __proto__ from the wire", () => {
  it.each([
    ["job.submit", `{"agent":"a","input":${object},"lease_request":${patterns},"lease_constraints":${object}}`, 4],
    [
      "job.accepted",
      `{"job_id":"j","lease":${patterns},"lease_constraints":${object},"budget":${keys("1")},"credentials":[{"id":"i","scheme":"s","value":"v","endpoint":"e","constraints":${object}}]}`,
      5
    ],
    ["session.error", `{"code":"INTERNAL_ERROR","message":"m","retryable":true,"details":${object}}`, 2],
    ["job.error", `{"code":"INTERNAL_ERROR","message":"m","details":${object}}`, 2],
    ["job.result", `{"result":${object}}`, 2],
    ["job.event", `{"kind":"metric","body":{"name":"n","value":1,"dimensions":${object}}}`, 2]
  ])(
    "§5 is a key of every record of %s: nothing inherits from it, and it does not vanish",
    (type, payload, expected) => {
      const decoded = decode(type, payload)
      const found = records([decoded.payload, decoded.envelope.extensions])
      expect(found.length).toBe(expected)
      for (const record of found) {
        expect(Object.getPrototypeOf(record)).toBe(Object.prototype)
        expect(Object.hasOwn(record, "__proto__")).toBe(true)
      }
      if (decoded.type === "job.error" || decoded.type === "session.error") {
        const { details } = fromWire(decoded.payload)
        expect(details?.reason).toBeUndefined()
        expect(records(details).length).toBe(1)
      }
    }
  )

  it.scoped(
    "§9.2, §9.5 is refused in a lease and in its constraints, as every other name that means nothing there",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const special: ReadonlyArray<readonly [object, string]> = [
          [{ lease_request: JSON.parse(`{"__proto__":["/data/**"]}`) }, "unknown capability"],
          [{ lease_request: JSON.parse(`{"fs.read":["/a"],"__proto__":[]}`) }, "unknown capability"],
          [
            { lease_constraints: JSON.parse(`{"__proto__":{"expires_at":"2099-01-01T00:00:00Z"}}`) },
            "unknown constraint"
          ],
          [{ lease_constraints: JSON.parse(`{"__proto__":null}`) }, "unknown constraint"]
        ]
        for (const [more, told] of special) {
          const refused = yield* submit(peer, "echo", 1, more)
          expect(refused.payload).toMatchObject({ code: "INVALID_REQUEST" })
          expect(refused.payload.message).toContain(told)
          expect(refused.payload.message).toContain("__proto__")
        }
        expect((yield* submit(peer, "echo", 1)).type).toBe("job.accepted")
      }).pipe(Effect.provide(world({ transport: MemoryTransport.layerEncoded, store: MemoryStore.layer })))
  )
})

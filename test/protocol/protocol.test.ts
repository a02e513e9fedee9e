import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Either, Effect, FastCheck as fc, Schema, TestClock } from "effect"
import {
  AgentName,
  CanonicalJson,
  Envelope,
  errorCodes,
  errorTable,
  Event,
  ExtensionName,
  Features,
  fromWire,
  Ids,
  isArcpError,
  maxDetailsLength,
  Message,
  oneLine,
  permanentError,
  toWire,
  Trace
} from "../../src/protocol/index.js"
import { isBody } from "../../src/protocol/EventGuards.js"
import { runs } from "../support/properties.js"

const json = fc.jsonValue({ maxDepth: 4 })
const envelope = (type: string, payload: object, more: object = {}) => ({
  arcp: "1.1",
  id: "m1",
  type,
  payload: payload as Envelope.Json,
  ...more
})

describe("§5 envelope", () => {
  it("round trip: what is written is read, unknown fields are kept", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), json), fc.string({ minLength: 1, maxLength: 50 }), (payload, id) => {
        const raw = { ...envelope("x-demo", payload), id, unknown: { a: [1] }, priority: 3 }
        expect(Either.getOrThrow(Envelope.fromText(JSON.stringify(raw)))).toEqual(JSON.parse(JSON.stringify(raw)))
      })
    )
  })

  it("never throws, whatever the text", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((s) => `{"arcp":"1.1",${s}`)
        ),
        (text) => {
          const read = Envelope.fromText(text)
          if (Either.isLeft(read)) expect(read.left.error.message.length).toBeLessThanOrEqual(512)
          else expect(read.right.arcp).toMatch(/^1/)
        }
      )
    )
  })

  it.each([
    ["null", "message"],
    ["[]", "message"],
    ["{}", "id"],
    [JSON.stringify(envelope("t", {}, { id: "" })), "id"],
    [JSON.stringify(envelope("t", {}, { arcp: "2.0" })), "arcp"],
    [JSON.stringify(envelope("t", {}, { arcp: 1 })), "arcp"],
    [JSON.stringify(envelope("", {})), "type"],
    [JSON.stringify(envelope("t", {}, { payload: null })), "payload"],
    [JSON.stringify(envelope("t", {}, { payload: [] })), "payload"],
    [JSON.stringify(envelope("t", {}, { event_seq: -1 })), "event_seq"],
    [JSON.stringify(envelope("t", {}, { event_seq: 1e300 })), "event_seq"],
    [JSON.stringify(envelope("t", {}, { session_id: 7 })), "session_id"],
    [JSON.stringify(envelope("t", {}, { trace_id: "x".repeat(600) })), "trace_id"],
    [JSON.stringify(envelope("t", {}, { extensions: 1 })), "extensions"],
    ["[".repeat(100_000), "nests deeper"],
    [`{"a":${'{"a":'.repeat(70)}1${"}".repeat(70)}}`, "nests deeper"]
  ])("%.60s is refused naming %s", (text, field) => {
    const read = Envelope.fromText(text)
    expect(Either.isLeft(read) && read.left.error.message).toContain(field)
  })

  it("brackets inside strings do not nest; versions 1 and 1.x are read; nulls of optional fields are absent", () => {
    expect(Either.isRight(Envelope.fromText(JSON.stringify(envelope("t", { s: "[".repeat(500) }))))).toBe(true)
    for (const arcp of ["1", "1.0", "1.1", "1.99"]) {
      expect(Either.isRight(Envelope.fromUnknown(envelope("t", {}, { arcp })))).toBe(true)
    }
    const read = Either.getOrThrow(Envelope.fromUnknown(envelope("t", {}, { session_id: null, event_seq: null })))
    expect("session_id" in read || "event_seq" in read).toBe(false)
  })

  it("__proto__ and duplicate keys are harmless", () => {
    const text = `{"arcp":"1.1","id":"a","type":"job.submit","payload":{"agent":"a","agent":"echo","lease_request":{"__proto__":["x"],"constructor":["y"]},"input":{"__proto__":{"polluted":true}}}}`
    const decoded = Either.getOrThrow(Message.decodeClient(Either.getOrThrow(Envelope.fromText(text))))
    expect(decoded.type === "job.submit" && decoded.payload.agent).toBe("echo")
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
    if (decoded.type === "job.submit") {
      expect(Object.getPrototypeOf(decoded.payload.lease_request)).not.toEqual(["x"])
    }
  })
})

describe("messages", () => {
  const tables = { client: Message.clientMessages, runtime: Message.runtimeMessages } as const

  it("errors name the field in one line and echo no value", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(tables.client)),
        fc.dictionary(
          fc.constantFrom(
            "auth",
            "client",
            "capabilities",
            "resume",
            "agent",
            "input",
            "lease_request",
            "nonce",
            "limit",
            "filter",
            "job_id",
            "resume_token",
            "last_processed_seq",
            "idempotency_key",
            "content_type",
            "data"
          ),
          fc.oneof(
            json,
            fc.constant("S3CRET-VALUE"),
            fc.constant({ token: ["S3CRET-VALUE"], scheme: 7 }),
            fc.constant({ status: "S3CRET-VALUE" })
          )
        ),
        (type, payload) => {
          const decoded = Message.decodeClient(envelope(type, payload))
          if (Either.isRight(decoded)) return
          const { message } = decoded.left
          expect(message).not.toContain("S3CRET-VALUE")
          expect(message).not.toMatch(/\n|readonly|ParseError/)
          expect(message.length).toBeLessThanOrEqual(512)
          expect(message).toMatch(/^payload[.:]/)
        }
      ),
      { numRuns: runs(500) }
    )
  })

  it.each([
    ["session.hello", {}],
    [
      "session.hello",
      {
        client: { name: "x", version: null },
        auth: null,
        capabilities: { encodings: ["json"], features: ["ack", "x"] }
      }
    ],
    ["session.hello", { resume: { session_id: "s", resume_token: "t", last_event_seq: -1 } }],
    ["session.resume", { resume_token: "t", last_event_seq: 3, auth: { scheme: "bearer", token: "t" } }],
    [
      "session.list_jobs",
      {
        filter: { status: ["running", "pending"], agent: "a", created_after: "2026-05-13T00:00:00Z" },
        limit: 100,
        cursor: null
      }
    ],
    ["session.list_jobs", {}],
    ["session.ack", { last_processed_seq: 1827 }],
    ["session.ping", { nonce: "p", sent_at: "2026-05-13T19:42:13.000Z" }],
    [
      "job.submit",
      {
        agent: "a@1",
        input: null,
        lease_request: { "fs.read": ["/a/**"] },
        lease_constraints: { expires_at: "2026-05-13T23:42:00Z" },
        idempotency_key: "k",
        max_runtime_sec: 1800
      }
    ],
    ["job.subscribe", { job_id: "j", from_event_seq: "live" }],
    ["job.subscribe", { job_id: "j", from_event_seq: 0, history: true }],
    ["job.cancel", { reason: "r" }],
    ["artifact.put", { content_type: "text/plain", data: "" }]
  ])("a client may send %s %j", (type, payload) => {
    expect(Either.isRight(Message.decodeClient(envelope(type, payload)))).toBe(true)
  })

  it.each([
    ["session.welcome", { resume_token: "t", resume_window_sec: 600, capabilities: { agents: ["a", "b"] } }],
    [
      "session.welcome",
      {
        runtime: { name: "r", version: "1" },
        resume_token: "t",
        heartbeat_interval_sec: 30,
        capabilities: { features: ["ack"], agents: [{ name: "a", versions: ["1"], default: "1" }] }
      }
    ],
    [
      "session.jobs",
      {
        request_id: "r",
        jobs: [
          {
            job_id: "j",
            agent: "a@1",
            status: "running",
            lease: {},
            parent_job_id: null,
            created_at: "x",
            trace_id: "t",
            last_event_seq: 3
          }
        ],
        next_cursor: null
      }
    ],
    [
      "job.accepted",
      {
        job_id: "j",
        lease: {},
        budget: { USD: 5 },
        credentials: [{ id: "c", scheme: "x-other", value: "v", endpoint: "e" }]
      }
    ],
    ["job.result", { output: 1 }],
    ["job.result", { final_status: "success", result_id: "r", result_size: 3 }],
    ["job.error", { code: "VENDOR", message: "m" }],
    ["session.error", { code: "INTERNAL_ERROR", message: "m", details: { a: 1 } }],
    ["job.subscribed", { job_id: "j", current_status: "running" }]
  ])("a runtime may send %s %j", (type, payload) => {
    expect(Either.isRight(Message.decodeRuntime(envelope(type, payload)))).toBe(true)
  })

  it("each side refuses what the other sends, and what nobody does", () => {
    expect(Either.isLeft(Message.decodeClient(envelope("job.result", {})))).toBe(true)
    expect(Either.isLeft(Message.decodeRuntime(envelope("job.submit", { agent: "a" })))).toBe(true)
    expect(Either.isLeft(Message.decodeClient(envelope("job.sing", {})))).toBe(true)
    expect(Message.isClientType("job.submit") && !Message.isClientType("job.event")).toBe(true)
  })

  it("an envelope is made without nulls and without absent fields", () => {
    const made = Message.runtime("job.accepted", { id: "i", session_id: "s", job_id: undefined }, { job_id: "j" })
    expect(JSON.parse(Envelope.toText(made))).toEqual({
      arcp: "1.1",
      id: "i",
      type: "job.accepted",
      session_id: "s",
      payload: { job_id: "j" }
    })
  })
})

describe("§8.2 events", () => {
  for (const kind of ExtensionName.coreEventKinds) {
    const schema = Event.bodies[kind] as Schema.Schema<unknown>
    const fits = Schema.is(schema)
    const decodes = (u: unknown) => Either.isRight(Schema.decodeUnknownEither(schema)(u))
    it(`${kind}: the guard is the Schema`, () => {
      const good = Arbitrary.make(schema)
      fc.assert(
        fc.property(good, (body) => {
          expect(fits(body)).toBe(true)
          const wire = JSON.parse(JSON.stringify(body))
          expect(isBody[kind](wire)).toBe(decodes(wire))
        }),
        { numRuns: runs(100) }
      )
      fc.assert(
        fc.property(good, fc.string(), json, fc.nat(9), (body, key, value, pick) => {
          const wire = JSON.parse(JSON.stringify(body)) as Record<string, unknown>
          const keys = Object.keys(wire)
          wire[pick < 8 ? (keys[pick % Math.max(keys.length, 1)] ?? key) : key] = value
          expect(isBody[kind](wire)).toBe(decodes(wire))
        }),
        { numRuns: runs(300) }
      )
      for (const odd of [null, undefined, 1, "x", [], {}]) expect(isBody[kind](odd)).toBe(decodes(odd))
    })
  }

  it("any kind passes, malformed bodies as data, log levels in lower case", () => {
    expect(Event.fromWire("j", 1, { kind: "x-vendor.a.b", ts: "t", body: 1 })).toMatchObject({
      _tag: "other",
      malformed: false
    })
    expect(Event.fromWire("j", 1, { kind: "log", body: {} })).toMatchObject({
      _tag: "other",
      kind: "log",
      malformed: true
    })
    expect(Event.fromWire("j", 1, { kind: "log", body: { level: "WARN", message: "m" } })).toMatchObject({
      _tag: "log",
      body: { level: "warn" }
    })
  })
})

describe("§12 errors", () => {
  it("fifteen codes, there and back", () => {
    expect(errorCodes.length).toBe(15)
    for (const code of errorCodes) {
      const error = fromWire({ code, message: "m", details: { a: 1 } })
      expect(error.code).toBe(code)
      expect(error.retryable).toBe(errorTable[code].retryable)
      expect(isArcpError(error)).toBe(true)
      expect(toWire(error)).toEqual({ code, message: "m", retryable: errorTable[code].retryable, details: { a: 1 } })
    }
    expect(fromWire({ code: "BAKERY_CLOSED", message: "m" })).toMatchObject({
      _tag: "VendorError",
      code: "BAKERY_CLOSED"
    })
    expect(errorTable.INTERNAL_ERROR.retryable).toBe(true)
    for (const code of ["LEASE_EXPIRED", "BUDGET_EXHAUSTED"]) {
      expect(toWire(fromWire({ code, message: "", retryable: true })).retryable).toBe(false)
    }
  })

  it("INTERNAL_ERROR is always retryable; one that says otherwise is permanent", () => {
    expect(toWire(permanentError("m", { reason: "r" }))).toEqual({
      code: "INTERNAL_ERROR",
      message: "m",
      retryable: true,
      details: { reason: "r", permanent: true }
    })
    expect(toWire(fromWire({ code: "INTERNAL_ERROR", message: "m", retryable: false }))).toEqual({
      code: "INTERNAL_ERROR",
      message: "m",
      retryable: true,
      details: { permanent: true }
    })
    // Details that cannot be sent do not hide it.
    const long = { long: "x".repeat(maxDetailsLength) }
    expect(toWire(fromWire({ code: "INTERNAL_ERROR", message: "m", retryable: false, details: long }))).toMatchObject({
      retryable: true,
      details: { omitted: expect.any(String), permanent: true }
    })
    expect(toWire(fromWire({ code: "INTERNAL_ERROR", message: "m", retryable: true }))).toEqual({
      code: "INTERNAL_ERROR",
      message: "m",
      retryable: true
    })
  })

  it("messages are one bounded line", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 2000 }), (text) => {
        const line = oneLine(text)
        expect(line.length).toBeLessThanOrEqual(512)
        expect(line).not.toMatch(/[\n\r\u2028]/)
      })
    )
  })

  it("messages hold no half of a character, neither one of theirs nor one that was cut", () => {
    for (const text of [
      "a\ud83d",
      "\ude00b",
      "\ud83d\ud83d\ude00",
      "\ud800".repeat(2_000),
      "😀".repeat(400),
      `a${"😀".repeat(400)}`
    ]) {
      const line = oneLine(text)
      expect(Buffer.from(line).toString()).toBe(line)
      // At most three bytes a character, also as JSON: what is around a result in its frame counts on it.
      expect(Buffer.byteLength(JSON.stringify(line))).toBeLessThanOrEqual(512 * 3 + 2)
    }
    expect(oneLine("a 😀 b")).toBe("a 😀 b")
  })
})

describe("names", () => {
  it("§7.5 agent names by the exact grammar", () => {
    for (const good of ["a", "0a", "code-refactor@2.0.0", "a.b_c-d@1.0+x_Y", "a@1"]) {
      expect(AgentName.format(Either.getOrThrow(AgentName.parse(good)))).toBe(good)
    }
    for (const bad of ["", "A", "-a", ".a", "a b", "a@", "@1", "a@1@2", "a@1/2", "ä", "a\n", `a${"a".repeat(128)}`]) {
      expect(Either.isLeft(AgentName.parse(bad)), bad).toBe(true)
    }
  })

  it("extension names are core, vendor, experimental or malformed", () => {
    const table = {
      core: ["job.submit", "log", "fs.read", "heartbeat", "artifacts"],
      vendor: ["x-vendor.acme.note", "x-vendor.acme.deep.note", "arcpx.demo.note.v1", "com.acme.thing.v12"],
      experimental: ["x-note", "x-a.b"],
      malformed: [
        "",
        "x-",
        "x-vendor",
        "x-vendor.",
        "x-vendor.acme",
        "x-vendor.acme.",
        "note",
        "com.acme.thing",
        "com.acme.thing.v0",
        "session.steal.v1",
        "Com.acme.v1",
        `x-${"a".repeat(300)}`
      ]
    } as const
    for (const [kind, names] of Object.entries(table)) {
      for (const name of names) expect(ExtensionName.classify(name), name).toBe(kind)
    }
  })

  it("§6.2 features are the intersection, in our order", () => {
    expect(Features.intersect(["ack", "progress"], ["x", "progress", "ack", "ack"])).toEqual(["ack", "progress"])
    expect(Features.intersect(Features.coreFeatures, [])).toEqual([])
  })
})

describe("§11 traces", () => {
  const id = "4bf92f3577b34da6a3ce929d0e0e4736"
  it("ids and traceparents are read, all else is refused", () => {
    expect(Either.getOrThrow(Trace.parse(id))).toEqual({ traceId: id })
    expect(Either.getOrThrow(Trace.parse(`00-${id}-00f067aa0ba902b7-01`))).toMatchObject({
      traceId: id,
      parentSpanId: "00f067aa0ba902b7",
      sampled: true
    })
    for (const bad of [
      "",
      "0".repeat(32),
      id.slice(1),
      `00-${id}-${"0".repeat(16)}-01`,
      `ff-${id}-00f067aa0ba902b7-01`,
      `00-${id}-00f067aa0ba902b7-01-x`
    ]) {
      expect(Either.isLeft(Trace.parse(bad)), bad).toBe(true)
    }
    const extensions = { [Trace.traceContextExtension]: { tracestate: "a=1", parent_span_id: "00f067aa0ba902b7" } }
    const read = Either.getOrThrow(Trace.parse(id, extensions))
    expect(read).toEqual({ traceId: id, traceState: "a=1", parentSpanId: "00f067aa0ba902b7" })
    expect(Trace.toExtensions(read)).toEqual(extensions)
    expect(Trace.toExtensions({ traceId: id })).toBeUndefined()
    // Recorded is what a trace is unless somebody says that it is not.
    expect(Trace.toExtensions({ traceId: id, sampled: true })).toBeUndefined()
    const unsampled = Trace.toExtensions({ traceId: id, sampled: false })
    expect(Either.getOrThrow(Trace.parse(id, unsampled))).toEqual({ traceId: id, sampled: false })
    expect(Either.getOrThrow(Trace.parse(`00-${id}-00f067aa0ba902b7-01`, unsampled))).toMatchObject({ sampled: true })
    expect(Either.getOrThrow(Trace.parse(id, { [Trace.traceContextExtension]: { sampled: "no" } }))).toEqual({
      traceId: id
    })
  })
})

describe("ids", () => {
  it.effect("ULIDs rise strictly, also when the clock stands still or goes back", () =>
    Effect.gen(function* () {
      const ids = yield* Ids
      let last = ""
      for (const millis of [1000, 1000, 1000, 2000, 1500, 1500, 3000]) {
        for (let i = 0; i < 500; i++) {
          const next = ids.unsafeUlid(millis)
          expect(next).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/)
          expect(next > last).toBe(true)
          last = next
        }
      }
      yield* TestClock.adjust("1 hour")
      expect((yield* ids.ulid) > last).toBe(true)
      expect((yield* ids.secret).length).toBeGreaterThanOrEqual(43)
      expect(ids.unsafeTraceId()).toMatch(/^(?!0{32})[0-9a-f]{32}$/)
    }).pipe(Effect.provide(Ids.layer))
  )

  it.effect("a seed makes them the same", () =>
    Effect.gen(function* () {
      const some = Effect.flatMap(Ids, (ids) => Effect.all([ids.ulid, ids.secret, ids.ulid]))
      const [a, b, c] = yield* Effect.all([
        Effect.provide(some, Ids.layerSeeded(7)),
        Effect.provide(some, Ids.layerSeeded(7)),
        Effect.provide(some, Ids.layerSeeded(8))
      ])
      expect(a).toEqual(b)
      expect(a).not.toEqual(c)
    })
  )
})

describe("canonical JSON", () => {
  it("is the same for the same value and another for another", () => {
    const shuffle = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(shuffle)
        : typeof value === "object" && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([k, v]) => [k, shuffle(v)])
            )
          : value
    fc.assert(
      fc.property(json, (value) => {
        const text = CanonicalJson.canonicalize(value)
        expect(CanonicalJson.canonicalize(shuffle(value))).toBe(text)
        expect(CanonicalJson.canonicalize(JSON.parse(text))).toBe(text)
      })
    )
    expect(CanonicalJson.canonicalize({ b: 1.0, a: [undefined, -0] })).toBe(`{"a":[null,0],"b":1}`)
    expect(CanonicalJson.canonicalize(JSON.parse(`{"__proto__":1,"a":2}`))).toBe(`{"__proto__":1,"a":2}`)
    expect(CanonicalJson.canonicalize({ a: 1 })).not.toBe(CanonicalJson.canonicalize({ a: "1" }))
  })
})

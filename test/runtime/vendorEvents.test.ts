/** Vendor events that an agent declares: emitted and read in the types of their Schemas (ARCP 1.1 §8.1, 1.0 §8.2). */
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Chunk, Effect, type Layer, Schema, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient, type ClientError, type EventsGap } from "../../src/client/index.js"
import type { AgentEvent, ArcpError, Event, InvalidRequest } from "../../src/protocol/index.js"
import { TestArcp } from "../../src/testing/index.js"
import { hostileValues } from "../support/hostile.js"
import { eventsOf, hello, run } from "./peer.js"
import { world } from "./world.js"

const Row = Schema.Struct({ at: Schema.Date, cells: Schema.Array(Schema.NumberFromString) })
const row = { at: new Date(5), cells: [1, 2] }
const encodedRow = { at: "1970-01-01T00:00:00.005Z", cells: ["1", "2"] }

class Table extends Agent.make("table", {
  input: Schema.Unknown,
  output: Schema.Unknown,
  events: { "x-vendor.acme.row": Row, "x-vendor.acme.done": Schema.Struct({ rows: Schema.Number }) }
}) {}

/** An earlier version of the same agent. */
class Older extends Agent.make("table", {
  input: Schema.Unknown,
  output: Schema.Unknown,
  events: { "x-vendor.acme.row": Schema.Struct({ text: Schema.String }) }
}) {}

const TableLive = Table.toLayer(() =>
  Effect.gen(function* () {
    yield* Table.emit("x-vendor.acme.row", row)
    yield* Job.log("between")
    yield* Job.event("x-vendor.other.kind", { any: 1 })
    yield* Job.event("x-vendor.acme.row", { cells: "not an array" })
    yield* Table.emit("x-vendor.acme.done", { rows: 1 })
    return "done"
  })
)

const main = world({ agents: TableLive })

const epoch = new Date(0)

describe("a declared event on the wire", () => {
  it.scoped("§8.1 is a job.event of its kind, its body encoded, in the order of the calls", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const end = yield* run(peer, "table")
      expect(eventsOf(peer, end.job_id!).map(({ payload }) => [payload.kind, payload.body])).toMatchObject([
        ["status", { phase: "running" }],
        ["x-vendor.acme.row", encodedRow],
        ["log", { message: "between" }],
        ["x-vendor.other.kind", { any: 1 }],
        ["x-vendor.acme.row", { cells: "not an array" }],
        ["x-vendor.acme.done", { rows: 1 }],
        [undefined, undefined]
      ])
    }).pipe(Effect.provide(main))
  )
})

const tagged = (events: Chunk.Chunk<AgentEvent<(typeof Table)["events"] & {}>>) =>
  Chunk.toReadonlyArray(events).map((event) => [event._tag, event.kind, event.body])

describe("a client of the agent's class", () => {
  const shown = [
    ["status", "status", { phase: "running" }],
    ["x-vendor.acme.row", "x-vendor.acme.row", row],
    ["log", "log", { level: "info", message: "between" }],
    ["other", "x-vendor.other.kind", { any: 1 }],
    ["other", "x-vendor.acme.row", { cells: "not an array" }],
    ["x-vendor.acme.done", "x-vendor.acme.done", { rows: 1 }]
  ]

  it.scoped("1.0 §8.2 reads its events decoded, one that does not fit as it came and marked, others untouched", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Table, null)
      const events = yield* Stream.runCollect(job.events)
      expect(tagged(events)).toEqual(shown)
      const marked = yield* Stream.runCollect(job.eventsWith({ onGap: "mark", chunkSize: 1 }))
      expect(Chunk.toReadonlyArray(marked)).toEqual(Chunk.toReadonlyArray(events))
      expect(Chunk.toReadonlyArray(events).map((event) => event._tag === "other" && event.malformed)).toEqual([
        false,
        false,
        false,
        false,
        true,
        false
      ])
      const observed = yield* client.subscribe(job.jobId, { agent: Table, history: true })
      expect(tagged(yield* Stream.runCollect(observed.events))).toEqual(shown)
      const attached = yield* client.attach(job.jobId, { agent: Table })
      expect(tagged(yield* Stream.runCollect(attached.events))).toEqual(shown)
    }).pipe(Effect.provide(TestArcp.layer(TableLive)))
  )

  it.scoped("1.0 §8.2 of another version reads what does not fit as it came; by name everything", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const older = yield* client.submit(Older, null)
      const rows = yield* older.events.pipe(
        Stream.filter(({ kind }) => kind === "x-vendor.acme.row"),
        Stream.runCollect
      )
      expect(Chunk.toReadonlyArray(rows)).toMatchObject([
        { _tag: "other", malformed: true, body: encodedRow },
        { _tag: "other", malformed: true }
      ])
      const named = yield* client.submit("table")
      const all = Chunk.toReadonlyArray(yield* Stream.runCollect(named.events))
      expect(
        all.filter(({ _tag }) => _tag === "other").map((event) => event._tag === "other" && event.malformed)
      ).toEqual([false, false, false, false])
      expect(yield* older.result).toBe("done")
    }).pipe(Effect.provide(TestArcp.layer(TableLive)))
  )

  it.scoped("1.0 §8.2 whose Schema throws, or is asynchronous, reads the event as it came", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const schemas: ReadonlyArray<Schema.Schema<any, any>> = [
        ...hostileValues.map(([, make]) =>
          Schema.transform(Schema.Unknown, Schema.Unknown, {
            strict: false,
            decode: () => {
              throw make()
            },
            encode: (value) => value
          })
        ),
        Schema.transformOrFail(Schema.Unknown, Schema.Unknown, { decode: () => Effect.never, encode: Effect.succeed })
      ]
      for (const schema of schemas) {
        const job = yield* client.submit(
          {
            agentName: "table",
            version: undefined,
            input: Schema.Unknown,
            output: Schema.Unknown,
            events: { "x-vendor.acme.row": schema }
          },
          null
        )
        const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
        expect(events.length).toBe(shown.length)
        expect(events[1]).toMatchObject({ _tag: "other", malformed: true, body: encodedRow })
      }
    }).pipe(Effect.provide(TestArcp.layer(TableLive)))
  )
})

describe("emitting a declared event", () => {
  const odd = (encode: () => unknown) =>
    Schema.transform(Schema.Struct({}), Schema.Unknown, {
      strict: false,
      decode: (value) => value,
      encode
    }) as unknown as Schema.Schema<unknown, object>

  it.scoped("§8.1 fails, and emits nothing, where the body does not encode to an object that is JSON", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const end = yield* run(peer, "odd")
      expect(end.payload.result).toEqual(end.payload.result.map(() => "INVALID_REQUEST"))
      expect(end.payload.result.length).toBeGreaterThan(40)
      // A Schema that throws is logged.
      expect(new Set(eventsOf(peer, end.job_id!).map(({ payload }) => payload.kind))).toEqual(
        new Set(["status", "log", undefined])
      )
    }).pipe(
      Effect.provide(
        world({
          agents: Agent.untyped("odd", () =>
            Effect.gen(function* () {
              const made = (schema: Schema.Schema<unknown, object>) =>
                Agent.make("odd", {
                  input: Schema.Unknown,
                  output: Schema.Unknown,
                  events: { "x-vendor.acme.odd": schema }
                })
              const fails: Array<string> = []
              const emit = (schema: Schema.Schema<unknown, object>) =>
                Effect.map(Effect.flip(made(schema).emit("x-vendor.acme.odd", {})), ({ code }) => void fails.push(code))
              for (const [name, make] of hostileValues) {
                yield* emit(
                  odd(() => {
                    throw make()
                  })
                )
                // These are objects, and JSON.
                if (
                  /without a prototype|^a message|cause is itself|symbol|toString|nesting|stack|throwing message|_tag getter|cause getter/.test(
                    name
                  )
                )
                  continue
                yield* emit(odd(make))
              }
              for (const value of [null, undefined, 1, "text", [1], { n: 1n }]) yield* emit(odd(() => value))
              // Objects, and no JSON objects.
              for (const value of [epoch, { toJSON: () => [1] }, { toJSON: () => "text" }]) {
                yield* emit(odd(() => value))
                fails.push((yield* Effect.flip(Job.event("x-vendor.acme.odd", value))).code)
              }
              yield* emit(Schema.Struct({ n: Schema.Number }) as unknown as Schema.Schema<unknown, object>)
              const undeclared = made(odd(() => ({}))).emit as unknown as (
                kind: string,
                body: unknown
              ) => Effect.Effect<void, InvalidRequest, Job>
              for (const kind of ["x-vendor.acme.none", "toString", "__proto__"]) {
                fails.push((yield* Effect.flip(undeclared(kind, {}))).code)
              }
              return fails
            })
          )
        })
      )
    )
  )

  it.scoped("§8.1 fails where it is larger than an event may be", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const { payload } = yield* run(peer, "large")
      expect(payload.code).toBe("INVALID_REQUEST")
    }).pipe(
      Effect.provide(
        world({
          limits: { eventPayload: 1_000 },
          agents: (() => {
            const Large = Agent.make("large", {
              input: Schema.Unknown,
              output: Schema.Unknown,
              events: { "x-vendor.acme.text": Schema.Struct({ text: Schema.String }) }
            })
            return Large.toLayer(() => Large.emit("x-vendor.acme.text", { text: "x".repeat(2_000) }))
          })()
        })
      )
    )
  )
})

describe("the kinds of declared events", () => {
  it.each([
    "row",
    "log",
    "x-row",
    "x-vendor.acme",
    "x-vendor.acme.",
    "x-vendor.effect-arcp.question",
    "x-vendor.a b.c"
  ])("1.0 §8.2 are checked where the agent is defined: %s", (kind) => {
    const define = () =>
      Agent.make("a", {
        input: Schema.Unknown,
        output: Schema.Unknown,
        events: { [kind]: Schema.Struct({}) } as unknown as {}
      })
    expect(define).toThrowError(
      new TypeError(
        `the agent a: ${JSON.stringify(kind)} cannot be an event kind: it must be x-vendor.<vendor>.<name>, and not of x-vendor.effect-arcp`
      )
    )
  })

  it("are checked by their types too", () => {
    const both = { input: Schema.Unknown, output: Schema.Unknown }
    // @ts-expect-error: not a vendor's kind
    expect(() => Agent.make("a", { ...both, events: { row: Schema.Struct({}) } })).toThrow("row")
    // @ts-expect-error: a vendor without a name
    expect(() => Agent.make("a", { ...both, events: { "x-vendor.acme": Schema.Struct({}) } })).toThrow("acme")
    // @ts-expect-error: §8.1 a body is an object
    expect(Agent.make("a", { ...both, events: { "x-vendor.acme.n": Schema.Number } })).toBeDefined()
    const body: Effect.Effect<void, InvalidRequest, Job> = Table.emit("x-vendor.acme.row", row)
    expect(body).toBeDefined()
    // @ts-expect-error: a kind that is not declared
    expect(Table.emit("x-vendor.acme.none", {})).toBeDefined()
    // @ts-expect-error: the body of another kind
    expect(Table.emit("x-vendor.acme.done", row)).toBeDefined()
    class Plain extends Agent.make("plain", both) {}
    // @ts-expect-error: it declares none
    expect(Plain.emit("x-vendor.acme.row", row)).toBeDefined()
    expectTypeOf(Table.toLayer(() => Effect.void)).toExtend<Layer.Layer<never>>()
  })

  it("give a client a union whose members are told apart by their tags", () => {
    type Failure = ArcpError | ClientError
    const program = Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Table, null)
      type Typed = typeof job.events extends Stream.Stream<infer A, Failure> ? A : never
      expectTypeOf<Extract<Typed, { readonly _tag: "x-vendor.acme.row" }>["body"]>().toEqualTypeOf<{
        readonly at: Date
        readonly cells: ReadonlyArray<number>
      }>()
      expectTypeOf<Extract<Typed, { readonly _tag: "log" }>["body"]["message"]>().toEqualTypeOf<string>()
      expectTypeOf<Exclude<Typed, { readonly _tag: `x-vendor.${string}` }>>().toEqualTypeOf<Event.JobEvent>()
      expectTypeOf(job.eventsWith({ onGap: "mark" })).toEqualTypeOf<Stream.Stream<Typed | EventsGap, Failure>>()
      const named = yield* client.submit("table")
      expectTypeOf(named.events).toEqualTypeOf<Stream.Stream<Event.JobEvent, Failure>>()
      const attached = yield* client.attach("j", { output: Table.output })
      expectTypeOf(attached.events).toEqualTypeOf<Stream.Stream<Event.JobEvent, Failure>>()
      const typed = yield* client.attach("j", { agent: Table })
      expectTypeOf(typed.events).toEqualTypeOf<Stream.Stream<Typed, Failure>>()
    })
    expectTypeOf(program).not.toBeAny()
  })
})

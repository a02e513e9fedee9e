/**
 * Errors that agents declare, and those that they do not: what is stored and sent of them, to sessions that take the codes of agents and
 * to others (1.0 §12).
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import { beforeEach, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Cause, Data, Deferred, Effect, Layer, Logger, Redacted, Schema } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient, type ClientError } from "../../src/client/index.js"
import { AgentFailure, type ArcpError, InvalidRequest, VendorError } from "../../src/protocol/index.js"
import { TestArcp } from "../../src/testing/index.js"
import { hostileValues } from "../support/hostile.js"
import { makeStore, start, stores } from "./mortal.js"
import { allFeatures, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { bytes: Schema.NumberFromString }) {}
class Busy extends Schema.TaggedError<Busy>()("Busy", {
  message: Schema.String,
  code: Schema.String,
  retryable: Schema.Boolean
}) {}

class Worker extends Agent.make("worker", {
  input: Schema.String,
  output: Schema.Number,
  error: Schema.Union(TooLong, Busy)
}) {}

class Undeclared extends Data.TaggedError("Undeclared")<{
  readonly at: number
  readonly token: string
  readonly from?: string
}> {}

const WorkerLive = Worker.toLayer((what) =>
  Effect.gen(function* () {
    if (what === "gate") yield* Deferred.await(gate("worker"))
    if (what === "busy") return yield* new Busy({ message: "come back", code: "ACME_BUSY", retryable: true })
    if (what === "protocol code") return yield* new Busy({ message: "m", code: "TIMEOUT", retryable: false })
    if (what === "invalid") return yield* new InvalidRequest({ message: "no" })
    if (what === "other") {
      return yield* new Undeclared({ at: 3, token: "hunter2", from: "https://u:hunter2@api.example/v1?sign=hunter2" })
    }
    if (what === "huge") return yield* new Busy({ message: "m", code: "x".repeat(40_000), retryable: false })
    if (what === "ok") return 1
    return yield* new TooLong({ bytes: 5 })
  })
)

const featuresOf = { takes: allFeatures, plain: allFeatures.filter((name) => !name.endsWith("agent_errors")) }

/** What each kind of session is sent of a `TooLong`. */
const declared = {
  code: "AGENT_FAILURE",
  retryable: false,
  details: { error: "TooLong", encoded: { _tag: "TooLong", bytes: "5" } }
}
const expected = {
  takes: declared,
  plain: { code: "INTERNAL_ERROR", retryable: true, details: { agent_error: declared } }
}

const resumeOf = (peer: Peer & { readonly sessionId: string; readonly token: string }) => ({
  session_id: peer.sessionId,
  resume_token: peer.token,
  last_event_seq: 0
})

const main = world({ agents: WorkerLive })

describe.each(stores)("a declared error over a store in %s", (_, layer) => {
  it.scoped("1.0 §12 live, replayed, in a history and after a restart each session has it in its own words", () =>
    Effect.gen(function* () {
      const store = yield* makeStore(layer())
      const first = yield* start(store.layer, WorkerLive)
      const ids: Array<string> = []
      const peers: Array<Effect.Effect.Success<ReturnType<typeof hello>>> = []
      for (const kind of ["takes", "plain"] as const) {
        const peer = yield* hello({ features: featuresOf[kind] }).pipe(Effect.provide(first))
        const { job_id: id } = yield* submit(peer, "worker", "gate")
        ids.push(id!)
        peers.push(peer)
      }
      // Each observes the other's job.
      yield* peers[0]!.send("job.subscribe", { job_id: ids[1] })
      yield* peers[1]!.send("job.subscribe", { job_id: ids[0] })
      yield* Effect.forEach(peers, (peer) => peer.next("job.subscribed"))
      yield* Deferred.succeed(gate("worker"), undefined)
      const ends = (kind: "takes" | "plain", peer: Peer) =>
        Effect.forEach(ids, (id) =>
          Effect.map(peer.terminal(id), ({ payload }) => expect(payload).toMatchObject(expected[kind]))
        )
      yield* ends("takes", peers[0]!)
      yield* ends("plain", peers[1]!)
      // From memory.
      for (const [i, kind] of (["takes", "plain"] as const).entries()) {
        yield* peers[i]!.drop
        const again = yield* hello({ features: featuresOf[kind], resume: resumeOf(peers[i]!) }).pipe(
          Effect.provide(first)
        )
        yield* ends(kind, again)
        peers[i] = again
      }
      // From the store, by the next process; a resume with other features is another kind of session.
      yield* store.die
      const second = yield* start(store.layer, WorkerLive)
      for (const [i, kind] of (["plain", "takes"] as const).entries()) {
        const resumed = yield* hello({ features: featuresOf[kind], resume: resumeOf(peers[i]!) }).pipe(
          Effect.provide(second)
        )
        yield* ends(kind, resumed)
        const observer = yield* hello({ features: featuresOf[kind] }).pipe(Effect.provide(second))
        for (const id of ids) yield* observer.send("job.subscribe", { job_id: id, history: true })
        yield* ends(kind, observer)
      }
    })
  )
})

describe("what a job's error says", () => {
  it.scoped("1.0 §12 the error's own code and retryable, unless the code is the protocol's", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      expect((yield* run(peer, "worker", "busy")).payload).toMatchObject({
        code: "ACME_BUSY",
        message: "come back",
        retryable: true,
        details: { error: "Busy", encoded: { code: "ACME_BUSY" } }
      })
      expect((yield* run(peer, "worker", "protocol code")).payload).toMatchObject({
        code: "AGENT_FAILURE",
        details: { encoded: { code: "TIMEOUT" } }
      })
      // A failure that is the protocol's is never taken for a declared one.
      expect((yield* run(peer, "worker", "invalid")).payload).toMatchObject({ code: "INVALID_REQUEST" })
    }).pipe(Effect.provide(main))
  )

  it.scoped("1.0 §12 of an error that is not declared: tag, message and JSON fields, without what looks secret", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const { payload } = yield* run(peer, "worker", "other")
      expect(payload).toMatchObject({
        code: "AGENT_FAILURE",
        details: { error: "Undeclared", fields: { at: 3, token: "<redacted>", from: "https://…@api.example/v1?…" } }
      })
      expect(JSON.stringify(payload)).not.toContain("hunter2")
    }).pipe(Effect.provide(main))
  )

  it.scoped("1.0 §12 one that is too large says so, in a small frame too, and is not dropped", () =>
    Effect.gen(function* () {
      for (const features of [featuresOf.takes, featuresOf.plain]) {
        const peer = yield* hello({ features })
        const text = JSON.stringify((yield* run(peer, "worker", "huge")).payload)
        expect(text).toContain("bytes as JSON, at most 32768 are sent")
        expect(text).toContain("AGENT_FAILURE")
        expect(text.length).toBeLessThan(1_000)
      }
    }).pipe(Effect.provide(main))
  )

  it.scoped("1.0 §12 in frames of 4,096 bytes the largest declared error still fits, translated or not", () =>
    Effect.gen(function* () {
      for (const features of [featuresOf.takes, featuresOf.plain]) {
        for (const length of [1_000, 1_400, 1_600, 3_000]) {
          const peer = yield* hello({ features })
          const { payload } = yield* run(peer, "sized", length)
          const text = JSON.stringify(payload)
          expect(text).toContain("AGENT_FAILURE")
          expect(text.includes('"encoded"')).toBe(!text.includes("omitted"))
          expect(text.includes('"encoded"')).toBe(length < 1_450)
        }
      }
    }).pipe(
      Effect.provide(
        world({
          agents: Agent.make("sized", {
            input: Schema.Number,
            output: Schema.Void,
            error: Schema.Struct({ message: Schema.String })
          }).toLayer((length) => Effect.fail({ message: "m".repeat(length) })),
          limits: { maxFrameBytes: 4_096 }
        })
      )
    )
  )
})

const hostileSchema = (encode: () => unknown): Schema.Schema<unknown> =>
  Schema.transform(Schema.Unknown, Schema.Unknown, { strict: false, decode: (value) => value, encode })

const failing = (name: string, error: Schema.Schema<unknown>, failure: () => unknown) =>
  Agent.make(name, { input: Schema.Unknown, output: Schema.Void, error }).toLayer(() =>
    Effect.suspend(() => Effect.fail(failure()))
  )

class Emits extends Agent.make("emits", {
  input: Schema.Unknown,
  output: Schema.Void,
  events: {
    "x-vendor.acme.odd": hostileSchema(() => {
      throw new Error("a schema")
    }) as Schema.Schema<object>
  }
}) {}

describe("an error that does not encode", () => {
  it.scoped.each(hostileValues)(
    "1.0 §12 %s ends its job and nothing else, as failure, as JSON, as thrown",
    ([, make]) =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const agent of ["fails", "encodes", "throws"]) {
          const { payload } = yield* run(peer, agent)
          expect([agent, payload.final_status]).toEqual([agent, "error"])
          expect(["AGENT_FAILURE", "INTERNAL_ERROR"]).toContain(payload.code)
          expect(JSON.stringify(payload).length).toBeLessThan(40_000)
        }
        expect((yield* run(peer, "worker", "ok")).payload.result).toBe(1)
      }).pipe(
        Effect.provide(
          world({
            agents: Layer.mergeAll(
              WorkerLive,
              failing("fails", Schema.Unknown as Schema.Schema<unknown>, make),
              failing("encodes", hostileSchema(make), () => new Error("plain")),
              failing(
                "throws",
                hostileSchema(() => {
                  throw make()
                }),
                () => new Error("plain")
              )
            )
          })
        )
      )
  )

  it.scoped("1.0 §12 a Schema that never ends is ended with its job", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const { job_id: id } = yield* submit(peer, "endless")
      yield* peer.next("job.event", ({ payload }) => payload.kind === "log")
      yield* peer.send("job.cancel", { job_id: id })
      expect((yield* peer.terminal(id!)).payload).toMatchObject({ code: "CANCELLED", final_status: "cancelled" })
    }).pipe(
      Effect.provide(
        world({
          agents: Agent.make("endless", {
            input: Schema.Unknown,
            output: Schema.Void,
            error: Schema.transformOrFail(Schema.Unknown, Schema.Unknown, {
              decode: Effect.succeed,
              encode: () => Effect.never
            })
          }).toLayer(() => Effect.zipRight(Job.log("failing"), Effect.fail("x")))
        })
      )
    )
  )
})

describe("a denial of the lease", () => {
  class Any extends Agent.make("any", { input: Schema.String, output: Schema.Void, error: Schema.Unknown }) {}
  class Around extends Data.TaggedError("Around")<{ readonly cause: unknown }> {}

  it.scoped(
    "1.0 §12 ends the job with its code, however wide the declared type is; an error around it is the agent's",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        expect((yield* run(peer, "any", "file")).payload).toMatchObject({ code: "PERMISSION_DENIED", retryable: false })
        expect((yield* run(peer, "any", "http")).payload).toMatchObject({ code: "PERMISSION_DENIED", retryable: false })
        expect((yield* run(peer, "any", "around")).payload).toMatchObject({
          code: "AGENT_FAILURE",
          details: { error: "Around" }
        })
      }).pipe(
        Effect.provide(
          world({
            agents: Any.toLayer((what) =>
              Effect.gen(function* () {
                const read = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString("/etc/hostname"))
                if (what === "http") yield* HttpClient.get("http://127.0.0.1:1/")
                yield* what === "file" ? read : Effect.mapError(read, (cause) => new Around({ cause }))
              })
            ).pipe(Layer.provide(FileSystem.layerNoop({})), Layer.provide(FetchHttpClient.layer))
          })
        )
      )
  )
})

describe("a client of the agent's class", () => {
  it.scoped("1.0 §12 has the declared error, decoded, from its submit, an attach and a subscribe", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Worker, "long")
      expectTypeOf(job.result).toEqualTypeOf<Effect.Effect<number, TooLong | Busy | ArcpError | ClientError>>()
      const error = yield* Effect.flip(job.result)
      expect(error).toBeInstanceOf(TooLong)
      expect(error).toMatchObject({ bytes: 5 })
      // A handler of one tag leaves the others.
      const caught = Effect.catchTag(job.result, "TooLong", ({ bytes }) => Effect.succeed(bytes))
      expect(yield* caught).toBe(5)
      const attached = yield* client.attach(job.jobId, { agent: Worker })
      expect(yield* Effect.flip(attached.result)).toBeInstanceOf(TooLong)
      const observed = yield* client.subscribe(job.jobId, { agent: Worker, history: true })
      expectTypeOf(observed.result).toEqualTypeOf<Effect.Effect<number, TooLong | Busy | ArcpError | ClientError>>()
      expect(yield* Effect.flip(observed.result)).toBeInstanceOf(TooLong)
      const other = yield* Effect.flip((yield* client.submit(Worker, "other")).result)
      expect(other).toBeInstanceOf(AgentFailure)
      const huge = yield* Effect.flip((yield* client.submit(Worker, "huge")).result)
      expect(huge).toMatchObject({ _tag: "AgentFailure", details: { error: "Busy" } })
    }).pipe(Effect.provide(TestArcp.layer(WorkerLive)))
  )

  it.scoped("1.0 §12 has the declared error where its session did not offer codes of agents, too", () =>
    Effect.gen(function* () {
      const job = yield* (yield* ArcpClient).submit(Worker, "long")
      expect(yield* Effect.flip(job.result)).toBeInstanceOf(TooLong)
    }).pipe(Effect.provide(TestArcp.layer(WorkerLive, { client: { features: ["subscribe"] } })))
  )

  it.scoped("1.0 §12 whose Schema is another, throws, or is asynchronous has the error undecoded", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const schemas: ReadonlyArray<Schema.Schema<unknown>> = [
        Schema.Never as unknown as Schema.Schema<unknown>,
        Schema.transform(Schema.Unknown, Schema.Unknown, {
          strict: false,
          decode: () => {
            throw Object.create(null)
          },
          encode: (value) => value
        }),
        Schema.transformOrFail(Schema.Unknown, Schema.Unknown, {
          decode: () => Effect.never,
          encode: Effect.succeed
        })
      ]
      for (const error of schemas) {
        const job = yield* client.submit(
          { agentName: "worker", version: undefined, input: Schema.Unknown, output: Schema.Unknown, error },
          "long"
        )
        expect(yield* Effect.flip(job.result)).toMatchObject({
          _tag: "AgentFailure",
          details: { error: "TooLong", encoded: { bytes: "5" } }
        })
      }
      const untyped = yield* client.submit("worker", "busy")
      expect(yield* Effect.flip(untyped.result)).toBeInstanceOf(VendorError)
    }).pipe(Effect.provide(TestArcp.layer(WorkerLive)))
  )

  it.scoped("§10 an agent that delegates has the child's declared error", () =>
    Effect.gen(function* () {
      const job = yield* (yield* ArcpClient).submit("parent", undefined, {
        lease: { "agent.delegate": ["worker"] }
      })
      expect(yield* job.result).toEqual(["TooLong 5", "Busy"])
    }).pipe(
      Effect.provide(
        TestArcp.layer(
          Layer.merge(
            WorkerLive,
            Agent.untyped("parent", () =>
              Effect.all([
                Job.delegate(Worker, "long").pipe(
                  Effect.as("none"),
                  Effect.catchTag("TooLong", ({ bytes }) => Effect.succeed(`TooLong ${bytes}`))
                ),
                Effect.flatMap(Job.startChild(Worker, "busy"), (child) =>
                  Effect.map(Effect.flip(child.result), (error) => error._tag)
                )
              ])
            )
          )
        )
      )
    )
  )
})

describe("types of declared errors", () => {
  it("an agent without any, and one by its name, fail as before", () => {
    class Plain extends Agent.make("plain", { input: Schema.String, output: Schema.Number }) {}
    const program = Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Plain, "x")
      expectTypeOf(job.result).toEqualTypeOf<Effect.Effect<number, ArcpError | ClientError>>()
      const named = yield* client.submit("plain", "x")
      expectTypeOf(named.result).toEqualTypeOf<Effect.Effect<unknown, ArcpError | ClientError>>()
    })
    expectTypeOf(program).not.toBeAny()
    expectTypeOf(Plain.error).toEqualTypeOf<Schema.Schema<never, never> | undefined>()
  })

  it("a handler may fail with what is declared, with the protocol's errors, and with anything else", () => {
    const live = Worker.toLayer((input) => {
      expectTypeOf(input).toEqualTypeOf<string>()
      return Effect.gen(function* () {
        if (input === "a") return yield* new TooLong({ bytes: 1 })
        if (input === "b") return yield* new InvalidRequest({ message: "b" })
        return input === "c" ? yield* Effect.fail("any") : 1
      })
    })
    expectTypeOf(live).toExtend<Layer.Layer<never>>()
    // @ts-expect-error: the output is a number
    Worker.toLayer(() => Effect.succeed("text"))
    expectTypeOf(Worker.error).toEqualTypeOf<
      Schema.Schema<TooLong | Busy, (typeof Busy)["Encoded"] | (typeof TooLong)["Encoded"]> | undefined
    >()
  })
})

it.scoped("§14 the values of credentials are in no declared error", () =>
  Effect.gen(function* () {
    const { toArcpError } = yield* Effect.promise(() => import("../../src/runtime/jobs/handler/failures.js"))
    const { upstreamOf } = yield* Effect.promise(() => import("../../src/runtime/credentials/UpstreamErrors.js"))
    const { Declared } = yield* Effect.promise(() => import("../../src/agent/Declared.js"))
    const upstream = upstreamOf([{ value: Redacted.make('sk-"secret"') }])
    const failure = new Declared({ message: 'it said sk-"secret"' }, JSON.stringify({ said: ['key sk-"secret"'] }))
    expect(toArcpError(failure, upstream)).toMatchObject({
      message: "it said <redacted>",
      details: { encoded: { said: ["key <redacted>"] } }
    })
    const plain = toArcpError(Object.assign(new Undeclared({ at: 1, token: "t" }), { said: 'sk-"secret"' }), upstream)
    expect(plain.details).toMatchObject({ fields: { at: 1, said: "<redacted>" } })
  })
)

it.effect("§14 nor in the names of its fields, and one too deep to be looked through is left out", () =>
  Effect.gen(function* () {
    const { toArcpError } = yield* Effect.promise(() => import("../../src/runtime/jobs/handler/failures.js"))
    const { upstreamOf } = yield* Effect.promise(() => import("../../src/runtime/credentials/UpstreamErrors.js"))
    const { Declared } = yield* Effect.promise(() => import("../../src/agent/Declared.js"))
    const upstream = upstreamOf([{ value: Redacted.make("sk-secret") }])
    const told = (text: string) => toArcpError(new Declared({}, text), upstream).details
    expect(told('{"by key":{"sk-secret":[1]},"n":null}')).toEqual({
      encoded: { "by key": { "<redacted>": [1] }, n: null }
    })
    for (const depth of [5_000, 16_000]) {
      expect(told(`${"[".repeat(depth)}${"]".repeat(depth)}`)).toEqual({ omitted: "the error is nested too deep" })
    }
    // Not looked through at all.
    expect(told("[".repeat(50_000))).toEqual({ omitted: "the error has 50000 bytes as JSON, at most 32768 are sent" })
  })
)

it.effect("§14 nor in one of the protocol's errors that quotes an upstream", () =>
  Effect.gen(function* () {
    const { causeToArcpError, toArcpError } = yield* Effect.promise(
      () => import("../../src/runtime/jobs/handler/failures.js")
    )
    const { upstreamOf } = yield* Effect.promise(() => import("../../src/runtime/credentials/UpstreamErrors.js"))
    const key = `sk-${"k".repeat(100)}`
    const upstream = upstreamOf([{ value: Redacted.make(key) }])
    for (const make of [
      (message: string) => new InvalidRequest({ message, details: { said: [key], [key]: 1 } }),
      (message: string) => new VendorError({ code: "X", message, retryable: true, details: { said: [key], [key]: 1 } })
    ]) {
      // One that is cut in two by the bound of a message too.
      for (const before of [1, 100, 450, 480, 500, 990, 1_020]) {
        const failure = make(`${"x".repeat(before)} ${key} refused`)
        for (const told of [toArcpError(failure, upstream), causeToArcpError(Cause.fail(failure), upstream)]) {
          expect(told).toMatchObject({ code: failure.code, retryable: failure.retryable })
          expect(told.details).toEqual({ said: ["<redacted>"], "<redacted>": 1 })
          expect(JSON.stringify(told)).not.toContain("sk-k")
        }
        expect(toArcpError(failure).details).toEqual(failure.details)
      }
    }
  })
)

it.scoped("1.0 §12 a program's logger that throws does not change what a Schema that throws means", () =>
  Effect.gen(function* () {
    const peer = yield* hello()
    expect((yield* run(peer, "encodes")).payload).toMatchObject({ code: "AGENT_FAILURE", message: "plain" })
    expect((yield* run(peer, "emits")).payload).toMatchObject({ code: "INVALID_REQUEST" })
  }).pipe(
    Effect.provide(
      Layer.provide(
        world({
          agents: Layer.merge(
            failing(
              "encodes",
              hostileSchema(() => {
                throw new Error("a schema")
              }),
              () => new Error("plain")
            ),
            Emits.toLayer(() => Effect.asVoid(Emits.emit("x-vendor.acme.odd", {})))
          )
        }),
        Logger.add(
          Logger.make(() => {
            throw new Error("a logger")
          })
        )
      )
    )
  )
)

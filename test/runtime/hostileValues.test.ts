/** Values from user code: whatever an agent, a tool, an authenticator or a provisioner returns costs its own call at most. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Logger, Schema, Stream } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import { Authenticator, type Principal } from "../../src/auth/index.js"
import { InvalidRequest, toWire, VendorError } from "../../src/protocol/index.js"
import * as Text from "../../src/protocol/Text.js"
import { LeasePolicy } from "../../src/runtime/index.js"
import { hostileValues } from "../support/hostile.js"
import { backends } from "./backends.js"
import { dial, hello, run, submit } from "./peer.js"
import { world } from "./world.js"

const valueOf = (input: unknown): unknown => hostileValues[input as number]![1]()

/** Throws the value from a schema, synchronously. */
const Throwing = Schema.transform(Schema.Number, Schema.Unknown, {
  strict: false,
  decode: (index) => {
    throw valueOf(index)
  },
  encode: (value) => value as number
})

/** A schema whose encoding throws the value. */
const Unencodable = Schema.transform(Schema.Unknown, Schema.Unknown, {
  strict: false,
  decode: (value) => value,
  encode: (value) => {
    throw value
  }
})

class HostileTool extends Tool.make("hostile", { input: Schema.Number, output: Schema.Unknown }) {}

const hosted: Layer.Layer<never> = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("fail", (input) => Effect.fail(valueOf(input))),
  Agent.untyped("die", (input) => Effect.die(valueOf(input))),
  Agent.untyped("throw", (input) => {
    throw valueOf(input)
  }),
  Agent.untyped("throw-later", (input) =>
    Effect.gen(function* () {
      yield* Effect.promise(() => Promise.resolve())
      throw valueOf(input)
    })
  ),
  Agent.untyped("throw-in-a-fork", (input) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.suspend((): Effect.Effect<void> => {
            throw valueOf(input)
          })
        )
      )
      return yield* Effect.as(fiber.await, "done")
    })
  ),
  Agent.untyped("return", (input) => Effect.succeed(valueOf(input))),
  Agent.untyped("in-an-error", (input) => Effect.fail(new Wrapped({ cause: valueOf(input) }))),
  Agent.untyped("die-in-a-finalizer", (input) =>
    Effect.as(
      Effect.addFinalizer(() => Effect.die(valueOf(input))),
      "done"
    )
  ),
  Agent.untyped("mutated", (input) => {
    const error = new VendorError({ code: "X_LOST", message: "lost" })
    for (const name of ["message", "details", "retryable"]) {
      Object.defineProperty(error, name, { get: () => valueOf(input) })
    }
    return Effect.fail(error)
  }),
  Agent.untyped("emit", (input) =>
    Effect.gen(function* () {
      const value = valueOf(input)
      for (const call of [
        () => Job.event("x-vendor.test.value", value),
        () => Job.log(value as string),
        () => Job.thought(value as string),
        () => Job.status(value as string),
        () => Job.toolCall("tool", value),
        () => Job.toolCall(value as string, 1),
        () => Job.metric(value as { name: string; value: number }),
        () => Job.metric({ name: "m", value: 1, dimensions: value as Record<string, unknown> }),
        () => Job.progress(value as { current: number }),
        () => Job.toolResult(value as string, { result: value }),
        () => Job.artifactRef(value as never),
        () => Job.event(value as string, 1),
        () => Job.tool("t", value, Effect.succeed(value)),
        () => Job.tool("t", 1, Effect.fail(value)),
        () => Job.tool("t", 1, Effect.die(value)),
        () => Job.callTool("hostile", input),
        () => Job.callTool("hostile", value),
        () => Job.callTool(value as string, value),
        () => Job.model("gpt", Effect.fail(value)),
        () => Job.spend("cost.x", value as string),
        () => Job.reserve("1 USD", Effect.fail(value)),
        () => Job.reserve("0.1 USD", Effect.succeed(1), { actual: () => valueOf(input) as string }),
        () =>
          Job.reserve("0.1 USD", Effect.succeed(1), {
            actual: () => {
              throw valueOf(input)
            }
          }),
        () => Job.step("unencodable", Unencodable, Effect.succeed(value)),
        () => Job.step("unknown", Schema.Unknown, Effect.succeed(value)),
        () => Job.step(value as string, Schema.Unknown, Effect.succeed(1)),
        () => Job.step("failing", Schema.Unknown, Effect.fail(value)),
        () => Job.delegate("echo", value),
        () => Job.delegate("return", input),
        () => Job.delegate("fail", input),
        () => Job.delegate("decode", input),
        () => Job.delegate(value as string, 1),
        () => Job.delegate("echo", 1, value as object),
        () =>
          Job.delegate("echo", 1, { lease: value as never, expiresAt: value as never, maxRuntimeSec: value as never })
      ]) {
        yield* Effect.exit(Effect.suspend(call as () => Effect.Effect<unknown, unknown, Job>))
      }
      yield* Job.log("alive")
      return "done"
    })
  ),
  Agent.untyped("stream", (input) => Job.streamResult(Stream.fail(valueOf(input)))),
  Agent.untyped("stream-of-it", (input) => Job.streamResult(Stream.make(valueOf(input) as string))),
  Agent.untyped("summary", (input) => Job.streamResult(Stream.make("text"), { summary: valueOf(input) as string })),
  Agent.untyped("hand-over", (input) => Job.handoff("echo", valueOf(input))),
  Agent.untyped("logs", (input) =>
    Effect.zipRight(Effect.exit(Effect.logError(valueOf(input), { at: valueOf(input) })), Effect.succeed("done"))
  ),
  Agent.make("decode", { input: Throwing, output: Schema.Unknown }).toLayer(() => Effect.succeed("never")),
  Agent.make("encode", { input: Schema.Number, output: Unencodable }).toLayer((index) =>
    Effect.succeed(valueOf(index))
  ),
  HostileTool.toLayer((index) => Effect.fail(valueOf(index)))
) as Layer.Layer<never>

class Wrapped extends Schema.TaggedError<Wrapped>()("Wrapped", { cause: Schema.Unknown }) {}

const agents = [
  "fail",
  "die",
  "throw",
  "throw-later",
  "throw-in-a-fork",
  "return",
  "in-an-error",
  "die-in-a-finalizer",
  "mutated",
  "emit",
  "stream",
  "stream-of-it",
  "summary",
  "hand-over",
  "logs",
  "encode"
]

const silent = Logger.replace(
  Logger.defaultLogger,
  Logger.make(() => undefined)
)
/** Formats everything that it is given, as loggers do, and throws where that throws. */
const strict = Logger.replace(
  Logger.defaultLogger,
  Logger.map(Logger.stringLogger, () => undefined)
)
const thrower = Logger.replace(
  Logger.defaultLogger,
  Logger.make(() => {
    throw Object.create(null)
  })
)

const lease = {
  "tool.call": ["**"],
  "model.use": ["**"],
  "agent.delegate": ["**"],
  "cost.budget": ["USD:100"]
}

const loggers = [
  ["a logger that formats", strict],
  ["a logger that throws", thrower]
] as const
const settings = backends.flatMap(([name, backend], i) =>
  loggers.flatMap(([logger, layer], j) => (i > 0 && j > 0 ? [] : [[`${name}, ${logger}`, backend, layer] as const]))
)

describe.each(settings)("hostile values over %s", (_name, backend, logger) => {
  const main = world({ ...backend(), agents: hosted }).pipe(Layer.provide(logger))

  it.scopedLive("§7.3 each hostile value ends its own job, and no other", () =>
    Effect.gen(function* () {
      const peer = yield* hello({})
      for (const agent of agents) {
        for (let index = 0; index < hostileValues.length; index++) {
          const end = yield* run(peer, agent, index, { lease_request: lease })
          const seen = `${agent}, ${hostileValues[index]![0]}: ${JSON.stringify(end.payload).slice(0, 300)}`
          expect(["success", "error"], seen).toContain(end.payload.final_status)
          if (end.type === "job.error") expect(typeof end.payload.message, seen).toBe("string")
          if (agent === "emit") expect(end.payload.result, seen).toBe("done")
        }
      }
      expect((yield* run(peer, "echo", { n: 1 })).payload.result).toEqual({ n: 1 })
      expect((yield* hello({})).sessionId).not.toBe(peer.sessionId)
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("§7.1 what an agent's schema throws refuses that submit alone", () =>
    Effect.gen(function* () {
      const peer = yield* hello({})
      for (let index = 0; index < hostileValues.length; index++) {
        const refused = yield* submit(peer, "decode", index)
        expect(refused).toMatchObject({ type: "session.error", payload: { code: "INVALID_REQUEST" } })
      }
      expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
    }).pipe(Effect.provide(main))
  )
})

describe("hostile drivers", () => {
  const authenticators = (over: (value: unknown) => Effect.Effect<Principal, never>) =>
    Layer.succeed(Authenticator, {
      authenticate: ({ token }) =>
        Effect.suspend(() => {
          const text = String(token === undefined ? "" : (token as unknown as { toString(): string }) && "")
          return text === "" ? over(next.shift()) : over(undefined)
        })
    })
  let next: Array<unknown> = []

  it.scopedLive.each([
    ["fails with", (value: unknown) => Effect.fail(value) as unknown as Effect.Effect<Principal>],
    ["dies of", (value: unknown) => Effect.die(value)],
    ["returns", (value: unknown) => Effect.succeed(value as Principal)],
    ["returns an id of", (value: unknown) => Effect.succeed({ id: value, anonymous: false, claims: {} } as Principal)]
  ] as const)("§6.1 an authenticator that %s hostile values refuses each client, and serves the next", ([, over]) =>
    Effect.gen(function* () {
      for (const [, make] of hostileValues) {
        next = [make()]
        const peer = yield* dial
        yield* peer.send("session.hello", {
          client: { name: "t", version: "1" },
          auth: { scheme: "bearer", token: "x" }
        })
        const answer = yield* peer.next("session.error")
        expect(["INTERNAL_ERROR", "UNAUTHENTICATED"]).toContain(answer.payload.code)
        yield* peer.ended
      }
      next = []
    }).pipe(Effect.provide(world({ auth: authenticators(over) }).pipe(Layer.provide(strict))))
  )

  it.scopedLive("§6.1 claims that are no JSON are dropped, and the session works", () =>
    Effect.gen(function* () {
      for (const [, make] of hostileValues) {
        next = [make()]
        const peer = yield* hello({})
        expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
        yield* peer.drop
      }
    }).pipe(
      Effect.provide(
        world({
          auth: authenticators((claims) => Effect.succeed({ id: "alice", anonymous: false, claims } as Principal))
        }).pipe(Layer.provide(silent))
      )
    )
  )

  it.scopedLive("§9 a lease policy that throws refuses that submit alone", () => {
    let throwIt = true
    const policy = LeasePolicy.layer({
      allowed: () => {
        if (throwIt) throw Object.create(null)
        return undefined
      }
    })
    return Effect.gen(function* () {
      const peer = yield* hello({})
      expect((yield* submit(peer, "echo", 1)).payload.code).toBe("INTERNAL_ERROR")
      throwIt = false
      expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
    }).pipe(Effect.provide(world().pipe(Layer.provide(policy), Layer.provide(strict))))
  })
})

describe("texts of any value", () => {
  it.each(hostileValues)("%s has a text, a wire error and a cause text", (_name, make) => {
    expect(Text.ofUnknown(make()).length).toBeLessThanOrEqual(Text.maxLength)
    const error = new InvalidRequest({ message: "m" })
    for (const name of ["message", "details", "code", "retryable"]) {
      Object.defineProperty(error, name, { get: () => make() })
    }
    const wire = toWire(error)
    expect(typeof wire.message).toBe("string")
    expect(JSON.parse(JSON.stringify(wire))).toEqual(wire)
    expect(["Json", "Absent", "NotJson"]).toContain(Text.toJson(make())._tag)
  })
})

/** Defects of user code: their causes are for operators, in the log and in spans, and never for clients (ARCP 1.1 §12, §14). */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Layer, Logger, Schema, Stream } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import { hello, run } from "./peer.js"
import { world } from "./world.js"
import { recording } from "../support/spans.js"

const secret = "secret of the database"
const dies = Effect.dieMessage(secret)
const throws = (): never => {
  throw new Error(secret)
}

class Broken extends Tool.make("broken", { input: Schema.Unknown, output: Schema.Unknown }) {}
class Misfit extends Tool.make("misfit", { input: Schema.Unknown, output: Schema.Number }) {}

const throwing = Schema.transform(Schema.Unknown, Schema.Unknown, { strict: false, decode: throws, encode: throws })

const typed = (name: string, options: { readonly output?: Schema.Schema<any>; readonly error?: Schema.Schema<any> }) =>
  Agent.make(name, { input: Schema.Unknown, output: options.output ?? Schema.Unknown, error: options.error })

const hosted: ReadonlyArray<readonly [name: string, agent: Layer.Layer<never>, end: string | undefined]> = [
  ["dies", Agent.untyped("dies", () => dies), "INTERNAL_ERROR"],
  ["throws", Agent.untyped("throws", throws), "INTERNAL_ERROR"],
  ["throws-later", Agent.untyped("throws-later", () => Effect.sync((): unknown => throws())), "INTERNAL_ERROR"],
  ["finalizer", Agent.untyped("finalizer", () => Effect.addFinalizer(() => dies)), "INTERNAL_ERROR"],
  [
    "failed-and-died",
    typed("failed-and-died", { error: Schema.String }).toLayer(() =>
      Effect.zipRight(
        Effect.addFinalizer(() => dies),
        Effect.fail("declared")
      )
    ),
    "INTERNAL_ERROR"
  ],
  [
    "output",
    typed("output", { output: throwing as Schema.Schema<any> }).toLayer(() => Effect.succeed(1)),
    "INTERNAL_ERROR"
  ],
  [
    "misfit-output",
    typed("misfit-output", { output: Schema.Number as Schema.Schema<any> }).toLayer(() => Effect.succeed(secret)),
    "INTERNAL_ERROR"
  ],
  [
    "error-schema",
    typed("error-schema", { error: throwing as Schema.Schema<any> }).toLayer(() => Effect.fail({ at: 1 })),
    "AGENT_FAILURE"
  ],
  [
    "emit",
    Agent.untyped("emit", () =>
      Agent.make("emit", {
        input: Schema.Unknown,
        output: Schema.Unknown,
        events: { "x-vendor.acme.row": throwing as Schema.Schema<any, object> }
      }).emit("x-vendor.acme.row", {})
    ),
    "INVALID_REQUEST"
  ],
  [
    "fork",
    Agent.untyped("fork", () => Effect.flatMap(Effect.fork(dies), (fiber) => fiber.await.pipe(Effect.flatten))),
    "INTERNAL_ERROR"
  ],
  ["step", Agent.untyped("step", () => Job.step("one", Schema.Unknown, dies)), "INTERNAL_ERROR"],
  [
    "stream",
    Agent.untyped("stream", () => Job.streamResult(Stream.concat(Stream.make("a"), Stream.die(secret)))),
    "INTERNAL_ERROR"
  ],
  ["tool", Agent.untyped("tool", () => Job.tool("inline", {}, dies)), "INTERNAL_ERROR"],
  ["hosted-tool", Agent.untyped("hosted-tool", () => Broken.call({})), "INTERNAL_ERROR"],
  ["misfit-tool", Agent.untyped("misfit-tool", () => Misfit.call({})), "INTERNAL_ERROR"],
  ["parent", Agent.untyped("parent", () => Job.delegate("dies", {})), "INTERNAL_ERROR"],
  [
    "logs",
    Agent.untyped("logs", () => Effect.catchAllCause(dies, (cause) => Effect.logError("it died", cause))),
    undefined
  ]
]

const agents = Layer.mergeAll(
  Layer.empty,
  ...hosted.map(([, agent]) => agent),
  Broken.toLayer(() => dies),
  Misfit.toLayer(() => Effect.succeed(secret as unknown as number))
)

const lease_request = { "tool.call": ["**"], "agent.delegate": ["**"] }

describe("§12 a defect of user code", () => {
  it.scoped.each(hosted)("is told to operators, and not to clients: %s", ([name, , code]) =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const { layer, spans } = yield* recording
      const logger = Logger.map(Logger.logfmtLogger, (line) => void lines.push(line))
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, name, {}, { lease_request })
        expect(end.payload.code).toBe(code)
        // An observer's history is the same.
        const other = yield* hello()
        yield* other.send("job.subscribe", { job_id: end.job_id, history: true })
        yield* other.terminal(end.job_id!)
        expect(JSON.stringify([peer.seen, other.seen])).not.toContain(secret)
      }).pipe(Effect.provide(Layer.provide(world({ agents }), Layer.merge(Logger.add(logger), layer))))
      expect(lines.join("\n")).toContain(secret)
      const ends = spans.flatMap(({ name, status }) =>
        name === "arcp.job" && status._tag === "Ended" && status.exit._tag === "Failure"
          ? [Cause.pretty(status.exit.cause)]
          : []
      )
      expect(ends.join().includes(secret)).toBe(code === "INTERNAL_ERROR")
    })
  )
})

/** Values of a job's credentials are in no span, no line of the log and no frame of an observer, in whatever form they are quoted (ARCP 1.1 §14). */
import { Buffer } from "node:buffer"
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, HashMap, Layer, List, Logger, LogLevel, Redacted, Schema, Tracer } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { hello, run, submit, type Peer } from "./peer.js"
import {
  allRevoked,
  heard,
  leased,
  provisioned,
  provisionedBackends,
  type ProvisionedOptions
} from "./provisionedWorld.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

const [, memory] = provisionedBackends[0]!

/** What an exporter has of a cause: messages, stacks and their causes. */
const exported = (cause: Cause.Cause<unknown>): string =>
  Cause.prettyErrors(cause)
    .flatMap((error) => [
      error.name,
      error.message,
      error.stack,
      Cause.pretty(Cause.fail(error), { renderErrorCause: true })
    ])
    .concat(Cause.pretty(cause, { renderErrorCause: true }))
    .join("\n")

/** A tracer that exports as soon as something is said, as the real ones do at a span's end. */
const exporting = (out: Array<string>) =>
  Effect.map(Effect.tracer, (native) =>
    Layer.setTracer(
      Tracer.make({
        context: (f) => f(),
        span: (name, ...rest) => {
          const span = native.span(name, ...rest)
          const say = (...what: ReadonlyArray<unknown>) => void out.push(`${name}: ${what.map(String).join(" ")}`)
          const { attribute, end, event } = span
          say("starts")
          return Object.assign(span, {
            attribute: (key: string, value: unknown) => {
              say(key, JSON.stringify(value) ?? value)
              attribute.call(span, key, value)
            },
            event: (text: string, at: bigint, attributes?: Record<string, unknown>) => {
              say(text, JSON.stringify(attributes))
              event.call(span, text, at, attributes)
            },
            end: (at: bigint, exit: Parameters<Tracer.Span["end"]>[1]) => {
              say("ends", exit._tag === "Failure" ? exported(exit.cause) : exit._tag)
              end.call(span, at, exit)
            }
          })
        }
      })
    )
  )

/** A logger that writes all that a line has. */
const writing = (out: Array<string>): Logger.Logger<unknown, void> =>
  Logger.make(({ annotations, cause, logLevel, message, spans }) => {
    const fields = JSON.stringify([...HashMap.entries(annotations)])
    const labels = List.toArray(spans).map(({ label }) => label)
    out.push(
      `${logLevel.label} ${String(message)} ${JSON.stringify(message)} ${fields} ${labels.join()} ${exported(cause)}`
    )
  })

const keyOf = Effect.map(Job.credentials, ([first]) => Redacted.value(first!.value))

class Upstream extends Schema.TaggedError<Upstream>()("Upstream", { message: Schema.String, at: Schema.String }) {}

/** Every way to quote a key. */
const quotes: Readonly<Record<string, (key: string) => unknown>> = {
  message: (key) => new Error(`401: ${key} is not good here`),
  text: (key) => `key ${key}`,
  tagged: (key) => new Upstream({ message: `no: ${key}`, at: `https://gw.test/v1?key=${key}` }),
  object: (key) => ({ _tag: "Odd", key }),
  stack: (key) => Object.assign(new Error("bad"), { stack: `Error: bad\n    at call (https://gw.test/${key}:1:1)` }),
  cause: (key) => new Error("bad", { cause: new Error(`deep ${key}`, { cause: { key } }) }),
  percent: (key) => new Error(`GET /?key=${encodeURIComponent(`${key}`)}&form=${new URLSearchParams({ key })}`),
  basic: (key) => new Error(`refused: Basic ${Buffer.from(`user:${key}`).toString("base64")}`),
  base64: (key) =>
    new Error([0, 1, 2].map((n) => Buffer.from(`${"x".repeat(n)}${key}`).toString("base64url")).join(" ")),
  hex: (key) => new Error(Buffer.from(key).toString("hex")),
  json: (key) => new Error(JSON.stringify(JSON.stringify({ key })))
}

const agents = Layer.mergeAll(
  Agent.untyped("fails", (how) => Effect.flatMap(keyOf, (key) => Effect.fail(quotes[String(how)]!(key) as Error))),
  Agent.untyped("dies", (how) => Effect.flatMap(keyOf, (key) => Effect.die(quotes[String(how)]!(key)))),
  Agent.untyped("calls", (how) =>
    Effect.gen(function* () {
      const key = yield* keyOf
      const failing = Effect.fail(quotes[String(how)]!(key) as Error)
      yield* Effect.ignore(Job.tool("gateway.chat", {}, failing))
      yield* Effect.ignore(Job.step("once", Schema.Void, failing))
      yield* Effect.ignore(Job.model("tier-fast/a", failing))
      yield* Effect.exit(Job.tool("gateway.chat", {}, Effect.orDie(failing)))
      yield* Job.reserve("0.01 USD", Effect.void, {
        actual: () => {
          throw quotes[String(how)]!(key)
        }
      })
      // Spans of the agent's own, and fibers whose failures nobody looks at.
      yield* Effect.ignore(
        failing.pipe(
          Effect.withSpan(`own ${key}`, { attributes: { key, list: [key], deep: { key }, [key]: 1 } }),
          Effect.tapError(() => Effect.annotateCurrentSpan("more", { key }))
        )
      )
      yield* Effect.ignore(Effect.withSpan(failing, "apart", { root: true }))
      yield* Effect.ignore(Effect.flatMap(Effect.fork(failing), (fiber) => Effect.exit(fiber.await)))
      yield* Job.log(`plain ${key}`)
      return "done"
    })
  ),
  Agent.untyped("child", () => Effect.flatMap(keyOf, (key) => Effect.fail(quotes["message"]!(key) as Error))),
  // Fails with its parent's key, which it was given.
  Agent.untyped("given", (key) => Effect.fail(new Error(`not good: ${String(key)}`))),
  Agent.untyped("parent", (agent) =>
    Effect.flatMap(keyOf, (key) => Job.delegate(String(agent), key, { lease: leased.lease_request }))
  ),
  // Is stopped, and quotes its key when it has unwound at last: its job has ended by then.
  Agent.untyped("late", (name) =>
    Effect.gen(function* () {
      const key = yield* keyOf
      yield* Job.log("waiting")
      yield* Effect.uninterruptible(Deferred.await(gate(String(name))))
      return yield* Effect.die(new Error(`late ${key}`))
    })
  )
)

/** Everything that leaves a runtime, but the frames of the job's owner. */
const leaving = (options?: ProvisionedOptions) =>
  Effect.gen(function* () {
    const out: Array<string> = []
    const tracer = yield* exporting(out)
    const around = Layer.mergeAll(
      tracer,
      Logger.replace(Logger.defaultLogger, writing(out)),
      Logger.minimumLogLevel(LogLevel.All)
    )
    return { out, layer: Layer.provide(provisioned(memory(), { agents, ...options }), around) }
  })

/** Every form in which a value can be read. */
const formsOf = (value: string): ReadonlyArray<string> => [
  value,
  encodeURIComponent(value),
  Buffer.from(value).toString("hex"),
  ...[0, 1, 2].flatMap((n) => {
    const whole = Buffer.from(`${"x".repeat(n)}${value}`).toString("base64")
    const core = whole.slice(n === 0 ? 0 : n + 1, Math.floor(((value.length + n) * 8) / 6))
    return [core, core.replaceAll("+", "-").replaceAll("/", "_")]
  })
]

const expectHidden = (value: string, out: ReadonlyArray<string>) => {
  for (const line of out) for (const form of formsOf(value)) expect(line).not.toContain(form)
}

const valueIn = (peer: Peer, jobId: string): string =>
  JSON.parse(
    heard(peer)
      .split("\n")
      .find((line) => line.includes('"credentials":[') && line.includes(jobId))!
  ).payload.credentials[0].value

describe("§14 the values of a job's credentials", () => {
  it.scoped("are in no span and no line, however the agent, a call or a step fails", () =>
    Effect.gen(function* () {
      const { layer, out } = yield* leaving()
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const agent of ["fails", "dies", "calls"]) {
          for (const how of Object.keys(quotes)) {
            out.length = 0
            const accepted = yield* submit(peer, agent, how, leased)
            const [{ value }] = accepted.payload.credentials
            const end = yield* peer.terminal(accepted.job_id!)
            yield* allRevoked
            expect(out.some((line) => line.startsWith("arcp.job: ends"))).toBe(true)
            if (agent === "none") expect(out.join("\n"), `${agent} ${how}`).toContain("<redacted>")
            console.log(
              agent,
              how,
              [value, ...formsOf(value)].filter((f) => out.join("\n").includes(f)).length
                ? out.filter((l) => formsOf(value).some((f) => l.includes(f))).map((l) => l.slice(0, 200))
                : "",
              JSON.stringify(end.payload).includes(value)
            )
          }
        }
      }).pipe(Effect.provide(layer))
    })
  )
})
void [expectHidden, valueIn, run]

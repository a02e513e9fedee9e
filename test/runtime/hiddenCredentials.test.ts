/** Values of a job's credentials are in no span, no line of the log and no frame of an observer, in whatever form they are quoted (ARCP 1.1 §14). */
import { Buffer } from "node:buffer"
import { beforeEach, describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  HashMap,
  Layer,
  List,
  Logger,
  LogLevel,
  Metric,
  Redacted,
  Schema,
  TestClock,
  Tracer
} from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Ids } from "../../src/protocol/index.js"
import { hiding } from "../../src/runtime/credentials/Values.js"
import {
  CredentialProvisioner,
  Credentials,
  ProvisionError,
  RevokeError,
  withoutCredentials
} from "../../src/runtime/index.js"
import { durableMemory, request as issueRequest } from "./credentialWorld.js"
import { barrier, hello, run, submit, type Peer } from "./peer.js"
import {
  allRevoked,
  eventually,
  request,
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
  Agent.untyped("logs", () =>
    Effect.gen(function* () {
      const key = yield* keyOf
      yield* Effect.logDebug(`mine ${key}`, { key }, { kept: 1 }).pipe(
        Effect.annotateLogs({ [key]: key }),
        Effect.withLogSpan(`in ${key}`)
      )
      yield* Effect.logError("mine", Cause.fail(new Error(`no ${key}`)))
      return "done"
    })
  ),
  // Fails with its parent's key, which it was given.
  Agent.untyped("given", (key) => Effect.fail(new Upstream({ message: `not good: ${String(key)}`, at: "here" }))),
  Agent.untyped("parent", (agent) =>
    Effect.flatMap(keyOf, (key) => Job.delegate(String(agent), key, { lease: leased.lease_request }))
  ),
  // Is stopped, and quotes its key when it has unwound at last: its job has ended by then.
  Agent.untyped("late", (name) =>
    Effect.gen(function* () {
      const key = yield* keyOf
      yield* Job.log("waiting")
      const late = Effect.die(new Error(`late ${key}`))
      return yield* Effect.uninterruptible(Effect.zipRight(Deferred.await(gate(String(name))), late))
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

/** The values that the owner of jobs was shown. */
const valuesIn = (peer: Peer): ReadonlyArray<string> =>
  [...heard(peer).matchAll(/"value":"(sk-test-[^"]+)"/g)].map(([, value]) => value!)

const endsOf = (name: string, out: ReadonlyArray<string>) => out.filter((line) => line.startsWith(`${name}: ends`))

const features = ["heartbeat", "list_jobs", "subscribe", "cost.budget", "model.use"]

describe("§14 the values of a job's credentials", () => {
  for (const agent of ["fails", "dies", "calls"]) {
    it.scoped(`are in no span, no line and no observer's frame: an agent that ${agent}`, () =>
      Effect.gen(function* () {
        const { layer, out } = yield* leaving()
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          const observer = yield* hello({ features })
          for (const how of Object.keys(quotes)) {
            out.length = 0
            const accepted = yield* submit(peer, agent, how, leased)
            const [{ value }] = accepted.payload.credentials
            yield* request(observer, "job.subscribe", { job_id: accepted.job_id, history: true })
            const end = yield* peer.terminal(accepted.job_id!)
            yield* observer.terminal(accepted.job_id!)
            yield* allRevoked
            yield* barrier(observer)
            expectHidden(value, [...out, JSON.stringify(end), heard(observer)])
            expect(endsOf("arcp.job", out)).toHaveLength(1)
            const ends = agent === "calls" ? ["arcp.tool_call", "arcp.step"] : ["arcp.job"]
            for (const name of ends) expect(endsOf(name, out)[0], `${name} ${how}`).toContain("<redacted>")
            if (agent !== "calls") continue
            expect(out.find((line) => line.startsWith("own <redacted>"))).toBeDefined()
            expect(endsOf("apart", out)[0]).toContain("<redacted>")
            expect(heard(observer)).toContain("plain <redacted>")
          }
        }).pipe(Effect.provide(layer))
      })
    )
  }

  it.scoped("are hidden where the handler unwinds when its job has ended, and its credentials are gone", () =>
    Effect.gen(function* () {
      const { layer, out } = yield* leaving({ limits: { cancelGrace: 1 } })
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "late", "g", leased)
        yield* peer.next("job.event", (f) => f.payload.body?.message === "waiting")
        yield* peer.send("job.cancel", {}, { job_id: accepted.job_id })
        yield* barrier(peer)
        yield* TestClock.adjust("1 second")
        yield* peer.terminal(accepted.job_id!)
        yield* allRevoked
        yield* Deferred.succeed(gate("g"), undefined)
        yield* eventually(Effect.sync(() => endsOf("arcp.job", out).length === 1))
        expectHidden(accepted.payload.credentials[0].value, out)
        expect(endsOf("arcp.job", out)[0]).toContain("late <redacted>")
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped(
    "are hidden in a delegated job that was given its parent's, and in the parent of one that quotes its own",
    () =>
      Effect.gen(function* () {
        const { layer, out } = yield* leaving()
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          const lease = { lease_request: { ...leased.lease_request, "agent.delegate": ["*"] } }
          for (const agent of ["given", "child"]) {
            out.length = 0
            const end = yield* run(peer, "parent", agent, lease)
            yield* allRevoked
            expect(end.payload.final_status).toBe("error")
            const values = valuesIn(peer)
            expect(values.length).toBeGreaterThan(1)
            const ends = endsOf("arcp.job", out)
            expect(ends).toHaveLength(2)
            for (const line of ends) expect(line).toContain("<redacted>")
            for (const value of values) expectHidden(value, [...out, JSON.stringify(end)])
          }
        }).pipe(Effect.provide(layer))
      })
  )

  it.scoped("are hidden in what a provisioner says of them, at every level of the log", () =>
    Effect.gen(function* () {
      const out: Array<string> = []
      let issued = 0
      const values: Array<string> = []
      const says = (what: string) =>
        `${what} ${values.join(" ")} Basic ${Buffer.from(`a:${values[0]}`).toString("base64")}`
      const rude = Layer.succeed(CredentialProvisioner, {
        issue: () =>
          Effect.suspend(() => {
            if (issued++ > 0) {
              const message = says("cannot issue beside")
              return Effect.fail(
                new ProvisionError({ message, explanation: message, retryable: false, uncertain: false })
              )
            }
            values.push("sk-rude-0123456789")
            return Effect.succeed([
              { handle: "h", value: Redacted.make(values[0]!), endpoint: "https://gw.example/v1" }
            ])
          }),
        revoke: () =>
          Effect.suspend(() => Effect.fail(new RevokeError({ message: says("cannot revoke"), permanent: true })))
      })
      const tracer = yield* exporting(out)
      yield* Effect.gen(function* () {
        const credentials = yield* Credentials
        const [one] = yield* credentials.issue(issueRequest("job_1"))
        const error = yield* Effect.flip(credentials.rotate("job_1", one!.id))
        expect(error.message).toContain("cannot issue beside <redacted>")
        out.push(error.message)
        credentials.revoke("job_1")
        yield* TestClock.adjust(0)
        const [row] = yield* credentials.outstanding
        expect(row!.lastError).toContain("cannot revoke <redacted>")
        out.push(JSON.stringify(row))
      }).pipe(
        Effect.provide(
          Layer.provide(Credentials.layer(), [rude, durableMemory, Ids.layerSeeded(1)]).pipe(
            Layer.provideMerge(
              Layer.mergeAll(
                tracer,
                Logger.replace(Logger.defaultLogger, writing(out)),
                Logger.minimumLogLevel(LogLevel.All)
              )
            )
          )
        )
      )
      expect(out.some((line) => line.startsWith("WARN a credential was not issued: cannot issue"))).toBe(true)
      expectHidden(values[0]!, out)
    })
  )

  it.scoped("are hidden in an agent's own lines where the program's logger is told to", () =>
    Effect.gen(function* () {
      for (const [hidden, wrap] of [
        [false, (logger: Logger.Logger<unknown, void>) => logger],
        [true, withoutCredentials]
      ] as const) {
        const out: Array<string> = []
        const around = Layer.merge(
          Logger.replace(Logger.defaultLogger, wrap(writing(out))),
          Logger.minimumLogLevel(LogLevel.All)
        )
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          const end = yield* run(peer, "logs", {}, leased)
          const [value] = valuesIn(peer)
          expect(end.payload.final_status).toBe("success")
          const lines = out.filter((line) => line.includes("mine"))
          expect(lines).toHaveLength(2)
          if (hidden) expectHidden(value!, lines)
          else expect(lines.join()).toContain(value)
          expect(lines[0]).toContain("kept")
        }).pipe(Effect.provide(Layer.provide(provisioned(memory(), { agents }), around)))
      }
    })
  )

  it.scoped("are in the tags of no metric", () =>
    Effect.gen(function* () {
      const { layer } = yield* leaving()
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const how of Object.keys(quotes)) yield* run(peer, "fails", how, leased)
        const tags = (yield* Metric.snapshot).map(({ metricKey }) => JSON.stringify([metricKey.name, metricKey.tags]))
        for (const value of valuesIn(peer)) expectHidden(value, tags)
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("§14 a value in a text", () => {
  const hide = (values: ReadonlyArray<string>) => hiding(values.map((value) => Redacted.make(value)))

  it("is found in every form, and what is around it stays", () => {
    const value = 'a+b/c=d e&ü"%\\'
    const shown = hide([value])
    for (const form of [
      value,
      JSON.stringify(value).slice(1, -1),
      encodeURIComponent(value),
      encodeURIComponent(value).toLowerCase().replace("%c3%bc", "%c3%bc"),
      new URLSearchParams({ v: value }).toString().slice(2),
      encodeURIComponent(encodeURIComponent(value)),
      Buffer.from(value).toString("hex"),
      Buffer.from(value).toString("hex").toUpperCase(),
      Buffer.from(value).toString("base64"),
      Buffer.from(value).toString("base64url"),
      Buffer.from(`user:${value}`).toString("base64"),
      Buffer.from(`us:${value}:more`).toString("base64url"),
      encodeURIComponent(Buffer.from(`u:${value}`).toString("base64"))
    ]) {
      expect(shown(`(${form}) twice (${form})`), form).toBe("(<redacted>) twice (<redacted>)")
    }
  })

  it("that is a part of another one leaves nothing of it", () => {
    expect(hide(["sk-1", "sk-123456"])("sk-123456 sk-1 sk-12")).toBe("<redacted> <redacted> <redacted>2")
  })

  it("that is short is found as it is, and its encodings do not hide other texts", () => {
    expect(hide(["ab"])("ab 6162 YWI= 11616200")).toBe("<redacted> 6162 YWI= 11616200")
  })

  it("that is cut off with a text that is too long leaves nothing", () => {
    const value = "s".repeat(40)
    const text = `${"x".repeat(131_072 - 20)}${value}`
    expect(hide([value])(text)).toMatch(/^x+$/)
  })
})

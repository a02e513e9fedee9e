/**
 * A runtime whose agents, tools and steps fail with values of every shape, and, by its argument, whose authenticator,
 * provisioner, policies or logger do.
 */
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Agent, Job, Tool } from "effect-arcp/agent"
import { Authenticator, type AuthenticatorService } from "effect-arcp/auth"
import { VendorError } from "effect-arcp/protocol"
import {
  CredentialProvisioner,
  LeasePolicy,
  type LeasePolicyShape,
  Limits,
  ObservationPolicy,
  type ObservationPolicyShape
} from "effect-arcp/runtime"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { type Composition, say, serve } from "./common.js"
import { shapeOf } from "./shapes.js"

const [mode = "agents", ...rest] = process.argv.slice(2)

interface Input {
  readonly way: string
  readonly shape: string
}

// What is passed where a type is promised: hostile code keeps no promise.
// oxlint-disable-next-line typescript/no-explicit-any
const untrue = (value: unknown): any => value

class Broken extends Tool.make("broken", { input: Schema.String, output: Schema.Unknown }) {}
const BrokenLive = Broken.toLayer((shape) => Effect.fail(shapeOf(shape)))
class Giving extends Tool.make("giving", { input: Schema.String, output: Schema.Unknown }) {}
const GivingLive = Giving.toLayer((shape) => Effect.succeed(shapeOf(shape)))

const outer = (cause: unknown): unknown => new Error("outer", { cause })

/** Each way in which a value of an agent's reaches the runtime. */
const ways: Readonly<Record<string, (value: unknown, shape: string) => Effect.Effect<unknown, unknown, Job>>> = {
  fail: (value) => Effect.fail(value),
  die: (value) => Effect.die(value),
  throw: (value) =>
    // @effect-diagnostics-next-line lazyPromiseInEffectSync:off
    Effect.sync(() => {
      throw value
    }),
  message: (value) => Effect.fail({ message: value }),
  messageGetter: (value) =>
    Effect.fail({
      get message() {
        throw value
      }
    }),
  tagged: (value) =>
    Effect.fail({ _tag: "VendorError", code: value, message: value, details: value, retryable: value }),
  vendor: (value) =>
    Effect.fail(Object.assign(new VendorError({ code: "X_FAILED", message: "m" }), { details: { value } })),
  cause: (value) => Effect.fail(outer(value)),
  result: (value) => Effect.succeed(value),
  log: (value) => Job.log(untrue(value)),
  status: (value) => Job.status(untrue(value), untrue(value)),
  metric: (value) => Job.metric({ name: "m", value: 1, dimensions: untrue({ value }) }),
  event: (value) => Job.event("x-vendor.attack.value", value),
  toolCall: (value) => Effect.flatMap(Job.toolCall("t", value), (id) => Job.toolResult(id, { result: value })),
  tool: (value) => Job.tool("t", value, Effect.fail(value)),
  toolGives: (value) => Job.tool("t", value, Effect.succeed(value)),
  hosted: (_, shape) => Job.callTool("broken", shape),
  hostedGives: (_, shape) => Job.callTool("giving", shape),
  hostedTakes: (value) => Job.callTool("giving", value),
  step: (value) => Job.step("s", Schema.Unknown, Effect.succeed(value)),
  stepFails: (value) => Job.step("s", Schema.Unknown, Effect.fail(value)),
  stream: (value) => Job.streamResult(Stream.fail(value)),
  streamGives: (value) => Job.streamResult(Stream.make(untrue(value))),
  child: (value) => Job.delegate("echo", value),
  handoff: (value) => Job.handoff("echo", value),
  spend: (value) => Job.spend(untrue(value), untrue(value)),
  model: (value) => Job.model(untrue(value), Effect.fail(value)),
  authorize: (value) => Job.authorize(untrue(value), untrue(value)),
  logged: (value) => Effect.zipRight(Effect.logError(value), Effect.annotateLogs(Effect.logError("x"), "v", value)),
  finalizer: (value) =>
    Effect.scoped(
      Effect.zipRight(
        Effect.addFinalizer(() => Effect.die(value)),
        Effect.fail("with a finalizer")
      )
    ),
  forked: (value) => Effect.zipRight(Effect.forkDaemon(Effect.die(value)), Effect.yieldNow())
}

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("hostile", (input) => {
    const { shape, way } = input as Input
    const run = ways[way]
    return run === undefined ? Effect.dieMessage(`no such way: ${way}`) : run(shapeOf(shape), shape)
  }),
  Agent.untyped("ticker", () => Effect.forever(Effect.zipRight(Job.log("tick"), Effect.sleep(50)))),
  Agent.untyped("denied", () => Job.authorize("fs.read", "/none")),
  // Fails in each attempt; its first one lasts until the process is killed.
  Agent.untyped(
    "again",
    (input) =>
      Effect.flatMap(Job, ({ attempt }) =>
        attempt === 1
          ? Effect.zipRight(Job.log("first attempt"), Effect.never)
          : Effect.fail(shapeOf((input as Input).shape))
      ),
    { onRestart: "rerun" }
  ),
  BrokenLive,
  GivingLive
)

/** Authenticates alice; for every other token `way:shape` of it says what goes wrong. */
const hostileAuthenticator: AuthenticatorService = {
  authenticate: ({ token }) => {
    const text = token === undefined ? "" : Redacted.value(token)
    if (text === "secret") return Effect.succeed({ id: "alice", anonymous: false, claims: {} })
    const [way, shape = ""] = text.split(":")
    const value = shapeOf(shape)
    if (way === "fail") return Effect.fail(untrue(value))
    if (way === "die") return Effect.die(value)
    if (way === "throw") throw value
    if (way === "id") return Effect.succeed(untrue({ id: value, anonymous: false, claims: {} }))
    if (way === "claims") return Effect.succeed(untrue({ id: `claims-${shape}`, anonymous: false, claims: { value } }))
    return Effect.succeed(untrue(value))
  }
}

const provisioner = Layer.succeed(CredentialProvisioner, {
  issue: ({ models }) => {
    // A job that does not ask for trouble has no credentials, and must run.
    if (models === undefined) return Effect.succeed([])
    const [way, shape = ""] = (models[0] ?? "").split(":")
    const value = shapeOf(shape.replaceAll("-", " "))
    say("issue", { way, shape })
    if (way === "fail") return Effect.fail(untrue(value))
    if (way === "die") return Effect.die(value)
    if (way === "throw") throw value
    if (way === "issued") return Effect.succeed(untrue([value]))
    if (way === "handle") {
      return Effect.succeed(untrue([{ handle: value, value: Redacted.make("k"), endpoint: "https://x.example" }]))
    }
    return Effect.succeed(untrue(value))
  },
  revoke: () => Effect.die(shapeOf("null prototype"))
})

const policies = Layer.merge(
  LeasePolicy.layer({
    allowed: (principal) => {
      if (principal.id === "alice") return undefined
      throw shapeOf("null prototype")
    }
  } satisfies Partial<LeasePolicyShape>),
  ObservationPolicy.layer({
    visibility: () => {
      throw shapeOf("null prototype")
    },
    listed: () => {
      throw shapeOf("revoked proxy")
    }
  } satisfies ObservationPolicyShape)
)

// It throws at what the runtime itself logs and at what agents log.
const hostileLogger = Logger.add(
  Logger.make(({ annotations, message }) => {
    say("logged")
    if (HashMap.size(annotations) >= 0) throw shapeOf(String(message).length % 2 === 0 ? "null prototype" : "symbol")
  })
)

const compositions: Readonly<Record<string, Partial<Composition>>> = {
  agents: { settings: Limits.layer({ cancelGrace: 1_000 }) },
  auth: { auth: Layer.succeed(Authenticator, hostileAuthenticator) },
  provisioner: {
    settings: provisioner as Layer.Layer<never>,
    store: SqliteStore.layer({ filename: rest[0] ?? ":memory:", durable: true })
  },
  policies: { settings: policies },
  logger: { settings: hostileLogger },
  rerun: { store: SqliteStore.layer({ filename: rest[0] ?? ":memory:" }) }
}

serve({ agents, ...compositions[mode] })

/**
 * A submit, from the program's values to the handle (ARCP 1.1 §7.1).
 *
 * Responsibility: the caller's objects are read once, since they may change and may throw; input is encoded by the agent's
 * Schema; a trace and an idempotency key are made where none are given.
 *
 * Order: everything is checked and encoded before the session is waited for, except the agent's version: the first welcome
 * decides whether one may be named. The handle is made in the step that reads `job.accepted`.
 *
 * Races: a drop after the submit was sent: it is sent again under its key, so that it is one job (§7.2).
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AgentName from "../../protocol/AgentName.js"
import type { AgentEvent, AgentSpec } from "../../protocol/AgentSpec.js"
import { type ArcpError, InvalidRequest, oneLine } from "../../protocol/Errors.js"
import type { IdsService } from "../../protocol/Ids.js"
import * as Decoding from "../../protocol/Decoding.js"
import type * as Message from "../../protocol/Message.js"
import type { TraceContext } from "../../protocol/Trace.js"
import type { ClientError } from "../ClientError.js"
import type { SubmitOptions } from "../ClientOptions.js"
import type { JobHandle } from "../JobHandle.js"
import type { Call } from "./call.js"
import * as checks from "./checks.js"
import type { Core } from "./core.js"
import * as encode from "./encode.js"
import type { Handles } from "./handles.js"
import type { Supervisor } from "./supervisor.js"
import { textOf } from "./text.js"

/** An agent of any types. */
type AnySpec = AgentSpec<unknown, unknown, unknown, unknown, unknown, unknown, unknown>

const readSubmit = (agent: string | AnySpec, options: SubmitOptions) => {
  const spec =
    typeof agent === "string"
      ? undefined
      : { input: agent.input, types: { output: agent.output, error: agent.error, events: agent.events } }
  const name = typeof agent === "string" ? agent : agent.agentName
  const { expiresAt, idempotencyKey, lease, maxRuntimeSec, priority, requestTimeout, trace } = options
  return {
    spec,
    name,
    versioned: typeof agent === "string" ? agent : AgentName.format({ name, version: agent.version }),
    expiresAt,
    idempotencyKey,
    lease,
    maxRuntimeSec,
    priority,
    requestTimeout,
    trace:
      trace === undefined
        ? undefined
        : {
            traceId: trace.traceId,
            parentSpanId: trace.parentSpanId,
            sampled: trace.sampled,
            traceState: trace.traceState
          }
  }
}

/** Input that does not fit its Schema is refused here, as the runtime would; so is one on which the Schema's code fails. */
const encodeInput = (
  schema: Schema.Schema<unknown, unknown>,
  input: unknown
): Effect.Effect<unknown, InvalidRequest> => {
  const failed = (cause: unknown) =>
    Effect.fail(new InvalidRequest({ message: oneLine(`payload.input: cannot be encoded: ${textOf(cause)}`) }))
  const encoding = (): Effect.Effect<unknown, InvalidRequest | ParseResult.ParseError> => {
    // Not left to Effect, which cannot catch a revoked proxy.
    try {
      return Schema.encodeUnknown(schema)(input)
    } catch (cause) {
      return failed(cause)
    }
  }
  return Effect.suspend(encoding).pipe(
    Effect.mapError((error) =>
      error instanceof InvalidRequest ? error : new InvalidRequest({ message: Decoding.describe(error, "input") })
    ),
    Effect.catchAllDefect(failed)
  )
}

/** The span of the caller's fiber, also one of another process (`Effect.withParentSpan` of an external span). */
const currentTrace: Effect.Effect<TraceContext | undefined> = Effect.map(
  Effect.option(Effect.currentParentSpan),
  Option.match({
    onNone: () => undefined,
    onSome: (span) =>
      /^[0-9a-f]{32}$/.test(span.traceId) && /^[0-9a-f]{16}$/.test(span.spanId)
        ? { traceId: span.traceId, parentSpanId: span.spanId, sampled: span.sampled }
        : undefined
  })
)

export const makeSubmit =
  (core: Core, call: Call, session: Pick<Supervisor, "connected">, ids: IdsService, submitted: Handles["submitted"]) =>
  (
    agent: string | AnySpec,
    input?: unknown,
    submitOptions: SubmitOptions = {}
  ): Effect.Effect<JobHandle<unknown, unknown, AgentEvent<unknown>>, ArcpError | ClientError> =>
    Effect.gen(function* () {
      const asked = yield* encode.reading("options", () => readSubmit(agent, submitOptions))
      const options = yield* checks.encodeSubmit(asked)
      const timeout = yield* checks.timeout(asked.requestTimeout)
      const { spec } = asked
      const wire = spec === undefined ? input : yield* encodeInput(spec.input, input)
      const encoded = wire === undefined ? undefined : yield* encode.json("payload.input", wire)
      const priority = yield* checks.priority(asked.priority)
      // The first welcome decides whether a version may be named.
      if (spec !== undefined && core.sessionId === undefined) yield* session.connected
      // Without agent_versions a version must not be named (§6.2); the default is what the peer has.
      const name = spec !== undefined && core.features.has("agent_versions") ? asked.versioned : asked.name
      const key = asked.idempotencyKey ?? `auto_${yield* ids.secret}`
      const trace = asked.trace ?? (yield* currentTrace) ?? { traceId: ids.unsafeTraceId() }
      return yield* call(
        "job.submit",
        { agent: name, input: encoded ?? null, ...options, idempotency_key: key },
        (message, request) => {
          const accepted = message.payload as Message.RuntimePayload<"job.accepted">
          return submitted(
            core.adopt(accepted.job_id, { _tag: "owner", submit: request }),
            accepted,
            spec?.types ?? {},
            key
          )
        },
        { trace, priority, features: checks.neededFeatures(name, options), timeout }
      )
    })

/** The fields of a submit, read and encoded once (ARCP 1.1 §7.1). */
import * as Effect from "effect/Effect"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AgentName from "../../protocol/AgentName.js"
import type { AgentSpec } from "../../protocol/AgentSpec.js"
import { InvalidRequest, oneLine } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import * as Message from "../../protocol/Message.js"
import type { SubmitOptions } from "../ArcpClient.js"
import * as encode from "./encode.js"
import { textOf } from "./text.js"

/** What is asked for with a submit, read once: the caller's objects may change, and may throw. */
export const readSubmit = (agent: string | AgentSpec<unknown, unknown, unknown, unknown>, options: SubmitOptions) => {
  const spec = typeof agent === "string" ? undefined : { input: agent.input, output: agent.output }
  const name = typeof agent === "string" ? agent : agent.agentName
  const { expiresAt, idempotencyKey, lease, maxRuntimeSec, trace } = options
  return {
    spec,
    output: spec?.output,
    name,
    versioned: typeof agent === "string" ? agent : AgentName.format({ name, version: agent.version }),
    expiresAt,
    idempotencyKey,
    lease,
    maxRuntimeSec,
    trace:
      trace === undefined
        ? undefined
        : { traceId: trace.traceId, parentSpanId: trace.parentSpanId, traceState: trace.traceState }
  }
}

/** The largest time that a date can hold, in milliseconds. */
const maxTime = 8_640_000_000_000_000

/** The optional fields of a submit. */
export const encodeSubmit = ({ expiresAt, lease, maxRuntimeSec }: ReturnType<typeof readSubmit>) =>
  Effect.gen(function* () {
    if (typeof expiresAt === "number" && !(Math.abs(expiresAt) <= maxTime)) {
      return yield* new InvalidRequest({ message: "payload.lease_constraints.expires_at: is not a time" })
    }
    const expires_at = typeof expiresAt === "number" ? formatTimestamp(expiresAt) : expiresAt
    return {
      lease_request: lease === undefined ? undefined : yield* encode.json("payload.lease_request", lease),
      lease_constraints:
        expires_at === undefined ? undefined : yield* encode.object("payload.lease_constraints", { expires_at }),
      max_runtime_sec:
        maxRuntimeSec === undefined ? undefined : yield* encode.json("payload.max_runtime_sec", maxRuntimeSec)
    }
  })

/** Input that does not fit its Schema is refused here, as the runtime would; so is one on which the Schema's code fails. */
export const encodeInput = (
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
      error instanceof InvalidRequest ? error : new InvalidRequest({ message: Message.describe(error, "input") })
    ),
    Effect.catchAllDefect(failed)
  )
}

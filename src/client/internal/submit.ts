/** The fields of a submit, read and encoded once (ARCP 1.1 §7.1). */
import * as Effect from "effect/Effect"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AgentName from "../../protocol/AgentName.js"
import type { AgentSpec } from "../../protocol/AgentSpec.js"
import { InvalidRequest, oneLine } from "../../protocol/Errors.js"
import * as Message from "../../protocol/Message.js"
import type { SubmitOptions } from "../ArcpClient.js"
import { textOf } from "./text.js"

/** What is asked for with a submit, read once: the caller's objects may change, and may throw. */
export const readSubmit = (agent: string | AgentSpec<unknown, unknown, unknown, unknown>, options: SubmitOptions) => {
  const spec = typeof agent === "string" ? undefined : { input: agent.input, output: agent.output }
  const name = typeof agent === "string" ? agent : agent.agentName
  const { expiresAt, idempotencyKey, lease, maxRuntimeSec, priority, requestTimeout, trace } = options
  return {
    spec,
    output: spec?.output,
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
        : { traceId: trace.traceId, parentSpanId: trace.parentSpanId, traceState: trace.traceState }
  }
}

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

/**
 * The error taxonomy: one table of the fifteen codes of ARCP 1.1 §12, and the tagged errors made from it.
 *
 * Every error that crosses the wire is one of these classes, or a {@link VendorError} for a code that is not in
 * the table (an agent's own business failure, §12). `fromWire` and `toWire` convert in both directions; a message is
 * made one line and bounded before it is sent.
 */
import * as Schema from "effect/Schema"
import { JsonObject } from "./Fields.js"
import * as Text from "./Text.js"

/**
 * The codes of ARCP 1.1 §12 with what a naive retry can achieve and what each means.
 *
 * @since 0.1.0
 * @category constants
 */
export const errorTable = {
  PERMISSION_DENIED: { retryable: false, meaning: "operation rejected by lease enforcement or policy" },
  LEASE_SUBSET_VIOLATION: { retryable: false, meaning: "delegation request expanded beyond the parent's lease" },
  JOB_NOT_FOUND: { retryable: false, meaning: "the job does not exist or is not visible" },
  DUPLICATE_KEY: { retryable: false, meaning: "idempotency_key reused with conflicting parameters" },
  AGENT_NOT_AVAILABLE: { retryable: false, meaning: "the agent is not registered" },
  AGENT_VERSION_NOT_AVAILABLE: { retryable: false, meaning: "the agent has no such version" },
  CANCELLED: { retryable: false, meaning: "the job ended because the client cancelled it" },
  TIMEOUT: { retryable: true, meaning: "the job exceeded max_runtime_sec" },
  RESUME_WINDOW_EXPIRED: { retryable: false, meaning: "the buffer no longer covers the requested resume point" },
  HEARTBEAT_LOST: { retryable: true, meaning: "the peer fell silent" },
  LEASE_EXPIRED: { retryable: false, meaning: "the lease's expires_at was reached" },
  BUDGET_EXHAUSTED: { retryable: false, meaning: "a cost.budget counter reached zero" },
  INVALID_REQUEST: { retryable: false, meaning: "malformed envelope or schema violation" },
  UNAUTHENTICATED: { retryable: false, meaning: "missing or invalid authentication" },
  INTERNAL_ERROR: { retryable: true, meaning: "unrecoverable runtime fault" }
} as const satisfies Record<string, { readonly retryable: boolean; readonly meaning: string }>

/**
 * A code of ARCP 1.1 §12.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorCode = keyof typeof errorTable

/**
 * All codes, in the order of the specification's table.
 *
 * @since 0.1.0
 * @category constants
 */
export const errorCodes = /* @__PURE__ */ Object.keys(errorTable) as ReadonlyArray<ErrorCode>

/**
 * Whether `code` is one of the fifteen codes of §12.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(classes, code)

/**
 * Error messages on the wire are one line of at most this many characters.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxMessageLength = 512

/**
 * @internal Makes `text` fit for an error message: one line, no character that a terminal obeys or that reorders text, no half of one, at most
 * {@link maxMessageLength} characters.
 */
export const oneLine = (text: string): string => {
  // Bounded before the replacement so that a hostile megabyte costs nothing.
  const line = text
    .slice(0, maxMessageLength * 2)
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, " ")
    .trim()
  // Last, since a cut may have halved a character.
  return Text.wellFormed(line.length <= maxMessageLength ? line : `${line.slice(0, maxMessageLength - 1)}…`)
}

/**
 * Details that an error may carry: a JSON object, specific to the code.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ErrorDetails = JsonObject

/**
 * Details that an error may carry: a JSON object, specific to the code.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorDetails = typeof ErrorDetails.Type

/**
 * The error payload of ARCP 1.0 §12: `session.error`, and the `error` of a `tool_result`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ErrorPayload = Schema.Struct({
  /** A code of §12, or a vendor's. */
  code: Schema.NonEmptyString,
  /** For people, one line. */
  message: Schema.String,
  /** Whether a naive retry can succeed. */
  retryable: Schema.Boolean,
  /** A JSON object, specific to the code. */
  details: Schema.optional(ErrorDetails)
})

/**
 * The error payload of ARCP 1.0 §12: `session.error`, and the `error` of a `tool_result`.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorPayload = typeof ErrorPayload.Type

/** `retryable` is what the table says of the code; the table with its texts is not in a program that only makes errors. */
const fields = (retryable: boolean) => ({
  /** For people, one line. */
  message: Schema.String,
  /** Whether a naive retry can succeed. Default: what the table says of the code. */
  retryable: Schema.optionalWith(Schema.Boolean, { default: () => retryable }),
  /** A JSON object, specific to the code. */
  details: Schema.optional(ErrorDetails)
})

/**
 * ARCP 1.1 §12 `PERMISSION_DENIED`.
 *
 * @since 0.1.0
 * @category errors
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>()("PermissionDenied", fields(false)) {
  /** The code on the wire. */
  readonly code = "PERMISSION_DENIED"
}

/**
 * ARCP 1.1 §12 `LEASE_SUBSET_VIOLATION`.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseSubsetViolation extends Schema.TaggedError<LeaseSubsetViolation>()(
  "LeaseSubsetViolation",
  fields(false)
) {
  /** The code on the wire. */
  readonly code = "LEASE_SUBSET_VIOLATION"
}

/**
 * ARCP 1.1 §12 `JOB_NOT_FOUND`.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobNotFound extends Schema.TaggedError<JobNotFound>()("JobNotFound", fields(false)) {
  /** The code on the wire. */
  readonly code = "JOB_NOT_FOUND"
}

/**
 * ARCP 1.1 §12 `DUPLICATE_KEY`.
 *
 * @since 0.1.0
 * @category errors
 */
export class DuplicateKey extends Schema.TaggedError<DuplicateKey>()("DuplicateKey", fields(false)) {
  /** The code on the wire. */
  readonly code = "DUPLICATE_KEY"
}

/**
 * ARCP 1.1 §12 `AGENT_NOT_AVAILABLE`.
 *
 * @since 0.1.0
 * @category errors
 */
export class AgentNotAvailable extends Schema.TaggedError<AgentNotAvailable>()("AgentNotAvailable", fields(false)) {
  /** The code on the wire. */
  readonly code = "AGENT_NOT_AVAILABLE"
}

/**
 * ARCP 1.1 §12 `AGENT_VERSION_NOT_AVAILABLE`.
 *
 * @since 0.1.0
 * @category errors
 */
export class AgentVersionNotAvailable extends Schema.TaggedError<AgentVersionNotAvailable>()(
  "AgentVersionNotAvailable",
  fields(false)
) {
  /** The code on the wire. */
  readonly code = "AGENT_VERSION_NOT_AVAILABLE"
}

/**
 * ARCP 1.1 §12 `CANCELLED`.
 *
 * @since 0.1.0
 * @category errors
 */
export class Cancelled extends Schema.TaggedError<Cancelled>()("Cancelled", fields(false)) {
  /** The code on the wire. */
  readonly code = "CANCELLED"
}

/**
 * ARCP 1.1 §12 `TIMEOUT`.
 *
 * @since 0.1.0
 * @category errors
 */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", fields(true)) {
  /** The code on the wire. */
  readonly code = "TIMEOUT"
}

/**
 * ARCP 1.1 §12 `RESUME_WINDOW_EXPIRED`.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResumeWindowExpired extends Schema.TaggedError<ResumeWindowExpired>()(
  "ResumeWindowExpired",
  fields(false)
) {
  /** The code on the wire. */
  readonly code = "RESUME_WINDOW_EXPIRED"
}

/**
 * ARCP 1.1 §12 `HEARTBEAT_LOST`.
 *
 * @since 0.1.0
 * @category errors
 */
export class HeartbeatLost extends Schema.TaggedError<HeartbeatLost>()("HeartbeatLost", fields(true)) {
  /** The code on the wire. */
  readonly code = "HEARTBEAT_LOST"
}

/**
 * ARCP 1.1 §12 `LEASE_EXPIRED`. Never retryable.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseExpired extends Schema.TaggedError<LeaseExpired>()("LeaseExpired", fields(false)) {
  /** The code on the wire. */
  readonly code = "LEASE_EXPIRED"
}

/**
 * ARCP 1.1 §12 `BUDGET_EXHAUSTED`. Never retryable.
 *
 * @since 0.1.0
 * @category errors
 */
export class BudgetExhausted extends Schema.TaggedError<BudgetExhausted>()("BudgetExhausted", fields(false)) {
  /** The code on the wire. */
  readonly code = "BUDGET_EXHAUSTED"
}

/**
 * ARCP 1.1 §12 `INVALID_REQUEST`.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", fields(false)) {
  /** The code on the wire. */
  readonly code = "INVALID_REQUEST"
}

/**
 * ARCP 1.1 §12 `UNAUTHENTICATED`.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()("Unauthenticated", fields(false)) {
  /** The code on the wire. */
  readonly code = "UNAUTHENTICATED"
}

/**
 * ARCP 1.1 §12 `INTERNAL_ERROR`. Always retryable on the wire (§12); where a repeat would fail in the same way, `details.permanent` is
 * true (1.0 §14): see {@link permanentError}.
 *
 * @since 0.1.0
 * @category errors
 */
export class InternalError extends Schema.TaggedError<InternalError>()("InternalError", fields(true)) {
  /** The code on the wire. */
  readonly code = "INTERNAL_ERROR"
}

/**
 * An `INTERNAL_ERROR` that a naive retry cannot change, such as a result over its limit: `details.permanent` is true (1.0 §14).
 *
 * @since 0.1.0
 * @category constructors
 */
export const permanentError = (message: string, details?: ErrorDetails): InternalError =>
  new InternalError({ message, details: { ...details, permanent: true } })

/**
 * An error whose code is not in the table of §12: an agent's own failure with a vendor-specific code, or a code that a
 * later version of the protocol added. It passes through unchanged.
 *
 * @since 0.1.0
 * @category errors
 */
export class VendorError extends Schema.TaggedError<VendorError>()("VendorError", {
  /** The code: none of the table of §12. */
  code: Schema.NonEmptyString,
  message: Schema.String,
  /** Whether a naive retry can succeed. Default false. */
  retryable: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** A JSON object, specific to the code. */
  details: Schema.optional(ErrorDetails)
}) {}

/** The code of an {@link AgentFailure}. */
const agentFailureCode = "AGENT_FAILURE"

/**
 * `AGENT_FAILURE`: an agent failed with an error that has no code of its own (1.0 §12 leaves codes of agents to vendors). `details.error`
 * is the error's tag; `details.encoded` the error, where the agent declares its type; else `details.fields` its fields that are JSON,
 * bounded.
 *
 * @since 0.1.0
 * @category errors
 */
export class AgentFailure extends Schema.TaggedError<AgentFailure>()("AgentFailure", {
  message: Schema.String,
  /** Whether a naive retry can succeed. Default false. */
  retryable: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** `error`, and `encoded` or `fields`. */
  details: Schema.optional(ErrorDetails)
}) {
  /** The code on the wire: `AGENT_FAILURE`. */
  readonly code = agentFailureCode
}

const classes = {
  PERMISSION_DENIED: PermissionDenied,
  LEASE_SUBSET_VIOLATION: LeaseSubsetViolation,
  JOB_NOT_FOUND: JobNotFound,
  DUPLICATE_KEY: DuplicateKey,
  AGENT_NOT_AVAILABLE: AgentNotAvailable,
  AGENT_VERSION_NOT_AVAILABLE: AgentVersionNotAvailable,
  CANCELLED: Cancelled,
  TIMEOUT: Timeout,
  RESUME_WINDOW_EXPIRED: ResumeWindowExpired,
  HEARTBEAT_LOST: HeartbeatLost,
  LEASE_EXPIRED: LeaseExpired,
  BUDGET_EXHAUSTED: BudgetExhausted,
  INVALID_REQUEST: InvalidRequest,
  UNAUTHENTICATED: Unauthenticated,
  INTERNAL_ERROR: InternalError
} as const satisfies {
  readonly [C in ErrorCode]: abstract new (
    ...args: never
  ) => ProtocolError & { readonly code: C }
}

/**
 * Any of the errors that ARCP knows: the fifteen of §12.
 *
 * @since 0.1.0
 * @category errors
 */
export type ProtocolError =
  | PermissionDenied
  | LeaseSubsetViolation
  | JobNotFound
  | DuplicateKey
  | AgentNotAvailable
  | AgentVersionNotAvailable
  | Cancelled
  | Timeout
  | ResumeWindowExpired
  | HeartbeatLost
  | LeaseExpired
  | BudgetExhausted
  | InvalidRequest
  | Unauthenticated
  | InternalError

/**
 * Any error that can arrive over the wire.
 *
 * @since 0.1.0
 * @category errors
 */
export type ArcpError = ProtocolError | VendorError | AgentFailure

/**
 * Whether `u` is one of this module's errors. False for any value that cannot be asked, such as a revoked proxy.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isArcpError = (u: unknown): u is ArcpError =>
  Text.attempt(
    () =>
      u instanceof VendorError || u instanceof AgentFailure || errorCodes.some((code) => u instanceof classes[code]),
    false
  )

/** Codes of errors on the wire are at most this long, in UTF-16 code units. */
const maxCodeLength = 128

/**
 * The payload that goes over the wire: plain data, made by a total function. The error may come from user code, with getters that
 * throw or fields of other types. `retryable` of `LEASE_EXPIRED` and `BUDGET_EXHAUSTED` is always false, that of `INTERNAL_ERROR` always
 * true (§12): one that says otherwise gets `details.permanent`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toWire = (error: ArcpError): ErrorPayload => {
  const code = Text.textProperty(error, "code", maxCodeLength) ?? "INTERNAL_ERROR"
  const message = Text.property(error, "message")
  const given = Text.property(error, "details")
  const retryable = Text.property(error, "retryable")
  const told = given === undefined ? undefined : tellable(given)
  const isPermanent = code === "INTERNAL_ERROR" && (retryable === false || Text.property(given, "permanent") === true)
  const details = isPermanent ? { ...told, permanent: true } : told
  return {
    code,
    message: oneLine(typeof message === "string" ? message : Text.ofUnknown(message)),
    retryable:
      code === "INTERNAL_ERROR" || (code !== "LEASE_EXPIRED" && code !== "BUDGET_EXHAUSTED" && retryable === true),
    ...(details === undefined ? {} : { details })
  }
}

/** @internal The same error as plain data: reading it cannot throw, and returns the same values each time. */
export const plain = (error: ArcpError): ArcpError => fromWire(toWire(error))

/**
 * Details are at most this long as JSON, in UTF-16 code units; longer ones are left out.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxDetailsLength = 65_536

// An agent's error may carry anything; what cannot be told must not keep the error from being told.
const tellable = (details: unknown): ErrorDetails => {
  const omitted = (why: string): ErrorDetails => ({ omitted: `the details are ${why}` })
  const json = Text.toJson(details)
  if (json._tag === "NotJson") {
    return omitted(json.why === "it has a cycle or a bigint" ? "not JSON: they hold a cycle or a bigint" : "not JSON")
  }
  if (json._tag === "Absent" || !json.text.startsWith("{")) return omitted("not a JSON object")
  return json.text.length > maxDetailsLength
    ? omitted(`longer than ${maxDetailsLength} characters`)
    : (JSON.parse(json.text) as ErrorDetails)
}

/**
 * The error that a payload from the wire stands for; an unknown code other than `AGENT_FAILURE` becomes a {@link VendorError}.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromWire = (payload: {
  /** The code: one of the table, or any other. */
  readonly code: string
  /** For people; made one line and bounded. */
  readonly message: string
  /** Whether a naive retry can succeed. Default: what the table says of the code; false for others. */
  readonly retryable?: boolean | undefined
  /** A JSON object, specific to the code. */
  readonly details?: ErrorDetails | undefined
}): ArcpError => {
  const { code } = payload
  const common = {
    message: oneLine(payload.message),
    ...(payload.retryable === undefined ? {} : { retryable: payload.retryable }),
    ...(payload.details === undefined ? {} : { details: payload.details })
  }
  if (isErrorCode(code)) return new classes[code](common)
  return code === agentFailureCode ? new AgentFailure(common) : new VendorError({ code, ...common })
}

/**
 * @internal The error that a `job.error` stands for: an agent's own (1.0 §12), also where the runtime sent it as `INTERNAL_ERROR` with
 * `details.agent_error`, as it does to a session that did not offer to take such codes.
 */
export const fromJobError = (payload: Parameters<typeof fromWire>[0]): ArcpError => {
  const own = payload.code === "INTERNAL_ERROR" ? payload.details?.agent_error : undefined
  if (typeof own !== "object" || own === null) return fromWire(payload)
  const { code, details, retryable } = own as { readonly [key: string]: unknown }
  if (typeof code !== "string" || code === "" || isErrorCode(code)) return fromWire(payload)
  const isObject = typeof details === "object" && details !== null && !Array.isArray(details)
  return fromWire({
    code,
    message: payload.message,
    ...(typeof retryable === "boolean" ? { retryable } : {}),
    ...(isObject ? { details: details as ErrorDetails } : {})
  })
}

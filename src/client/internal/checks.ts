/**
 * What a program passes to the client's calls as numbers and times, checked before it is sent: refused with `InvalidRequest` that
 * names the field, never rounded, dropped or taken for "none". Numbers inside `input` are the program's own JSON, and are not looked
 * at.
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Decimal from "../../protocol/Decimal.js"
import * as Envelope from "../../protocol/Envelope.js"
import { InvalidRequest } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import * as Options from "../../protocol/Options.js"
import * as encode from "./encode.js"

const invalid = (field: string, should: string): Either.Either<never, InvalidRequest> =>
  Either.left(new InvalidRequest({ message: `${field}: must be ${should}` }))

/** The largest time that a date can hold, in milliseconds. */
const maxTime = 8_640_000_000_000_000

/** A whole number of at least `least` that a double holds exactly; undefined where there is none. */
const whole = (field: string, value: unknown, least: number): Either.Either<number | undefined, InvalidRequest> => {
  if (value === undefined) return Either.right(undefined)
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least
    ? Either.right(value)
    : invalid(field, `a whole number from ${least} to ${Number.MAX_SAFE_INTEGER}`)
}

/** `max_runtime_sec` of a submit (§7.1). */
export const maxRuntimeSec = (value: unknown): Either.Either<number | undefined, InvalidRequest> =>
  whole("payload.max_runtime_sec", value, 1)

/** `limit` of a listing (§6.6). */
export const pageSize = (value: unknown): Either.Either<number | undefined, InvalidRequest> =>
  whole("payload.limit", value, 1)

/** `from_event_seq` of a subscription (§7.6). */
export const fromEventSeq = (value: unknown): Either.Either<number | undefined, InvalidRequest> =>
  whole("payload.from_event_seq", value, 0)

/** The priority of a message's envelope. */
export const priority = (value: unknown): Either.Either<Envelope.Priority | undefined, InvalidRequest> =>
  value === undefined || Envelope.isPriority(value)
    ? Either.right(value)
    : invalid("priority", `one of ${Envelope.priorities.join(", ")}`)

/** `expires_at` (§9.5): milliseconds since the epoch become a time; a text is the runtime's to judge. */
const expiry = (value: unknown): Either.Either<unknown, InvalidRequest> =>
  typeof value !== "number"
    ? Either.right(value)
    : Math.abs(value) <= maxTime
      ? Either.right(formatTimestamp(value))
      : Either.left(new InvalidRequest({ message: "payload.lease_constraints.expires_at: is not a time" }))

/** The lease of a submit (§9.2), read once; amounts of its budget are spelled out, as the wire has no exponents (§9.6). */
const lease = (value: unknown): Either.Either<encode.JsonText, InvalidRequest> =>
  Either.map(
    encode.json("payload.lease_request", value),
    ({ text }) => new encode.JsonText(Decimal.plainBudgetText(text))
  )

/** The optional fields of a submit, as they are sent. */
export interface SubmitFields {
  readonly lease_request: encode.JsonText | undefined
  readonly lease_constraints: encode.JsonText | undefined
  readonly max_runtime_sec: number | undefined
}

/** Most submits have none of them. */
const noFields: Either.Either<SubmitFields> = Either.right({
  lease_request: undefined,
  lease_constraints: undefined,
  max_runtime_sec: undefined
})

/** The optional fields of a submit. */
export const encodeSubmit = (asked: {
  readonly expiresAt: unknown
  readonly lease: unknown
  readonly maxRuntimeSec: unknown
}): Either.Either<SubmitFields, InvalidRequest> =>
  asked.expiresAt === undefined && asked.lease === undefined && asked.maxRuntimeSec === undefined
    ? noFields
    : Either.gen(function* () {
        const expires_at = yield* expiry(asked.expiresAt)
        return {
          lease_request: asked.lease === undefined ? undefined : yield* lease(asked.lease),
          lease_constraints:
            expires_at === undefined ? undefined : yield* encode.object("payload.lease_constraints", { expires_at }),
          max_runtime_sec: yield* maxRuntimeSec(asked.maxRuntimeSec)
        }
      })

/** The features without which a submit asks for what the runtime may pass over (§6.2). */
export const neededFeatures = (
  agent: unknown,
  asked: {
    readonly lease_request: encode.JsonText | undefined
    readonly lease_constraints: encode.JsonText | undefined
  }
): ReadonlyArray<string> => {
  const features: Array<string> = []
  // What is not a string is refused where it is encoded.
  if (typeof agent === "string" && agent.includes("@")) features.push("agent_versions")
  if (asked.lease_constraints !== undefined) features.push("lease_expires_at")
  const lease: unknown = asked.lease_request === undefined ? undefined : JSON.parse(asked.lease_request.text)
  if (typeof lease !== "object" || lease === null) return features
  for (const name of ["cost.budget", "model.use"]) if (Object.hasOwn(lease, name)) features.push(name)
  return features
}

/** The milliseconds that a request may lie unanswered. */
export const timeout = (value: unknown): Either.Either<number | undefined, InvalidRequest> => {
  if (value === undefined) return Either.right(undefined)
  const duration = Duration.decodeUnknown(value)
  return Option.isSome(duration) && !Number.isNaN(Duration.toMillis(duration.value))
    ? Either.right(Duration.toMillis(duration.value))
    : invalid("options.requestTimeout", 'a duration, such as "30 seconds"')
}

const optionKinds = {
  connectTimeout: "duration",
  handshakeTimeout: "duration",
  closeTimeout: "duration",
  requestTimeout: "duration",
  backoff: "duration",
  maxBackoff: "duration",
  ackInterval: "duration",
  maxAttempts: "countOrZero",
  ackEvery: "count",
  ackBytes: "count",
  eventBuffer: "count",
  eventBufferBytes: "count",
  maxResultBytes: "count",
  maxArtifactBytes: "countOrZero",
  maxFrameBytes: "count"
} as const

/** Why a client cannot be made from these options; undefined where it can. */
export const optionsProblem = (options: object): InvalidRequest | undefined => {
  const wrong = Options.problem(options, optionKinds)
  return wrong === undefined
    ? undefined
    : new InvalidRequest({ message: `options.${wrong.name}: must be ${wrong.expected}` })
}

/** The options without those that are numbers or durations: for a client that ends at once because one of them is wrong. */
export const withoutNumbers = <O extends object>(options: O): O =>
  Object.fromEntries(Object.entries(options).filter(([name]) => !(name in optionKinds))) as O

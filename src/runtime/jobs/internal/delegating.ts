/**
 * What a handler asks for when it delegates or hands over, copied, and the body of the `delegate` event (1.0 §10.2).
 *
 * What user code passes is read once, before anything else: what is checked is what is started, and no getter of it runs where events are
 * written.
 */
import * as Either from "effect/Either"
import type { DelegateOptions } from "../../../agent/Job.js"
import * as Decimal from "../../../protocol/Decimal.js"
import { InvalidRequest } from "../../../protocol/Errors.js"
import { formatTimestamp, type WireLeaseConstraints } from "../../../protocol/Fields.js"
import * as Text from "../../../protocol/Text.js"

/** What was asked for. */
export interface Asked {
  /** The input as JSON text, and as it is handed on. */
  readonly text: string
  readonly input: unknown
  readonly options: DelegateOptions
  /** The lease as JSON text. */
  readonly lease: string
  readonly constraints: WireLeaseConstraints | undefined
}

/** The constraints that options stand for. */
export const constraintsOf = (options: DelegateOptions | undefined): WireLeaseConstraints | undefined =>
  options?.expiresAt === undefined
    ? undefined
    : {
        // A number that is no time is refused like a text that is none.
        expires_at:
          typeof options.expiresAt !== "number"
            ? options.expiresAt
            : Math.abs(options.expiresAt) <= 8.64e15
              ? formatTimestamp(options.expiresAt)
              : String(options.expiresAt)
      }

const toJson = (field: string, value: unknown, otherwise: string): Either.Either<string, InvalidRequest> => {
  const made = Text.toJson(value)
  return made._tag === "NotJson"
    ? Either.left(new InvalidRequest({ message: `${field}: is not JSON: ${made.why}` }))
    : Either.right(made._tag === "Json" ? made.text : otherwise)
}

/** Copies it, or returns what is wrong with it. */
export const copied = (input: unknown, options: DelegateOptions | undefined): Either.Either<Asked, InvalidRequest> =>
  Either.gen(function* () {
    const text = yield* toJson("input", input ?? null, "null")
    const lease = Decimal.plainBudgetText(yield* toJson("lease", options?.lease ?? {}, "{}"))
    const { expiresAt, maxRuntimeSec } = options ?? {}
    if (!["undefined", "string", "number"].includes(typeof expiresAt)) {
      return yield* Either.left(new InvalidRequest({ message: "expiresAt: must be a text or a number" }))
    }
    const copy: DelegateOptions = {
      lease: JSON.parse(lease) as NonNullable<DelegateOptions["lease"]>,
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(maxRuntimeSec === undefined ? {} : { maxRuntimeSec })
    }
    return { text, input: JSON.parse(text) as unknown, options: copy, lease, constraints: constraintsOf(copy) }
  })

/** The body of a `delegate` event; without a job where it is refused. `text` is the input as JSON. */
export const delegateBody = (
  delegateId: string,
  childJobId: string | undefined,
  agent: string,
  { constraints, lease, text }: Pick<Asked, "text" | "lease" | "constraints">
): string => {
  const head = JSON.stringify({ delegate_id: delegateId, child_job_id: childJobId, agent: String(agent) })
  const asked = constraints === undefined ? "" : `,"lease_constraints":${JSON.stringify(constraints)}`
  return `${head.slice(0, -1)},"input":${text},"lease_request":${lease}${asked}}`
}

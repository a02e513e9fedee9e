/**
 * What a handler asks for when it delegates or hands over, copied, and the body of the `delegate` event (1.0 §10.2).
 *
 * What user code passes is read once, before anything else: what is checked is what is started, and no getter of it runs where events are
 * written.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { DelegateOptions } from "../../../agent/Job.js"
import * as Decimal from "../../../protocol/Decimal.js"
import { InvalidRequest } from "../../../protocol/Errors.js"
import { formatTimestamp, WireLease, type WireLeaseConstraints } from "../../../protocol/Fields.js"
import * as Text from "../../../protocol/Text.js"

/** What was asked for. */
export interface Asked {
  /** The input as JSON text, and as it is handed on. */
  readonly text: string
  readonly input: unknown
  /** The lease as JSON text, and as it is compiled. The text is undefined where it is no lease: no event can carry it. */
  readonly lease: string | undefined
  readonly requested: WireLease
  readonly constraints: WireLeaseConstraints | undefined
  readonly maxRuntimeSec: number | undefined
}

const constraintsOf = (expiresAt: DelegateOptions["expiresAt"]): WireLeaseConstraints | undefined =>
  expiresAt === undefined
    ? undefined
    : {
        // A number outside the range of dates is kept as its digits: the lease is then rejected as for any other malformed text.
        expires_at:
          typeof expiresAt === "number" && Math.abs(expiresAt) <= 8.64e15
            ? formatTimestamp(expiresAt)
            : String(expiresAt)
      }

const toJson = (field: string, value: unknown, otherwise: string): Either.Either<string, InvalidRequest> => {
  const made = Text.toJson(value)
  return made._tag === "NotJson"
    ? Either.left(new InvalidRequest({ message: `${field}: is not JSON: ${made.why}` }))
    : Either.right(made._tag === "Json" ? made.text : otherwise)
}

const isWireLease = Schema.is(WireLease)

/** Copies it, or returns what is wrong with it. */
export const copied = (input: unknown, options: DelegateOptions | undefined): Either.Either<Asked, InvalidRequest> =>
  Either.gen(function* () {
    const text = yield* toJson("input", input ?? null, "null")
    const lease = Decimal.plainBudgetText(yield* toJson("lease", options?.lease ?? {}, "{}"))
    const { expiresAt, maxRuntimeSec } = options ?? {}
    if (!["undefined", "string", "number"].includes(typeof expiresAt)) {
      return yield* Either.left(new InvalidRequest({ message: "expiresAt: must be a text or a number" }))
    }
    const requested: unknown = JSON.parse(lease) ?? {}
    return {
      text,
      input: JSON.parse(text) as unknown,
      lease: isWireLease(requested) ? lease : undefined,
      requested: requested as WireLease,
      constraints: constraintsOf(expiresAt),
      maxRuntimeSec
    }
  })

/** The lease that is asked for, to be compiled; what is no object at all is refused here. */
export const requestedLease = ({ requested }: Asked): Either.Either<WireLease, InvalidRequest> =>
  typeof requested === "object" && !Array.isArray(requested)
    ? Either.right(requested)
    : Either.left(
        new InvalidRequest({
          message: "lease: must be an object of lists of patterns",
          details: { reason: "malformed" }
        })
      )

/** The body of a `delegate` event; without a job where it is refused. `text` is the input as JSON. */
export const delegateBody = (
  delegateId: string,
  childJobId: string | undefined,
  agent: string,
  { constraints, lease, text }: Pick<Asked, "text" | "lease" | "constraints">
): string => {
  const head = JSON.stringify({ delegate_id: delegateId, child_job_id: childJobId, agent: String(agent) })
  const asked = constraints === undefined ? "" : `,"lease_constraints":${JSON.stringify(constraints)}`
  const requested = lease === undefined ? "" : `,"lease_request":${lease}`
  return `${head.slice(0, -1)},"input":${text}${requested}${asked}}`
}

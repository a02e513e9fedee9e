/**
 * What a submit with an idempotency key asked for, as a digest (ARCP 1.1 §7.2).
 *
 * Two submits ask for the same when the agent as named, the input, the lease request, the constraints and `max_runtime_sec` are the
 * same JSON: the order of keys and the spelling of numbers do not count, and neither does what the runtime makes of them. A new default
 * version, another schema or another policy therefore does not change the digest.
 */
import * as Either from "effect/Either"
import * as AgentName from "../../../protocol/AgentName.js"
import * as CanonicalJson from "../../../protocol/CanonicalJson.js"
import type { Submit } from "../../../protocol/Job.js"
import type { JobRecord } from "../../../store/Store.js"
import { sha256 } from "../../kernel/Hash.js"

/** Digests that this version writes begin with it; those of 0.1 have no prefix. */
const prefix = "v2:"

const digestOf = (agent: string, payload: Submit): string =>
  sha256(
    CanonicalJson.canonicalize({
      agent,
      input: payload.input ?? null,
      lease_request: payload.lease_request ?? {},
      lease_constraints: payload.lease_constraints ?? {},
      max_runtime_sec: payload.max_runtime_sec ?? null
    })
  )

/** The digest of what a submit asks for, as it is stored with its key. */
export const askedHash = (payload: Submit): string => `${prefix}${digestOf(payload.agent, payload)}`

/** 0.1 hashed the agent with the version that it had resolved. A name without a version stands for the version that the job got. */
const resolvedName = (asked: string, { version }: JobRecord): string => {
  const name = AgentName.parse(asked)
  return Either.isLeft(name) ? asked : `${name.right.name}@${name.right.version ?? version}`
}

/** Whether a submit asks for what the job with this stored digest was submitted with. `asked` is its {@link askedHash}. */
export const sameAsked = (stored: string, asked: string, payload: Submit, record: JobRecord): boolean =>
  stored.startsWith(prefix) ? stored === asked : stored === digestOf(resolvedName(payload.agent, record), payload)

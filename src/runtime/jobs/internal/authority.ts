/**
 * What a job may do now: the `Leases` decide for jobs that have not ended (ARCP 1.1 §9.3, §9.5).
 *
 * Order: the end of the job comes first. A lease ends with its job: a fiber that outlives it has no authority, whatever its lease says.
 */
import * as Either from "effect/Either"
import type { Denial } from "../../../agent/Gate.js"
import type * as Canonical from "../../../authority/Canonical.js"
import type { Capability } from "../../../authority/Capability.js"
import type { Lease } from "../../../authority/Lease.js"
import { LeaseExpired, PermissionDenied } from "../../../protocol/Errors.js"
import { formatTimestamp } from "../../../protocol/Fields.js"
import type { LeaseHolder } from "../Leases.js"
import type { Running } from "../Running.js"
import type { Services } from "./engine.js"

/** The parts of the engine that it uses. */
type Uses = Pick<Services, "deadlines" | "leases">

/** Why a job that has ended may do nothing. */
export const ended = new PermissionDenied({
  message: "the job has ended, and its lease with it",
  details: { reason: "job_ended" }
})

const holder = ({ deadlines }: Uses, { lease, live }: Running): LeaseHolder => ({
  jobId: live.jobId,
  lease,
  now: deadlines.wall()
})

/** Whether the job may do this now, and on which target: synchronous, without any event. */
export const check = (
  uses: Uses,
  running: Running,
  capability: Capability,
  target: string
): Either.Either<Canonical.Canonical, Denial> =>
  running.finished ? Either.left(ended) : uses.leases.check(holder(uses, running), capability, target)

/** Expiry and budget alone, as for an operation that no pattern covers. */
export const checkState = (uses: Uses, running: Running): Either.Either<void, Denial> =>
  running.finished ? Either.left(ended) : uses.leases.checkState(holder(uses, running))

/** The error of a lease that is over. */
export const expired = ({ expiresAt }: Lease): LeaseExpired =>
  new LeaseExpired({
    message: `the lease expired${expiresAt === undefined ? "" : ` at ${formatTimestamp(expiresAt)}`}`
  })

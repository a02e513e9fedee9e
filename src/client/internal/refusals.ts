/**
 * Whether a `job.error` is a job's end or the refusal of a request: several runtimes refuse a submit, a cancel or a subscribe
 * so, under the request's id, under a job id that was never accepted, or under none. And whether a `session.error` is about the
 * session or a request.
 */
import type * as Envelope from "../../protocol/Envelope.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { RuntimeMessage } from "../../protocol/Message.js"
import type { ClientJob } from "./job.js"
import { fieldOf, type Matcher, type Pending } from "./match.js"
import { none, type Reaction } from "./reaction.js"

/** What is known about the job that a `job.error` names. */
export interface Named {
  readonly job: ClientJob | undefined
  /** Whether it has been accepted, announced or observed, or something of it has come. */
  readonly isKnown: boolean
  /** Whether its number may be that of a job that another process submitted. */
  readonly isForeign: boolean
}

/**
 * - `end`: it is the end of the job, if of any.
 * - `refused`: the request has failed with it. `doubt` where it may have been the end of the job all the same.
 * - `kept`: it is a refusal, and it is not known yet of which request.
 */
export type Verdict =
  | { readonly _tag: "end" }
  | { readonly _tag: "refused"; readonly doubt: boolean }
  | { readonly _tag: "kept" }

const end: Verdict = { _tag: "end" }
const kept: Verdict = { _tag: "kept" }

export const judge = (
  matcher: Matcher,
  envelope: Envelope.RawEnvelope,
  error: ArcpError,
  { isForeign, isKnown, job }: Named
): Verdict => {
  const { event_seq: seq, job_id: jobId } = envelope
  const fail = (pending: Pending | undefined, otherwise: Verdict, doubt = false): Verdict => {
    pending?.failed(error)
    return pending === undefined ? otherwise : { _tag: "refused", doubt }
  }
  const named = matcher.typeByName(envelope)
  // A cancel that is answered by the job's end.
  if (job !== undefined && named === "job.cancel" && error.code === "CANCELLED") return end
  if (named !== undefined) return fail(matcher.errorByName(envelope), end)
  if (error.code === "DUPLICATE_KEY") {
    // It never ends a job: it names the one that has the key.
    const key =
      job?.recovery._tag === "owner" ? fieldOf(job.recovery.submit, "idempotency_key") : error.details?.idempotency_key
    return fail(matcher.submitOf(key) ?? matcher.refused(envelope, true) ?? matcher.match(envelope, undefined), kept)
  }
  if (jobId !== undefined && (error.code === "JOB_NOT_FOUND" || error.code === "PERMISSION_DENIED")) {
    const pending = matcher.aboutJob(jobId)
    // With a number it may have been the job's own end, after which nothing more comes.
    if (pending !== undefined) return fail(pending, end, job !== undefined && seq !== undefined)
  }
  if (isKnown) return end
  const byOrder = seq === undefined || !isForeign
  const verdict = fail(matcher.refused(envelope, byOrder), end)
  // An end has a number and a job.
  if (verdict._tag !== "end" || (jobId !== undefined && seq !== undefined)) return verdict
  return fail(matcher.match(envelope, undefined), kept)
}

/** A `session.error` of a session that is open; `error` is what it says. */
export const judgeOfSession = (
  matcher: Matcher,
  { envelope, payload }: Extract<RuntimeMessage, { readonly type: "session.error" }>,
  error: ArcpError
): Reaction => {
  const reason = error.details?.reason
  // These are about the session: a waiting request is repeated, not refused.
  if (payload.request_id === undefined) {
    if (reason === "slow_consumer") return { _tag: "remarked", error }
    if (
      error.code === "HEARTBEAT_LOST" ||
      error.code === "UNAUTHENTICATED" ||
      reason === "taken_over" ||
      reason === "credential_expired"
    ) {
      return { _tag: "refused", error }
    }
  }
  const pending = matcher.match(envelope, undefined)
  if (pending !== undefined) {
    pending.failed(error)
    return none
  }
  const fatal =
    error.code === "HEARTBEAT_LOST" ||
    error.code === "RESUME_WINDOW_EXPIRED" ||
    error.code === "UNAUTHENTICATED" ||
    reason === "taken_over"
  if (fatal) return { _tag: "refused", error }
  matcher.keep(envelope, error)
  return { _tag: "remarked", error }
}

/**
 * Who is shown which secret (ARCP 1.1 §7.6, §9.8.1, §9.8.2, §14). Every message with the value of a credential is decided here.
 *
 * Rules
 * - A connection {@link carries} secrets where it is encrypted or stays on this machine. Over another one the feature
 *   `provisioned_credentials` is not negotiated.
 * - A session {@link maySee} secrets where it has negotiated the feature over the connection that it has now: a session that is resumed over
 *   another transport has what that one allows.
 * - The credentials of a job are {@link shownTo} sessions of its own principal that may see secrets: in `job.accepted` (also of a child, to
 *   the owners of its parent, and of a repeated submit), in `job.subscribed` and in listings. Other principals observe the job without.
 * - The value of a rotation goes into the event of sessions that own the job and may see secrets, from memory; the stored event has none.
 *   `log/SessionView` picks the text, by the same feature.
 *
 * A job whose acceptance could not show its credentials in one frame is refused before it starts: {@link tooLarge}.
 */
import type * as Context from "effect/Context"
import type { InternalError } from "../../protocol/Errors.js"
import type { Accepted, Credential } from "../../protocol/Job.js"
import type { JobRecord } from "../../store/Store.js"
import type { Connection } from "../../transport/Connection.js"
import * as FrameSize from "../kernel/FrameSize.js"
import type { LimitsShape } from "../kernel/Limits.js"
import { secrets } from "../log/SessionView.js"
import type { Credentials } from "./Credentials.js"

/** A session, as far as it decides what may be shown in it. */
export interface Viewer {
  readonly features: ReadonlySet<string>
  readonly principal: { readonly id: string }
}

/** What a message about a job shows of its credentials: nothing, where there are none to be shown. */
export interface Shown {
  readonly credentials?: ReadonlyArray<Credential>
}

type Wire = Pick<Context.Tag.Service<Credentials>, "wire">

const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(?:::ffff:)?127\.|^::1$/.test(address)

/** Whether a feature may be negotiated over a connection: one that brings secrets needs an encrypted one, or one within this machine (§14). */
export const carries = (
  { remoteAddress, secure }: Pick<Connection, "remoteAddress" | "secure">,
  name: string
): boolean => name !== secrets || secure || isLoopback(remoteAddress)

/** Whether secrets may be shown in a session at all, of its own jobs. */
export const maySee = ({ features }: Pick<Viewer, "features">): boolean => features.has(secrets)

/** The live credentials of a job, with their values, as a session may see them. */
export const shownTo = (
  credentials: Wire,
  viewer: Viewer,
  { jobId, principalId }: Pick<JobRecord, "jobId" | "principalId">
): Shown => {
  if (principalId !== viewer.principal.id || !maySee(viewer)) return {}
  const issued = credentials.wire(jobId)
  return issued.length === 0 ? {} : { credentials: issued }
}

/** The acceptance of a job as a session gets it: with the live credentials, where it may see them. */
export const acceptedFor = (
  credentials: Wire,
  viewer: Viewer,
  job: Pick<JobRecord, "jobId" | "principalId">,
  accepted: Accepted
): Accepted => {
  const shown = shownTo(credentials, viewer, job)
  return shown.credentials === undefined ? accepted : { ...accepted, ...shown }
}

/** The refusal of a job whose acceptance could not show its credentials. */
export const tooLarge = (
  credentials: Wire,
  { accepted, jobId }: Pick<JobRecord, "accepted" | "jobId">,
  limits: LimitsShape
): InternalError | undefined => FrameSize.tooManyCredentials(accepted, credentials.wire(jobId), limits)

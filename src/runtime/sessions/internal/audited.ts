/**
 * What the audit trail says of sessions (ARCP 1.1 §6, §14).
 *
 * Wire text that is nobody's name is not taken over: of a `scheme` only which of the known ones it is, of a session that a resume names only an
 * id that can be one, and nothing of a token, wherever a client may have put it.
 */
import * as Redacted from "effect/Redacted"
import type { Principal } from "../../../auth/Principal.js"
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import { type ArcpError, ResumeWindowExpired } from "../../../protocol/Errors.js"
import { closeCodes, type Connection } from "../../../transport/Connection.js"
import { hiding } from "../../credentials/Values.js"
import type { Auditor } from "../../kernel/Auditing.js"
import type { Draft } from "../../kernel/AuditRecord.js"
import { noteOf } from "../../kernel/Noted.js"
import type { Outbox } from "../../log/Outbox.js"
import type { SessionLog } from "../../log/SessionLog.js"
import type { Attached } from "./attached.js"

/** Whose session it is, and over what. */
const of = (session: SessionLog, connection: Connection | undefined = session.link?.connection) => ({
  principal: session.principal.id,
  session_id: session.sessionId,
  remote_address: connection?.remoteAddress
})

/** The connection of a session has ended, by whoever ended it. */
export const leftBy = (session: SessionLog, link: Outbox): Draft => {
  const { closing, connection } = link
  return {
    type: "session.closed",
    ...of(session, connection),
    cause: closing === undefined ? "connection" : closing.code === closeCodes.normal ? "client" : "runtime",
    reason: closing?.reason,
    resumable: true
  }
}

/** A session is gone for good. */
export const sessionOver = (session: SessionLog, cause: "expired" | "idle"): Draft => ({
  type: "session.closed",
  ...of(session),
  cause,
  resumable: false
})

/** A resume has displaced a connection that was open. */
export const takenOver = (session: SessionLog, previous: Outbox, next: Connection): Draft => ({
  type: "session.taken_over",
  ...of(session, next),
  previous_remote_address: previous.connection.remoteAddress
})

/** The credential of a connected session has run out. */
export const credentialOver = ({ link, session }: Attached): Draft => ({
  type: "authentication.expired",
  ...of(session, link.connection)
})

/** What a first frame holds that no record may show. */
const secretsIn = (request: RawEnvelope): ReadonlyArray<string> => {
  const inside = (value: unknown): Readonly<Record<string, unknown>> =>
    typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  const { auth, resume, resume_token: token } = request.payload
  return [inside(auth).token, inside(resume).resume_token, token].filter(
    // What is shorter is a part of many a text.
    (text): text is string => typeof text === "string" && text.length >= 8
  )
}

/** Takes them out of a record's texts, wherever a client may have put them. */
const hidingSecretsOf = (request: RawEnvelope) => hiding(secretsIn(request).map((secret) => Redacted.make(secret)))

/** Says that a session has a connection; `cursor`: the last event that its client has, where it was resumed. */
export const connected = (
  audit: Auditor,
  { link, session }: Attached,
  request: RawEnvelope,
  cursor: number | undefined
): void => {
  const { client, features, principal } = session.head
  const { connection } = link
  const facts = {
    ...of(session, connection),
    request_id: request.id,
    transport: connection.transport,
    secure: connection.secure,
    anonymous: principal.anonymous,
    client_name: client.name,
    client_version: client.version,
    features: [...features]
  }
  audit.add(
    cursor === undefined
      ? { type: "session.opened", ...facts }
      : { type: "session.resumed", ...facts, last_event_seq: cursor },
    hidingSecretsOf(request)
  )
}

const schemeOf = (scheme: unknown): "bearer" | "none" | "other" =>
  scheme === "bearer" || scheme === "none" ? scheme : scheme === undefined ? "none" : "other"

/** Why a first frame led to no session. */
export type Refusal = "bound" | "handshake" | "timeout" | "resume" | "session"

/** Why an authentication failed. */
export type Failure = "missing" | "refused" | "expired" | "principal" | "unavailable"

/** Says that a client was not authenticated. */
export const authenticationFailed = (
  audit: Auditor,
  { remoteAddress, secure, transport }: Connection,
  request: RawEnvelope,
  reason: Failure
): void => {
  const { auth } = request.payload as { readonly auth?: { readonly scheme?: unknown } | null }
  audit.add(
    {
      type: "authentication.failed",
      remote_address: remoteAddress,
      request_id: request.id,
      reason,
      scheme: schemeOf(auth?.scheme),
      transport,
      secure
    },
    hidingSecretsOf(request)
  )
}

/** A session that a resume names, where it can be one: some clients put the token there. */
const sessionNamed = (named: string | undefined): string | undefined =>
  named !== undefined && /^sess_[\w.-]{1,128}$/.test(named) ? named : undefined

/** Says that a connection was refused a session. */
export const sessionRefused = (
  audit: Auditor,
  { remoteAddress }: Pick<Connection, "remoteAddress">,
  request: RawEnvelope | undefined,
  error: ArcpError,
  reason: Refusal,
  { named, principal }: { readonly named?: string | undefined; readonly principal?: Principal | undefined } = {}
): void => {
  const resumes = error instanceof ResumeWindowExpired
  audit.add(
    {
      type: "session.refused",
      principal: principal?.id,
      session_id: sessionNamed(named),
      remote_address: remoteAddress,
      request_id: request?.id,
      reason: resumes ? "resume" : reason,
      code: error.code,
      detail: (resumes ? noteOf(error) : undefined) ?? error.message
    },
    request === undefined ? undefined : hidingSecretsOf(request)
  )
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

/** Says that a session was refused a job, or the end of one. */
export const auditRefusal = (
  audit: Auditor,
  { link, session }: Attached,
  { code, message }: ArcpError,
  { id, job_id: named, payload, trace_id, type }: RawEnvelope
): void => {
  const asked = { ...of(session, link.connection), request_id: id, code }
  if (type === "job.submit") {
    audit.add({
      type: "job.refused",
      ...asked,
      trace_id: textOf(trace_id),
      agent: textOf(payload.agent),
      detail: message
    })
  }
  if (type === "job.cancel") {
    audit.add({ type: "job.cancel_refused", ...asked, job_id: textOf(payload.job_id) ?? textOf(named) })
  }
}

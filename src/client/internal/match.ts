/**
 * Which request an answer is for.
 *
 * Runtimes name the request in different places, some in none, and some refuse a submit by a `job.error`. An answer is
 * matched by the ids that it carries, else by its trace, else by the job, and at last by order, where only one request can be
 * meant. An error that is about none in particular is kept, and settles the request that is left when the others have been
 * answered.
 */
import * as Envelope from "../../protocol/Envelope.js"
import { type ArcpError, InternalError, InvalidRequest } from "../../protocol/Errors.js"
import type * as Message from "../../protocol/Message.js"
import type { ClientError } from "../ClientError.js"
import type { End } from "./job.js"

/** A request that waits for its answer. */
export interface Pending {
  readonly type: Message.ClientMessageType
  /** Its frame but for the id and the session, encoded once (see `encode`). */
  readonly request: string
  /** What its answer may name. */
  readonly jobId?: string | undefined
  readonly traceId?: string | undefined
  /** The trace that it was sent with, where that is not its own (see `Core`). */
  sentTrace?: string | undefined
  readonly nonce?: string | undefined
  /** Called once, synchronously, when the answer is read: before any later frame is. */
  readonly answered: (message: Message.RuntimeMessage) => void
  readonly failed: (error: ArcpError | ClientError) => void
  /** Whether it takes a job up in a new session; the next new session asks anew. */
  readonly recovers?: boolean | undefined
  /** The features that it needs (ARCP 1.1 §6.2); a session without them is not sent it. */
  readonly features?: ReadonlyArray<string> | undefined
  /** Milliseconds that it may lie unanswered, where that is more than the client's `requestTimeout`. */
  readonly timeout?: number | undefined
  /** Whether it has been queued on the connection of the moment. */
  sent?: boolean
  /** When it was handed to the transport of the moment. */
  writtenAt?: number | undefined
  /** Whether its caller has stopped waiting. It keeps its place until its answer has come, so that no other submit gets that answer. */
  readonly isAbandoned?: boolean
  /** Whether an answer without a name was given to an abandoned submit and may have been for this one. */
  isPassedOver?: boolean
  /** Connections in a row that ended after it had been sent. */
  strikes?: number
}

/** The request that a reply answers, by the reply's type. */
export const answersTo: ReadonlyMap<string, Message.ClientMessageType> = new Map([
  ["job.accepted", "job.submit"],
  ["session.jobs", "session.list_jobs"],
  ["job.cancelled", "job.cancel"],
  ["job.subscribed", "job.subscribe"],
  ["job.unsubscribed", "job.unsubscribe"],
  ["artifact.ref", "artifact.put"],
  ["artifact.data", "artifact.fetch"],
  ["artifact.released", "artifact.release"]
])

/** Requests that an error of this code can be about; of any other code, every request. */
const aboutSubmit: ReadonlySet<string> = new Set([
  "DUPLICATE_KEY",
  "AGENT_NOT_AVAILABLE",
  "AGENT_VERSION_NOT_AVAILABLE",
  "LEASE_SUBSET_VIOLATION",
  "LEASE_EXPIRED",
  "BUDGET_EXHAUSTED"
])
const canMean = (pending: Pending, code: string): boolean =>
  aboutSubmit.has(code)
    ? pending.type === "job.submit"
    : code === "JOB_NOT_FOUND"
      ? pending.type === "job.cancel" || pending.type === "job.subscribe" || pending.type === "job.unsubscribe"
      : true

/** Errors that are kept until it is known which requests they are about. */
const maxKept = 64
/** Abandoned submits that keep their place. */
const maxAbandoned = 64
const ignored = (): void => {}
/** Traces of unanswered submits that are remembered. */
const maxTraces = 4_096

const named = (envelope: Envelope.RawEnvelope): ReadonlyArray<string> => {
  const { details, reply_to, request_id } = envelope.payload
  const ids = [
    request_id,
    typeof details === "object" && details !== null && "request_id" in details ? details.request_id : undefined,
    reply_to,
    envelope.reply_to,
    envelope.correlation_id
  ]
  return ids.filter((id) => typeof id === "string")
}

const traceOf = ({ payload, trace_id: traceId }: Envelope.RawEnvelope): string | undefined =>
  traceId ?? (typeof payload.trace_id === "string" ? payload.trace_id : undefined)

/** A field of a request's payload, read from what was encoded: asked for rarely, and kept nowhere else. */
export const fieldOf = (request: string, field: string): unknown => {
  try {
    return (JSON.parse(`{${request}`) as { readonly payload: Envelope.Json }).payload[field]
  } catch {
    return undefined
  }
}

const traceIdOf = (pending: Pending): string | undefined => pending.sentTrace ?? pending.traceId

const agentName = (agent: unknown): string | undefined =>
  typeof agent === "string" ? agent.split("@", 1)[0] : undefined

/** The requests that wait for an answer, and how answers find them. */
export class Matcher {
  readonly pending = new Map<string, Pending>()
  /** Whether this peer has named a request by its id: then it names each, and order tells nothing. */
  names = false
  /** Whether it is known to do so before it has. */
  private willName = false
  /** Whether an error of this peer has named one. */
  private namesErrors = false
  private kept: Array<{ readonly error: ArcpError; readonly candidates: Set<Pending> }> = []
  /** The request that was sent first of those with one trace. */
  private readonly traces = new Map<string, string>()

  /** A welcome has come: whether its runtime is known to name requests. */
  welcomed(namesRequests: boolean): void {
    this.willName = namesRequests
  }

  /** Takes a request whose answer has come. */
  settle(id: string): Pending | undefined {
    const pending = this.pending.get(id)
    if (pending === undefined) return undefined
    this.pending.delete(id)
    const traceId = traceIdOf(pending)
    if (traceId !== undefined && this.traces.get(traceId) === id) this.traces.delete(traceId)
    if (this.kept.length > 0) this.narrow(pending)
    return pending
  }

  /**
   * The caller has stopped waiting. With a peer that answers by order, a submit that was sent keeps its place: its answer is still to
   * come, and is not that of the next one.
   */
  abandon(pending: Pending): void {
    for (const [id, other] of this.pending) {
      if (other !== pending) continue
      const { isPassedOver, request, sent, sentTrace, traceId, type, writtenAt } = pending
      if (type !== "job.submit" || sent !== true || this.names || this.willName || isPassedOver === true) {
        this.pending.delete(id)
        return
      }
      const gone = [...this.pending].filter(([, { isAbandoned }]) => isAbandoned === true)
      if (gone.length >= maxAbandoned) this.pending.delete(gone[0]![0])
      const payload = { agent: fieldOf(request, "agent"), idempotency_key: fieldOf(request, "idempotency_key") }
      this.pending.set(id, {
        type,
        request: JSON.stringify({ payload }).slice(1),
        traceId,
        sentTrace,
        sent,
        writtenAt,
        timeout: pending.timeout,
        isAbandoned: true,
        answered: ignored,
        failed: ignored
      })
      return
    }
  }

  waits(pending: Pending): boolean {
    for (const other of this.pending.values()) if (other === pending) return true
    return false
  }

  /** Takes the ping that a pong answers. */
  pong(nonce: string): Pending | undefined {
    for (const [id, pending] of this.pending) if (pending.nonce === nonce) return this.settle(id)
    return undefined
  }

  /** Takes every request out, to be sent again or failed; what was kept was about those that had been sent. */
  takeAll(): Array<Pending> {
    const all = [...this.pending.values()].filter(({ isAbandoned }) => isAbandoned !== true)
    this.pending.clear()
    this.traces.clear()
    this.kept = []
    return all
  }

  /**
   * A submit with a trace of its own. Submits of one span share the caller's trace, by which some runtimes tell which submit they refuse:
   * while the peer has not shown that it names requests, only one unanswered submit has that trace, and the others a fresh one.
   */
  traced(id: string, pending: Pending, newTraceId: () => string): string {
    const { request, traceId } = pending
    pending.sentTrace = undefined
    if (traceId === undefined || this.names || this.willName || this.takeTrace(id, traceId)) return request
    const head = `"trace_id":"${traceId}"`
    if (!request.startsWith(head)) return request
    const fresh = newTraceId()
    pending.sentTrace = fresh
    return `"trace_id":"${fresh}"${request.slice(head.length)}`
  }

  /** Makes a submit the one that answers with this trace are for; false where another unanswered one is that. */
  private takeTrace(id: string, traceId: string): boolean {
    const owner = this.traces.get(traceId)
    if (owner !== undefined && this.pending.has(owner)) return false
    // Of interrupted calls, whose traces nothing else forgets.
    if (this.traces.size >= maxTraces) this.traces.clear()
    this.traces.set(traceId, id)
    return true
  }

  /** A job's end settles its cancels: some runtimes answer a cancel by the end alone. */
  endCancels(jobId: string, end: End | undefined): void {
    const cancelled = end !== undefined && "error" in end && "code" in end.error && end.error.code === "CANCELLED"
    for (const [id, pending] of [...this.pending]) {
      if (pending.type !== "job.cancel" || pending.jobId !== jobId) continue
      this.settle(id)
      if (cancelled) {
        const envelope: Envelope.RawEnvelope = { arcp: Envelope.version, id, type: "job.cancelled", payload: {} }
        pending.answered({ type: "job.cancelled", envelope, payload: { job_id: jobId } })
      } else {
        const message = `job.cancel: the job ${jobId} ended before it was cancelled`
        pending.failed(new InvalidRequest({ message }))
      }
    }
  }

  /** The request that the ids of an answer name. The answer's own id may be the request's. */
  private byName(envelope: Envelope.RawEnvelope): string | undefined {
    for (const id of named(envelope)) {
      if (!this.pending.has(id)) continue
      this.names = true
      return id
    }
    return this.pending.has(envelope.id) ? envelope.id : undefined
  }

  /** Takes the request that the ids of an error name. */
  errorByName(envelope: Envelope.RawEnvelope): Pending | undefined {
    const id = this.byName(envelope)
    if (id === undefined) return undefined
    // A peer that names its errors names all of them: what was kept is about no request.
    this.namesErrors = true
    this.kept = []
    return this.settle(id)
  }

  /** The type of the request that the ids of an answer name. */
  typeByName(envelope: Envelope.RawEnvelope): Message.ClientMessageType | undefined {
    const id = this.byName(envelope)
    return id === undefined ? undefined : this.pending.get(id)?.type
  }

  /** Takes the request that a reply answers; of an error `type` is undefined. */
  match(envelope: Envelope.RawEnvelope, type: Message.ClientMessageType | undefined): Pending | undefined {
    const id = this.byName(envelope)
    if (id !== undefined) {
      const found = type === undefined ? this.errorByName(envelope) : this.settle(id)
      if (found === undefined) return undefined
      // What is wrong about an artifact is told by the call that asked for it.
      const ofArtifacts = found.type.startsWith("artifact.") && type?.startsWith("artifact.") === true
      if (type === undefined || found.type === type || ofArtifacts) return found
      found.failed(new InternalError({ message: `${found.type} was answered with ${envelope.type}`, retryable: false }))
      return undefined
    }
    const code = type === undefined && typeof envelope.payload.code === "string" ? envelope.payload.code : ""
    const all = [...this.pending].filter(([, { isAbandoned }]) => type !== undefined || isAbandoned !== true)
    const meant = all.filter(([, pending]) => (type === undefined ? canMean(pending, code) : type === pending.type))
    const candidates = meant.length > 0 || type !== undefined ? meant : all
    const trace = traceOf(envelope)
    const byTrace = trace === undefined ? [] : candidates.filter(([, pending]) => traceIdOf(pending) === trace)
    if (byTrace.length === 1 || (byTrace.length > 0 && type === "job.submit")) {
      return this.settle(this.first(byTrace, envelope))
    }
    // A reply that names a request which is not ours must not settle another one.
    if (named(envelope).length > 0) return undefined
    const jobId = envelope.job_id ?? envelope.payload.job_id
    const byJob = candidates.filter(([, pending]) => pending.jobId !== undefined && pending.jobId === jobId)
    if (byJob.length > 0) return this.settle(byJob[0]![0])
    if (candidates.length !== 1 && (candidates.length === 0 || type !== "job.submit")) return undefined
    const found = this.settle(this.first(candidates, envelope))
    if (found?.isAbandoned === true) for (const [, pending] of candidates) pending.isPassedOver = true
    return found
  }

  /** An answer cannot be read: fails the request that it is for. */
  unreadable(raw: Envelope.RawEnvelope, error: InvalidRequest): void {
    const to = answersTo.get(raw.type)
    // A child's announcement answers no request.
    if ((to !== undefined && typeof raw.payload.parent_job_id !== "string") || raw.type === "session.error") {
      this.match(raw, to)?.failed(
        new InternalError({ message: `the answer ${raw.type} cannot be read: ${error.message}`, retryable: false })
      )
    } else {
      const id = raw.payload.request_id
      if (typeof id === "string") this.settle(id)?.failed(error)
    }
  }

  /** The oldest; of several, the oldest that asked for the agent that is named. */
  private first(candidates: ReadonlyArray<readonly [string, Pending]>, { payload }: Envelope.RawEnvelope): string {
    const agent = candidates.length > 1 ? agentName(payload.agent) : undefined
    const found =
      agent === undefined
        ? undefined
        : candidates.find(([, { request }]) => agentName(fieldOf(request, "agent")) === agent)
    return (found ?? candidates[0]!)[0]
  }

  /** Takes the submit of a key. */
  submitOf(key: unknown): Pending | undefined {
    if (typeof key !== "string") return undefined
    for (const [id, pending] of this.pending) {
      if (pending.type === "job.submit" && fieldOf(pending.request, "idempotency_key") === key) return this.settle(id)
    }
    return undefined
  }

  /** Takes the oldest request about a job that `JOB_NOT_FOUND` and `PERMISSION_DENIED` can answer. */
  aboutJob(jobId: string): Pending | undefined {
    for (const [id, pending] of this.pending) {
      if (pending.jobId === jobId && canMean(pending, "JOB_NOT_FOUND")) return this.settle(id)
    }
    return undefined
  }

  /**
   * Takes the submit that a `job.error` of an unknown job refuses: the oldest of its trace; by order with a peer that never
   * names a request.
   */
  refused(envelope: Envelope.RawEnvelope, byOrder: boolean): Pending | undefined {
    const trace = traceOf(envelope)
    const submits = [...this.pending].filter(([, pending]) => pending.type === "job.submit")
    const byTrace = trace === undefined ? undefined : submits.find(([, pending]) => traceIdOf(pending) === trace)
    const found = byTrace ?? (byOrder && !this.names && named(envelope).length === 0 ? submits[0] : undefined)
    return found === undefined ? undefined : this.settle(found[0])
  }

  /** Keeps an error that names nothing, where several requests wait. */
  keep(envelope: Envelope.RawEnvelope, error: ArcpError): void {
    if (this.namesErrors || named(envelope).length > 0 || this.kept.length >= maxKept) return
    const candidates = new Set(
      [...this.pending.values()].filter((pending) => pending.isAbandoned !== true && canMean(pending, error.code))
    )
    if (candidates.size === 0) return
    this.kept.push({ error, candidates })
    this.resolve()
  }

  /** One of the candidates has its answer. */
  private narrow(answered: Pending): void {
    for (const { candidates } of this.kept) candidates.delete(answered)
    this.kept = this.kept.filter(({ candidates }) => candidates.size > 0)
    this.resolve()
  }

  /** Where as many errors are kept as requests that they can be about, each of these has failed. */
  private resolve(): void {
    for (const { candidates } of this.kept) {
      const about = this.kept.filter((other) => [...other.candidates].every((one) => candidates.has(one)))
      if (about.length < candidates.size) continue
      const left = [...this.pending].filter(([, pending]) => candidates.has(pending))
      // An interrupted call may have been meant: what is left is not guessed.
      if (left.length < candidates.size) continue
      this.kept = this.kept.filter((other) => !about.includes(other))
      for (const [at, [id, pending]] of left.entries()) {
        if (this.settle(id) !== undefined) pending.failed(about[at]!.error)
      }
      return
    }
  }
}

/**
 * A client's session as a state machine without I/O: what came in, what waits for an answer, what is to be sent.
 *
 * Responsibility: jobs and their events, acknowledgements (§6.5); numbers are in `numbers` (§8.3), the matching of answers in
 * `match`, what an error is about in `refusals`, a welcome's contents in `terms`. Everything is synchronous, so each frame is one
 * atomic step.
 *
 * Order: events are taken in the order of their numbers. A number seen before is dropped; a frame ahead of its number waits for
 * those before it, and one that stays missing asks for a resume. Events of an unknown job are kept until its `job.accepted` has
 * come, and those of a job whose subscribe is unanswered until the answer.
 */
import * as Either from "effect/Either"
import * as Envelope from "../../protocol/Envelope.js"
import { type ArcpError, fromWire, InternalError, InvalidRequest } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import * as Event from "../../protocol/Event.js"
import type { Accepted, JobError } from "../../protocol/Job.js"
import * as Message from "../../protocol/Message.js"
import { isTerminal, type JobStatus } from "../../protocol/Session.js"
import type { Frame } from "../../transport/Connection.js"
import type { ClientError } from "../ClientError.js"
import type { JobFacts } from "../SessionFacts.js"
import { takeIn } from "./adopted.js"
import { Announced } from "./announced.js"
import type { Bounds } from "./bounds.js"
import { Changed } from "./changed.js"
import { Cursor } from "./cursor.js"
import * as encode from "./encode.js"
import { endOf, type Terminal } from "./ends.js"
import { ClientJob, type Recovery } from "./job.js"
import { type JobFrame, Kept } from "./kept.js"
import { answersTo, fieldOf, Matcher, type Pending } from "./match.js"
import { Numbers, type Place } from "./numbers.js"
import { boundsOf, type CoreOptions } from "./options.js"
import { Outgoing } from "./outgoing.js"
import { processedSeq } from "./processed.js"
import { none, type Reaction } from "./reaction.js"
import { judge, judgeOfSession } from "./refusals.js"
import { Remembered } from "./remembered.js"
import { Suspect } from "./suspect.js"
import { noTerms, termsOf } from "./terms.js"

export type { Pending } from "./match.js"
export type { Reaction } from "./reaction.js"

/** Job ids that are remembered: of jobs that have been known, and of those that have ended. */
const maxRemembered = 16_384
/** Ticks of `silence` that a job may be silent before it is asked for. */
const patience = 2
/** Messages that may wait to be sent before pings are passed over. */
const maxPongs = 1_024
/** Observations whose end the runtime has not confirmed, at most. */
const maxUnobserved = 1_024

/** The state of a client's session. */
export class Core {
  sessionId: string | undefined = undefined
  resumeToken: string | undefined = undefined
  ackedSeq = 0
  /** What has come since the last acknowledgement, in UTF-16 code units; where frames come encoded. */
  unackedBytes = 0
  /** What the last welcome said. */
  terms = noTerms
  welcomed = false
  lastIn = 0
  readonly jobs = new Map<string, ClientJob>()
  readonly numbers = new Numbers()
  private readonly matcher = new Matcher()
  readonly pending: Map<string, Pending> = this.matcher.pending
  /** Child jobs that were announced (§10). */
  onChild: ((accepted: Accepted, traceId: string | undefined) => void) | undefined = undefined
  /** Numbers are missing. */
  onOpen: (() => void) | undefined = undefined
  /** Jobs that may be silent for ever: those of a resumed session, repeats, and those whose end was announced (see `silence`). */
  readonly suspects = new Map<ClientJob, Suspect>()
  onSuspect: (() => void) | undefined = undefined
  /** How much has come that had not come before: events, and answers to calls. */
  progress = 0
  readonly outgoing = new Outgoing()
  /** Jobs that are no longer observed; what the runtime still sends of them is dropped. */
  private readonly unobserved = new Set<string>()
  private readonly kept = new Kept()
  /** What the program has processed. */
  readonly cursor = new Cursor()
  /** The size of the frame that is being read, where it came encoded. */
  private frameSize = 0
  private adopted = false
  /** Whether the session was begun by another process. */
  private inherited = false
  private readonly announced = new Announced()
  readonly changed = new Changed()
  private readonly known = new Remembered(maxRemembered)
  private readonly ended = new Remembered(maxRemembered)
  private readonly cancelling = new Remembered(maxRemembered)
  /** Requests that were sent to another connection before, which may have taken them. */
  private readonly repeated = new WeakSet<Pending>()
  private readonly options: CoreOptions
  private readonly bounds: Bounds

  constructor(options: CoreOptions) {
    this.options = options
    this.bounds = boundsOf(options)
  }

  /** The features that both sides have. */
  get features(): ReadonlySet<string> {
    return this.terms.features
  }

  /** The highest number below which nothing is missing. */
  get lastSeq(): number {
    return this.numbers.last
  }
  set lastSeq(seq: number) {
    this.numbers.reset(seq)
  }

  /** Queues a message that expects no answer. */
  post<T extends Message.ClientMessageType>(type: T, payload: Message.ClientPayload<T>, jobId?: string): void {
    const head = { id: this.options.newId(), session_id: this.sessionId, job_id: jobId }
    this.outgoing.push(Message.client(type, head, payload))
  }

  /** Asks the runtime to end an observation. Nothing waits for its answer, which no text defines. */
  unobserve(jobId: string): void {
    if (this.unobserved.size >= maxUnobserved) this.unobserved.delete(this.unobserved.values().next().value ?? "")
    this.unobserved.add(jobId)
    if (this.welcomed) this.post("job.unsubscribe", { job_id: jobId }, jobId)
  }

  /** Queues a request; it is sent again after a reconnect until it is answered. */
  request(pending: Pending): string {
    const id = this.options.newId()
    const { jobId, type } = pending
    if (type === "job.cancel" && jobId !== undefined) {
      if (this.ended.has(jobId)) {
        pending.failed(new InvalidRequest({ message: `job.cancel: the job ${jobId} has ended` }))
        return id
      }
      this.cancelling.add(jobId)
    }
    this.pending.set(id, pending)
    if (this.welcomed) this.send(id, pending)
    return id
  }

  /** The caller of a request waits no longer. */
  abandon(pending: Pending): void {
    this.matcher.abandon(pending)
  }

  private send(id: string, pending: Pending): void {
    pending.sent = true
    const { jobId, recovers, type } = pending
    if (type === "job.subscribe" && jobId !== undefined) {
      const job = this.jobs.get(jobId)
      if (job === undefined || recovers === true) {
        if (job !== undefined) job.numbering = "held"
        this.kept.startHold(jobId, pending)
        this.onSuspect?.()
      }
    }
    const request = type === "job.submit" ? this.matcher.traced(id, pending, this.options.newTraceId) : pending.request
    this.outgoing.pushRequest(encode.frame(type, id, this.sessionId, request), pending)
  }

  /** Sends every unanswered request again, under new ids. */
  repeatPending(): void {
    for (const jobId of this.unobserved) this.post("job.unsubscribe", { job_id: jobId }, jobId)
    for (const pending of this.matcher.takeAll()) {
      const id = this.options.newId()
      this.repeated.add(pending)
      this.pending.set(id, pending)
      this.send(id, pending)
    }
  }

  /** Reads one frame. */
  read(frame: Frame): Reaction {
    this.lastIn = this.options.now()
    let raw: Envelope.RawEnvelope
    if (typeof frame === "string") {
      this.frameSize = frame.length
      this.unackedBytes += frame.length
      // The hot path: events of a known session, checked by hand.
      let value: unknown
      try {
        value = JSON.parse(frame)
      } catch {
        return none
      }
      const envelope = Envelope.fromUnknown(value)
      if (Either.isLeft(envelope)) return none
      raw = envelope.right
    } else raw = frame
    if (raw.type === "job.event") return this.event(raw)
    const decoded = Message.decodeRuntime(raw)
    if (Either.isLeft(decoded)) return this.undecodable(raw, decoded.left)
    const message = decoded.right
    if (message.type === "job.result" || message.type === "job.error") return this.terminal(message)
    const reaction = this.message(message)
    if (this.holdsFrames) this.releaseAnswered()
    // Every frame with a number uses it up (§8.3), also a reply.
    if (reaction._tag !== "none" && reaction._tag !== "remarked") return reaction
    const used = this.use(raw)
    return used._tag === "none" ? reaction : used
  }

  /** What a later version of the protocol sends is passed over; of what is known, the request that it answers has failed. */
  private undecodable(raw: Envelope.RawEnvelope, error: InvalidRequest): Reaction {
    if (raw.type === "job.result" || raw.type === "job.error") {
      return this.terminal({ type: "unreadable", envelope: raw, error })
    }
    this.matcher.unreadable(raw, error)
    if (this.holdsFrames) this.releaseAnswered()
    return this.use(raw)
  }

  /** Uses up the number of a frame that is no job's event or end. */
  private use({ event_seq: seq }: Envelope.RawEnvelope): Reaction {
    if (seq === undefined) return none
    const place = this.numbers.take(seq)
    if (place === "gap") return { _tag: "gap", expected: this.lastSeq + 1, got: seq }
    this.placed(place)
    return none
  }

  /** After a number has been taken: what waited for it, or that others are missing. */
  private placed(place: Place): void {
    if (place === "next") for (const { bytes, frame } of this.kept.takeDue(this.lastSeq)) this.deliver(frame, bytes)
    if (this.numbers.open) this.onOpen?.()
  }

  private event(raw: Envelope.RawEnvelope): Reaction {
    const { event_seq: seq, job_id: jobId } = raw
    if (seq === undefined) return none
    const { numbers } = this
    const job = jobId === undefined ? undefined : this.jobs.get(jobId)
    // The rule, and the hot path: the next number, of a job that is known.
    if (job !== undefined && seq === numbers.last + 1 && !numbers.open && job.numbering === "session") {
      numbers.last = seq
      this.push(job, raw, this.frameSize)
      return none
    }
    return this.numbered({ type: "job.event", envelope: raw }, this.frameSize)
  }

  /** A job's frame out of the rule: of a job that is not known, with another number than the next, or that waits. */
  private numbered(frame: JobFrame, size: number): Reaction {
    const { event_seq: seq, job_id: jobId } = frame.envelope
    if (jobId !== undefined && this.holdsFrames && this.hold(jobId, frame, size)) return none
    const job = jobId === undefined ? undefined : this.jobs.get(jobId)
    if (job?.numbering === "apart" || seq === undefined) {
      this.deliver(frame, size)
      return none
    }
    const place = seq > this.lastSeq + 1 && !this.kept.hasRoom(size) ? "gap" : this.numbers.take(seq)
    if (place === "gap") return { _tag: "gap", expected: this.lastSeq + 1, got: seq }
    // What is missing may be of the same job, whose events keep their order.
    if (place === "ahead") this.kept.wait(frame, size)
    else if (place === "next") this.deliver(frame, size)
    this.placed(place)
    return none
  }

  /** Keeps a frame of a job whose subscribe is unanswered. */
  private hold(jobId: string, frame: JobFrame, size: number): boolean {
    const hold = this.kept.holds.get(jobId)
    if (hold === undefined) return false
    if (this.matcher.waits(hold.pending) && this.kept.hold(jobId, frame, size)) return true
    this.release(jobId, false)
    return false
  }

  /**
   * Takes in what was held of a job, by the session's numbers or apart from them. `again`: all of it follows once more in a
   * history, so that only its numbers count.
   */
  private release(jobId: string, apart: boolean, again = false): void {
    if (!this.kept.holds.has(jobId)) return
    const job = this.jobs.get(jobId)
    if (job !== undefined) job.numbering = apart ? "apart" : "session"
    // A number that is missing here is looked for when it has been missing for long.
    for (const { bytes, frame } of this.kept.takeHold(jobId)) {
      if (again) this.use(frame.envelope)
      else this.numbered(frame, bytes)
    }
  }

  /** What was held for subscribes that have failed or that the caller no longer waits for. */
  releaseAnswered(): void {
    for (const [jobId, { pending }] of this.kept.holds) if (!this.matcher.waits(pending)) this.release(jobId, false)
  }

  /** What was held for subscribes whose answer does not come. Called once a second. */
  releaseOld(): void {
    this.releaseAnswered()
    for (const jobId of this.kept.oldHolds()) this.release(jobId, false)
  }

  /** Whether frames may be held for subscribes. */
  get holdsFrames(): boolean {
    return this.kept.holds.size > 0
  }

  /** Gives a frame to its job, or keeps it until the job is known. */
  private deliver(frame: JobFrame, size: number): void {
    const { envelope } = frame
    const { job_id: jobId, payload } = envelope
    // What comes after a job's end is none of it.
    if (jobId === undefined || this.ended.has(jobId) || this.unobserved.has(jobId)) return
    const job = this.jobs.get(jobId) ?? this.announcedChild(jobId)
    if (frame.type !== "job.event") {
      if (job === undefined) this.kept.orphan(jobId, frame, this.lastSeq, size)
      else this.finish(job, frame)
    } else if (job !== undefined) this.push(job, envelope, size)
    else if (typeof payload.kind === "string") {
      if (payload.kind === "delegate") this.announced.add(jobId, payload.body, this.jobs)
      this.kept.orphan(jobId, frame, this.lastSeq, size)
    }
  }

  /** The child whose first message has come without its `job.accepted`: that was lost with a connection. */
  private announcedChild(jobId: string): ClientJob | undefined {
    const accepted = this.announced.take(jobId)
    if (accepted === undefined) return undefined
    this.onChild?.(accepted, undefined)
    return this.jobs.get(jobId)
  }

  private push(job: ClientJob, raw: Envelope.RawEnvelope, size: number): void {
    const payload = raw.payload as unknown as Event.EventPayload
    if (typeof payload.kind !== "string" || job.end !== undefined || job.copies.isCopy(raw.id)) return
    if (payload.kind === "delegate") this.announced.add(job.jobId, payload.body, this.jobs)
    if (job.skip === 0) this.progress++
    const seq = raw.event_seq ?? 0
    const event = Event.fromWire(job.jobId, seq, payload, raw.priority)
    job.push(event, size)
    this.changed.add(job)
  }

  /** Whether a job has been made known since this was last asked. */
  takeAdopted(): boolean {
    const { adopted } = this
    this.adopted = false
    return adopted
  }

  /**
   * Makes a job known; what has arrived of it already is taken in. `history`: all of it follows, so that what has arrived would
   * come twice. `before`: what an earlier process has taken.
   */
  adopt(
    jobId: string,
    recovery: Recovery,
    { before, history = false }: { readonly before?: JobFacts | undefined; readonly history?: boolean } = {}
  ): ClientJob {
    const known = this.jobs.get(jobId)
    if (known !== undefined && known.end?._tag !== "lost") return known
    const job = new ClientJob(jobId, recovery, this.bounds)
    this.jobs.set(jobId, job)
    this.unobserved.delete(jobId)
    this.adopted = true
    this.ended.delete(jobId)
    this.known.add(jobId)
    job.numbered = recovery._tag === "owner"
    if (before !== undefined) {
      job.goOn(before, history)
      this.cursor.opened(job)
    }
    const kept = this.kept.takeOrphans(jobId)
    if (kept === undefined || history) return job
    const lost = takeIn(job, kept, before?.lastEventSeq, (frame, size) => this.deliver(frame, size))
    if (lost !== undefined) this.lose(job, lost)
    return job
  }

  private finish(job: ClientJob, message: Terminal): void {
    const { jobId } = job
    job.finish(endOf(jobId, message))
    // Handles keep the job; the client need not, once it has ended.
    this.jobs.delete(jobId)
    this.suspects.delete(job)
    this.changed.add(job)
    this.ended.add(jobId)
    if (this.cancelling.delete(jobId)) this.matcher.endCancels(jobId, job.end)
  }

  /** The client will hear no more of a job. */
  lose(job: ClientJob, error: ArcpError | ClientError): void {
    job.finish({ _tag: "lost", error })
    if (this.jobs.get(job.jobId) === job) this.jobs.delete(job.jobId)
    this.suspects.delete(job)
    if (this.cancelling.delete(job.jobId)) this.matcher.endCancels(job.jobId, job.end)
    job.notify()
  }

  /** Asks for a job, unless something of it comes in the next seconds. `status` is what it is said to have ended as. */
  suspect(job: ClientJob, status?: JobStatus): Suspect {
    const suspect = this.suspects.get(job) ?? new Suspect(job, patience)
    suspect.status = status ?? suspect.status
    suspect.silent = 0
    this.suspects.set(job, suspect)
    this.onSuspect?.()
    return suspect
  }

  private terminal(message: Terminal): Reaction {
    if (message.type !== "job.error") return this.numbered(message, this.frameSize)
    const { envelope } = message
    const error = fromWire(message.payload as JobError)
    // Some runtimes refuse a session so.
    if (!this.welcomed) return { _tag: "refused", error }
    const { job_id: jobId } = envelope
    const job = jobId === undefined ? undefined : this.jobs.get(jobId)
    const isKnown =
      job !== undefined ||
      (jobId !== undefined && (this.announced.has(jobId) || this.known.has(jobId) || this.kept.hasOrphans(jobId)))
    const verdict = judge(this.matcher, envelope, error, { job, isKnown, isForeign: this.inherited })
    if (verdict._tag === "end") return this.numbered(message, this.frameSize)
    if (verdict._tag === "kept") this.matcher.keep(envelope, error)
    else if (verdict.doubt && job !== undefined) this.suspect(job)
    if (this.holdsFrames) this.releaseAnswered()
    const used = this.use(envelope)
    return used._tag === "none" && verdict._tag === "kept" ? { _tag: "remarked", error } : used
  }

  private message(message: Message.RuntimeMessage): Reaction {
    switch (message.type) {
      case "session.welcome": {
        // One connection has one welcome.
        if (this.welcomed) return none
        const { payload } = message
        const { session_id: sessionId } = message.envelope
        if (sessionId === undefined) {
          return { _tag: "refused", error: new InternalError({ message: "the welcome names no session" }) }
        }
        const previous = this.sessionId === sessionId ? undefined : this.sessionId
        if (previous !== undefined) this.forgetSession()
        else if (this.sessionId !== undefined) {
          this.inherited ||= this.known.size === 0
          this.numbers.resumed()
          this.suspects.clear()
          for (const job of this.jobs.values()) this.suspect(job)
        }
        this.sessionId = sessionId
        this.resumeToken = payload.resume_token
        this.cursor.touch()
        this.terms = termsOf(payload, this.options.features, this.terms)
        this.matcher.willName = this.terms.namesRequests
        this.welcomed = true
        return { _tag: "welcomed", previous }
      }
      case "session.ping":
        // A runtime that asks and does not read is not answered for ever.
        if (this.outgoing.size >= maxPongs) return none
        this.post("session.pong", {
          ping_nonce: message.payload.nonce,
          received_at: formatTimestamp(this.options.now())
        })
        return none
      case "session.pong":
        this.matcher.pong(message.payload.ping_nonce)?.answered(message)
        return none
      case "session.closed":
      case "session.bye":
        return { _tag: "closed" }
      case "session.error": {
        const error = fromWire(message.payload)
        return this.welcomed ? judgeOfSession(this.matcher, message, error) : { _tag: "refused", error }
      }
      case "job.accepted": {
        const { payload } = message
        if (payload.parent_job_id !== undefined) {
          this.announced.take(payload.job_id)
          this.onChild?.(payload, message.envelope.trace_id)
          return none
        }
        const pending = this.matcher.match(message.envelope, "job.submit")
        if (pending === undefined || pending.isAbandoned === true) {
          this.known.add(payload.job_id)
          return none
        }
        const isNew = !this.jobs.has(payload.job_id)
        pending.answered(message)
        // Of a repeat it may be that the job has ended, and that nothing follows.
        const job = this.jobs.get(payload.job_id)
        if (job !== undefined && this.mayRepeat(pending)) {
          this.suspect(job)
          job.chunks.mayRepeat()
          if (isNew) job.foreign = job.joined = true
        }
        return none
      }
      case "job.subscribed": {
        const { current_status: status, job_id: jobId, replayed } = message.payload
        const pending = this.matcher.match(message.envelope, "job.subscribe")
        if (pending === undefined) return none
        const isLive = this.jobs.has(jobId) && pending.recovers !== true
        pending.answered(message)
        const apart = typeof replayed === "number" && !isLive
        const again = replayed === true && !isLive && fieldOf(pending.request, "history") === true
        this.release(pending.jobId ?? jobId, apart, again)
        const job = this.jobs.get(jobId)
        if (apart && job !== undefined) job.numbering = "apart"
        if (job !== undefined && isTerminal(status)) this.suspect(job, status)
        return none
      }
      case "job.unsubscribed":
        this.unobserved.delete(message.envelope.job_id ?? message.payload.job_id ?? "")
        // No request waits for it; one that it names by mistake must not wait for ever.
        this.matcher.match(message.envelope, "job.unsubscribe")
        return none
      case "job.event":
      case "job.result":
      case "job.error":
        return none
      default:
        this.matcher.match(message.envelope, answersTo.get(message.type))?.answered(message)
        return none
    }
  }

  /** Whether a submit may have been made before: under its caller's own key, or over another connection. */
  private mayRepeat(pending: Pending): boolean {
    return (
      pending.recovers === true ||
      this.repeated.has(pending) ||
      pending.request.lastIndexOf('"idempotency_key":"auto_') === -1
    )
  }

  /** Tells the consumers of every job that has changed; once for many frames. */
  flush(): void {
    if (this.changed.notify()) this.cursor.touch()
  }

  /** The highest number that may be acknowledged (§6.5). */
  get processedSeq(): number {
    return processedSeq(this.jobs.values(), this.lastSeq, this.ackedSeq)
  }

  /** Queues an acknowledgement where there is something new to acknowledge. */
  acknowledge(): void {
    if (!this.welcomed || !this.features.has("ack")) return
    const seq = this.processedSeq
    if (seq <= this.ackedSeq) return
    this.ackedSeq = seq
    this.unackedBytes = 0
    this.post("session.ack", { last_processed_seq: seq })
  }

  /** Forgets the session that could not be resumed; jobs and requests stay. */
  forgetSession(): void {
    this.unobserved.clear()
    this.sessionId = undefined
    this.resumeToken = undefined
    this.inherited = false
    this.numbers.reset(0)
    this.ackedSeq = 0
    this.unackedBytes = 0
    this.kept.clear()
    this.suspects.clear()
    for (const job of this.jobs.values()) job.numbering = "session"
    this.cursor.reset(this.jobs.values())
  }

  /** The mark of the session's facts: what the program has processed (see `cursor`). */
  get mark(): number {
    return this.cursor.mark(this.lastSeq, this.kept.firstOrphan)
  }

  /** Fails everything that waits: the client is at its end. */
  end(error: ArcpError | ClientError): void {
    for (const pending of this.matcher.takeAll()) pending.failed(error)
    for (const job of this.jobs.values()) {
      job.finish({ _tag: "lost", error })
      this.changed.add(job)
    }
    this.jobs.clear()
    this.suspects.clear()
    this.flush()
    this.cursor.touch()
  }
}

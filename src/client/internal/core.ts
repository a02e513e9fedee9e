/**
 * A client's session as a state machine without I/O: received frames, pending requests, outgoing frames.
 *
 * Responsibility: the session itself, its requests and its acknowledgements (§6.5), and which part handles a frame. Jobs are in
 * `registry`, their frames and numbers in `intake` (§8.3), the matching of answers in `match`, what an error is about in
 * `refusals`, a welcome's contents in `terms`. Everything is synchronous, so each frame is one atomic step.
 *
 * Order: a request is registered before it is queued. Every frame with a number uses it up, after the frame has been handled.
 *
 * Races: a connection has one welcome, and frames before it belong to no session. A request that was sent on an earlier
 * connection may have been accepted there: its answer may be a repeat, after which nothing follows (see `silence`).
 */
import * as Either from "effect/Either"
import * as Envelope from "../../protocol/Envelope.js"
import { type ArcpError, fromWire, InternalError, InvalidRequest } from "../../protocol/Errors.js"
import { SessionId } from "../../protocol/Ids.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import type { JobError } from "../../protocol/Job.js"
import * as Message from "../../protocol/Message.js"
import { isTerminal } from "../../protocol/Session.js"
import type { Frame } from "../../transport/Connection.js"
import type { ClientError } from "../ClientError.js"
import * as encode from "./encode.js"
import type { Terminal } from "./ends.js"
import type { Resume } from "./hello.js"
import { type AdoptOptions, Intake } from "./intake.js"
import type { ClientJob, Recovery } from "./job.js"
import { answersTo, fieldOf, Matcher, type Pending } from "./match.js"
import type { Numbers } from "./numbers.js"
import type { CoreOptions } from "./options.js"
import { Outgoing } from "./outgoing.js"
import { processedSeq } from "./processed.js"
import { none, type Reaction } from "./reaction.js"
import { judge, judgeOfSession } from "./refusals.js"
import { Registry } from "./registry.js"
import { noTerms, type Terms, termsOf } from "./terms.js"

/** Messages that may wait to be sent before pings are passed over. */
const maxPongs = 1_024

type MessageOf<T extends Message.RuntimeMessage["type"]> = Extract<Message.RuntimeMessage, { readonly type: T }>

/** The state of a client's session. */
export class Core {
  sessionId: SessionId | undefined = undefined
  resumeToken: string | undefined = undefined
  ackedSeq = 0
  /** What has come since the last acknowledgement, in UTF-16 code units; where frames come encoded. */
  unackedBytes = 0
  /** What the last welcome said. */
  terms: Terms = noTerms
  welcomed = false
  lastIn = 0
  private readonly matcher = new Matcher()
  readonly pending: Map<string, Pending> = this.matcher.pending
  readonly outgoing = new Outgoing()
  readonly registry: Registry
  readonly intake: Intake
  /** The jobs that are live. */
  readonly jobs: ReadonlyMap<string, ClientJob>
  private readonly numbers: Numbers
  private answers = 0
  /** The size of the frame that is being read, where it came encoded. */
  private frameSize = 0
  /** Whether the session was begun by another process. */
  private inherited = false
  /** Requests that were sent to another connection before, which may have taken them. */
  private readonly repeated = new WeakSet<Pending>()
  private readonly options: CoreOptions

  constructor(options: CoreOptions) {
    this.options = options
    this.registry = new Registry(this.matcher, options.bounds)
    this.intake = new Intake(this.registry, this.matcher)
    this.jobs = this.registry.jobs
    this.numbers = this.intake.numbers
  }

  /** The features that both sides have. */
  get features(): ReadonlySet<string> {
    return this.terms.features
  }

  /** The highest number below which nothing is missing. */
  get lastSeq(): number {
    return this.numbers.last
  }

  /** How many new events and answers to calls have arrived. */
  get progress(): number {
    return this.answers + this.intake.taken
  }

  /** A call has its answer. */
  progressed(): void {
    this.answers++
  }

  /** Goes on with the session of an earlier process. */
  restore({ lastSeq, resumeToken, sessionId }: Resume): void {
    this.sessionId = SessionId(sessionId)
    this.resumeToken = resumeToken
    this.numbers.reset(lastSeq)
    this.ackedSeq = lastSeq
  }

  /** A connection is to be made: what was queued for another one is not sent on it. */
  connects(): void {
    this.welcomed = false
    this.outgoing.clear()
  }

  /** There is a connection. */
  connected(now: number): void {
    this.lastIn = now
  }

  /** The connection has ended. */
  disconnected(): void {
    this.welcomed = false
  }

  /** Queues a message that expects no answer. */
  post<T extends Message.ClientMessageType>(type: T, payload: Message.ClientPayload<T>, jobId?: string): void {
    const head = { id: this.options.newId(), session_id: this.sessionId, job_id: jobId }
    this.outgoing.push(Message.client(type, head, payload))
  }

  /** Asks the runtime to end an observation. Nothing waits for its answer, which no text defines. */
  unobserve(jobId: string): void {
    this.registry.unobserve(jobId)
    if (this.welcomed) this.post("job.unsubscribe", { job_id: jobId }, jobId)
  }

  /** Queues a request; it is sent again after a reconnect until it is answered. */
  request(pending: Pending): void {
    const id = this.options.newId()
    const { jobId, type } = pending
    if (type === "job.cancel" && jobId !== undefined && !this.registry.cancels(jobId)) {
      pending.failed(new InvalidRequest({ message: `job.cancel: the job ${jobId} has ended` }))
      return
    }
    this.pending.set(id, pending)
    if (this.welcomed) this.send(id, pending)
  }

  /** The caller of a request has stopped waiting. */
  abandon(pending: Pending): void {
    this.matcher.abandon(pending)
  }

  private send(id: string, pending: Pending): void {
    pending.sent = true
    const { jobId, recovers, type } = pending
    if (type === "job.subscribe" && jobId !== undefined && (recovers === true || !this.jobs.has(jobId))) {
      this.intake.startHold(jobId, pending)
    }
    const request = type === "job.submit" ? this.matcher.traced(id, pending, this.options.newTraceId) : pending.request
    this.outgoing.pushRequest(encode.frame(type, id, this.sessionId, request), pending)
  }

  /** Sends every unanswered request again, under new ids. */
  repeatPending(): void {
    for (const jobId of this.registry.unconfirmed) this.post("job.unsubscribe", { job_id: jobId }, jobId)
    for (const pending of this.matcher.takeAll()) {
      const id = this.options.newId()
      this.repeated.add(pending)
      this.pending.set(id, pending)
      this.send(id, pending)
    }
  }

  /** Reads one frame. */
  read(frame: Frame): Reaction {
    this.lastIn = this.options.times.mono()
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
    if (raw.type === "job.event") return this.intake.event(raw, this.frameSize)
    const decoded = Message.decodeRuntime(raw)
    if (Either.isLeft(decoded)) return this.undecodable(raw, decoded.left)
    const message = decoded.right
    if (message.type === "job.result" || message.type === "job.error") return this.terminal(message)
    const reaction = this.message(message)
    if (this.intake.holdsFrames) this.intake.releaseAnswered()
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
    if (this.intake.holdsFrames) this.intake.releaseAnswered()
    return this.use(raw)
  }

  /** Uses up the number of a frame that is no job's event or end. */
  private use(raw: Envelope.RawEnvelope): Reaction {
    return this.intake.use(raw)
  }

  /** Makes a job known; its frames that have arrived already are taken in. */
  adopt(jobId: string, recovery: Recovery, options: AdoptOptions = {}): ClientJob {
    return this.intake.adopt(jobId, recovery, options)
  }

  /** The client will hear no more of a job. */
  lose(job: ClientJob, error: ArcpError | ClientError): void {
    this.registry.lose(job, error)
  }

  /** A job's end, or a refusal in its form. */
  private terminal(message: Terminal): Reaction {
    if (message.type !== "job.error") return this.intake.numbered(message, this.frameSize)
    const { envelope } = message
    const error = fromWire(message.payload as JobError)
    // Some runtimes refuse a session so.
    if (!this.welcomed) return { _tag: "refused", error }
    const { job_id: jobId } = envelope
    const job = jobId === undefined ? undefined : this.jobs.get(jobId)
    const isKnown = job !== undefined || (jobId !== undefined && this.intake.hasHeardOf(jobId))
    const verdict = judge(this.matcher, envelope, error, { job, isKnown, isForeign: this.inherited })
    if (verdict._tag === "end") return this.intake.numbered(message, this.frameSize)
    if (verdict._tag === "kept") this.matcher.keep(envelope, error)
    else if (verdict.doubt && job !== undefined) this.registry.suspect(job)
    if (this.intake.holdsFrames) this.intake.releaseAnswered()
    const used = this.use(envelope)
    return used._tag === "none" && verdict._tag === "kept" ? { _tag: "remarked", error } : used
  }

  /** Handles a message other than a job's event or end. */
  private message(message: Message.RuntimeMessage): Reaction {
    switch (message.type) {
      case "session.welcome":
        return this.welcome(message)
      case "session.ping":
        // A runtime that asks and does not read is not answered for ever.
        if (this.outgoing.size >= maxPongs) return none
        this.post("session.pong", {
          ping_nonce: message.payload.nonce,
          received_at: formatTimestamp(this.options.times.wall())
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
      case "job.accepted":
        this.accepted(message)
        return none
      case "job.subscribed":
        this.subscribed(message)
        return none
      case "job.unsubscribed":
        this.registry.unobservedBy(message.envelope.job_id ?? message.payload.job_id ?? "")
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

  /** The session is open: the requested one, or another that replaces it. */
  private welcome({ envelope, payload }: MessageOf<"session.welcome">): Reaction {
    // One connection has one welcome.
    if (this.welcomed) return none
    if (envelope.session_id === undefined) {
      return { _tag: "refused", error: new InternalError({ message: "the welcome names no session" }) }
    }
    const sessionId = SessionId(envelope.session_id)
    const previous = this.sessionId === sessionId ? undefined : this.sessionId
    if (previous !== undefined) this.forgetSession()
    else if (this.sessionId !== undefined) {
      this.inherited ||= this.registry.isEmpty
      this.numbers.resumed()
      this.registry.resumed()
    }
    this.sessionId = sessionId
    this.resumeToken = payload.resume_token
    this.registry.cursor.touch()
    this.terms = termsOf(payload, this.options.features, this.terms)
    this.matcher.welcomed(this.terms.namesRequests)
    this.welcomed = true
    return { _tag: "welcomed", previous }
  }

  /** A job was accepted: a child, or the job of a submit. */
  private accepted(message: MessageOf<"job.accepted">): void {
    const { envelope, payload } = message
    if (payload.parent_job_id !== undefined) return this.intake.childAccepted(payload)
    const pending = this.matcher.match(envelope, "job.submit")
    if (pending === undefined || pending.isAbandoned === true) return this.registry.note(payload.job_id)
    const isNew = !this.jobs.has(payload.job_id)
    pending.answered(message)
    // The job of a repeated submit may have ended, so that nothing follows.
    const job = this.jobs.get(payload.job_id)
    if (job === undefined || !this.mayRepeat(pending)) return
    this.registry.suspect(job)
    job.mayRepeat(isNew)
  }

  /** A job is observed: the answer defines which session numbers its frames. */
  private subscribed(message: MessageOf<"job.subscribed">): void {
    const { current_status: status, job_id: jobId, replayed } = message.payload
    const pending = this.matcher.match(message.envelope, "job.subscribe")
    if (pending === undefined) return
    const isLive = this.jobs.has(jobId) && pending.recovers !== true
    pending.answered(message)
    const apart = typeof replayed === "number" && !isLive
    const again = replayed === true && !isLive && fieldOf(pending.request, "history") === true
    this.intake.release(pending.jobId ?? jobId, apart, again)
    const job = this.jobs.get(jobId)
    if (job === undefined) return
    if (apart) job.numbersAre("apart")
    if (isTerminal(status)) this.registry.suspect(job, status)
  }

  /** Whether a submit may have been made before: under its caller's own key, or over another connection. */
  private mayRepeat(pending: Pending): boolean {
    return (
      pending.recovers === true ||
      this.repeated.has(pending) ||
      pending.request.lastIndexOf('"idempotency_key":"auto_') === -1
    )
  }

  /** The highest number that may be acknowledged (§6.5). */
  get processedSeq(): number {
    return processedSeq(this.registry.behind, this.lastSeq, this.ackedSeq)
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
    this.sessionId = undefined
    this.resumeToken = undefined
    this.inherited = false
    this.ackedSeq = 0
    this.unackedBytes = 0
    this.intake.forgetSession()
    this.registry.forgetSession()
  }

  /** The mark of the session's facts: what the program has processed (see `cursor`). */
  get mark(): number {
    return this.registry.cursor.mark(this.lastSeq, this.intake.firstOrphan)
  }

  /** Fails everything that waits: the client is at its end. */
  end(error: ArcpError | ClientError): void {
    for (const pending of this.matcher.takeAll()) pending.failed(error)
    this.registry.end(error)
  }
}

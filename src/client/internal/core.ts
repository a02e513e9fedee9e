/**
 * A client's session as a state machine without I/O: what came in, what waits for an answer, what is to be sent.
 *
 * Responsibility: matching replies to requests, keeping jobs and their events, numbering (§8.3), acknowledgements (§6.5).
 * Everything is synchronous, so each frame is one atomic step.
 *
 * Order: events are taken in the order of their numbers; a number seen before is dropped, a gap asks for a resume. Events
 * of a job that nobody knows yet are kept until its `job.accepted` has come.
 */
import * as Either from "effect/Either"
import * as Envelope from "../../protocol/Envelope.js"
import { type ArcpError, fromWire, InternalError, type InvalidRequest, oneLine } from "../../protocol/Errors.js"
import { intersect } from "../../protocol/Features.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import * as Event from "../../protocol/Event.js"
import type { Accepted, JobError, Result } from "../../protocol/Job.js"
import * as Message from "../../protocol/Message.js"
import { type AgentInfo, jobStatuses } from "../../protocol/Session.js"
import type { Frame } from "../../transport/Connection.js"
import { type ClientError, EventsMissed, ResultInvalid } from "../ClientError.js"
import type { JobFacts } from "../SessionFacts.js"
import * as encode from "./encode.js"
import { type Bounds, defaultBounds } from "./bounds.js"
import { Cursor } from "./cursor.js"
import { ClientJob, type Recovery } from "./job.js"
import { Orphans } from "./orphans.js"

/** A request that waits for its answer. */
export interface Pending {
  readonly type: Message.ClientMessageType
  /** Its frame but for the id and the session, encoded once (see `encode`). */
  readonly request: string
  /** What its answer may name. */
  readonly jobId?: string | undefined
  readonly traceId?: string | undefined
  readonly nonce?: string | undefined
  /** Called once, synchronously, when the answer is read: before any later frame is. */
  readonly answered: (message: Message.RuntimeMessage) => void
  readonly failed: (error: ArcpError | ClientError) => void
  /** Whether it takes a job up in a new session; the next new session asks anew. */
  readonly recovers?: boolean | undefined
}

/** The request that a reply answers, by the reply's type. */
const answersTo: ReadonlyMap<string, Message.ClientMessageType> = new Map([
  ["job.accepted", "job.submit"],
  ["session.jobs", "session.list_jobs"],
  ["job.cancelled", "job.cancel"],
  ["job.subscribed", "job.subscribe"],
  ["job.unsubscribed", "job.unsubscribe"],
  ["artifact.ref", "artifact.put"],
  ["artifact.data", "artifact.fetch"],
  ["artifact.released", "artifact.release"]
])

/** A job's end that breaks its schema: the job has ended, and nobody knows how. */
interface UnreadableEnd {
  readonly type: "unreadable"
  readonly envelope: Envelope.RawEnvelope
  readonly error: InvalidRequest
}

type Terminal = (Message.RuntimeMessage & { readonly type: "job.result" | "job.error" }) | UnreadableEnd

type Orphan = Terminal | (Message.RuntimeMessage & { readonly type: "job.event" })

/** What a frame asks the connection's owner to do. */
export type Reaction =
  | { readonly _tag: "none" }
  /** `previous`: the session that was to be resumed, where another one was given instead. */
  | { readonly _tag: "welcomed"; readonly previous: string | undefined }
  /** The runtime refused the session or ended it. */
  | { readonly _tag: "refused"; readonly error: ArcpError }
  /** The numbers have a gap: drop the connection and resume. */
  | { readonly _tag: "gap"; readonly expected: number; readonly got: number }
  | { readonly _tag: "closed" }

const none: Reaction = { _tag: "none" }

/** Delegated jobs that were announced and of which nothing has come, at most this many. */
const maxAnnounced = 1_024
/** Messages that may wait to be sent before pings are passed over. */
const maxPongs = 1_024

/** Bounds and ids that the core needs. */
export interface CoreOptions {
  /** The features that are offered (§6.2). */
  readonly features: ReadonlyArray<string>
  readonly eventBuffer: number
  /** Encoded bytes of one job's events that are kept. Default 64 MiB. */
  readonly eventBufferBytes?: number | undefined
  /** Encoded bytes of a streamed result that are kept. Default 512 MiB. */
  readonly maxResultBytes?: number | undefined
  readonly newId: () => string
  readonly now: () => number
}

/** The state of a client's session. */
export class Core {
  sessionId: string | undefined = undefined
  resumeToken: string | undefined = undefined
  /** The highest number received without a gap. */
  lastSeq = 0
  ackedSeq = 0
  /** What has come since the last acknowledgement, in UTF-16 code units; where frames come encoded. */
  unackedBytes = 0
  features: ReadonlySet<string> = new Set()
  agents: ReadonlyArray<AgentInfo> = []
  runtime: { readonly name?: string | undefined; readonly version?: string | undefined } = {}
  heartbeatMillis = 30_000
  resumeWindowMillis = 600_000
  welcomed = false
  lastIn = 0
  readonly jobs = new Map<string, ClientJob>()
  readonly pending = new Map<string, Pending>()
  /** Child jobs that were announced (§10). */
  onChild: ((accepted: Accepted, traceId: string | undefined) => void) | undefined = undefined
  private outbox: Array<Frame> = []
  private readonly orphans = new Orphans<Orphan>()
  /** What the program has processed. */
  readonly cursor = new Cursor()
  private undecided: Array<ClientJob> = []
  /** The size of the frame that is being read, where it came encoded. */
  private frameSize = 0
  private adopted = false
  private readonly announced = new Map<string, Accepted>()
  private readonly touched = new Set<ClientJob>()
  private readonly options: CoreOptions
  private readonly bounds: Bounds

  constructor(options: CoreOptions) {
    this.options = options
    this.bounds = {
      events: options.eventBuffer,
      bytes: options.eventBufferBytes ?? defaultBounds.bytes,
      result: options.maxResultBytes ?? defaultBounds.result
    }
  }

  /** Takes what is to be sent. */
  takeOutbox(): Array<Frame> {
    const frames = this.outbox
    this.outbox = []
    return frames
  }

  get hasOutbox(): boolean {
    return this.outbox.length > 0
  }

  /** Queues a message that expects no answer. */
  post<T extends Message.ClientMessageType>(type: T, payload: Message.ClientPayload<T>): string {
    const id = this.options.newId()
    this.outbox.push(Message.client(type, { id, session_id: this.sessionId }, payload))
    return id
  }

  /** Queues a request; it is sent again after a reconnect until it is answered. */
  request(pending: Pending): string {
    const id = this.options.newId()
    this.pending.set(id, pending)
    if (this.welcomed) this.send(id, pending)
    return id
  }

  private send(id: string, pending: Pending): void {
    this.outbox.push(encode.frame(pending.type, id, this.sessionId, pending.request))
  }

  /** Sends every unanswered request again, under new ids. */
  repeatPending(): void {
    const all = [...this.pending.values()]
    this.pending.clear()
    for (const pending of all) {
      const id = this.options.newId()
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
    // What a later version of the protocol sends is not this client's business.
    if (Either.isLeft(decoded)) return this.undecodable(raw, decoded.left)
    return this.message(decoded.right)
  }

  private undecodable(raw: Envelope.RawEnvelope, error: InvalidRequest): Reaction {
    if (raw.type === "job.result" || raw.type === "job.error") {
      return this.terminal({ type: "unreadable", envelope: raw, error })
    }
    const to = answersTo.get(raw.type)
    // A child's announcement answers nobody.
    if ((to !== undefined && typeof raw.payload.parent_job_id !== "string") || raw.type === "session.error") {
      this.match(raw, to)?.failed(
        new InternalError({ message: `the answer ${raw.type} cannot be read: ${error.message}`, retryable: false })
      )
    } else {
      const id = raw.payload.request_id
      if (typeof id === "string") this.settle(id)?.failed(error)
    }
    return raw.event_seq === undefined
      ? none
      : this.numbered(raw.event_seq) === "gap"
        ? { _tag: "gap", expected: this.lastSeq + 1, got: raw.event_seq }
        : none
  }

  private numbered(seq: number): "new" | "seen" | "gap" {
    if (seq <= this.lastSeq) return "seen"
    if (seq > this.lastSeq + 1) return "gap"
    this.lastSeq = seq
    return "new"
  }

  private event(raw: Envelope.RawEnvelope): Reaction {
    const { event_seq: seq, job_id: jobId, payload } = raw
    if (seq === undefined) return none
    switch (this.numbered(seq)) {
      case "seen":
        return none
      case "gap":
        return { _tag: "gap", expected: this.lastSeq + 1, got: seq }
      case "new":
    }
    if (jobId === undefined || typeof payload.kind !== "string") return none
    if (payload.kind === "delegate") this.announce(jobId, payload.body)
    const job = this.jobs.get(jobId) ?? this.announcedChild(jobId)
    if (job === undefined) {
      this.keepOrphan(jobId, { type: "job.event", envelope: raw, payload: payload as unknown as Event.EventPayload })
      return none
    }
    this.push(job, seq, payload as unknown as Event.EventPayload, this.frameSize)
    return none
  }

  /** A delegated job's `job.accepted` is no event and is not replayed; the `delegate` event, which names the child, is. */
  private announce(parentJobId: string, body: unknown): void {
    if (!Event.isBody.delegate(body)) return
    const { agent, child_job_id: jobId, delegate_id, lease_request } = body as Event.Bodies["delegate"]
    if (jobId === undefined || this.jobs.has(jobId)) return
    if (this.announced.size >= maxAnnounced) this.announced.delete(this.announced.keys().next().value ?? "")
    this.announced.set(jobId, {
      job_id: jobId,
      agent,
      ...(lease_request === undefined ? {} : { lease: lease_request }),
      parent_job_id: parentJobId,
      delegate_id
    })
  }

  /** The child whose first message has come without its `job.accepted`: that was lost with a connection. */
  private announcedChild(jobId: string): ClientJob | undefined {
    const accepted = this.announced.get(jobId)
    if (accepted === undefined) return undefined
    this.announced.delete(jobId)
    this.onChild?.(accepted, undefined)
    return this.jobs.get(jobId)
  }

  private push(job: ClientJob, seq: number, payload: Event.EventPayload, size: number): void {
    if (job.end !== undefined) return
    job.push(Event.fromWire(job.jobId, seq, payload), size)
    this.touched.add(job)
  }

  private keepOrphan(jobId: string, message: Orphan): void {
    const { event_seq: seq } = message.envelope
    this.orphans.keep(jobId, message, seq ?? this.lastSeq, this.frameSize, message.type !== "job.event")
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
    this.adopted = true
    job.numbered = recovery._tag === "owner"
    if (before !== undefined) {
      job.goOn(before, history)
      this.cursor.opened(job)
    }
    const kept = this.orphans.take(jobId)
    if (kept === undefined || history) return job
    const { messages, missed, sizes } = kept
    for (let i = 0; i <= messages.length; i++) {
      if (missed !== undefined && missed.at === i) job.miss(missed.from, missed.to, missed.missed)
      const message = messages[i]
      if (message === undefined) break
      if (message.type !== "job.event") this.finish(job, message)
      else {
        const seq = message.envelope.event_seq ?? 0
        if (before !== undefined && seq <= before.lastEventSeq) job.pass(Event.fromWire(jobId, seq, message.payload))
        else this.push(job, seq, message.payload, sizes[i]!)
      }
    }
    if (missed?.end === true) {
      const { from, to } = missed
      const message = `events ${from} to ${to} of ${jobId} came before the job was known, and were too many to be kept`
      job.finish({ _tag: "lost", error: new EventsMissed({ jobId, from, to, missed: missed.missed, message }) })
      this.jobs.delete(jobId)
    }
    return job
  }

  private finish(job: ClientJob, message: Terminal): void {
    const { jobId } = job
    const invalid = (why: string): void =>
      job.finish({ _tag: "lost", error: new ResultInvalid({ jobId, message: oneLine(why) }) })
    if (message.type === "unreadable") {
      invalid(`the end of the job cannot be read: ${message.error.message}`)
    } else if (message.type === "job.result") {
      const payload = message.payload as Result
      const { final_status: status } = payload
      // §7.3: the other words of the protocol say that there is no result.
      if (status !== undefined && status !== "success" && (jobStatuses as ReadonlyArray<string>).includes(status)) {
        invalid(`the job has a result and ended as ${status}: one of them is wrong`)
      } else job.finish({ _tag: "result", payload })
    } else {
      const payload = message.payload as JobError
      job.finish({ _tag: "error", payload, error: fromWire(payload) })
    }
    // Handles keep the job; the client need not, once it has ended.
    this.jobs.delete(job.jobId)
    this.touched.add(job)
  }

  private terminal(message: Terminal): Reaction {
    const { event_seq: seq, job_id: jobId } = message.envelope
    if (seq !== undefined) {
      const place = this.numbered(seq)
      if (place === "gap") return { _tag: "gap", expected: this.lastSeq + 1, got: seq }
      if (place === "seen") return none
    }
    if (jobId === undefined) return none
    const job = this.jobs.get(jobId) ?? this.announcedChild(jobId)
    if (job === undefined) this.keepOrphan(jobId, message)
    else this.finish(job, message)
    return none
  }

  private settle(id: string): Pending | undefined {
    const pending = this.pending.get(id)
    if (pending !== undefined) this.pending.delete(id)
    return pending
  }

  /** The request that a reply answers: by the ids that published runtimes send, at last by order. */
  private match(envelope: Envelope.RawEnvelope, type: Message.ClientMessageType | undefined): Pending | undefined {
    const { details, reply_to, request_id } = envelope.payload
    const named = [
      request_id,
      typeof details === "object" && details !== null && "request_id" in details ? details.request_id : undefined,
      reply_to,
      envelope.reply_to,
      envelope.correlation_id,
      envelope.id
    ]
    for (const id of named) {
      if (typeof id !== "string") continue
      const found = this.settle(id)
      if (found === undefined) continue
      // What is wrong about an artifact is told by who asked for it.
      const ofArtifacts = found.type.startsWith("artifact.") && type?.startsWith("artifact.") === true
      if (type === undefined || found.type === type || ofArtifacts) return found
      found.failed(new InternalError({ message: `${found.type} was answered with ${envelope.type}`, retryable: false }))
      return undefined
    }
    const said = named.slice(0, 5).some((id) => typeof id === "string")
    const candidates = [...this.pending].filter(([, pending]) => type === undefined || type === pending.type)
    if (envelope.trace_id !== undefined) {
      const byTrace = candidates.filter(([, pending]) => pending.traceId === envelope.trace_id)
      if (byTrace.length === 1) return this.settle(byTrace[0]![0])
    }
    // A reply that names a request which is not ours must not settle another one.
    if (said) return undefined
    const byJob = candidates.filter(([, pending]) => pending.jobId !== undefined && pending.jobId === envelope.job_id)
    if (byJob.length > 0) return this.settle(byJob[0]![0])
    return candidates.length === 1 || (candidates.length > 0 && type === "job.submit")
      ? this.settle(candidates[0]![0])
      : undefined
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
        this.sessionId = sessionId
        this.resumeToken = payload.resume_token
        this.cursor.touch()
        this.features = new Set(intersect(this.options.features, payload.capabilities?.features ?? []))
        this.agents = (payload.capabilities?.agents ?? []).map((agent) =>
          typeof agent === "string" ? { name: agent } : agent
        )
        this.runtime = payload.runtime ?? {}
        if (payload.heartbeat_interval_sec !== undefined && payload.heartbeat_interval_sec > 0) {
          this.heartbeatMillis = payload.heartbeat_interval_sec * 1000
        }
        if (payload.resume_window_sec !== undefined) this.resumeWindowMillis = payload.resume_window_sec * 1000
        this.welcomed = true
        return { _tag: "welcomed", previous }
      }
      case "session.ping":
        // A runtime that asks and does not read is not answered for ever.
        if (this.outbox.length >= maxPongs) return none
        this.post("session.pong", {
          ping_nonce: message.payload.nonce,
          received_at: formatTimestamp(this.options.now())
        })
        return none
      case "session.pong": {
        for (const [id, pending] of this.pending) {
          if (pending.nonce !== undefined && pending.nonce === message.payload.ping_nonce) {
            this.pending.delete(id)
            pending.answered(message)
          }
        }
        return none
      }
      case "session.closed":
      case "session.bye":
        return { _tag: "closed" }
      case "session.error": {
        const error = fromWire(message.payload)
        if (!this.welcomed) return { _tag: "refused", error }
        const reason = error.details?.reason
        // These are about the session: the one request that waits is not refused by them, it is repeated.
        if (message.payload.request_id === undefined) {
          if (reason === "slow_consumer") return none
          if (error.code === "HEARTBEAT_LOST" || reason === "taken_over") return { _tag: "refused", error }
        }
        const pending = this.match(message.envelope, undefined)
        if (pending !== undefined) {
          pending.failed(error)
          return none
        }
        const fatal =
          error.code === "HEARTBEAT_LOST" ||
          error.code === "RESUME_WINDOW_EXPIRED" ||
          error.code === "UNAUTHENTICATED" ||
          reason === "taken_over"
        return fatal ? { _tag: "refused", error } : none
      }
      case "job.event":
        return none
      case "job.result":
      case "job.error":
        return this.terminal(message)
      case "job.accepted": {
        const { payload } = message
        if (payload.parent_job_id !== undefined) {
          this.announced.delete(payload.job_id)
          this.onChild?.(payload, message.envelope.trace_id)
          return none
        }
        this.match(message.envelope, "job.submit")?.answered(message)
        return none
      }
      default:
        this.match(message.envelope, answersTo.get(message.type))?.answered(message)
        return none
    }
  }

  /** Tells the consumers of every job that has changed; once for many frames. */
  flush(): void {
    if (this.touched.size === 0) return
    const jobs = [...this.touched]
    this.touched.clear()
    for (const job of jobs) {
      job.notify()
      if (job.chunks.undecided) this.undecided.push(job)
    }
    this.cursor.touch()
  }

  /** Whether results have begun to stream in; their readers may be about to open. */
  get hasUndecided(): boolean {
    return this.undecided.length > 0
  }

  /** From now on, readers come too late to own these results. */
  decide(): void {
    for (const job of this.undecided) job.chunks.decide()
    this.undecided = []
  }

  /**
   * The highest number that may be acknowledged: everything up to it has been processed, or waits for a consumer that has
   * less than half the buffer before it. What waits there must not count, since acknowledgements are for the whole session:
   * a consumer that waits for another job's end would stop that job (§6.5).
   */
  get processedSeq(): number {
    let seq = this.lastSeq
    for (const job of this.jobs.values()) {
      const first = job.held(0.5)
      if (first !== undefined && first <= this.lastSeq) seq = Math.min(seq, first - 1)
    }
    return Math.max(seq, this.ackedSeq)
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
    this.lastSeq = 0
    this.ackedSeq = 0
    this.unackedBytes = 0
    this.orphans.clear()
    this.cursor.reset(this.jobs.values())
  }

  /** The mark of the session's facts: what the program has processed (see `cursor`). */
  get mark(): number {
    return this.cursor.mark(this.lastSeq, this.orphans.first)
  }

  /** Fails everything that waits: the client is at its end. */
  end(error: ArcpError | ClientError): void {
    const waiting = [...this.pending.values()]
    this.pending.clear()
    for (const pending of waiting) pending.failed(error)
    for (const job of this.jobs.values()) {
      job.finish({ _tag: "lost", error })
      this.touched.add(job)
    }
    this.jobs.clear()
    this.flush()
    this.cursor.touch()
  }
}

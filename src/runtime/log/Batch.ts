/**
 * One batch in the making: everything that changes in one commit of the log, and the numbers of events in it (ARCP 1.1 §8.3, 1.0 §8.3).
 *
 * Responsibility: numbers events in their jobs and in every attached session, gathers rows, replies and announcements, and is the only one
 * that assigns what is durable of a session or a job. A writer (a function in the log's queue) reads live state and calls methods
 * of the batch; it assigns nothing itself.
 *
 * Order: writers are called in the order of the queue, and each sees what those before it have assigned. When the batch has committed
 * (`publish`), numbers become real, then replies and announcements go to the connections that asked, in their order, and only then may the
 * events follow. So `job.accepted` precedes the first event of its job (§7.1): {@link Batch.reply}
 * asserts that none is durable yet. A child's comes behind its `delegate` event: {@link Batch.announce}.
 *
 * A batch that failed (`revert`) has never been: each method has recorded what it assigned, and all of it is undone, attachments
 * included, the latest first. So a writer that is called again finds what it found. Where the change that brings a job is dropped, what else
 * is written of that job is left out: the store would refuse it, and with it every batch that has it.
 */
import type { RawEnvelope } from "../../protocol/Envelope.js"
import type { LoadedBatch, LoadedSegment, Payload } from "../../store/Payload.js"
import type {
  Delivery,
  JobRecord,
  JobState,
  KeyRecord,
  OwnerRecord,
  SegmentClass,
  StepRecord,
  SubscriptionRecord
} from "../../store/Store.js"
import { isLive, type JobFacts, type JobLog } from "./JobLog.js"
import type { Outbox } from "./Outbox.js"
import type { EndedJob, Undo } from "./Run.js"
import type { SessionHead } from "./SessionHead.js"
import type { SessionLog } from "./SessionLog.js"

type Writable<T> = { -readonly [K in keyof T]: T[K] }

interface OpenSegment extends Writable<LoadedSegment> {
  readonly job: JobLog
  payloads: Array<Payload>
  /** How much of it has waited in the job's queue: it no longer does once the batch has committed. */
  queuedEvents: number
  queuedBytes: number
}

interface OpenDelivery extends Writable<Delivery> {
  readonly session: SessionLog
  readonly job: EndedJob
}

/** One batch in the making. */
export class Batch {
  private readonly sessionRecords = new Set<SessionLog>()
  private readonly acknowledged = new Map<SessionLog, number>()
  private readonly jobRecords = new Set<JobRecord>()
  private readonly states = new Set<JobLog>()
  private readonly keyRecords: Array<KeyRecord> = []
  private readonly segments: Array<OpenSegment> = []
  private readonly openSegments = new Map<JobLog, OpenSegment>()
  private readonly deliveries: Array<OpenDelivery> = []
  private readonly openDeliveries = new Map<SessionLog, OpenDelivery>()
  private readonly removedSessions = new Set<SessionLog>()
  private readonly subscriptions: Array<SubscriptionRecord> = []
  private readonly subscriptionsRemoved: Array<SubscriptionRecord> = []
  private readonly owners: Array<OwnerRecord> = []
  private readonly ownersRemoved: Array<OwnerRecord> = []
  private readonly steps: Array<StepRecord> = []
  private readonly trims: Array<{ readonly jobId: string; readonly upTo: number }> = []
  private readonly jobsRemoved: Array<string> = []
  private readonly ended: Array<JobLog> = []
  private readonly answers: Array<() => void> = []
  private readonly undone: Array<Undo> = []
  private changes = 0
  private published = 0

  /** Events that have been published. */
  get events(): number {
    return this.published
  }

  /** The jobs that it has events of. */
  get jobs(): Iterable<JobLog> {
    return this.openSegments.keys()
  }

  /** Whether a job is in the store, or comes with this batch. */
  private has(job: JobLog): boolean {
    return job.isStored || this.jobRecords.has(job.record)
  }

  private assigned(undo: Undo): void {
    this.undone.push(undo)
  }

  // Events.

  /**
   * Appends an event and gives it to every session that is attached and accepts its class. `queued` tells that it has waited
   * in the job's queue, which a change's own events have not. Answers its number.
   */
  event(job: JobLog, cls: SegmentClass, payload: Payload, queued = false): number {
    if (!this.has(job)) return job.assigned
    const seq = job.assign(cls)
    const segment = this.append(job, cls, seq, payload)
    if (queued) {
      segment.queuedEvents++
      segment.queuedBytes += payload.length
    }
    for (const { session } of job.attachments.values()) {
      if (!session.accepts(cls)) continue
      this.deliver(session, job, seq, seq)
      session.assignBytes(payload.length)
    }
    return seq
  }

  private append(job: JobLog, cls: SegmentClass, seq: number, payload: Payload): OpenSegment {
    const open = this.openSegments.get(job)
    // Bytes are a segment of their own: they are not joined with other payloads.
    if (open?.class === cls && typeof payload === "string" && typeof open.payloads[0] === "string") {
      open.lastSeq = seq
      open.payloads.push(payload)
      return open
    }
    const segment: OpenSegment = {
      job,
      jobId: job.jobId,
      firstSeq: seq,
      lastSeq: seq,
      class: cls,
      payloads: [payload],
      queuedEvents: 0,
      queuedBytes: 0
    }
    this.openSegments.set(job, segment)
    this.segments.push(segment)
    return segment
  }

  /** Keeps in memory, for the job's owners alone, another text of an event of this batch. */
  forOwners(job: JobLog, seq: number, payload: string): void {
    if (this.has(job)) this.assigned(job.keepForOwners(seq, payload))
  }

  /** Whether the terminal message of a job is in the log, or in this batch already. */
  hasEnd(job: JobLog): boolean {
    if (job.terminalSeq > 0) return true
    const open = this.openSegments.get(job)
    return open !== undefined && (open.class === "result" || open.class === "error")
  }

  /** Gives a session the events `fromJobSeq..toJobSeq` of a job under the session's next numbers. */
  deliver(session: SessionLog, job: EndedJob, fromJobSeq: number, toJobSeq: number): void {
    const first = session.assigned + 1
    session.assign(toJobSeq - fromJobSeq + 1)
    const open = this.openDeliveries.get(session)
    if (
      open !== undefined &&
      open.job === job &&
      open.firstJobSeq + (open.lastSeq - open.firstSeq) + 1 === fromJobSeq
    ) {
      open.lastSeq = session.assigned
      return
    }
    const delivery: OpenDelivery = {
      sessionId: session.sessionId,
      session,
      job,
      jobId: job.jobId,
      firstSeq: first,
      lastSeq: session.assigned,
      firstJobSeq: fromJobSeq
    }
    this.openDeliveries.set(session, delivery)
    this.deliveries.push(delivery)
  }

  // Sessions.

  /** Writes the session as it is when the batch leaves. */
  session(session: SessionLog): void {
    this.changes++
    if (!session.removed) this.sessionRecords.add(session)
  }

  /** Replaces the sessions' part of a session. */
  head(session: SessionLog, head: SessionHead): void {
    this.assigned(session.setHead(head))
    this.session(session)
  }

  /** The client has what comes up to a number; counts once the batch has committed. */
  acknowledge(session: SessionLog, seq: number): void {
    this.acknowledged.set(session, Math.max(seq, this.acknowledged.get(session) ?? 0))
    this.session(session)
  }

  /** Events of a session up to a number are gone; a resume from before it is refused (§6.3). */
  raiseFloor(session: SessionLog, seq: number): void {
    if (session.floorSeq >= seq) return
    this.assigned(session.raiseFloor(seq))
    this.session(session)
  }

  /** A session is gone for good; its jobs go on without it. */
  removeSession(session: SessionLog): void {
    this.changes++
    this.sessionRecords.delete(session)
    this.removedSessions.add(session)
    for (const job of [...session.owned]) {
      if (!isLive(job)) continue
      const [first, next] = job.owners
      this.assigned(job.sessions.removeOwner(session))
      if (session !== first || next === undefined) continue
      // The next one is the first: it is in the job's state, and among the other owners no more.
      this.state(job)
      this.ownersRemoved.push({ sessionId: next.sessionId, jobId: job.jobId })
    }
    for (const job of [...session.observed]) if (isLive(job)) this.assigned(job.sessions.unobserve(session))
  }

  // Jobs.

  /** A job that is new; its state is to be written with it. */
  job(record: JobRecord): void {
    this.jobRecords.add(record)
  }

  /** Changes the jobs' part of a job, which is written as it is when the batch leaves. */
  state(job: JobLog, changes?: Partial<JobFacts>): void {
    if (!this.has(job)) return
    if (changes !== undefined) this.assigned(job.setState({ ...job.state, ...changes }))
    this.states.add(job)
  }

  /** A job has ended: behind its terminal message no session has it. */
  end(job: JobLog, changes: Partial<JobFacts>): void {
    if (!this.has(job)) return
    this.state(job, changes)
    this.ended.push(job)
    for (const sessionId of job.attachments.keys()) this.subscriptionsRemoved.push({ sessionId, jobId: job.jobId })
  }

  /** An idempotency key and its job (§7.2). */
  key(record: KeyRecord): void {
    this.keyRecords.push(record)
  }

  /** What a step of a job came to. */
  step(record: StepRecord): void {
    this.steps.push(record)
  }

  /** Events of a job up to a number go. */
  trim(jobId: string, upTo: number): void {
    this.trims.push({ jobId, upTo })
  }

  /** Ended jobs go, with all that there is of them. */
  removeJobs(jobIds: Iterable<string>): void {
    this.jobsRemoved.push(...jobIds)
  }

  // Attachments.

  /** A session is an owner of a job, beside those that it has: its events go there too from here on (§7.2). */
  addOwner(job: JobLog, session: SessionLog): void {
    if (!this.has(job)) return
    const owned = job.owners.includes(session)
    this.assigned(job.sessions.addOwner(session, job.assigned))
    if (job.owners[0] === session) this.state(job)
    else if (!owned) this.owners.push({ sessionId: session.sessionId, jobId: job.jobId })
  }

  /** A job's events go to a session from here on, which asked for them over a connection. Not to one that is gone for good. */
  attach(job: JobLog, session: SessionLog, link: Outbox | undefined): void {
    if (session.removed) return
    this.assigned(job.sessions.attach(session, link))
  }

  /** A session that is attached already asks for the history, over another connection. */
  askAgain(job: JobLog, session: SessionLog, link: Outbox | undefined): void {
    this.assigned(job.sessions.askAgain(session, link))
  }

  /** A session observes a job (§7.6), where it is not gone for good. */
  observe(job: JobLog, session: SessionLog): void {
    if (session.removed) return
    this.assigned(job.sessions.observe(session))
    const { jobId } = job
    const { sessionId } = session
    this.subscriptions.push({ sessionId, jobId })
    // The store removes last: what was to be removed before stays, however often that was asked for.
    for (let at = this.subscriptionsRemoved.length - 1; at >= 0; at--) {
      const row = this.subscriptionsRemoved[at]!
      if (row.sessionId === sessionId && row.jobId === jobId) this.subscriptionsRemoved.splice(at, 1)
    }
  }

  /** A session observes a job no more. */
  unobserve(job: JobLog, session: SessionLog): void {
    this.assigned(job.sessions.unobserve(session))
    this.subscriptionsRemoved.push({ sessionId: session.sessionId, jobId: job.jobId })
  }

  // Answers.

  /** Answers a request, ahead of all events of the batch; `before` is the job whose first event must not come sooner. */
  reply(answer: () => void, before?: JobLog): void {
    if (before !== undefined && before.seq > 0) {
      // edge: a defect of the writer, which the log reports and refuses
      throw new Error(`the answer about ${before.jobId} would come behind its first event`)
    }
    this.answers.push(answer)
  }

  /** Tells a session something, in order with the replies, over the connection that it has then. */
  tell(session: SessionLog, frame: () => RawEnvelope | undefined): void {
    this.toLink(session, frame, (link, made) => link.post(made))
  }

  /** Tells a session something behind the last event that it has been given so far, and before the next. */
  announce(session: SessionLog, frame: () => RawEnvelope | undefined): void {
    const at = session.assigned
    this.toLink(session, frame, (link, made) => link.postAfter(at, made))
  }

  private toLink(
    session: SessionLog,
    frame: () => RawEnvelope | undefined,
    post: (link: Outbox, made: RawEnvelope) => void
  ): void {
    this.answers.push(() => {
      // It may have been resumed since; then the new connection is told.
      const { link } = session
      if (link === undefined) return
      const made = frame()
      if (made !== undefined) post(link, made)
    })
  }

  // The whole.

  get isEmpty(): boolean {
    return (
      this.changes === 0 &&
      this.segments.length === 0 &&
      this.deliveries.length === 0 &&
      this.jobRecords.size === 0 &&
      this.states.size === 0 &&
      this.keyRecords.length === 0 &&
      this.subscriptions.length === 0 &&
      this.subscriptionsRemoved.length === 0 &&
      this.owners.length === 0 &&
      this.ownersRemoved.length === 0 &&
      this.steps.length === 0 &&
      this.trims.length === 0 &&
      this.jobsRemoved.length === 0
    )
  }

  /** The batch as the store takes it; `epoch` is by how many milliseconds wall time is ahead of elapsed time. */
  rows(epoch: number): LoadedBatch {
    return {
      sessions: Array.from(this.sessionRecords, (session) => this.sessionRecord(session, epoch)),
      jobs: [...this.jobRecords],
      jobStates: Array.from(this.states, (job) => this.jobState(job)),
      keys: this.keyRecords,
      segments: this.segments.map(({ class: cls, firstSeq, jobId, lastSeq, payloads }) => ({
        jobId,
        firstSeq,
        lastSeq,
        class: cls,
        payloads
      })),
      deliveries: this.deliveries.map(({ firstJobSeq, firstSeq, jobId, lastSeq, sessionId }) => ({
        sessionId,
        firstSeq,
        lastSeq,
        jobId,
        firstJobSeq
      })),
      subscriptions: this.subscriptions,
      owners: this.owners,
      steps: this.steps,
      subscriptionsRemoved: this.subscriptionsRemoved,
      ownersRemoved: this.ownersRemoved,
      trims: this.trims,
      sessionsRemoved: Array.from(this.removedSessions, ({ sessionId }) => sessionId),
      jobsRemoved: this.jobsRemoved
    }
  }

  private sessionRecord(session: SessionLog, epoch: number) {
    const record = session.record(epoch)
    const acked = this.acknowledged.get(session) ?? 0
    return acked > record.ackedSeq ? { ...record, ackedSeq: acked } : record
  }

  private jobState(job: JobLog): JobState {
    const { attempt, budget, cancelled, endedAt, startedAt, status } = job.state
    return {
      jobId: job.jobId,
      status,
      startedAt,
      endedAt,
      attempt,
      budget,
      cancelled,
      ownerSessionId: job.ownerSessionId,
      lastJobSeq: job.assigned,
      lastOwnerSeq: this.lastOwnerSeq(job)
    }
  }

  private lastOwnerSeq(job: JobLog): number {
    for (let i = this.deliveries.length - 1; i >= 0; i--) {
      const delivery = this.deliveries[i]!
      if (delivery.job === job && delivery.sessionId === job.ownerSessionId) return delivery.lastSeq
    }
    return job.lastOwnerSeq
  }

  /** The batch has committed: what it assigned is real. Answers the sessions that have something new. */
  publish(): Iterable<SessionLog> {
    if (this.jobRecords.size > 0) for (const job of this.states) if (this.jobRecords.has(job.record)) job.store()
    for (const { class: cls, job, lastSeq, payloads, queuedBytes, queuedEvents } of this.segments) {
      job.publish(cls, payloads, lastSeq)
      job.dequeue(queuedEvents, queuedBytes)
      this.published += payloads.length
    }
    for (const { firstJobSeq, firstSeq, job, lastSeq, session } of this.deliveries) {
      session.publish(firstSeq, lastSeq, firstJobSeq, job)
      if (isLive(job)) job.sessions.all.get(session.sessionId)?.given.add(firstSeq, lastSeq, firstJobSeq)
    }
    for (const session of this.openDeliveries.keys()) session.publishBytes()
    for (const [session, seq] of this.acknowledged) if (seq > session.ackedSeq) session.acknowledge(seq)
    return this.openDeliveries.keys()
  }

  /** Answers what was asked, once it is published, and before a session is sent its events; then ended jobs are let go. */
  answer(guarded: (answer: () => void) => void): void {
    for (const answer of this.answers) guarded(answer)
    for (const job of this.ended) job.sessions.detachAll()
  }

  /** The batch has failed: nothing of what it assigned has been. */
  revert(): void {
    for (const job of this.openSegments.keys()) job.revert()
    for (const session of this.openDeliveries.keys()) session.revert()
    for (const undo of this.undone.toReversed()) undo()
  }
}

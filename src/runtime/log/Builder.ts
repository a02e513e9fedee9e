/**
 * Gathers one batch: numbers events in their jobs and in every attached session, and turns them into segments and
 * deliveries.
 *
 * Numbers are assigned here and nowhere else. They become real when the batch has committed (`publish`); when it has
 * failed, `revert` takes them back, so that an event that was not stored has no number.
 */
import type {
  Batch,
  Delivery,
  JobRecord,
  JobState,
  KeyRecord,
  Segment,
  SegmentClass,
  SessionRecord,
  StepRecord,
  SubscriptionRecord
} from "../../store/Store.js"
import { accepts, type EndedJob, isLive, type LiveJob, type LiveSession, type Run, type SessionRun } from "./Model.js"

type Writable<T> = { -readonly [K in keyof T]: T[K] }

interface OpenSegment extends Writable<Segment> {
  readonly job: LiveJob
  payloads: Array<string>
  /** How much of it has waited in the job's queue: it no longer does once the batch has committed. */
  queuedEvents: number
  queuedBytes: number
}

interface OpenDelivery extends Writable<Delivery> {
  readonly session: LiveSession
  readonly job: LiveJob | EndedJob
}

const extend = (runs: Array<Run>, firstSeq: number, lastSeq: number, firstJobSeq: number): void => {
  const last = runs[runs.length - 1]
  if (
    last !== undefined &&
    last.lastSeq + 1 === firstSeq &&
    last.firstJobSeq + (last.lastSeq - last.firstSeq) + 1 === firstJobSeq
  )
    last.lastSeq = lastSeq
  else runs.push({ firstSeq, lastSeq, firstJobSeq })
}

const maxRecentEvents = 2048
const maxRecentChars = 1_048_576
const maxRecentRuns = 512

/** One batch in the making. */
export class Builder {
  private readonly sessionRecords = new Map<string, LiveSession>()
  private readonly jobRecords: Array<JobRecord> = []
  private readonly states = new Map<string, LiveJob>()
  private readonly keyRecords: Array<KeyRecord> = []
  private readonly segments: Array<OpenSegment> = []
  private readonly openSegments = new Map<LiveJob, OpenSegment>()
  private readonly deliveries: Array<OpenDelivery> = []
  private readonly openDeliveries = new Map<LiveSession, OpenDelivery>()
  private readonly removedSessions: Array<string> = []
  readonly subscriptions: Array<SubscriptionRecord> = []
  readonly subscriptionsRemoved: Array<SubscriptionRecord> = []
  readonly steps: Array<StepRecord> = []
  readonly trims: Array<{ readonly jobId: string; readonly upTo: number }> = []
  readonly jobsRemoved: Array<string> = []
  private changes = 0
  /** Events that have been published. */
  events = 0

  /**
   * Appends an event and gives it to every session that is attached and accepts its class. `queued` tells that it has waited
   * in the job's queue, which a change's own events have not.
   */
  event(job: LiveJob, cls: SegmentClass, payload: string, queued = false): void {
    const seq = ++job.assigned
    let segment = this.openSegments.get(job)
    if (segment === undefined || segment.class !== cls) {
      segment = {
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
    } else {
      segment.lastSeq = seq
      segment.payloads.push(payload)
    }
    if (queued) {
      segment.queuedEvents++
      segment.queuedBytes += payload.length
    }
    if (cls === "progress" || cls === "chunk") {
      const last = job.gated[job.gated.length - 1]
      if (last !== undefined && last.class === cls && last.last + 1 === seq) last.last = seq
      else job.gated.push({ class: cls, first: seq, last: seq })
    }
    for (const { session } of job.attachments.values()) {
      if (!accepts(session, cls)) continue
      this.deliver(session, job, seq, seq)
      session.assignedBytes += payload.length
      if (session.byteMarks.due(session.assignedBytes)) session.byteMarks.add(session.assigned, session.assignedBytes)
    }
  }

  /** Whether the terminal message of a job is in the log, or in this batch already. */
  hasEnd(job: LiveJob): boolean {
    if (job.terminalSeq > 0) return true
    const open = this.openSegments.get(job)
    return open !== undefined && (open.class === "result" || open.class === "error")
  }

  /** Gives a session the events `fromJobSeq..toJobSeq` of a job under the session's next numbers. */
  deliver(session: LiveSession, job: LiveJob | EndedJob, fromJobSeq: number, toJobSeq: number): void {
    const first = session.assigned + 1
    session.assigned += toJobSeq - fromJobSeq + 1
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

  /** Writes the session as it is when the batch leaves. */
  session(session: LiveSession): void {
    this.changes++
    if (!session.removed) this.sessionRecords.set(session.sessionId, session)
  }

  removeSession(session: LiveSession): void {
    this.changes++
    this.sessionRecords.delete(session.sessionId)
    this.removedSessions.push(session.sessionId)
  }

  job(record: JobRecord): void {
    this.jobRecords.push(record)
  }

  /** Writes the job's state as it is when the batch leaves. */
  state(job: LiveJob): void {
    this.states.set(job.jobId, job)
  }

  key(record: KeyRecord): void {
    this.keyRecords.push(record)
  }

  get isEmpty(): boolean {
    return (
      this.changes === 0 &&
      this.segments.length === 0 &&
      this.deliveries.length === 0 &&
      this.jobRecords.length === 0 &&
      this.states.size === 0 &&
      this.keyRecords.length === 0 &&
      this.subscriptions.length === 0 &&
      this.subscriptionsRemoved.length === 0 &&
      this.steps.length === 0 &&
      this.trims.length === 0 &&
      this.jobsRemoved.length === 0
    )
  }

  /** The batch as the store takes it. */
  batch(): Batch {
    const sessions: Array<SessionRecord> = []
    for (const session of this.sessionRecords.values()) sessions.push(session.record())
    const jobStates: Array<JobState> = []
    for (const job of this.states.values()) {
      jobStates.push({
        jobId: job.jobId,
        status: job.status,
        ownerSessionId: job.ownerSessionId,
        startedAt: job.startedAt,
        endedAt: job.endedAt,
        lastJobSeq: job.assigned,
        lastOwnerSeq: this.lastOwnerSeq(job),
        attempt: job.attempt,
        budget: job.budget,
        cancelled: job.cancelled,
        otherOwners: job.owners.length > 1 ? job.owners.slice(1).map(({ sessionId }) => sessionId) : undefined
      })
    }
    return {
      sessions,
      jobs: this.jobRecords,
      jobStates,
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
      steps: this.steps,
      subscriptionsRemoved: this.subscriptionsRemoved,
      trims: this.trims,
      sessionsRemoved: this.removedSessions,
      jobsRemoved: this.jobsRemoved
    }
  }

  private lastOwnerSeq(job: LiveJob): number {
    for (let i = this.deliveries.length - 1; i >= 0; i--) {
      const delivery = this.deliveries[i]!
      if (delivery.job === job && delivery.sessionId === job.ownerSessionId) return delivery.lastSeq
    }
    return job.lastOwnerSeq
  }

  /** The batch has committed: its numbers are real. Answers the sessions that have something new. */
  publish(): Iterable<LiveSession> {
    for (const { class: cls, job, lastSeq, payloads, queuedBytes, queuedEvents } of this.segments) {
      job.seq = lastSeq
      job.queuedEvents -= queuedEvents
      job.queuedBytes -= queuedBytes
      this.events += payloads.length
      if (cls === "result" || cls === "error") {
        job.terminalSeq = lastSeq
        job.terminalType = cls === "result" ? "job.result" : "job.error"
      }
      let seq = lastSeq - payloads.length
      for (const payload of payloads) {
        seq++
        job.recent.push(payload)
        job.recentBytes += payload.length
        job.bytes += payload.length
        if (job.byteMarks.due(job.bytes)) job.byteMarks.add(seq, job.bytes)
      }
      trimRecent(job)
    }
    for (const { firstJobSeq, firstSeq, job, lastSeq, session } of this.deliveries) {
      session.seq = lastSeq
      pushRecent(session, { firstSeq, lastSeq, firstJobSeq, job })
      if (isLive(job)) {
        const attachment = job.attachments.get(session.sessionId)
        if (attachment !== undefined) extend(attachment.runs, firstSeq, lastSeq, firstJobSeq)
        if (job.ownerSessionId === session.sessionId) job.lastOwnerSeq = lastSeq
      }
    }
    for (const session of this.openDeliveries.keys()) {
      session.bytes = session.assignedBytes
      session.byteMarks.add(session.seq, session.bytes)
    }
    return this.openDeliveries.keys()
  }

  /** The batch has failed: the numbers that it assigned are free again. */
  revert(): void {
    for (const job of this.openSegments.keys()) {
      job.assigned = job.seq
      job.gated = job.gated.filter((run) => run.first <= job.seq)
      for (const run of job.gated) run.last = Math.min(run.last, job.seq)
    }
    for (const session of this.openDeliveries.keys()) {
      session.assigned = session.seq
      session.assignedBytes = session.bytes
      session.byteMarks.revert(session.seq)
    }
  }
}

const trimRecent = (job: LiveJob): void => {
  if (job.recent.length <= maxRecentEvents && job.recentBytes <= maxRecentChars) return
  let drop = 0
  let left = job.recent.length
  while (left > maxRecentEvents / 2 || (job.recentBytes > maxRecentChars / 2 && left > 1)) {
    job.recentBytes -= job.recent[drop++]!.length
    left--
  }
  job.recent = job.recent.slice(drop)
  job.recentFrom += drop
  if (job.ownerPayloads === undefined) return
  for (const seq of job.ownerPayloads.keys()) if (seq < job.recentFrom) job.ownerPayloads.delete(seq)
}

const pushRecent = (session: LiveSession, run: SessionRun): void => {
  const { recent } = session
  const last = recent[recent.length - 1]
  if (
    last !== undefined &&
    last.job === run.job &&
    last.firstJobSeq + (last.lastSeq - last.firstSeq) + 1 === run.firstJobSeq
  )
    last.lastSeq = run.lastSeq
  else recent.push(run)
  const sent = session.link?.cursor ?? 0
  if (recent.length > 1 && (recent[0]!.lastSeq <= sent || recent.length > maxRecentRuns)) {
    let drop = Math.max(0, recent.length - maxRecentRuns)
    while (drop < recent.length - 1 && recent[drop]!.lastSeq <= sent) drop++
    recent.splice(0, drop)
  }
}

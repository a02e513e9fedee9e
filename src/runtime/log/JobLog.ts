/**
 * A job as the log knows it: its events, those of them that are kept in memory, and those that wait to be written.
 *
 * Responsibility: numbers, newest payloads and history of one job. Its sessions are in {@link Attachments}. What has become
 * of the job (its status, its budget) is the jobs' own part of the row, `state`, which is replaced as a whole and stored with
 * the numbers; nothing is decided by it here.
 *
 * Order: `assigned` is what the batch in the making has given away, `seq` what is durable. Numbers and state
 * change in {@link Batch} alone, through the methods that are named for it here.
 */
import { JobId } from "../../protocol/Ids.js"
import type { JobStatus } from "../../protocol/Session.js"
import type { JobValues } from "../../store/Rows.js"
import type { Payload } from "../../store/Payload.js"
import type { JobRecord, SegmentClass } from "../../store/Store.js"
import type { LimitsShape } from "../kernel/Limits.js"
import { ByteMarks } from "../kernel/ByteMarks.js"
import type { Outbox } from "./Outbox.js"
import type { ClassRun, EndedJob, Run, Undo } from "./Run.js"
import { type Attachment, Attachments, type SessionLog } from "./SessionLog.js"

/** The jobs' part of a job's row: immutable, replaced by `batch.state`. */
export interface JobFacts {
  readonly status: JobStatus
  /** Milliseconds since the epoch, as the next. */
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  readonly attempt: number
  /** Budget counters as JSON text, made by `Budgets`. */
  readonly budget: string | undefined
  /** The message of the cancel that has been or is being acknowledged. */
  readonly cancelled: string | undefined
}

/** What the log keeps of the numbers of a job that an earlier process has begun. */
export interface JobPlace {
  readonly ownerSessionId: string
  readonly lastJobSeq: number
  readonly lastOwnerSeq: number
}

/** The sessions that an earlier process's job had, with what each has been given. */
export interface Recovered {
  readonly attached: ReadonlyMap<SessionLog, ReadonlyArray<Run>>
  readonly owners: ReadonlyArray<SessionLog>
  readonly observers: ReadonlyArray<SessionLog>
  /** Events up to here are gone. */
  readonly trimmedTo: number
  readonly gated: ReadonlyArray<ClassRun>
}

/** A connection that has had no time to send the events of a job up to a number of its session. */
export interface Unsent {
  readonly link: Outbox
  readonly seq: number
}

const allSent: ReadonlyArray<Unsent> = []

const maxRecentEvents = 2048
const maxRecentChars = 1_048_576
/** Of payloads that are bytes: what a socket has not taken of a streamed result is sent from here, and not read back. */
const maxRecentBytes = 4_194_304
/** Texts for owners alone are few: the newest ones are kept for as long as the job is, also where their events are no longer. */
const maxOwnerTexts = 64

/** The part of a frame that says which job it is of, up to the frame's own id. */
export const inFrames = ({ jobId, traceId }: EndedJob): string =>
  `,"job_id":${JSON.stringify(jobId)},"trace_id":${JSON.stringify(traceId)},"id":"`

/** A job that has not ended. */
export class JobLog {
  readonly record: JobRecord
  /** What the texts of its record say. */
  readonly values: JobValues
  readonly jobId: JobId
  readonly traceId: string
  /** Its ids in the frames of its events. */
  readonly inFrames: string
  private facts: JobFacts
  /** Its sessions; changed by the batch. */
  readonly sessions: Attachments
  private inStore = false
  private durable: number
  private given: number
  private gone = 0
  private runsOfClass: Array<{ readonly class: SegmentClass; readonly first: number; last: number }> = []
  private payloads: Array<Payload> = []
  private payloadsFrom: number
  private payloadChars = 0
  private payloadBytes = 0
  private total = 0
  private trimmed = 0
  private readonly marks = new ByteMarks()
  private end = 0
  private endType: "job.result" | "job.error" = "job.result"
  private forOwners: ReadonlyMap<number, string> | undefined = undefined
  private waitingEvents = 0
  private waitingChars = 0
  private waiters: Array<() => void> = []
  private closed = false
  private ordered = false
  private held = false

  constructor(record: JobRecord, state: Omit<JobFacts, "endedAt"> & JobPlace, values: JobValues) {
    this.record = record
    this.values = values
    this.jobId = JobId(record.jobId)
    this.traceId = record.traceId
    this.inFrames = inFrames(record)
    const { attempt, budget, cancelled, startedAt, status } = state
    this.facts = { status, startedAt, endedAt: undefined, attempt, budget, cancelled }
    this.sessions = new Attachments(this, state.ownerSessionId, state.lastOwnerSeq)
    this.durable = state.lastJobSeq
    this.given = state.lastJobSeq
    this.payloadsFrom = state.lastJobSeq + 1
  }

  // The jobs' part.

  get state(): JobFacts {
    return this.facts
  }

  get status(): JobStatus {
    return this.facts.status
  }

  get attempt(): number {
    return this.facts.attempt
  }

  get startedAt(): number | undefined {
    return this.facts.startedAt
  }

  get budget(): string | undefined {
    return this.facts.budget
  }

  get cancelled(): string | undefined {
    return this.facts.cancelled
  }

  /** Replaces the jobs' part; for the batch. */
  setState(next: JobFacts): Undo {
    const before = this.facts
    this.facts = next
    return () => {
      this.facts = before
    }
  }

  /** Whether the store has it: nothing is written of one whose own change was dropped. */
  get isStored(): boolean {
    return this.inStore
  }

  /** The store has it; for the batch. */
  store(): void {
    this.inStore = true
  }

  // Numbers.

  /** The last event that is durable. */
  get seq(): number {
    return this.durable
  }

  /** The last event that the batch in the making has assigned. */
  get assigned(): number {
    return this.given
  }

  /** Events up to here are gone from the store. */
  get trimmedTo(): number {
    return this.gone
  }

  /** Runs of events that only sessions with the feature are sent, in order. */
  get gated(): ReadonlyArray<ClassRun> {
    return this.runsOfClass
  }

  /** The number of the terminal message, once it is durable; 0 before. */
  get terminalSeq(): number {
    return this.end
  }

  /** The type of the terminal message, once it is durable. */
  get terminalType(): "job.result" | "job.error" {
    return this.endType
  }

  /** The next event has its number; for the batch. */
  assign(cls: SegmentClass): number {
    const seq = ++this.given
    if (cls === "progress" || cls === "chunk") {
      const last = this.runsOfClass[this.runsOfClass.length - 1]
      if (last !== undefined && last.class === cls && last.last + 1 === seq) last.last = seq
      else this.runsOfClass.push({ class: cls, first: seq, last: seq })
    }
    return seq
  }

  /** These events are durable, the last of them under this number; for the batch. */
  publish(cls: SegmentClass, payloads: ReadonlyArray<Payload>, lastSeq: number): void {
    this.durable = lastSeq
    if (cls === "result" || cls === "error") {
      this.end = lastSeq
      this.endType = cls === "result" ? "job.result" : "job.error"
    }
    let seq = lastSeq - payloads.length
    for (const payload of payloads) {
      seq++
      // An array that begins empty has room for sixteen more with its first; a job that waits has had one.
      if (this.payloads.length === 0) this.payloads = [payload]
      else this.payloads.push(payload)
      this.count(payload, 1)
      this.total += payload.length
      if (this.marks.due(this.total)) this.marks.add(seq, this.total)
    }
    this.letGo()
  }

  /** The numbers that the batch assigned are free again; for the batch. */
  revert(): void {
    this.given = this.durable
    this.runsOfClass = this.runsOfClass.filter((run) => run.first <= this.durable)
    const last = this.runsOfClass[this.runsOfClass.length - 1]
    if (last !== undefined) last.last = Math.min(last.last, this.durable)
  }

  // Newest payloads.

  /** The newest payloads, those of the events `recentFrom..seq`. */
  get recent(): ReadonlyArray<Payload> {
    return this.payloads
  }

  get recentFrom(): number {
    return this.payloadsFrom
  }

  /** What only owners may see of an event (a rotated credential's value); never stored. Undefined: what everybody sees. */
  ownerPayload(seq: number): string | undefined {
    return this.forOwners?.get(seq)
  }

  /** Whether owners see another text of any event that is kept. */
  get hasOwnerPayloads(): boolean {
    return this.forOwners !== undefined
  }

  /** Keeps for its owners another text of an event; for the batch. */
  keepForOwners(seq: number, payload: string): Undo {
    const before = this.forOwners
    const kept = new Map(before).set(seq, payload)
    for (const oldest of kept.keys()) {
      if (kept.size <= maxOwnerTexts) break
      kept.delete(oldest)
    }
    this.forOwners = kept
    return () => {
      this.forOwners = before
    }
  }

  private count(payload: Payload, sign: 1 | -1): void {
    if (typeof payload === "string") this.payloadChars += sign * payload.length
    else this.payloadBytes += sign * payload.length
  }

  /** Whether the newest payloads are more than this part of what is kept. */
  private exceeds(events: number, part: number): boolean {
    return (
      events > maxRecentEvents * part ||
      this.payloadChars > maxRecentChars * part ||
      this.payloadBytes > maxRecentBytes * part
    )
  }

  private letGo(): void {
    if (!this.exceeds(this.payloads.length, 1)) return
    let drop = 0
    let left = this.payloads.length
    while (left > 1 && this.exceeds(left, 0.5)) {
      this.count(this.payloads[drop++]!, -1)
      left--
    }
    this.payloads = this.payloads.slice(drop)
    this.payloadsFrom += drop
  }

  // History.

  /** Whether more of it is kept than its history needs (§6.5); `historyEvents` and `historyBytes` are what it needs. */
  outgrows({ historyBytes, historyEvents }: Pick<LimitsShape, "historyBytes" | "historyEvents">): boolean {
    return !this.closed && (this.durable - this.gone > historyEvents * 2 || this.keptBytes > historyBytes * 2)
  }

  /** Bytes of payloads that are kept in the store, as far as this process has written them. */
  get keptBytes(): number {
    return this.total - this.trimmed
  }

  /** The highest event behind which there are at most so many bytes; 0 where that is not known. */
  seqBefore(bytes: number): number {
    return this.marks.upTo(this.total - bytes)
  }

  /** Bytes that would be freed if the events up to a number were gone. */
  freedBy(upTo: number): number {
    return this.marks.at(upTo) - this.trimmed
  }

  /** Events up to a number are going from the store: nothing reads them any more. */
  trimTo(upTo: number): void {
    this.trimmed += Math.max(0, this.freedBy(upTo))
    this.gone = upTo
    this.marks.forget(upTo)
    this.runsOfClass = this.runsOfClass.filter((run) => run.last > upTo)
  }

  // Sessions.

  /** Whether an owner is further behind with its acknowledgements than so many events or bytes. */
  isAhead(events: number, bytes: number): boolean {
    const { owners } = this.sessions
    for (let i = 0; i < owners.length; i++) {
      const owner = owners[i]!
      if (owner.seq - owner.ackedSeq > events || owner.bytes - owner.ackedBytes > bytes) return true
    }
    return false
  }

  /** The sessions that submitted it, the first one first; replaced, never changed. */
  get owners(): ReadonlyArray<SessionLog> {
    return this.sessions.owners
  }

  /** The first owner's, also once it has left and none has come. */
  get ownerSessionId(): string {
    return this.sessions.ownerSessionId
  }

  /** The last number of the first owner's session that is an event of the job. */
  get lastOwnerSeq(): number {
    return this.sessions.lastOwnerSeq
  }

  get attachments(): ReadonlyMap<string, Attachment> {
    return this.sessions.all
  }

  /** An earlier process's job has its sessions again. */
  recover({ attached, gated, observers, owners, trimmedTo }: Recovered): void {
    this.store()
    this.gone = trimmedTo
    this.runsOfClass = gated.map((run) => ({ ...run }))
    this.sessions.recover(attached)
    for (const owner of owners) this.sessions.addOwner(owner, this.given)
    for (const observer of observers) this.sessions.observe(observer)
  }

  // Emitting.

  /** Events that wait to be written, and characters of their payloads. */
  get queuedEvents(): number {
    return this.waitingEvents
  }

  get queuedBytes(): number {
    return this.waitingChars
  }

  /** An event waits to be written. */
  queue(chars: number): void {
    this.waitingEvents++
    this.waitingChars += chars
  }

  /** Events that waited are durable; for the batch. */
  dequeue(events: number, chars: number): void {
    this.waitingEvents -= events
    this.waitingChars -= chars
  }

  /** An emitter waits for the queue to fall; answers how it stops waiting. */
  wait(waiter: () => void): () => void {
    this.waiters.push(waiter)
    return () => {
      this.waiters = this.waiters.filter((other) => other !== waiter)
    }
  }

  /** Whether an emitter waits. */
  get isAwaited(): boolean {
    return this.waiters.length > 0
  }

  /**
   * The connections that have still to be sent, for want of time alone, what they were to send in an earlier turn; with the last event of this
   * job that each is to send. Of a session that has another connection by now nothing is waited for.
   */
  unsent(): ReadonlyArray<Unsent> {
    let late: Array<Unsent> | undefined
    for (const { given, session } of this.sessions.all.values()) {
      const { link } = session
      if (link?.isLate === true && link.cursor < given.lastSeq) (late ??= []).push({ link, seq: given.lastSeq })
    }
    return late ?? allSent
  }

  /** Whether its emitters wait until what was written has been sent. */
  get isHeld(): boolean {
    return this.held
  }

  hold(on: boolean): void {
    this.held = on
  }

  /** Lets every emitter go on. */
  wakeEmitters(): void {
    const { waiters } = this
    this.waiters = []
    for (const resume of waiters) resume()
  }

  /** Whether the terminal message has been queued: nothing is emitted after it. */
  get ending(): boolean {
    return this.closed
  }

  /** Nothing is emitted any more but what is queued already. */
  close(): void {
    this.closed = true
  }

  /** Whether its agent has used priorities in this process: until then no event looks for one. */
  get prioritized(): boolean {
    return this.ordered
  }

  /** Its agent uses priorities. */
  usePriorities(): void {
    this.ordered = true
  }
}

/** Whether the job still holds its newest payloads in memory. */
export const isLive = (job: EndedJob): job is JobLog => job instanceof JobLog

/**
 * A session as the log knows it: its numbers, what the client has acknowledged, what is kept in memory for it, its connection, and the jobs
 * whose events it is given.
 *
 * Responsibility: the numbers of one session ({@link SessionLog}), and who is attached to one job, from which place in the log on, and whose
 * numbers are the job's ({@link Attachments}). The sessions' own part of the row, `head`, is replaced as a whole and stored with the numbers.
 *
 * Order: `assigned` is what the batch in the making has given away, `seq` what is durable. An attachment counts from the place in the log at
 * which it was made. Both change in {@link Batch} alone; of an attachment each method says how it is undone, in the reverse order.
 *
 * Owners: the session that submitted the job, and those that submitted it again with its key (ARCP 1.1 §7.2). The first owner's numbers are
 * the job's in listings and for observers (§6.6). Where it leaves for good, the next one is the first.
 */
import type { Principal } from "../../auth/Principal.js"
import { SessionId } from "../../protocol/Ids.js"
import type { SegmentClass, SessionRecord } from "../../store/Store.js"
import type { PeerKind } from "../kernel/Peers.js"
import { ByteMarks } from "../kernel/ByteMarks.js"
import { type Run, Runs } from "../kernel/Runs.js"
import type { Outbox } from "./Outbox.js"
import type { EndedJob, SessionRun, Undo } from "./Run.js"
import { headOf, recordOf, type SessionHead } from "./SessionHead.js"

/** Runs that are kept in memory of what has been sent, or of a session without a connection. */
const maxRecentRuns = 512
/**
 * Runs that are kept of what a connection has not been sent yet: where many jobs emit in turn, each event is a run of its own, and what is not
 * here is read back from the store one by one. As many as `Limits.ackLag` lets be behind, and what its jobs emit until they wait.
 */
const maxUnsentRuns = 12_288

const none: ReadonlySet<never> = new Set<never>()

interface OpenSessionRun extends SessionRun {
  lastSeq: number
}

const nothing: Undo = () => undefined

/** A session that is connected or can be resumed. */
export class SessionLog {
  readonly sessionId: SessionId
  private currentHead: SessionHead
  /** Which classes of events it may be sent: those of kinds that it did not negotiate are left out (§6.2). */
  private progress: boolean
  private chunk: boolean
  private seenAt: number
  private lastSpoke: number
  private durable: number
  private given: number
  private acked: number
  private floor: number
  private durableBytes = 0
  private givenBytes = 0
  private bytesAcked = 0
  private readonly marks = new ByteMarks()
  private readonly runs: Array<OpenSessionRun> = []
  private connectedBy: Outbox | undefined = undefined
  /** Made when there is one, as the next: most sessions are idle. */
  private owns: Set<EndedJob> | undefined = undefined
  private observes: Set<EndedJob> | undefined = undefined
  private kind: PeerKind = undefined
  private gone = false

  /** `now`: elapsed time, at which it was last heard of. */
  constructor(record: SessionRecord, now: number) {
    this.sessionId = SessionId(record.sessionId)
    this.currentHead = headOf(record)
    this.progress = this.features.has("progress")
    this.chunk = this.features.has("result_chunk")
    this.seenAt = now
    this.lastSpoke = now
    this.durable = record.lastSeq
    this.given = record.lastSeq
    this.acked = record.ackedSeq
    this.floor = record.floorSeq
  }

  get head(): SessionHead {
    return this.currentHead
  }

  get principal(): Principal {
    return this.currentHead.principal
  }

  get features(): ReadonlySet<string> {
    return this.currentHead.features
  }

  /** Whether it may be sent events of this class. */
  accepts(cls: SegmentClass): boolean {
    return cls === "progress" ? this.progress : cls === "chunk" ? this.chunk : true
  }

  /** Replaces the sessions' part; for the batch. */
  setHead(head: SessionHead): Undo {
    const before = this.currentHead
    this.replaceHead(head)
    return () => this.replaceHead(before)
  }

  private replaceHead(head: SessionHead): void {
    this.currentHead = head
    this.progress = head.features.has("progress")
    this.chunk = head.features.has("result_chunk")
  }

  /** When something last came from the client, or went to it: elapsed milliseconds. */
  get lastSeenAt(): number {
    return this.seenAt
  }

  /** The last message that was not a sign of life (§14, heartbeat amplification): elapsed milliseconds. */
  get spokeAt(): number {
    return this.lastSpoke
  }

  /** Something has come from the client, or went to it. */
  seen(now: number): void {
    this.seenAt = now
  }

  /** The client has sent what is no sign of life. */
  spoke(now: number): void {
    this.lastSpoke = now
  }

  /** The highest number that is durable. */
  get seq(): number {
    return this.durable
  }

  /** The highest number that the batch in the making has assigned. */
  get assigned(): number {
    return this.given
  }

  get ackedSeq(): number {
    return this.acked
  }

  /** Events up to this number are gone (§6.3). */
  get floorSeq(): number {
    return this.floor
  }

  /**
   * Bytes of the payloads that this process has given it: durable ones, and those that the client has acknowledged. Replayed ones do not
   * count.
   */
  get bytes(): number {
    return this.durableBytes
  }

  get ackedBytes(): number {
    return this.bytesAcked
  }

  /** The highest number up to which it was given at most this many bytes; 0 where that is not known. */
  seqAtBytes(bytes: number): number {
    return this.marks.upTo(bytes)
  }

  /** The next numbers, as many as these; for the batch. */
  assign(count: number): void {
    this.given += count
  }

  /** A live event has its number; for the batch. */
  assignBytes(bytes: number): void {
    this.givenBytes += bytes
    if (this.marks.due(this.givenBytes)) this.marks.assume(this.given, this.givenBytes)
  }

  /** The numbers up to this one are durable, and are these events of a job; for the batch. */
  publish(firstSeq: number, lastSeq: number, firstJobSeq: number, job: EndedJob): void {
    this.durable = lastSeq
    this.remember(firstSeq, lastSeq, firstJobSeq, job)
  }

  /** All numbers of a batch are durable; for the batch. */
  publishBytes(): void {
    this.durableBytes = this.givenBytes
    this.marks.add(this.durable, this.durableBytes)
  }

  /** The numbers that the batch assigned are free again; for the batch. */
  revert(): void {
    this.given = this.durable
    this.givenBytes = this.durableBytes
    this.marks.revert(this.durable)
  }

  /** Events up to a number are gone; for the batch. */
  raiseFloor(seq: number): Undo {
    const before = this.floor
    this.floor = seq
    return () => {
      this.floor = before
    }
  }

  /** The client has acknowledged what comes up to a number (§6.5). */
  acknowledge(seq: number): void {
    this.acked = seq
    this.bytesAcked = Math.max(this.bytesAcked, seq >= this.durable ? this.durableBytes : this.marks.at(seq))
    this.marks.forget(seq)
  }

  /** The newest runs, contiguous up to `seq`; older ones are in the store. */
  get recent(): ReadonlyArray<SessionRun> {
    return this.runs
  }

  private remember(firstSeq: number, lastSeq: number, firstJobSeq: number, job: EndedJob): void {
    const { runs } = this
    const last = runs[runs.length - 1]
    if (last !== undefined && last.job === job && last.firstJobSeq + (last.lastSeq - last.firstSeq) + 1 === firstJobSeq)
      last.lastSeq = lastSeq
    else runs.push({ firstSeq, lastSeq, firstJobSeq, job })
    const link = this.connectedBy
    const sent = link?.cursor ?? 0
    const most = link === undefined ? maxRecentRuns : maxUnsentRuns
    if (runs.length > 1 && (runs[0]!.lastSeq <= sent || runs.length > most)) {
      let drop = Math.max(0, runs.length - most)
      while (drop < runs.length - 1 && runs[drop]!.lastSeq <= sent) drop++
      runs.splice(0, drop)
    }
  }

  /** The connection that has the session. */
  get link(): Outbox | undefined {
    return this.connectedBy
  }

  /** The SDK of the connected client, by the shape of its hello; a resume may come from another one. Not stored. */
  get peer(): PeerKind {
    return this.kind
  }

  /** A connection has it from now on. */
  connect(link: Outbox, peer: PeerKind): void {
    this.connectedBy = link
    this.kind = peer
  }

  /** Its connection has ended. */
  disconnect(): void {
    this.connectedBy = undefined
  }

  /** Jobs that this session owns and that have not ended. */
  get owned(): ReadonlySet<EndedJob> {
    return this.owns ?? none
  }

  /** Jobs that this session observes and that have not ended. */
  get observed(): ReadonlySet<EndedJob> {
    return this.observes ?? none
  }

  /** A job is among those that it owns or observes, or is not; for the job's own attachments. */
  mark(kind: "owned" | "observed", job: EndedJob, is: boolean): Undo {
    const known = kind === "owned" ? this.owns : this.observes
    if ((known?.has(job) ?? false) === is) return nothing
    const set = known ?? (kind === "owned" ? (this.owns = new Set()) : (this.observes = new Set()))
    if (is) set.add(job)
    else set.delete(job)
    return () => void (is ? set.delete(job) : set.add(job))
  }

  /** Whether the session is gone for good. */
  get removed(): boolean {
    return this.gone
  }

  /** It is gone for good: nothing of it is written any more. */
  remove(): void {
    this.gone = true
  }

  /** As it is stored; `epoch` is by how many milliseconds wall time is ahead of elapsed time. */
  record(epoch: number): SessionRecord {
    const { acked, currentHead, floor, given, seenAt, sessionId } = this
    return recordOf(sessionId, currentHead, Math.round(seenAt + epoch), given, acked, floor)
  }
}

// The sessions of a job.

/** A session's place in a job: what of the job it has been given. */
export interface Attachment {
  readonly session: SessionLog
  readonly given: Runs
  /** The connection over which the session has asked for it; another one after a resume may be another process's. */
  readonly link?: Outbox | undefined
  /** An owner that came later has not been given the events up to this one, but for the chunks of the result. */
  readonly before?: number | undefined
}

interface Attached extends Attachment {
  link: Outbox | undefined
  before: number | undefined
}

/** Undoes the later one first. */
const both =
  (first: Undo, second: Undo): Undo =>
  () => {
    second()
    first()
  }

/** The sessions of one job. */
export class Attachments {
  /** By the session's id. */
  readonly all: ReadonlyMap<string, Attachment>
  /** The sessions that submitted it, the first one first; replaced, never changed. */
  owners: ReadonlyArray<SessionLog> = []
  private readonly job: EndedJob
  private readonly attached = new Map<string, Attached>()
  private firstOwner: string
  /** The first owner's last number before it was attached, or when it left. */
  private firstOwnerSeq: number

  constructor(job: EndedJob, ownerSessionId: string, lastOwnerSeq: number) {
    this.job = job
    this.all = this.attached
    this.firstOwner = ownerSessionId
    this.firstOwnerSeq = lastOwnerSeq
  }

  /** The first owner's, also once it has left and none has come. */
  get ownerSessionId(): string {
    return this.firstOwner
  }

  /** The last number of the first owner's session that is an event of the job. */
  get lastOwnerSeq(): number {
    return Math.max(this.firstOwnerSeq, this.attached.get(this.firstOwner)?.given.lastSeq ?? 0)
  }

  /** Its events go to a session, which asked over a connection, from now on; for the batch. */
  attach(session: SessionLog, link: Outbox | undefined, before?: number): Undo {
    const id = session.sessionId
    if (this.attached.has(id)) return nothing
    this.attached.set(id, { session, given: new Runs(), link, before })
    return () => void this.attached.delete(id)
  }

  /** An attached session has asked for the whole history over a connection; for the batch. */
  askAgain(session: SessionLog, link: Outbox | undefined): Undo {
    const attachment = this.attached.get(session.sessionId)
    if (attachment === undefined) return nothing
    const { before, link: last } = attachment
    attachment.link = link
    attachment.before = 0
    return () => {
      attachment.link = last
      attachment.before = before
    }
  }

  /** A session observes it; for the batch. */
  observe(session: SessionLog): Undo {
    return session.mark("observed", this.job, true)
  }

  /** A session observes it no more, and is sent no more of it unless it is an owner; for the batch. */
  unobserve(session: SessionLog): Undo {
    const unmark = session.mark("observed", this.job, false)
    return this.owners.includes(session) ? unmark : both(unmark, this.detach(session))
  }

  /** A session is an owner, beside those that there are: events behind this one go there too; for the batch. */
  addOwner(session: SessionLog, before: number): Undo {
    const attach = this.attach(session, session.link, before)
    if (this.owners.includes(session)) return attach
    const owners = this.setOwners(this.owners.length === 0 ? [session] : [...this.owners, session])
    return both(both(attach, owners), session.mark("owned", this.job, true))
  }

  /** A session is an owner no more, and is sent no more of it unless it observes it; the job goes on. For the batch. */
  removeOwner(session: SessionLog): Undo {
    const unmark = session.mark("owned", this.job, false)
    const detach = session.observed.has(this.job) ? nothing : this.detach(session)
    return both(both(unmark, detach), this.setOwners(this.owners.filter((owner) => owner !== session)))
  }

  /** It has ended, and no session has it any more; for the batch. Its owners stay: what only owners see may still have to be sent to them. */
  detachAll(): Undo {
    const before: Array<Attached> = []
    const seq = this.firstOwnerSeq
    const undone: Array<Undo> = []
    for (const attachment of this.attached.values()) {
      before.push(attachment)
      const { session } = attachment
      undone.push(session.mark("owned", this.job, false), session.mark("observed", this.job, false))
    }
    this.firstOwnerSeq = this.lastOwnerSeq
    this.attached.clear()
    return () => {
      this.firstOwnerSeq = seq
      for (const attachment of before) this.attached.set(attachment.session.sessionId, attachment)
      for (const undo of undone.toReversed()) undo()
    }
  }

  /** What sessions of an earlier process had been given. */
  recover(attached: ReadonlyMap<SessionLog, ReadonlyArray<Run>>): void {
    for (const [session, runs] of attached) {
      this.attached.set(session.sessionId, {
        session,
        given: new Runs(runs),
        link: undefined,
        before: undefined
      })
    }
  }

  /** No session asks any more for what it was given of the events up to a number. */
  forgetRuns(upTo: number): void {
    for (const { given } of this.attached.values()) given.forget(upTo)
  }

  private detach(session: SessionLog): Undo {
    const id = session.sessionId
    const attachment = this.attached.get(id)
    if (attachment === undefined) return nothing
    const seq = this.firstOwnerSeq
    if (id === this.firstOwner) this.firstOwnerSeq = this.lastOwnerSeq
    this.attached.delete(id)
    return () => {
      this.attached.set(id, attachment)
      this.firstOwnerSeq = seq
    }
  }

  private setOwners(owners: ReadonlyArray<SessionLog>): Undo {
    const before = { owners: this.owners, first: this.firstOwner, seq: this.firstOwnerSeq }
    this.owners = owners
    const id = owners[0]?.sessionId
    if (id !== undefined && id !== this.firstOwner) {
      this.firstOwner = id
      this.firstOwnerSeq = 0
    }
    return () => {
      this.owners = before.owners
      this.firstOwner = before.first
      this.firstOwnerSeq = before.seq
    }
  }
}

/**
 * A session as the log knows it: its numbers, what the client has acknowledged, what is kept in memory for it, and its connection.
 *
 * Responsibility: the numbers of one session. Who the client is and with which tokens it may come back is the sessions' own part of the
 * row, `head`, which is replaced as a whole and stored with the numbers; here it is not read. What it negotiated is read often, and kept
 * beside it.
 *
 * Order: `assigned` is what the batch in the making has given away, `seq` what is durable. Both change in {@link Batch} alone, through
 * the methods that are named for it here.
 */
import type { Principal } from "../../auth/Principal.js"
import { PrincipalId, SessionId } from "../../protocol/Ids.js"
import type { SegmentClass, SessionRecord } from "../../store/Store.js"
import type { PeerKind } from "../kernel/Peers.js"
import { ByteMarks } from "../kernel/ByteMarks.js"
import type { Outbox } from "./Outbox.js"
import type { ClassRun, EndedJob, SessionRun, Undo } from "./Run.js"

/** The sessions' part of a session's row: immutable, replaced by `batch.head`. */
export interface SessionHead {
  readonly principal: Principal
  readonly client: SessionRecord["client"]
  /** What was negotiated (§6.2). */
  readonly features: ReadonlySet<string>
  readonly tokenHash: string
  /** Counts until the client has shown that it holds the current one. */
  readonly previousTokenHash: string | undefined
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

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
    this.currentHead = {
      principal: { ...record.principal, id: PrincipalId(record.principal.id) },
      client: record.client,
      features: new Set(record.features),
      tokenHash: record.tokenHash,
      previousTokenHash: record.previousTokenHash,
      createdAt: record.createdAt
    }
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
    const set = kind === "owned" ? (this.owns ??= new Set()) : (this.observes ??= new Set())
    const before = set.has(job)
    const put = (there: boolean): void => void (there ? set.add(job) : set.delete(job))
    put(is)
    return () => put(before)
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
    const { client, createdAt, features, previousTokenHash, principal, tokenHash } = this.currentHead
    return {
      sessionId: this.sessionId,
      principal,
      client,
      features: [...features],
      tokenHash,
      previousTokenHash,
      createdAt,
      lastSeenAt: Math.round(this.seenAt + epoch),
      lastSeq: this.given,
      ackedSeq: this.acked,
      floorSeq: this.floor
    }
  }
}

/** The parts of `from..to` that a session may be sent, where `gated` tells the runs of negotiated classes; without those of one class. */
export const acceptedParts = (
  session: SessionLog,
  gated: ReadonlyArray<ClassRun>,
  from: number,
  to: number,
  without?: SegmentClass | undefined
): ReadonlyArray<readonly [from: number, to: number]> => {
  const parts: Array<readonly [number, number]> = []
  let next = from
  for (const run of gated) {
    if (run.last < next || (run.class !== without && session.accepts(run.class))) continue
    if (run.first > to) break
    if (run.first > next) parts.push([next, run.first - 1])
    next = run.last + 1
  }
  if (next <= to) parts.push([next, to])
  return parts
}

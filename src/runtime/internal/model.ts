/**
 * The runtime's live state: sessions that can be resumed and jobs that have not ended.
 *
 * Plain mutable objects, changed by synchronous code only, so that every step is atomic. `seq` fields come in pairs: what
 * is durable, and what the batch that is being written has assigned.
 */
import type { Principal } from "../../auth/Principal.js"
import type { JobStatus } from "../../protocol/Session.js"
import type { JobValues } from "../../store/Rows.js"
import type { JobRecord, SegmentClass, SessionRecord } from "../../store/Store.js"
import { ByteMarks } from "./byteMarks.js"
import type { Link } from "./link.js"
import type { PeerKind } from "./peers.js"

/** The session numbers `firstSeq..lastSeq` are the events from `firstJobSeq` on of one job. */
export interface Run {
  readonly firstSeq: number
  lastSeq: number
  readonly firstJobSeq: number
}

/** A run in a session, with its job. */
export interface SessionRun extends Run {
  readonly job: LiveJob | EndedJob
}

/** What a frame needs of a job that is no longer live. */
export interface EndedJob {
  readonly jobId: string
  readonly traceId: string
}

/** Whether the job still holds its newest payloads in memory. */
export const isLive = (job: LiveJob | EndedJob): job is LiveJob => job instanceof LiveJob

/** A session's place in a job: what of the job it has been given. */
export interface Attachment {
  readonly session: LiveSession
  readonly runs: Array<Run>
  /** The connection over which the session has asked for it; another one after a resume may be another process's. */
  link?: Link | undefined
  /** An owner that came later has not been given the events up to this one, but for the chunks of the result. */
  before?: number | undefined
}

/** A session that is connected or can be resumed. */
export class LiveSession {
  readonly sessionId: string
  readonly principal: Principal
  readonly client: SessionRecord["client"]
  features: ReadonlySet<string>
  tokenHash: string
  previousTokenHash: string | undefined
  readonly createdAt: number
  lastSeenAt: number
  /** The highest number that is durable. */
  seq: number
  /** The highest number that the batch in the making has assigned. */
  assigned: number
  ackedSeq: number
  floorSeq: number
  /**
   * Bytes of the payloads that this process has given it: durable ones, those of the batch in the making with them, and those
   * that the client has acknowledged. Replayed ones do not count.
   */
  bytes = 0
  assignedBytes = 0
  ackedBytes = 0
  readonly byteMarks = new ByteMarks()
  /** The last message that was not a sign of life (§14, heartbeat amplification). */
  spokeAt: number
  /** The newest runs, contiguous up to `seq`; older ones are in the store. */
  readonly recent: Array<SessionRun> = []
  link: Link | undefined = undefined
  /** Jobs that this session owns and that have not ended. */
  readonly owned = new Set<LiveJob>()
  /** Jobs that this session observes and that have not ended. */
  readonly observed = new Set<LiveJob>()
  /** The SDK of the connected client, by the shape of its hello; a resume may come from another one. Not stored. */
  peer: PeerKind = undefined
  /** Set when the session is gone for good. */
  removed = false

  constructor(record: SessionRecord) {
    this.sessionId = record.sessionId
    this.principal = record.principal
    this.client = record.client
    this.features = new Set(record.features)
    this.tokenHash = record.tokenHash
    this.previousTokenHash = record.previousTokenHash
    this.createdAt = record.createdAt
    this.lastSeenAt = record.lastSeenAt
    this.spokeAt = record.lastSeenAt
    this.seq = record.lastSeq
    this.assigned = record.lastSeq
    this.ackedSeq = record.ackedSeq
    this.floorSeq = record.floorSeq
  }

  /** The client has acknowledged what comes up to a number. */
  acknowledge(seq: number): void {
    this.ackedSeq = seq
    this.ackedBytes = Math.max(this.ackedBytes, seq >= this.seq ? this.bytes : this.byteMarks.at(seq))
    this.byteMarks.forget(seq)
  }

  /** As it is stored. */
  record(): SessionRecord {
    return {
      sessionId: this.sessionId,
      principal: this.principal,
      client: this.client,
      features: [...this.features],
      tokenHash: this.tokenHash,
      previousTokenHash: this.previousTokenHash,
      createdAt: this.createdAt,
      lastSeenAt: this.lastSeenAt,
      lastSeq: this.assigned,
      ackedSeq: this.ackedSeq,
      floorSeq: this.floorSeq
    }
  }
}

/** Whether a session may be sent events of this class: those of kinds that it did not negotiate are left out (§6.2). */
export const accepts = (session: LiveSession, cls: SegmentClass): boolean =>
  cls === "progress" ? session.features.has("progress") : cls === "chunk" ? session.features.has("result_chunk") : true

/** A job that has not ended. */
export class LiveJob {
  readonly record: JobRecord
  /** What the texts of its record say. */
  readonly values: JobValues
  readonly jobId: string
  readonly traceId: string
  status: JobStatus
  /** The sessions that submitted it, the first one first; replaced, never changed. */
  owners: ReadonlyArray<LiveSession> = []
  /** The first owner's, also once it has left and none has come. */
  ownerSessionId: string
  startedAt: number | undefined
  endedAt: number | undefined = undefined
  attempt: number
  /** Budget counters as JSON text, kept by `Budgets`. */
  budget: string | undefined
  /** The message of the cancel that has been or is being acknowledged. */
  cancelled: string | undefined
  /** The last event that is durable. */
  seq: number
  /** The last event that the batch in the making has assigned. */
  assigned: number
  /** Events up to here are gone from the store. */
  trimmedTo = 0
  lastOwnerSeq: number
  readonly attachments = new Map<string, Attachment>()
  /** Whether its agent has used priorities in this process: until then no event looks for one. */
  prioritized = false
  /** The newest payloads, those of the events `recentFrom..seq`. */
  recent: Array<string> = []
  recentFrom: number
  recentBytes = 0
  /** Bytes of all payloads since this process has the job, and of those that are gone from the store. */
  bytes = 0
  trimmedBytes = 0
  readonly byteMarks = new ByteMarks()
  /** Runs of events that only sessions with the feature are sent, in order. */
  gated: Array<{ readonly class: SegmentClass; readonly first: number; last: number }> = []
  /** The number and the type of the terminal message, once it is durable. */
  terminalSeq = 0
  terminalType: "job.result" | "job.error" = "job.result"
  /** What only the owner may see of an event (a rotated credential's value); never stored. */
  ownerPayloads: Map<number, string> | undefined = undefined
  /** Events and bytes that wait to be written. */
  queuedEvents = 0
  queuedBytes = 0
  /** Emitters that wait for the queue to fall. */
  waiting: Array<() => void> = []
  /** Whether the terminal message has been queued: nothing is emitted after it. */
  ending = false

  constructor(
    record: JobRecord,
    state: {
      readonly status: JobStatus
      readonly ownerSessionId: string
      readonly startedAt: number | undefined
      readonly lastJobSeq: number
      readonly lastOwnerSeq: number
      readonly attempt: number
      readonly budget: string | undefined
      readonly cancelled: string | undefined
    },
    values: JobValues
  ) {
    this.record = record
    this.values = values
    this.jobId = record.jobId
    this.traceId = record.traceId
    this.status = state.status
    this.ownerSessionId = state.ownerSessionId
    this.startedAt = state.startedAt
    this.attempt = state.attempt
    this.budget = state.budget
    this.cancelled = state.cancelled
    this.seq = state.lastJobSeq
    this.assigned = state.lastJobSeq
    this.lastOwnerSeq = state.lastOwnerSeq
    this.recentFrom = state.lastJobSeq + 1
  }
}

/** The parts of `from..to` that a session may be sent, where `gated` tells the runs of negotiated classes; without those of one class. */
export const acceptedParts = (
  session: LiveSession,
  gated: ReadonlyArray<{ readonly class: SegmentClass; readonly first: number; readonly last: number }>,
  from: number,
  to: number,
  without?: SegmentClass | undefined
): ReadonlyArray<readonly [from: number, to: number]> => {
  const parts: Array<readonly [number, number]> = []
  let next = from
  for (const run of gated) {
    if (run.last < next || (run.class !== without && accepts(session, run.class))) continue
    if (run.first > to) break
    if (run.first > next) parts.push([next, run.first - 1])
    next = run.last + 1
  }
  if (next <= to) parts.push([next, to])
  return parts
}

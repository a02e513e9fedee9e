/**
 * A subscribe and its end as changes of the log (ARCP 1.1 §7.6): the session is attached to the job, and is given the history that it
 * asked for.
 *
 * Order: the attachment and the end of the history are decided at one place in the log's queue, so that live events begin exactly
 * where the replay ends. What is read from the store is read before that; a job that ends in between is read again.
 *
 * Races: a subscribe that is repeated on the connection that is being sent the job anyway shows nothing twice. A change that was not
 * stored is undone with its batch: the session observes what it observed before.
 */
import * as Option from "effect/Option"
import type { DecodedJob } from "../../../store/Rows.js"
import type { SegmentHead } from "../../../store/Store.js"
import type { Batch } from "../../log/Batch.js"
import type { Outbox } from "../../log/Outbox.js"
import type { JobLog } from "../../log/JobLog.js"
import type { EndedJob, Run } from "../../log/Run.js"
import { acceptedParts } from "../../log/Replay.js"
import type { Attachment, SessionLog } from "../../log/SessionLog.js"
import { ownerFor, type Replay } from "./numbers.js"

/** What a subscribe asks for, with what was read of the job before the change. */
export interface Looked {
  readonly session: SessionLog
  /** The job as it was found first. */
  readonly stored: DecodedJob
  /** The job as it was read again because it was not live. It cannot change any more where it has ended. */
  readonly ended: Option.Option<DecodedJob>
  /** Of the ended job's history. */
  readonly heads: ReadonlyArray<SegmentHead>
  readonly history: boolean
  /** The owner's number behind which history is asked for. */
  readonly from: number
  /** The same as a number in the job. */
  readonly after: number
  readonly ownerRuns: ReadonlyArray<Run>
}

/** A subscribe that is being written. */
export class Observation {
  /** The job, where it had not ended when the change was written. */
  live: JobLog | undefined = undefined
  /** What is replayed; undefined: nothing. */
  replay: Replay | undefined = undefined
  /**
   * The session's last number before the replay: the answer belongs behind it. What a resume is sending of the same job comes before the
   * answer, else a client could not tell it from the history, and would take its end for the history's (§6.3).
   */
  behind = 0
  /** The job has ended between the look-up and the change, or was about to be removed: what is to be sent must be read again. */
  missed = false
  private readonly looked: Looked
  private readonly jobId: string
  /** The connection that asks. */
  private readonly link: Outbox | undefined
  private attached = false
  private again: Pick<Attachment, "before" | "link"> | undefined = undefined

  /** Whether what was looked at may be gone when the change is written. */
  private readonly isVoid: boolean

  constructor(looked: Looked, isVoid: boolean) {
    this.looked = looked
    this.isVoid = isVoid
    this.jobId = looked.stored.record.jobId
    this.link = looked.session.link
  }

  /** Adds the subscription to the batch; `live`: the job, where it has not ended by now. */
  write(batch: Batch, live: JobLog | undefined): void {
    this.live = live
    this.replay = undefined
    this.behind = this.looked.session.assigned
    this.missed = false
    this.attached = false
    this.again = undefined
    if (live === undefined) this.replayEnded(batch)
    else this.observe(batch, live)
  }

  /** The job as the answer shows it. */
  get stored(): DecodedJob {
    return Option.getOrElse(this.looked.ended, () => this.looked.stored)
  }

  private replayEnded(batch: Batch): void {
    const { after, ended, heads, session, stored } = this.looked
    if (Option.isNone(ended) || this.isVoid) {
      this.missed = true
      return
    }
    const job: EndedJob = { jobId: this.jobId, traceId: stored.record.traceId }
    for (const head of heads) {
      const run = { class: head.class, first: head.firstSeq, last: head.lastSeq }
      const first = Math.max(head.firstSeq, after + 1)
      this.deliver(batch, job, acceptedParts(session, [run], first, head.lastSeq), heads[0]!.firstSeq - 1)
    }
  }

  private observe(batch: Batch, live: JobLog): void {
    const { after, history, session } = this.looked
    const { link } = this
    const first = Math.max(after, live.trimmedTo) + 1
    this.attach(batch, live, first)
    const { again } = this
    // Where the session was resumed, this may be another process, which asks for what the one before it has had.
    if (history && (this.attached || (again !== undefined && again.link !== link))) {
      this.deliver(batch, live, acceptedParts(session, live.gated, first, live.assigned), live.trimmedTo)
    } else if (again?.before !== undefined) {
      // An owner that came later has what came since, and the chunks (§7.2).
      const last = Math.min(again.before, live.assigned)
      this.deliver(batch, live, acceptedParts(session, live.gated, first, last, "chunk"), live.trimmedTo)
    }
    batch.observe(live, session)
  }

  /** Attaches the session, or notes on its attachment that this connection has asked for the job's history. */
  private attach(batch: Batch, live: JobLog, first: number): void {
    const { history, session } = this.looked
    const { link } = this
    const known = live.attachments.get(session.sessionId)
    const run = known?.given.all[0]
    // All that the session was given of it comes on this connection anyway: the answer was lost with the last one, and
    // the client asks again. Twice would be once too often.
    const comes = link !== undefined && run !== undefined && run.firstSeq > link.start && run.firstJobSeq <= first
    if (known === undefined) {
      this.attached = true
      batch.attach(live, session, link)
    } else if (history && !comes && (known.link !== link || (known.before ?? 0) > 0)) {
      this.again = { link: known.link, before: known.before }
      batch.askAgain(live, session, link)
    }
  }

  private deliver(
    batch: Batch,
    job: JobLog | EndedJob,
    parts: ReadonlyArray<readonly [first: number, last: number]>,
    gone: number
  ): void {
    if (parts.length === 0) return
    const { after, from, ownerRuns, session } = this.looked
    this.replay ??= { from, after, gone, runs: this.runsNow() ?? ownerRuns }
    for (const [first, last] of parts) batch.deliver(session, job, first, last)
  }

  private runsNow(): ReadonlyArray<Run> | undefined {
    const { live } = this
    return live?.attachments.get(ownerFor(this.looked.session, live))?.given.all
  }
}

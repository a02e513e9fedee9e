/**
 * The sessions that are given a job's events: its owners and its observers, with what each has been given.
 *
 * Responsibility: who is attached to one job, from which place in the log on, and whose numbers are the job's.
 *
 * Order: an attachment counts from the place in the log at which it was made. It is made, changed and ended by {@link Batch} alone; each
 * method says how it is undone, and the undone order is the reverse.
 *
 * Owners: the session that submitted the job, and those that submitted it again with its key (ARCP 1.1 §7.2). The first owner's numbers are
 * the job's in listings and for observers (§6.6). Where it leaves for good, the next one is the first.
 */
import type { Outbox } from "./Outbox.js"
import { type Run, Runs } from "../kernel/Runs.js"
import type { EndedJob, Undo } from "./Run.js"
import type { SessionLog } from "./SessionLog.js"

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

const nothing: Undo = () => undefined

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
    const before = [...this.attached.values()]
    const seq = this.firstOwnerSeq
    const undone: Array<Undo> = []
    for (const { session } of before) {
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

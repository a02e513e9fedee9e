/**
 * Frames of jobs that cannot be taken in yet: of unknown jobs, of jobs whose subscribe is unanswered, and those that wait for
 * missing numbers. One bound in number and size for all of them.
 */
import type * as Envelope from "../../protocol/Envelope.js"
import type { Terminal } from "./ends.js"
import type { Pending } from "./match.js"
import { type Kept as OrphansOf, Orphans } from "./orphans.js"

/** A frame of a job. */
export type JobFrame = Terminal | { readonly type: "job.event"; readonly envelope: Envelope.RawEnvelope }

/** A frame with its size. */
export interface Sized {
  readonly frame: JobFrame
  readonly bytes: number
}

/** At most this many frames, but for those of unknown jobs, which have bounds of their own. */
const maxFrames = 100_000
/** UTF-16 code units of them. */
const maxBytes = 67_108_864

/** Frames that are held for a subscribe: until it is answered, and not much longer than they come. */
interface Hold {
  readonly pending: Pending
  readonly frames: Array<Sized>
  age: number
  quiet: number
  seen: number
}
const maxAge = 10
const maxQuiet = 2

const seqOf = ({ envelope }: JobFrame): number => envelope.event_seq ?? 0

export class Kept {
  private readonly orphans = new Orphans<JobFrame>()
  /** By job, for the subscribe whose answer tells whose numbers they have. */
  readonly holds = new Map<string, Hold>()
  private later: Array<Sized> = []
  private count = 0
  private bytes = 0

  /** Whether one more of this size may be kept. */
  hasRoom(size: number): boolean {
    return this.count < maxFrames && this.bytes + size <= maxBytes
  }

  hasOrphans(jobId: string): boolean {
    return this.orphans.first(jobId) !== undefined
  }

  /** Keeps a frame of an unknown job, where there is room, else notes that it is missing. `last`: the number of one without. */
  orphan(jobId: string, frame: JobFrame, last: number, size: number): void {
    this.orphans.keep(jobId, frame, frame.envelope.event_seq ?? last, size, frame.type !== "job.event")
  }

  takeOrphans(jobId: string): OrphansOf<JobFrame> | undefined {
    return this.orphans.take(jobId)
  }

  /** The number of the first frame of an unknown job. */
  readonly firstOrphan = (jobId: string): number | undefined => this.orphans.first(jobId)

  /** From now on a job's frames are held for this subscribe. */
  startHold(jobId: string, pending: Pending): void {
    if (!this.holds.has(jobId)) this.holds.set(jobId, { pending, frames: [], age: 0, quiet: 0, seen: 0 })
  }

  /** Whether the job's frames are held, this one with them; false where there is no room. */
  hold(jobId: string, frame: JobFrame, size: number): boolean {
    const hold = this.holds.get(jobId)
    if (hold === undefined || !this.hasRoom(size)) return false
    hold.frames.push({ frame, bytes: size })
    this.count++
    this.bytes += size
    return true
  }

  /** The jobs whose frames have waited long enough. Called once a second. */
  oldHolds(): ReadonlyArray<string> {
    const old: Array<string> = []
    for (const [jobId, hold] of this.holds) {
      hold.age++
      hold.quiet = hold.frames.length === hold.seen ? hold.quiet + 1 : 0
      hold.seen = hold.frames.length
      if (hold.age >= maxAge || (hold.seen > 0 && hold.quiet >= maxQuiet)) old.push(jobId)
    }
    return old
  }

  takeHold(jobId: string): ReadonlyArray<Sized> {
    const hold = this.holds.get(jobId)
    this.holds.delete(jobId)
    if (hold === undefined) return []
    this.count -= hold.frames.length
    for (const { bytes } of hold.frames) this.bytes -= bytes
    return hold.frames
  }

  /** Keeps a frame that waits for the numbers before it. */
  wait(frame: JobFrame, bytes: number): void {
    this.later.push({ frame, bytes })
    this.count++
    this.bytes += bytes
  }

  /** Takes the frames that no number is missing for any more, in their order. */
  takeDue(last: number): ReadonlyArray<Sized> {
    if (this.later.length === 0) return []
    const due = this.later.filter(({ frame }) => seqOf(frame) <= last)
    if (due.length === 0) return []
    this.later = this.later.filter(({ frame }) => seqOf(frame) > last)
    for (const { bytes } of due) this.bytes -= bytes
    this.count -= due.length
    return due.sort((a, b) => seqOf(a.frame) - seqOf(b.frame))
  }

  clear(): void {
    this.orphans.clear()
    this.holds.clear()
    this.later = []
    this.count = 0
    this.bytes = 0
  }
}

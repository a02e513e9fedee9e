/**
 * Frames of jobs that cannot be taken in yet: of unknown jobs, of jobs whose subscribe is unanswered, and those that wait for
 * missing numbers. One bound in number and size for all of them.
 */
import type * as Envelope from "../../protocol/Envelope.js"
import type { Terminal } from "./ends.js"
import type { Pending } from "./match.js"

/** A frame of a job. */
export type JobFrame = Terminal | { readonly type: "job.event"; readonly envelope: Envelope.RawEnvelope }

/** At most this many frames. */
const maxFrames = 100_000
/** UTF-16 code units of them; beyond it those of unknown jobs are dropped, as beyond their number. */
const maxBytes = 67_108_864

interface Frames {
  readonly frames: Array<JobFrame>
  bytes: number
}

/** Frames that are held for a subscribe: until it is answered, and not much longer than they come. */
interface Hold extends Frames {
  readonly pending: Pending
  age: number
  quiet: number
  seen: number
}
const maxAge = 10
const maxQuiet = 2

const seqOf = ({ envelope }: JobFrame): number => envelope.event_seq ?? 0

export class Kept {
  private readonly orphans = new Map<string, Frames>()
  /** By job, for the subscribe whose answer tells whose numbers they have. */
  readonly holds = new Map<string, Hold>()
  private later: Array<{ readonly frame: JobFrame; readonly bytes: number }> = []
  private count = 0
  private bytes = 0

  /** Whether one more of this size may be kept. */
  hasRoom(size: number): boolean {
    return this.count < maxFrames && this.bytes + size <= maxBytes
  }

  private add(kept: Frames, frame: JobFrame, size: number): void {
    kept.frames.push(frame)
    kept.bytes += size
    this.count++
    this.bytes += size
  }

  private remove(kept: Frames | undefined): ReadonlyArray<JobFrame> {
    if (kept === undefined) return []
    this.count -= kept.frames.length
    this.bytes -= kept.bytes
    return kept.frames
  }

  hasOrphans(jobId: string): boolean {
    return this.orphans.has(jobId)
  }

  /** Keeps a frame of an unknown job, where there is room. */
  orphan(jobId: string, frame: JobFrame, size: number): void {
    if (!this.hasRoom(size)) return
    let kept = this.orphans.get(jobId)
    if (kept === undefined) {
      kept = { frames: [], bytes: 0 }
      this.orphans.set(jobId, kept)
    }
    this.add(kept, frame, size)
  }

  takeOrphans(jobId: string): ReadonlyArray<JobFrame> {
    const kept = this.orphans.get(jobId)
    this.orphans.delete(jobId)
    return this.remove(kept)
  }

  /** From now on a job's frames are held for this subscribe. */
  startHold(jobId: string, pending: Pending): void {
    if (!this.holds.has(jobId)) this.holds.set(jobId, { pending, frames: [], bytes: 0, age: 0, quiet: 0, seen: 0 })
  }

  /** Whether the job's frames are held, this one with them; false where there is no room. */
  hold(jobId: string, frame: JobFrame, size: number): boolean {
    const hold = this.holds.get(jobId)
    if (hold === undefined || !this.hasRoom(size)) return false
    this.add(hold, frame, size)
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

  takeHold(jobId: string): ReadonlyArray<JobFrame> {
    const hold = this.holds.get(jobId)
    this.holds.delete(jobId)
    return this.remove(hold)
  }

  /** Keeps a frame that waits for the numbers before it. */
  wait(frame: JobFrame, bytes: number): void {
    this.later.push({ frame, bytes })
    this.count++
    this.bytes += bytes
  }

  /** Takes the frames that no number is missing for any more, in their order. */
  takeDue(last: number): ReadonlyArray<JobFrame> {
    if (this.later.length === 0) return []
    const due = this.later.filter(({ frame }) => seqOf(frame) <= last)
    if (due.length === 0) return []
    this.later = this.later.filter(({ frame }) => seqOf(frame) > last)
    for (const { bytes } of due) this.bytes -= bytes
    this.count -= due.length
    return due.map(({ frame }) => frame).sort((a, b) => seqOf(a) - seqOf(b))
  }

  clear(): void {
    this.orphans.clear()
    this.holds.clear()
    this.later = []
    this.count = 0
    this.bytes = 0
  }
}

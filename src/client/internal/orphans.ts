/**
 * Messages of jobs that are not known yet: a job's events may come before its `job.accepted`, and a resumed session is
 * replayed the events of jobs that the program attaches to later. Kept up to a bound; what goes beyond is noted as missing.
 */
import type { Missed } from "./job.js"

/** Messages that are kept, at most. */
const maxMessages = 100_000
/** UTF-16 code units of messages that are kept. */
const maxBytes = 67_108_864
/** Jobs of which only is noted that something is missing. */
const maxMissing = 10_000

/** What has come of a job. */
export interface Kept<M> {
  readonly messages: Array<M>
  readonly sizes: Array<number>
  bytes: number
  /** The number of the first message. */
  readonly first: number
  /** What was dropped, before the message `at`; `end` where that was the job's end. */
  missed: (Missed & { readonly end: boolean }) | undefined
}

export class Orphans<M> {
  private readonly jobs = new Map<string, Kept<M>>()
  private count = 0
  private bytes = 0

  keep(jobId: string, message: M, seq: number, size: number, end: boolean): void {
    let kept = this.jobs.get(jobId)
    if (kept === undefined) {
      if (this.jobs.size >= maxMessages + maxMissing) return
      kept = { messages: [], sizes: [], bytes: 0, first: seq, missed: undefined }
      this.jobs.set(jobId, kept)
    }
    if (this.count >= maxMessages || this.bytes + size > maxBytes) {
      const { missed } = kept
      kept.missed = {
        at: missed?.at ?? kept.messages.length,
        from: missed?.from ?? seq,
        to: seq,
        missed: (missed?.missed ?? 0) + 1,
        end: end || missed?.end === true
      }
      return
    }
    this.count++
    this.bytes += size
    kept.messages.push(message)
    kept.sizes.push(size)
    kept.bytes += size
  }

  take(jobId: string): Kept<M> | undefined {
    const kept = this.jobs.get(jobId)
    if (kept === undefined) return undefined
    this.jobs.delete(jobId)
    this.count -= kept.messages.length
    this.bytes -= kept.bytes
    return kept
  }

  /** The number of the first message of a job. */
  readonly first = (jobId: string): number | undefined => this.jobs.get(jobId)?.first

  clear(): void {
    this.jobs.clear()
    this.count = 0
    this.bytes = 0
  }
}

/**
 * Reads of ended jobs by subscribes (ARCP 1.1 §7.6).
 *
 * Responsibility: a subscribe first reads an ended job, and later writes that its session is to be sent the history. Retention does not remove
 * a job between these two steps.
 *
 * Races: retention also works in two steps: it reads which sessions a job was given to, and removes it later. It therefore keeps a job that was
 * read after its own first step, even if that read is over. A read that begins after the removal was decided, but before it is stored, is
 * void: the subscribe reads again once the removal is stored.
 */

/** One subscribe's read of an ended job. */
export interface EndedRead {
  /** Whether the job was being removed already when it began. */
  readonly isVoid: boolean
  /** Ends it: what was read is in the log, or never will be. May be called more than once. */
  readonly over: () => void
}

/** The reads of one runtime. */
export class EndedReads {
  private readonly reads = new Map<string, { open: number; over: number }>()
  private readonly going = new Set<string>()
  private count = 0

  /** A moment, for {@link isRead}. */
  get now(): number {
    return this.count
  }

  /** Begins a read. */
  begin(jobId: string): EndedRead {
    const read = this.reads.get(jobId) ?? { open: 0, over: 0 }
    this.reads.set(jobId, read)
    read.open++
    let isOver = false
    return {
      isVoid: this.going.has(jobId),
      over: () => {
        if (isOver) return
        isOver = true
        read.open--
        read.over = ++this.count
      }
    }
  }

  /** Whether a job is being read, or has been since a moment. */
  isRead(jobId: string, since: number): boolean {
    const read = this.reads.get(jobId)
    return read !== undefined && (read.open > 0 || read.over > since)
  }

  /** The removal of these jobs is decided, and not stored yet. */
  removing(jobIds: ReadonlyArray<string>): void {
    for (const jobId of jobIds) this.going.add(jobId)
  }

  /** The removal of these jobs is stored, or has failed. */
  decided(jobIds: ReadonlyArray<string>): void {
    for (const jobId of jobIds) this.going.delete(jobId)
  }

  /** Forgets reads that are over. Nobody may ask about a moment before now afterwards. */
  forget(): void {
    for (const [jobId, { open }] of this.reads) if (open === 0) this.reads.delete(jobId)
  }
}

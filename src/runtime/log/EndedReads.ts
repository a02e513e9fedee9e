/**
 * Which ended jobs are being read for somebody who is to be sent them.
 *
 * Responsibility: what is read of an ended job, and what is then written of it (that a session is to be sent its history), are two steps. Retention,
 * which removes ended jobs, leaves those alone that are between the two.
 *
 * Races: retention too reads first (who is owed a job) and removes later. So it asks whether a job has been read since, and not only whether it
 * is being read. And what it has decided may not be in the store yet when somebody begins to read: such a read is void, and is made again
 * behind the change.
 */

/** A read of one job. */
export interface EndedRead {
  /** Whether the job was being removed already when it began. */
  readonly isVoid: boolean
  /** What was read is in the log, or is not going to be. Harmless when that was said before. */
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

  /** A job is read from now on. */
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

  /** That jobs go is decided, and not in the store yet. */
  removing(jobIds: ReadonlyArray<string>): void {
    for (const jobId of jobIds) this.going.add(jobId)
  }

  /** They have gone, or could not. */
  decided(jobIds: ReadonlyArray<string>): void {
    for (const jobId of jobIds) this.going.delete(jobId)
  }

  /** Nobody asks about moments before now any more. */
  forget(): void {
    for (const [jobId, { open }] of this.reads) if (open === 0) this.reads.delete(jobId)
  }
}

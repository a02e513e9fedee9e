/**
 * Jobs that have changed since their consumers were last notified.
 *
 * Consumers are notified once for many frames. A result that has begun to stream in stays undecided for a moment: its reader may be
 * about to open, and would own the chunks.
 */
import type { ClientJob } from "./job.js"

export class Changed {
  private readonly touched = new Set<ClientJob>()
  private undecided: Array<ClientJob> = []

  add(job: ClientJob): void {
    this.touched.add(job)
  }

  /** Notifies the consumers of every job that has changed. Returns whether there was one. */
  notify(): boolean {
    if (this.touched.size === 0) return false
    const jobs = [...this.touched]
    this.touched.clear()
    for (const job of jobs) {
      job.notify()
      if (job.chunks.undecided) this.undecided.push(job)
    }
    return true
  }

  /** Whether results have begun to stream in; their readers may be about to open. */
  get hasUndecided(): boolean {
    return this.undecided.length > 0
  }

  /** A reader that opens from now on does not own these results. */
  decide(): void {
    for (const job of this.undecided) job.chunks.decide()
    this.undecided = []
  }
}

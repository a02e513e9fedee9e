/**
 * Jobs that have changed since their consumers were last notified.
 *
 * Consumers are notified once for many frames. A result that has begun to stream in stays undecided for a moment: its reader may be
 * about to open, and would own the chunks.
 */
import type { Behind } from "./behind.js"
import type { ClientJob } from "./job.js"

export class Changed {
  private touched = new Set<ClientJob>()
  private spare = new Set<ClientJob>()
  private undecided: Array<ClientJob> = []
  private readonly behind: Behind

  constructor(behind: Behind) {
    this.behind = behind
  }

  add(job: ClientJob): void {
    this.touched.add(job)
  }

  /** Notifies the consumers of every job that has changed. Returns whether there was one. */
  notify(): boolean {
    const jobs = this.touched
    if (jobs.size === 0) return false
    this.touched = this.spare
    this.spare = jobs
    for (const job of jobs) {
      this.behind.look(job)
      job.notify()
      if (job.chunks.undecided) this.undecided.push(job)
    }
    jobs.clear()
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

/**
 * Jobs whose emitters wait because they emit faster than this process sends (ARCP 1.1 §6.5).
 *
 * Responsibility: which jobs wait, and for what: the connections that were late when a batch of the job was published, each up to the last
 * event of the job that it had to send then. What a connection has to send beyond that is not waited for; otherwise a client that asks for
 * something in every turn would stop the agents that it observes.
 *
 * Order: it is looked behind what was to be sent in each turn, until nothing is waited for. A connection that ends, is displaced or waits for
 * its socket or the store has nothing due, and is not waited for; nor does a job wait that is ending.
 */
import { type Due, sendSoon } from "../kernel/Turn.js"
import type { JobLog, Unsent } from "./JobLog.js"

interface Held {
  readonly job: JobLog
  readonly unsent: ReadonlyArray<Unsent>
}

/** The jobs of one log that wait. */
export class HeldJobs {
  private held: Array<Held> = []
  private readonly sent: Due
  private readonly released: (job: JobLog) => void

  /** `timed`: whether a turn may be over; `released` is called with each job that waits no longer. */
  constructor(timed: boolean, released: (job: JobLog) => void) {
    this.sent = { run: () => this.letGo(), timed }
    this.released = released
  }

  /** Makes the emitters of jobs wait whose earlier events have not been sent yet: otherwise more and more of them are read back from the store. */
  hold(jobs: Iterable<JobLog>): void {
    for (const job of jobs) {
      if (job.isHeld || job.ending) continue
      const unsent = job.unsent()
      if (unsent.length === 0) continue
      job.hold(true)
      if (this.held.push({ job, unsent }) === 1) sendSoon(this.sent)
    }
  }

  private letGo(): void {
    const { held } = this
    this.held = []
    for (const { job, unsent } of held) {
      const left = unsent.filter(({ link, seq }) => link.isDue && link.cursor < seq)
      if (left.length > 0 && !job.ending) {
        this.held.push({ job, unsent: left })
        continue
      }
      job.hold(false)
      this.released(job)
    }
    if (this.held.length > 0) sendSoon(this.sent)
  }
}

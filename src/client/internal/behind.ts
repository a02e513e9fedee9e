/**
 * Jobs of which a reader is behind, so that neither an acknowledgement nor a look at the lag goes through all jobs: a client may have
 * thousands, and both are asked after every few frames.
 *
 * Order: a reader falls behind when a frame of its job has come, or where it begins; both look here. A job leaves when it is found that none
 * of its readers is behind.
 */
import type { ClientJob } from "./job.js"

/** The least part of the bounds that anything asks about. */
const least = 0.5

/** The jobs of one client whose readers are behind. */
export class Behind implements Iterable<ClientJob> {
  private readonly jobs = new Set<ClientJob>()
  private readonly live: ReadonlyMap<string, ClientJob>

  /** `live`: jobs that have neither ended nor been lost; of others nothing is held up. */
  constructor(live: ReadonlyMap<string, ClientJob>) {
    this.live = live
  }

  /** Something has come of the job, or a reader has begun. */
  look(job: ClientJob): void {
    if (job.isBehind(least)) this.jobs.add(job)
  }

  /** The live jobs of which a reader is behind. */
  *[Symbol.iterator](): IterableIterator<ClientJob> {
    for (const job of this.jobs) {
      if (this.live.get(job.jobId) === job && job.isBehind(least)) yield job
      else this.jobs.delete(job)
    }
  }
}

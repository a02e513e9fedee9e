/**
 * How much the events of running jobs amount to, so that their end need not count them.
 *
 * Responsibility: jobs that this process has created and whose events it has written, all of them. Of every other job nothing is known, and
 * the database counts.
 *
 * Order: a batch is added before it is written, since a job's state is written with the bytes of the same batch. After a commit that failed,
 * and after a trim, nothing is known of the jobs that were concerned.
 */
import { isTerminal } from "../../protocol/Session.js"
import { type LoadedBatch, rowSize } from "../Payload.js"

/** Jobs that are known at a time, some 100 bytes each; the oldest is given up first. */
const maxKnown = 16_384

/** Characters of the events of jobs, as the database counts them. */
export class JobSizes {
  private readonly sizes = new Map<string, number>()
  private readonly limit: number

  constructor(limit = maxKnown) {
    this.limit = limit
  }

  /** Counts what a batch is about to write. */
  add(batch: LoadedBatch): void {
    const { limit, sizes } = this
    for (const { jobId } of batch.jobs) sizes.set(jobId, 0)
    for (const { jobId, payloads } of batch.segments) {
      const before = sizes.get(jobId)
      if (before === undefined) continue
      sizes.set(jobId, before + rowSize(payloads))
    }
    for (const oldest of sizes.keys()) {
      if (sizes.size <= limit) break
      sizes.delete(oldest)
    }
  }

  /** What the events of a job amount to; undefined where that is not known. */
  readonly of = (jobId: string): number | undefined => this.sizes.get(jobId)

  /** The batch was written: forgets the jobs that have ended, and those of which rows were deleted. */
  committed(batch: LoadedBatch): void {
    const { sizes } = this
    for (const { jobId, status } of batch.jobStates) if (isTerminal(status)) sizes.delete(jobId)
    for (const { jobId } of batch.trims) sizes.delete(jobId)
    for (const jobId of batch.jobsRemoved) sizes.delete(jobId)
  }

  /** Nothing of the batch was written: forgets what it concerned. */
  failed(batch: LoadedBatch): void {
    const { sizes } = this
    for (const { jobId } of batch.jobs) sizes.delete(jobId)
    for (const { jobId } of batch.segments) sizes.delete(jobId)
  }
}

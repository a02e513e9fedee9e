/**
 * How much is kept of running jobs, so that their end need not count it.
 *
 * Responsibility: jobs that this process has created, and whose steps and events it has written, all of them. Of every other job nothing is
 * known, and the database counts. What is known is what the database would count.
 *
 * Order: a batch is added before it is written, since a job's state is written with the bytes of the same batch. After a commit that failed,
 * and after a trim, nothing is known of the jobs that were concerned.
 */
import { isTerminal } from "../../protocol/Session.js"
import type { LoadedBatch } from "../Payload.js"
import { recordSize, segmentSize, stepSize } from "./kept.js"

/** Jobs that are known at a time, some 100 bytes each; the oldest is given up first. */
const maxKnown = 16_384

/** Steps that are known of a job, since a later one of the same name replaces the first; a job that has more is given up. */
const maxSteps = 64

/** What is kept of jobs, in bytes. */
export class JobSizes {
  private readonly sizes = new Map<string, number>()
  /** The sizes of the steps of jobs that have any, by their names. */
  private readonly steps = new Map<string, Map<string, number>>()
  private readonly limit: number

  constructor(limit = maxKnown) {
    this.limit = limit
  }

  /** Counts what a batch is about to write. */
  add(batch: LoadedBatch): void {
    const { limit, sizes } = this
    for (const record of batch.jobs) sizes.set(record.jobId, recordSize(record))
    for (const { jobId, payloads } of batch.segments) {
      const before = sizes.get(jobId)
      if (before === undefined) continue
      sizes.set(jobId, before + segmentSize(payloads))
    }
    for (const step of batch.steps) this.addStep(step.jobId, step.name, stepSize(step))
    for (const oldest of sizes.keys()) {
      if (sizes.size <= limit) break
      this.forget(oldest)
    }
  }

  private addStep(jobId: string, name: string, size: number): void {
    const before = this.sizes.get(jobId)
    if (before === undefined) return
    const steps = this.steps.get(jobId) ?? new Map<string, number>()
    this.sizes.set(jobId, before + size - (steps.get(name) ?? 0))
    this.steps.set(jobId, steps.set(name, size))
    if (steps.size > maxSteps) this.forget(jobId)
  }

  private forget(jobId: string): void {
    this.sizes.delete(jobId)
    this.steps.delete(jobId)
  }

  /** What is kept of a job; undefined where that is not known. */
  readonly of = (jobId: string): number | undefined => this.sizes.get(jobId)

  /** The batch was written: forgets the jobs that have ended, and those of which rows were deleted. */
  committed(batch: LoadedBatch): void {
    for (const { jobId, status } of batch.jobStates) if (isTerminal(status)) this.forget(jobId)
    for (const { jobId } of batch.trims) this.forget(jobId)
    for (const jobId of batch.jobsRemoved) this.forget(jobId)
  }

  /** Nothing of the batch was written: forgets what it concerned. */
  failed(batch: LoadedBatch): void {
    for (const { jobId } of batch.jobs) this.forget(jobId)
    for (const { jobId } of batch.segments) this.forget(jobId)
    for (const { jobId } of batch.steps) this.forget(jobId)
  }
}

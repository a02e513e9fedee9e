/** Up to which number a client acknowledges (ARCP 1.1 §6.5). */
import type { ClientJob } from "./job.js"

/**
 * The highest number that may be acknowledged: everything up to it has been processed, or waits for a consumer that has
 * less than half the buffer before it. Such waiting events are acknowledged, since an acknowledgement is for the whole
 * session: without it, a consumer that waits for another job's end would stop that job (§6.5). `lastSeq`: below it nothing is missing.
 * `jobs`: those of which a reader is behind.
 */
export const processedSeq = (jobs: Iterable<ClientJob>, lastSeq: number, ackedSeq: number): number => {
  let seq = lastSeq
  for (const job of jobs) {
    if (job.numbering === "apart") continue
    const first = job.held(0.5)
    if (first !== undefined && first <= lastSeq) seq = Math.min(seq, first - 1)
  }
  return Math.max(seq, ackedSeq)
}

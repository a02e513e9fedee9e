/** Small batches for the laws of stores. */
import * as Effect from "effect/Effect"
import { type Batch, emptyBatch, type JobRecord, type JobState, Store } from "../../store/Store.js"
import { jobRecord, jobState } from "./rows.js"

export const job = (jobId: string, more: Partial<JobRecord> = {}) =>
  jobRecord(jobId, { input: '{"secret":"swordfish"}', ...more })

export const state = (jobId: string, more: Partial<JobState> = {}) => jobState(jobId, { ownerSessionId: "s1", ...more })

export const segment = (jobId: string, firstSeq: number, lastSeq: number) => ({
  jobId,
  firstSeq,
  lastSeq,
  class: "event" as const,
  payloads: Array.from({ length: lastSeq - firstSeq + 1 }, (_, i) => `{"n":${firstSeq + i}}`)
})

export const delivery = (sessionId: string, jobId: string, firstSeq: number, lastSeq: number, firstJobSeq: number) => ({
  sessionId,
  jobId,
  firstSeq,
  lastSeq,
  firstJobSeq
})

/** The last numbers of rows, by their sessions. */
export const lastSeqs = (rows: ReadonlyArray<{ readonly sessionId: string; readonly lastSeq: number }>) =>
  Object.fromEntries(rows.map(({ lastSeq, sessionId }) => [sessionId, lastSeq]))

/** Commits a batch with these changes only. */
export const commit = (batch: Partial<Batch>) =>
  Effect.flatMap(Store, (store) => store.commit({ ...emptyBatch, ...batch }))

/** A listing of all jobs. */
export const everyJob = {
  principalIds: undefined,
  statuses: undefined,
  agent: undefined,
  version: undefined,
  createdAfter: undefined,
  afterJobId: undefined,
  limit: 100
}

/**
 * What a store in memory holds.
 *
 * Order: `order` has the ids of all jobs, ascending; `ended` those of the ended ones, the oldest end first; a job's segments and a session's
 * deliveries ascend by their numbers. So reads are binary searches, and retention begins at the front.
 */
import type { Delivery, JobRecord, JobState, KeyRecord, Segment, SessionRecord, StepRecord } from "../Store.js"

/** A job with all that belongs to it. */
export interface Job {
  readonly record: JobRecord
  state: JobState | undefined
  segments: Array<Segment>
  /** The size of each segment, counted once: to trim a large job must not go through its events. */
  sizes: Array<number>
  bytes: number
  /** Made with the first step: most jobs have none. */
  steps: Map<string, StepRecord> | undefined
  /** The sessions that have deliveries of it, with the number of the last. */
  readonly sessions: Map<string, number>
}

/** The tables. Changed by synchronous code only, so that a commit is one step. */
export interface Tables {
  readonly sessions: Map<string, SessionRecord>
  readonly jobs: Map<string, Job>
  readonly order: Array<string>
  readonly ended: Array<string>
  readonly deliveries: Map<string, Array<Delivery>>
  readonly subscriptions: Map<string, Set<string>>
  /** The owners of a job beside the first, in the order in which they came; no entry where there are none. */
  readonly owners: Map<string, Set<string>>
  /** The same by session: the jobs. */
  readonly owned: Map<string, Set<string>>
  /** By {@link keyOf}. */
  readonly keys: Map<string, KeyRecord>
}

/** Empty ones. */
export const emptyTables = (): Tables => ({
  sessions: new Map(),
  jobs: new Map(),
  order: [],
  ended: [],
  deliveries: new Map(),
  subscriptions: new Map(),
  owners: new Map(),
  owned: new Map(),
  keys: new Map()
})

/** The slot of a key: several principals may use the same key. */
export const keyOf = (principalId: string, key: string): string => `${principalId.length}:${principalId}${key}`

/** The index of the first element for which `test` holds; `test` must be monotone. */
export const firstIndex = <A>(items: ReadonlyArray<A>, test: (item: A) => boolean): number => {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (test(items[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}

/** The characters of its payloads. */
export const sizeOf = (segment: Segment): number => {
  let size = 0
  for (const payload of segment.payloads) size += payload.length
  return size
}

/**
 * What a store in memory holds.
 *
 * Order: `order` has the ids of all jobs, ascending; `ended` those of the ended ones, in the order of their ends; a job's segments and a session's
 * deliveries ascend by their numbers. So reads are binary searches, and retention begins at the front.
 */
import { isAnonymous } from "../../protocol/AnonymousIds.js"
import type { Delivery, JobRecord, JobState, KeyRecord, SessionRecord, StepRecord } from "../Store.js"
import type { Kept } from "./packed.js"

/** A job with all that belongs to it. */
export interface Job {
  readonly record: JobRecord
  state: JobState | undefined
  segments: Array<Kept>
  /** The size of each segment, counted once: to trim a large job must not go through its events. */
  sizes: Array<number>
  /** What is kept of it (`kept`). */
  bytes: number
  /** Its place among the ends of jobs; 0: it has not ended. */
  end: number
  /** Made with the first step: most jobs have none. */
  steps: Map<string, StepRecord> | undefined
  /** The sessions that have deliveries of it, with the number of the last. */
  readonly sessions: Map<string, number>
}

/**
 * Ended jobs, the oldest end first, and what is kept of them: retention takes them from the front, and asks how many there
 * are after every few.
 */
export class EndedJobs implements Iterable<string> {
  private ids: Array<string> = []
  /** Those before it are gone. */
  private head = 0
  private held = 0

  get count(): number {
    return this.ids.length - this.head
  }

  /** What is kept of them. */
  get bytes(): number {
    return this.held
  }

  add(jobId: string, bytes: number): void {
    this.ids.push(jobId)
    this.held += bytes
  }

  /** Of one of them more is kept, or less. */
  grow(bytes: number): void {
    this.held += bytes
  }

  delete(jobId: string, bytes: number): void {
    const at = this.ids[this.head] === jobId ? this.head : this.ids.indexOf(jobId, this.head)
    if (at === -1) return
    this.held -= bytes
    if (at !== this.head) this.ids.splice(at, 1)
    else if (++this.head >= 1_024 && this.head * 2 >= this.ids.length) {
      this.ids = this.ids.slice(this.head)
      this.head = 0
    }
  }

  *[Symbol.iterator](): IterableIterator<string> {
    for (let at = this.head; at < this.ids.length; at++) yield this.ids[at]!
  }
}

/** The tables. Changed by synchronous code only, so that a commit is one step. */
export interface Tables {
  readonly sessions: Map<string, SessionRecord>
  readonly jobs: Map<string, Job>
  readonly order: Array<string>
  /** The ended jobs of anonymous principals, and those of others. */
  readonly ended: { readonly anonymous: EndedJobs; readonly others: EndedJobs }
  /** How many jobs have ended so far. */
  ends: number
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
  ended: { anonymous: new EndedJobs(), others: new EndedJobs() },
  ends: 0,
  deliveries: new Map(),
  subscriptions: new Map(),
  owners: new Map(),
  owned: new Map(),
  keys: new Map()
})

/** The ended jobs among which a job is, or will be. */
export const endedWith = ({ ended }: Tables, { record }: Job): EndedJobs =>
  isAnonymous(record.principalId) ? ended.anonymous : ended.others

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

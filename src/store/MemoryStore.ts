/**
 * The store in memory: for tests, and for runtimes whose jobs need not outlive the process.
 *
 * Order: every operation is one synchronous step over the same tables; a reader sees a batch whole or not at all.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { isTerminal } from "../protocol/Session.js"
import { ArtifactStore } from "./ArtifactStore.js"
import { committingNow } from "./CommitNow.js"
import { CredentialLedger } from "./CredentialLedger.js"
import { apply, problem } from "./internal/memoryCommit.js"
import { segmentSize } from "./internal/kept.js"
import { makeMemoryLedger } from "./internal/memoryLedger.js"
import { emptyTables, type EndedJobs, firstIndex, type Job, keyOf, type Tables } from "./internal/memoryTables.js"
import { headOf, type Kept, unpack } from "./internal/packed.js"
import { type LoadedBatch, type LoadedSegment, readingBytes } from "./Payload.js"
import { type JobQuery, type Recovered, type Retention, Store, StoreError, type StoredJob } from "./Store.js"

type StoreService = typeof Store.Service
type Operations<Names extends keyof StoreService> = Pick<StoreService, Names>

const stored = ({ owners }: Tables, { record, state }: Job): StoredJob | undefined =>
  state === undefined ? undefined : { record, state, otherOwners: [...(owners.get(record.jobId) ?? [])] }

const fits = (query: JobQuery, { record, state }: StoredJob): boolean =>
  (query.principalIds === undefined || query.principalIds.includes(record.principalId)) &&
  (query.statuses === undefined || query.statuses.includes(state.status)) &&
  (query.agent === undefined || query.agent === record.agent) &&
  (query.version === undefined || query.version === record.version) &&
  (query.createdAfter === undefined || record.createdAt > query.createdAfter)

const overlapping = ({ jobs }: Tables, jobId: string, fromSeq: number, toSeq: number): ReadonlyArray<Kept> => {
  const segments = jobs.get(jobId)?.segments ?? []
  const first = firstIndex(segments, (segment) => segment.lastSeq >= fromSeq)
  const end = firstIndex(segments, (segment) => segment.firstSeq > toSeq)
  return segments.slice(first, end)
}

/** The jobs that have not ended, and all sessions, each with the last number that its events have. */
const recovered = (tables: Tables): Recovered => {
  const { deliveries, jobs, order, sessions, subscriptions } = tables
  return {
    sessions: [...sessions.values()].map((session) => {
      const list = deliveries.get(session.sessionId)
      const last = list === undefined ? 0 : (list[list.length - 1]?.lastSeq ?? 0)
      return last > session.lastSeq ? { ...session, lastSeq: last } : session
    }),
    jobs: order.flatMap((jobId) => {
      const job = jobs.get(jobId)!
      const found = stored(tables, job)
      if (found === undefined || isTerminal(found.state.status)) return []
      const lastJobSeq = Math.max(found.state.lastJobSeq, job.segments[job.segments.length - 1]?.lastSeq ?? 0)
      const owned = (deliveries.get(found.state.ownerSessionId) ?? []).findLast((d) => d.jobId === jobId)
      const lastOwnerSeq = Math.max(found.state.lastOwnerSeq, owned?.lastSeq ?? 0)
      return [{ ...found, state: { ...found.state, lastJobSeq, lastOwnerSeq } }]
    }),
    subscriptions: [...subscriptions].flatMap(([sessionId, observed]) =>
      [...observed].map((jobId) => ({ sessionId, jobId }))
    )
  }
}

/** Jobs, keys and steps. */
const records = (tables: Tables): Operations<"job" | "jobs" | "key" | "step"> => {
  const { jobs, keys, order } = tables
  return {
    job: (jobId) =>
      Effect.sync(() => {
        const job = jobs.get(jobId)
        return Option.fromNullable(job === undefined ? undefined : stored(tables, job))
      }),
    jobs: (query) =>
      Effect.sync(() => {
        const out: Array<StoredJob> = []
        const { afterJobId } = query
        let at = afterJobId === undefined ? 0 : firstIndex(order, (id) => id > afterJobId)
        for (; at < order.length && out.length < query.limit; at++) {
          const found = stored(tables, jobs.get(order[at]!)!)
          if (found !== undefined && fits(query, found)) out.push(found)
        }
        return out
      }),
    key: (principalId, key) => Effect.sync(() => Option.fromNullable(keys.get(keyOf(principalId, key)))),
    step: (jobId, name) => Effect.sync(() => Option.fromNullable(jobs.get(jobId)?.steps?.get(name)))
  }
}

/** The events of jobs, and which sessions were given them. */
const events = (
  tables: Tables
): Operations<"segments" | "segmentHeads" | "deliveries" | "deliveriesOfJob" | "deliveredTo"> => {
  const { deliveries, jobs } = tables
  return {
    segments: readingBytes((jobId, fromSeq, toSeq, maxBytes) =>
      Effect.sync(() => {
        const out: Array<LoadedSegment> = []
        let bytes = 0
        for (const kept of overlapping(tables, jobId, fromSeq, toSeq)) {
          if (out.length > 0 && bytes >= maxBytes) break
          const segment = unpack(kept)
          out.push(segment)
          bytes += segmentSize(segment.payloads)
        }
        return out
      })
    ),
    segmentHeads: (jobId, fromSeq, toSeq) => Effect.sync(() => overlapping(tables, jobId, fromSeq, toSeq).map(headOf)),
    deliveries: (sessionId, afterSeq, limit) =>
      Effect.sync(() => {
        const list = deliveries.get(sessionId) ?? []
        const first = firstIndex(list, (delivery) => delivery.lastSeq > afterSeq)
        return list.slice(first, first + limit)
      }),
    deliveriesOfJob: (sessionId, jobId) =>
      Effect.sync(() => (deliveries.get(sessionId) ?? []).filter((delivery) => delivery.jobId === jobId)),
    deliveredTo: (jobId) =>
      Effect.sync(() => Array.from(jobs.get(jobId)?.sessions ?? [], ([sessionId, lastSeq]) => ({ sessionId, lastSeq })))
  }
}

/** Ended jobs from the oldest end on, and what is left of them. */
const shrinking = (ended: EndedJobs, jobs: Tables["jobs"]) => {
  const ids = ended[Symbol.iterator]()
  const read = (): Job | undefined => {
    const { done, value } = ids.next()
    return done === true ? undefined : jobs.get(value)
  }
  let oldest = read()
  let { bytes, count } = ended
  return {
    oldest: () => oldest,
    isOver: ({ maxBytes, maxJobs }: { readonly maxJobs: number; readonly maxBytes: number }) =>
      count > maxJobs || bytes > maxBytes,
    total: () => ({ count, bytes }),
    drop: (job: Job): void => {
      count--
      bytes -= job.bytes
      oldest = read()
    }
  }
}

/** The ended jobs that go. */
const expired = ({ ended, jobs }: Tables, retention: Retention, limit: number): ReadonlyArray<string> => {
  const { anonymous: share, endedBefore, maxBytes, maxJobs } = retention
  const anonymous = shrinking(ended.anonymous, jobs)
  const others = shrinking(ended.others, jobs)
  const out: Array<string> = []
  while (out.length < limit) {
    const guest = anonymous.oldest()
    const other = others.oldest()
    const isGuestOlder = guest !== undefined && (other === undefined || guest.end < other.end)
    const oldest = isGuestOlder ? guest : other
    if (oldest === undefined) break
    let next = oldest
    if ((oldest.state?.endedAt ?? 0) >= endedBefore) {
      const [a, b] = [anonymous.total(), others.total()]
      if (a.count + b.count <= maxJobs && a.bytes + b.bytes <= maxBytes) break
      if (guest !== undefined && share !== undefined && anonymous.isOver(share)) next = guest
    }
    out.push(next.record.jobId)
    ;(next === guest ? anonymous : others).drop(next)
  }
  return out
}

/** What retention reads and deletes. */
const sweeps = (tables: Tables): Operations<"expiredJobs" | "removeExpiredKeys" | "purge"> => ({
  expiredJobs: (retention, limit) => Effect.sync(() => expired(tables, retention, limit)),
  removeExpiredKeys: (now) =>
    Effect.sync(() => {
      let removed = 0
      for (const [slot, key] of tables.keys) {
        if (key.expiresAt > now) continue
        tables.keys.delete(slot)
        removed++
      }
      return removed
    }),
  purge: Effect.void
})

const committing = (tables: Tables): StoreService["commit"] => {
  const commitNow = (batch: LoadedBatch): StoreError | undefined => {
    const message = problem(tables, batch)
    if (message !== undefined) return new StoreError({ operation: "commit", message })
    apply(tables, batch)
    return undefined
  }
  const commit = (batch: LoadedBatch): Effect.Effect<void, StoreError> =>
    Effect.suspend(() => commitNow(batch) ?? Effect.void)
  return committingNow(commit, commitNow)
}

const make = () => {
  const tables = emptyTables()
  return Store.of({
    durable: false,
    immediate: true,
    commit: committing(tables),
    recover: Effect.sync(() => recovered(tables)),
    ...records(tables),
    ...events(tables),
    ...sweeps(tables)
  })
}

/**
 * A store, a ledger of credentials and artifacts, in memory. Each layer that it is provided to gets a new, empty one, also within one
 * program: layers are otherwise shared by reference, and two runtimes would share their jobs. To look at a runtime's store beside it,
 * build the layer once and provide what it has built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Store | CredentialLedger | ArtifactStore> = Layer.fresh(
  Layer.mergeAll(Layer.sync(Store, make), Layer.sync(CredentialLedger, makeMemoryLedger), ArtifactStore.layerMemory)
)

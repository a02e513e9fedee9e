/** The store in memory: for tests, and for runtimes whose jobs need not outlive the process. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { isTerminal } from "../protocol/Session.js"
import { ArtifactStore } from "./ArtifactStore.js"
import { CredentialLedger } from "./CredentialLedger.js"
import { makeMemoryLedger } from "./internal/memoryLedger.js"
import {
  type Batch,
  type Delivery,
  type JobQuery,
  type JobRecord,
  type JobState,
  type KeyRecord,
  type Retention,
  type Segment,
  type SessionRecord,
  type StepRecord,
  Store,
  StoreError,
  type StoredJob
} from "./Store.js"

interface Job {
  readonly record: JobRecord
  state: JobState | undefined
  segments: Array<Segment>
  /** The size of each segment, counted once: to trim a large job must not go through its events. */
  sizes: Array<number>
  bytes: number
  readonly steps: Map<string, StepRecord>
  /** The sessions that have deliveries of it, with the number of the last. */
  readonly sessions: Map<string, number>
}

/** The index of the first element for which `test` holds; `test` must be monotone. */
const firstIndex = <A>(items: ReadonlyArray<A>, test: (item: A) => boolean): number => {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (test(items[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}

const sizeOf = (segment: Segment): number => {
  let size = 0
  for (const payload of segment.payloads) size += payload.length
  return size
}

const make = () => {
  const sessions = new Map<string, SessionRecord>()
  const jobs = new Map<string, Job>()
  const order: Array<string> = []
  const ended: Array<string> = []
  const deliveries = new Map<string, Array<Delivery>>()
  const subscriptions = new Map<string, Set<string>>()
  const keys = new Map<string, KeyRecord>()
  const keyOf = (principalId: string, key: string) => `${principalId.length}:${principalId}${key}`

  /** A number whose delivery goes is still a number that was assigned. */
  const keepNumbers = (job: Job): void => {
    for (const sessionId of job.sessions.keys()) {
      const session = sessions.get(sessionId)
      const last = deliveries.get(sessionId)?.at(-1)?.lastSeq ?? 0
      if (session !== undefined && session.lastSeq < last) sessions.set(sessionId, { ...session, lastSeq: last })
    }
  }

  /** All at once: each session's deliveries, which may be very many, are gone through once. */
  const removeJobs = (jobIds: ReadonlyArray<string>): void => {
    const gone = new Set<string>()
    const affected = new Set<string>()
    for (const jobId of jobIds) {
      const job = jobs.get(jobId)
      if (job === undefined) continue
      gone.add(jobId)
      keepNumbers(job)
      jobs.delete(jobId)
      const at = firstIndex(order, (id) => id >= jobId)
      if (order[at] === jobId) order.splice(at, 1)
      const endedAt = ended.indexOf(jobId)
      if (endedAt !== -1) ended.splice(endedAt, 1)
      for (const sessionId of job.sessions.keys()) affected.add(sessionId)
      const { idempotencyKey, principalId } = job.record
      if (idempotencyKey !== undefined) {
        const slot = keyOf(principalId, idempotencyKey)
        if (keys.get(slot)?.jobId === jobId) keys.delete(slot)
      }
    }
    if (gone.size === 0) return
    for (const sessionId of affected) {
      const kept = (deliveries.get(sessionId) ?? []).filter((delivery) => !gone.has(delivery.jobId))
      if (kept.length === 0) deliveries.delete(sessionId)
      else deliveries.set(sessionId, kept)
    }
    for (const observed of subscriptions.values()) {
      for (const jobId of observed) if (gone.has(jobId)) observed.delete(jobId)
    }
  }

  /** What breaks an invariant is found before anything is changed. */
  const problem = (batch: Batch): string | undefined => {
    const fresh = new Set<string>()
    for (const record of batch.jobs) {
      if (jobs.has(record.jobId) || fresh.has(record.jobId)) return `the job ${record.jobId} exists already`
      fresh.add(record.jobId)
    }
    for (const state of batch.jobStates) {
      if (!jobs.has(state.jobId) && !fresh.has(state.jobId)) return `there is no job ${state.jobId}`
    }
    const last = new Map<string, number>()
    for (const segment of batch.segments) {
      const job = jobs.get(segment.jobId)
      if (job === undefined && !fresh.has(segment.jobId)) return `there is no job ${segment.jobId}`
      const before = last.get(segment.jobId) ?? job?.segments[job.segments.length - 1]?.lastSeq ?? 0
      if (segment.firstSeq <= before) return `the events of ${segment.jobId} from ${segment.firstSeq} on exist already`
      if (segment.payloads.length !== segment.lastSeq - segment.firstSeq + 1) {
        return `a segment of ${segment.jobId} does not hold as many payloads as it says`
      }
      last.set(segment.jobId, segment.lastSeq)
    }
    return undefined
  }

  const apply = (batch: Batch): void => {
    for (const session of batch.sessions) sessions.set(session.sessionId, session)
    for (const record of batch.jobs) {
      jobs.set(record.jobId, {
        record,
        state: undefined,
        segments: [],
        sizes: [],
        bytes: 0,
        steps: new Map(),
        sessions: new Map()
      })
      if (order.length === 0 || order[order.length - 1]! < record.jobId) order.push(record.jobId)
      else
        order.splice(
          firstIndex(order, (id) => id >= record.jobId),
          0,
          record.jobId
        )
    }
    for (const state of batch.jobStates) {
      const job = jobs.get(state.jobId)!
      const wasEnded = job.state !== undefined && isTerminal(job.state.status)
      job.state = state
      if (!wasEnded && isTerminal(state.status)) ended.push(state.jobId)
    }
    for (const key of batch.keys) keys.set(keyOf(key.principalId, key.key), key)
    for (const segment of batch.segments) {
      const job = jobs.get(segment.jobId)!
      const size = sizeOf(segment)
      job.segments.push(segment)
      job.sizes.push(size)
      job.bytes += size
    }
    for (const delivery of batch.deliveries) {
      const list = deliveries.get(delivery.sessionId)
      if (list === undefined) deliveries.set(delivery.sessionId, [delivery])
      else {
        const previous = list[list.length - 1]
        // Runs that continue each other are one: a session that only follows one job has one row.
        if (
          previous !== undefined &&
          previous.jobId === delivery.jobId &&
          previous.lastSeq + 1 === delivery.firstSeq &&
          previous.firstJobSeq + (previous.lastSeq - previous.firstSeq) + 1 === delivery.firstJobSeq
        )
          list[list.length - 1] = { ...previous, lastSeq: delivery.lastSeq }
        else list.push(delivery)
      }
      jobs.get(delivery.jobId)?.sessions.set(delivery.sessionId, delivery.lastSeq)
    }
    for (const { jobId, sessionId } of batch.subscriptions) {
      const observed = subscriptions.get(sessionId)
      if (observed === undefined) subscriptions.set(sessionId, new Set([jobId]))
      else observed.add(jobId)
    }
    for (const step of batch.steps) jobs.get(step.jobId)?.steps.set(step.name, step)
    for (const { jobId, sessionId } of batch.subscriptionsRemoved) subscriptions.get(sessionId)?.delete(jobId)
    for (const { jobId, upTo } of batch.trims) {
      const job = jobs.get(jobId)
      if (job === undefined) continue
      keepNumbers(job)
      const keep = firstIndex(job.segments, (segment) => segment.lastSeq > upTo)
      job.segments = job.segments.slice(keep)
      for (const size of job.sizes.splice(0, keep)) job.bytes -= size
      for (const sessionId of job.sessions.keys()) {
        let left = false
        const kept = (deliveries.get(sessionId) ?? []).filter((delivery) => {
          if (delivery.jobId !== jobId) return true
          const stays = delivery.firstJobSeq + (delivery.lastSeq - delivery.firstSeq) > upTo
          left ||= stays
          return stays
        })
        deliveries.set(sessionId, kept)
        if (!left) job.sessions.delete(sessionId)
      }
    }
    for (const sessionId of batch.sessionsRemoved) {
      sessions.delete(sessionId)
      subscriptions.delete(sessionId)
    }
    if (batch.jobsRemoved.length > 0) removeJobs(batch.jobsRemoved)
  }

  const stored = (job: Job): StoredJob | undefined =>
    job.state === undefined ? undefined : { record: job.record, state: job.state }

  const fits = (query: JobQuery, { record, state }: StoredJob): boolean =>
    (query.principalIds === undefined || query.principalIds.includes(record.principalId)) &&
    (query.statuses === undefined || query.statuses.includes(state.status)) &&
    (query.agent === undefined || query.agent === record.agent) &&
    (query.version === undefined || query.version === record.version) &&
    (query.createdAfter === undefined || record.createdAt > query.createdAfter)

  const overlapping = (jobId: string, fromSeq: number, toSeq: number): ReadonlyArray<Segment> => {
    const segments = jobs.get(jobId)?.segments ?? []
    const first = firstIndex(segments, (segment) => segment.lastSeq >= fromSeq)
    const end = firstIndex(segments, (segment) => segment.firstSeq > toSeq)
    return segments.slice(first, end)
  }

  return Store.of({
    durable: false,
    immediate: true,
    commit: (batch) =>
      Effect.suspend(() => {
        const message = problem(batch)
        if (message !== undefined) return Effect.fail(new StoreError({ operation: "commit", message }))
        apply(batch)
        return Effect.void
      }),
    recover: Effect.sync(() => ({
      sessions: [...sessions.values()].map((session) => {
        const list = deliveries.get(session.sessionId)
        const last = list === undefined ? 0 : (list[list.length - 1]?.lastSeq ?? 0)
        return last > session.lastSeq ? { ...session, lastSeq: last } : session
      }),
      jobs: order.flatMap((jobId) => {
        const job = jobs.get(jobId)!
        const found = stored(job)
        if (found === undefined || isTerminal(found.state.status)) return []
        const lastJobSeq = Math.max(found.state.lastJobSeq, job.segments[job.segments.length - 1]?.lastSeq ?? 0)
        const owned = (deliveries.get(found.state.ownerSessionId) ?? []).findLast((d) => d.jobId === jobId)
        const lastOwnerSeq = Math.max(found.state.lastOwnerSeq, owned?.lastSeq ?? 0)
        return [{ record: found.record, state: { ...found.state, lastJobSeq, lastOwnerSeq } }]
      }),
      subscriptions: [...subscriptions].flatMap(([sessionId, observed]) =>
        [...observed].map((jobId) => ({ sessionId, jobId }))
      )
    })),
    job: (jobId) =>
      Effect.sync(() => {
        const job = jobs.get(jobId)
        return Option.fromNullable(job === undefined ? undefined : stored(job))
      }),
    jobs: (query) =>
      Effect.sync(() => {
        const out: Array<StoredJob> = []
        const { afterJobId } = query
        let at = afterJobId === undefined ? 0 : firstIndex(order, (id) => id > afterJobId)
        for (; at < order.length && out.length < query.limit; at++) {
          const found = stored(jobs.get(order[at]!)!)
          if (found !== undefined && fits(query, found)) out.push(found)
        }
        return out
      }),
    key: (principalId, key) => Effect.sync(() => Option.fromNullable(keys.get(keyOf(principalId, key)))),
    segments: (jobId, fromSeq, toSeq, maxBytes) =>
      Effect.sync(() => {
        const out: Array<Segment> = []
        let bytes = 0
        for (const segment of overlapping(jobId, fromSeq, toSeq)) {
          if (out.length > 0 && bytes >= maxBytes) break
          out.push(segment)
          bytes += sizeOf(segment)
        }
        return out
      }),
    segmentHeads: (jobId, fromSeq, toSeq) =>
      Effect.sync(() => overlapping(jobId, fromSeq, toSeq).map(({ payloads: _, ...head }) => head)),
    deliveries: (sessionId, afterSeq, limit) =>
      Effect.sync(() => {
        const list = deliveries.get(sessionId) ?? []
        const first = firstIndex(list, (delivery) => delivery.lastSeq > afterSeq)
        return list.slice(first, first + limit)
      }),
    deliveriesOfJob: (sessionId, jobId) =>
      Effect.sync(() => (deliveries.get(sessionId) ?? []).filter((delivery) => delivery.jobId === jobId)),
    deliveredTo: (jobId) =>
      Effect.sync(() =>
        Array.from(jobs.get(jobId)?.sessions ?? [], ([sessionId, lastSeq]) => ({ sessionId, lastSeq }))
      ),
    step: (jobId, name) => Effect.sync(() => Option.fromNullable(jobs.get(jobId)?.steps.get(name))),
    expiredJobs: (retention: Retention, limit) =>
      Effect.sync(() => {
        let count = ended.length
        let bytes = 0
        for (const jobId of ended) bytes += jobs.get(jobId)!.bytes
        const out: Array<string> = []
        for (const jobId of ended) {
          if (out.length >= limit) break
          const job = jobs.get(jobId)!
          const old = (job.state?.endedAt ?? 0) < retention.endedBefore
          if (!old && count <= retention.maxJobs && bytes <= retention.maxBytes) break
          out.push(jobId)
          count--
          bytes -= job.bytes
        }
        return out
      }),
    removeExpiredKeys: (now) =>
      Effect.sync(() => {
        let removed = 0
        for (const [slot, key] of keys) {
          if (key.expiresAt > now) continue
          keys.delete(slot)
          removed++
        }
        return removed
      }),
    purge: Effect.void
  })
}

/**
 * A store, a ledger of credentials and artifacts, in memory. Each layer that it is provided to gets a new, empty one, also within one
 * program: layers are otherwise shared by reference, and two runtimes would share their jobs. To look at a runtime's store beside it,
 * build the layer once and provide what it has built.
 */
export const layer: Layer.Layer<Store | CredentialLedger | ArtifactStore> = Layer.fresh(
  Layer.mergeAll(Layer.sync(Store, make), Layer.sync(CredentialLedger, makeMemoryLedger), ArtifactStore.layerMemory)
)

/**
 * One batch in memory.
 *
 * Order: what breaks an invariant is found before anything is changed, so that a batch is applied whole or not at all. Then the fields of
 * the batch are applied in their order, as a database would.
 */
import { isTerminal } from "../../protocol/Session.js"
import type { LoadedBatch, LoadedSegment } from "../Payload.js"
import type { Delivery, JobRecord, JobState, OwnerRecord, StepRecord } from "../Store.js"
import { recordSize, segmentSize, stepSize } from "./kept.js"
import { endedWith, firstIndex, type Job, keyOf, type Tables } from "./memoryTables.js"
import { pack } from "./packed.js"

/** The invariant that a batch would break; undefined if it breaks none. Nothing is changed. */
export const problem = ({ jobs }: Tables, batch: LoadedBatch): string | undefined => {
  // Most batches are small: sets and maps are made only where a batch needs them.
  let fresh: Set<string> | undefined
  for (const { jobId } of batch.jobs) {
    if (jobs.has(jobId) || fresh?.has(jobId) === true) return `the job ${jobId} exists already`
    fresh ??= new Set()
    fresh.add(jobId)
  }
  for (const { jobId } of batch.jobStates) {
    if (!jobs.has(jobId) && fresh?.has(jobId) !== true) return `there is no job ${jobId}`
  }
  const last = batch.segments.length > 1 ? new Map<string, number>() : undefined
  for (const segment of batch.segments) {
    const job = jobs.get(segment.jobId)
    if (job === undefined && fresh?.has(segment.jobId) !== true) return `there is no job ${segment.jobId}`
    const before = last?.get(segment.jobId) ?? job?.segments[job.segments.length - 1]?.lastSeq ?? 0
    if (segment.firstSeq <= before) return `the events of ${segment.jobId} from ${segment.firstSeq} on exist already`
    if (segment.payloads.length !== segment.lastSeq - segment.firstSeq + 1) {
      return `a segment of ${segment.jobId} does not hold as many payloads as it says`
    }
    last?.set(segment.jobId, segment.lastSeq)
  }
  return undefined
}

/** The number of a delivery that is deleted stays assigned: the session keeps it. */
const keepNumbers = ({ deliveries, sessions }: Tables, job: Job): void => {
  for (const sessionId of job.sessions.keys()) {
    const session = sessions.get(sessionId)
    const last = deliveries.get(sessionId)?.at(-1)?.lastSeq ?? 0
    if (session !== undefined && session.lastSeq < last) sessions.set(sessionId, { ...session, lastSeq: last })
  }
}

const put = (sets: Map<string, Set<string>>, key: string, value: string): void => {
  const found = sets.get(key)
  if (found === undefined) sets.set(key, new Set([value]))
  else found.add(value)
}

const take = (sets: Map<string, Set<string>>, key: string, value: string): void => {
  const found = sets.get(key)
  if (found?.delete(value) === true && found.size === 0) sets.delete(key)
}

const addOwner = ({ jobs, owned, owners }: Tables, { jobId, sessionId }: OwnerRecord): void => {
  if (!jobs.has(jobId)) return
  put(owners, jobId, sessionId)
  put(owned, sessionId, jobId)
}

const removeOwner = ({ owned, owners }: Tables, { jobId, sessionId }: OwnerRecord): void => {
  take(owners, jobId, sessionId)
  take(owned, sessionId, jobId)
}

const removeSession = (tables: Tables, sessionId: string): void => {
  tables.sessions.delete(sessionId)
  tables.subscriptions.delete(sessionId)
  for (const jobId of tables.owned.get(sessionId) ?? []) removeOwner(tables, { jobId, sessionId })
}

/** Removes ids from a list in which they ascend, as those of the oldest jobs do that retention removes: they are next to each other. */
const removeIds = (order: Array<string>, gone: ReadonlySet<string>): void => {
  let first = order.length
  let end = 0
  for (const jobId of gone) {
    const at = firstIndex(order, (id) => id >= jobId)
    if (order[at] !== jobId) continue
    first = Math.min(first, at)
    end = Math.max(end, at + 1)
  }
  if (end === 0) return
  let kept = first
  for (let at = first; at < end; at++) if (!gone.has(order[at]!)) order[kept++] = order[at]!
  order.splice(kept, end - kept)
}

/** Removes the deliveries of jobs; a session may have very many, and those of old jobs come first. */
const removeDeliveries = (list: Array<Delivery>, gone: ReadonlySet<string>, lastSeq: number): void => {
  const end = firstIndex(list, (delivery) => delivery.lastSeq > lastSeq)
  let kept = 0
  for (let at = 0; at < end; at++) if (!gone.has(list[at]!.jobId)) list[kept++] = list[at]!
  list.splice(kept, end - kept)
}

/** Removes all the jobs in one pass. */
const removeJobs = (tables: Tables, jobIds: ReadonlyArray<string>): void => {
  const { deliveries, jobs, keys, order, subscriptions } = tables
  const gone = new Set<string>()
  /** The sessions that were given events of them, with the number of the last. */
  const affected = new Map<string, number>()
  for (const jobId of jobIds) {
    const job = jobs.get(jobId)
    if (job === undefined) continue
    gone.add(jobId)
    keepNumbers(tables, job)
    jobs.delete(jobId)
    endedWith(tables, job).delete(jobId, job.bytes)
    for (const [sessionId, lastSeq] of job.sessions) {
      affected.set(sessionId, Math.max(lastSeq, affected.get(sessionId) ?? 0))
    }
    for (const sessionId of tables.owners.get(jobId) ?? []) removeOwner(tables, { jobId, sessionId })
    const { idempotencyKey, principalId } = job.record
    if (idempotencyKey !== undefined) {
      const slot = keyOf(principalId, idempotencyKey)
      if (keys.get(slot)?.jobId === jobId) keys.delete(slot)
    }
  }
  if (gone.size === 0) return
  removeIds(order, gone)
  for (const [sessionId, lastSeq] of affected) {
    const list = deliveries.get(sessionId)
    if (list === undefined) continue
    removeDeliveries(list, gone, lastSeq)
    if (list.length === 0) deliveries.delete(sessionId)
  }
  for (const [sessionId, observed] of subscriptions) {
    for (const jobId of observed) if (gone.has(jobId)) take(subscriptions, sessionId, jobId)
  }
}

const addJob = ({ jobs, order }: Tables, record: JobRecord): void => {
  jobs.set(record.jobId, {
    record,
    state: undefined,
    segments: [],
    sizes: [],
    bytes: recordSize(record),
    end: 0,
    steps: undefined,
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

const hasEnded = ({ state }: Job): boolean => state !== undefined && isTerminal(state.status)

const setState = (tables: Tables, state: JobState): void => {
  const job = tables.jobs.get(state.jobId)!
  const wasEnded = hasEnded(job)
  job.state = state
  if (wasEnded || !isTerminal(state.status)) return
  job.end = ++tables.ends
  endedWith(tables, job).add(state.jobId, job.bytes)
}

const addSegment = (tables: Tables, segment: LoadedSegment): void => {
  const job = tables.jobs.get(segment.jobId)!
  const size = segmentSize(segment.payloads)
  job.segments.push(pack(segment))
  job.sizes.push(size)
  job.bytes += size
  if (hasEnded(job)) endedWith(tables, job).grow(size)
}

/** Runs that continue each other are one: a session that only follows one job has one row. */
const addDelivery = ({ deliveries, jobs }: Tables, delivery: Delivery): void => {
  const list = deliveries.get(delivery.sessionId)
  const previous = list?.[list.length - 1]
  if (list === undefined) deliveries.set(delivery.sessionId, [delivery])
  else if (
    previous !== undefined &&
    previous.jobId === delivery.jobId &&
    previous.lastSeq + 1 === delivery.firstSeq &&
    previous.firstJobSeq + (previous.lastSeq - previous.firstSeq) + 1 === delivery.firstJobSeq
  )
    list[list.length - 1] = { ...previous, lastSeq: delivery.lastSeq }
  else list.push(delivery)
  jobs.get(delivery.jobId)?.sessions.set(delivery.sessionId, delivery.lastSeq)
}

const addStep = (tables: Tables, step: StepRecord): void => {
  const job = tables.jobs.get(step.jobId)
  if (job === undefined) return
  job.steps ??= new Map()
  const before = job.steps.get(step.name)
  const more = stepSize(step) - (before === undefined ? 0 : stepSize(before))
  job.steps.set(step.name, step)
  job.bytes += more
  if (hasEnded(job)) endedWith(tables, job).grow(more)
}

/** Removes the events of a job up to a number, and the deliveries that are all of such events. */
const trim = (tables: Tables, jobId: string, upTo: number): void => {
  const { deliveries } = tables
  const job = tables.jobs.get(jobId)
  if (job === undefined) return
  keepNumbers(tables, job)
  const keep = firstIndex(job.segments, (segment) => segment.lastSeq > upTo)
  job.segments = job.segments.slice(keep)
  const before = job.bytes
  for (const size of job.sizes.splice(0, keep)) job.bytes -= size
  if (hasEnded(job)) endedWith(tables, job).grow(job.bytes - before)
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

/** Applies a batch that has no {@link problem}. */
export const apply = (tables: Tables, batch: LoadedBatch): void => {
  const { keys, sessions, subscriptions } = tables
  for (const session of batch.sessions) sessions.set(session.sessionId, session)
  for (const record of batch.jobs) addJob(tables, record)
  for (const state of batch.jobStates) setState(tables, state)
  for (const key of batch.keys) keys.set(keyOf(key.principalId, key.key), key)
  for (const segment of batch.segments) addSegment(tables, segment)
  for (const delivery of batch.deliveries) addDelivery(tables, delivery)
  for (const { jobId, sessionId } of batch.subscriptions) put(subscriptions, sessionId, jobId)
  for (const owner of batch.owners) addOwner(tables, owner)
  for (const step of batch.steps) addStep(tables, step)
  for (const { jobId, sessionId } of batch.subscriptionsRemoved) take(subscriptions, sessionId, jobId)
  for (const owner of batch.ownersRemoved) removeOwner(tables, owner)
  for (const { jobId, upTo } of batch.trims) trim(tables, jobId, upTo)
  for (const sessionId of batch.sessionsRemoved) removeSession(tables, sessionId)
  if (batch.jobsRemoved.length > 0) removeJobs(tables, batch.jobsRemoved)
}

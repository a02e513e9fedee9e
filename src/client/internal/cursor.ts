/**
 * What a program has processed of its session, so that another process can go on where it stopped.
 *
 * Responsibility: the mark of `SessionFacts`. It counts what streams have processed and nothing else; the acknowledged number
 * (`Core.processedSeq`) is about memory and back-pressure, and is mostly higher.
 *
 * Order: streams register their job when they open. A job that has ended and has no open stream leaves a number and its
 * facts; what its streams did not process holds the mark as long as the session lasts.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { JobFacts } from "../JobFacts.js"
import type { ClientJob } from "./job.js"
import type { Reader } from "./reader.js"

/** Jobs that facts tell of, at most. */
const maxFacts = 1_024
/** So many streams are opened between two looks for jobs that can be let go. */
const pruneEvery = 256

const decodeFacts = Schema.decodeUnknownEither(Schema.typeSchema(Schema.Array(JobFacts)))

/** The number of the first event of the current session that a reader of events has not processed; undefined where it has all. */
const heldEvent = (job: ClientJob, reader: Reader): number | undefined => {
  if (reader.done >= job.received) return undefined
  if (reader.done < job.epoch) return job.received > job.epoch ? job.epochSeq : undefined
  if (job.unordered) {
    let lowest = reader.held === 0 ? Number.POSITIVE_INFINITY : reader.held
    for (let i = Math.max(0, reader.done - job.dropped); i < job.events.length; i++) {
      lowest = Math.min(lowest, job.events[i]!.seq)
    }
    return lowest
  }
  return reader.held > 0 ? reader.held : job.events[Math.max(0, reader.done - job.dropped)]?.seq
}

/** As {@link heldEvent}, of a reader of chunks. */
const heldChunk = ({ chunks, epoch }: ClientJob, reader: Reader): number | undefined => {
  if (reader.done >= chunks.next) return undefined
  if (reader.held > 0 && chunks.epochPart <= reader.done) return reader.held
  const part = chunks.parts[Math.max(reader.done, chunks.epochPart) - chunks.released]
  return part === undefined || part.index < epoch ? undefined : part.seq
}

/** A minimum of what is there. */
const lower = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

const heldBy = (job: ClientJob): number | undefined => {
  let seq: number | undefined
  for (const reader of job.readers) seq = lower(seq, heldEvent(job, reader))
  if (job.closed !== undefined) seq = lower(seq, heldEvent(job, job.closed))
  for (const reader of job.chunks.readers) seq = lower(seq, heldChunk(job, reader))
  if (job.chunks.closed !== undefined) seq = lower(seq, heldChunk(job, job.chunks.closed))
  return seq
}

const least = (readers: Iterable<Reader>, closed: Reader | undefined): Reader | undefined => {
  let slowest = closed
  for (const reader of readers) if (slowest === undefined || reader.done < slowest.done) slowest = reader
  return slowest
}

/** How far the streams of a job came. Undefined where another process has to read the whole history. */
export const factsOf = (job: ClientJob): JobFacts | undefined => {
  const { chunks, jobId } = job
  const events = least(job.readers, job.closed)
  const parts = least(chunks.readers, chunks.closed)
  if (parts === undefined && (events === undefined || events.done === job.origin)) return job.base?.facts
  const position = events?.done ?? job.origin
  const lastEventSeq = position > job.epoch || job.epoch === 0 ? (events?.last ?? job.base?.seq ?? 0) : 0
  // Chunks are of use from the first on, unless a stream owns the result and goes on.
  const owner = chunks.owned === "stream" ? parts : undefined
  const chunk =
    chunks.id === undefined
      ? chunks.expected
      : owner !== undefined
        ? { resultId: chunks.id, seq: owner.done }
        : chunks.start > 0
          ? { resultId: chunks.id, seq: chunks.start }
          : undefined
  const facts = {
    jobId,
    lastEventSeq,
    ...(chunk === undefined ? {} : { chunk }),
    ...(job.foreign && (job.numbered || job.base !== undefined) ? { isRepeat: true } : {})
  }
  if (job.numbered) {
    const place = owner !== undefined ? chunks.placeOf(owner) : chunks.first
    return place === undefined || place.index >= position
      ? { ...facts, historyFrom: lastEventSeq, taken: 0 }
      : { ...facts, historyFrom: Math.max(0, place.seq - 1), taken: position - place.index }
  }
  // Positions count from the beginning of the history only where it was seen whole.
  return job.gaps.length > 0 || (job.joined && job.base === undefined)
    ? undefined
    : { ...facts, historyFrom: job.base?.facts?.historyFrom ?? 0, taken: position }
}

export class Cursor {
  /** Jobs that were read in this session and may still change. */
  private readonly jobs = new Set<ClientJob>()
  /** The facts of those that were let go, and of an earlier process; the oldest first. */
  private readonly facts = new Map<string, JobFacts>()
  /** The facts of an earlier process, unchanged: an `attach` does not count what this process has read since. */
  private readonly given = new Map<string, JobFacts>()
  /** The lowest number that a job which was let go has not processed. */
  private floor = Number.POSITIVE_INFINITY
  private opens = 0
  /** How often something that facts contain may have changed. */
  changes = 0
  private readonly listeners = new Set<() => void>()

  /** Takes the facts of an earlier process over. They may come from anywhere: what does not fit is left out. */
  inherit(facts: { readonly jobs?: unknown } | undefined): void {
    try {
      const decoded = decodeFacts(facts?.jobs)
      if (Either.isLeft(decoded)) return
      for (const one of decoded.right.slice(-maxFacts)) {
        this.facts.set(one.jobId, one)
        this.given.set(one.jobId, one)
      }
    } catch {
      // Without them each history is read whole.
    }
  }

  /** What an earlier process told of a job. */
  inherited(jobId: string): JobFacts | undefined {
    return this.given.get(jobId)
  }

  /** A stream of the job was opened, or the job goes on from an earlier process. */
  opened(job: ClientJob): void {
    this.jobs.add(job)
    if (++this.opens % pruneEvery === 0) this.prune()
  }

  /** A new session: its numbers begin anew, and nothing of the old one can be resumed. */
  reset(jobs: Iterable<ClientJob>): void {
    this.floor = Number.POSITIVE_INFINITY
    for (const all of [this.facts, this.given])
      for (const [jobId, facts] of all)
        if (facts.isRepeat === true) all.delete(jobId)
        else all.set(jobId, { ...facts, lastEventSeq: 0 })
    for (const job of new Set([...jobs, ...this.jobs])) job.newSession()
  }

  /** The mark: `lastSeq` is the highest number received without a gap, `orphan` the first kept number of an unknown job. */
  mark(lastSeq: number, orphan: (jobId: string) => number | undefined): number {
    this.prune()
    let first = this.floor
    for (const job of this.jobs) first = Math.min(first, heldBy(job) ?? Number.POSITIVE_INFINITY)
    for (const jobId of this.facts.keys()) first = Math.min(first, orphan(jobId) ?? Number.POSITIVE_INFINITY)
    return Math.max(0, Math.min(lastSeq, first - 1))
  }

  /** The facts of every job that was read. */
  jobFacts(): ReadonlyArray<JobFacts> {
    const all = new Map(this.facts)
    for (const job of this.jobs) {
      all.delete(job.jobId)
      const facts = factsOf(job)
      if (facts !== undefined) all.set(job.jobId, facts)
    }
    return [...all.values()].slice(-maxFacts)
  }

  private prune(): void {
    for (const job of this.jobs) {
      if (job.end === undefined || job.readers.size > 0 || job.chunks.readers.size > 0) continue
      this.floor = Math.min(this.floor, heldBy(job) ?? Number.POSITIVE_INFINITY)
      this.jobs.delete(job)
      this.facts.delete(job.jobId)
      const facts = factsOf(job)
      if (facts === undefined) continue
      if (this.facts.size >= maxFacts) this.facts.delete(this.facts.keys().next().value ?? "")
      this.facts.set(job.jobId, facts)
    }
  }

  /** Something has changed that facts may tell. */
  touch(): void {
    this.changes++
    if (this.listeners.size === 0) return
    const all = [...this.listeners]
    this.listeners.clear()
    for (const listener of all) listener()
  }

  /** Runs once at the next {@link touch}. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }
}

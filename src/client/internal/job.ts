/**
 * A job as the client keeps it: its events in arrival order, the chunks of its result, its end, and its readers.
 *
 * Responsibility: what is kept of a job, for which reader, and what is gone. Plain mutable state, changed by its own methods in
 * synchronous code only.
 *
 * Order: events are appended once, in the order in which `intake` gives them; every reader has its own position, so that several
 * streams of one handle see the same. Positions count the events in their order of arrival over all sessions.
 *
 * Races: a new session sends events again that were seen under other numbers: they are passed over by count, or by their time
 * where the history starts elsewhere. What does not fit the buffer is dropped, and each reader that misses it gets a gap.
 */
import type { JobError, Result } from "../../protocol/Job.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobEvent } from "../../protocol/Event.js"
import { JobId } from "../../protocol/Ids.js"
import type { ClientError } from "../ClientError.js"
import type { JobFacts } from "../JobFacts.js"
import { type Bounds, defaultBounds } from "./bounds.js"
import { Copies } from "./numbers.js"
import { handed, makeReader, type Reader } from "./reader.js"
import { ResultChunks } from "./resultChunks.js"
import { compareTimes } from "./times.js"

/** How a job ended. */
export type End =
  | { readonly _tag: "result"; readonly payload: Result }
  | { readonly _tag: "error"; readonly payload: JobError; readonly error: ArcpError }
  /** The client will hear no more of it. */
  | { readonly _tag: "lost"; readonly error: ArcpError | ClientError }

/** How to take the job up again in a new session. */
export type Recovery =
  /** `submit` is the encoded request of its submit, with its key: the same bytes are sent again. */
  | { readonly _tag: "owner"; readonly submit: string }
  /** Subscribed from this number of the owner's session. */
  | { readonly _tag: "observer"; readonly from: number }

/** Events that are gone, before the position `at`. */
export interface Missed {
  readonly at: number
  readonly from: number
  readonly to: number
  readonly missed: number
}

/** A history that starts later than was asked; the first event that comes says what that means for this job. */
interface LateStart {
  readonly from: number
  readonly to: number
  /** Whether what was seen may be in the history too: then times tell it apart. */
  readonly overlaps: boolean
}

/** An event as it is kept: that of a chunk without its data. */
const keptOf = (event: JobEvent): JobEvent =>
  event._tag === "result_chunk" ? { ...event, body: { ...event.body, data: "" } } : event

/** Whether this is the event with which every job begins (§7.1). */
const isFirst = (event: JobEvent): boolean => event._tag === "status" && event.body.phase === "running"

/** Whether an event that arrives under another number is this kept one again. */
const isSame = (kept: JobEvent, event: JobEvent): boolean =>
  kept._tag === event._tag && kept.ts === event.ts && JSON.stringify(kept.body) === JSON.stringify(keptOf(event).body)

/** What an event of a chunk takes in the buffer: its body is not kept there. */
const chunkEventSize = 256

/** Gaps that are kept apart. */
const maxGaps = 256

/** The client's side of one job. */
export class ClientJob {
  readonly jobId: JobId
  readonly recovery: Recovery
  readonly bounds: Bounds
  /** The events from position `dropped` on, and their encoded sizes. */
  events: Array<JobEvent> = []
  private sizes: Array<number> = []
  dropped = 0
  /** The numbers of the first event and of the last one that was dropped. */
  private firstSeq = 0
  private droppedSeq = 0
  /** How many events have arrived, in all sessions. */
  received = 0
  /** Encoded bytes of the events that have arrived, and of those that are kept. */
  bytes = 0
  private kept = 0
  /** Where little can be released, it is tried again with so many events. */
  private trimAt = 0
  /** Where readers begin: events before it were taken by an earlier process. */
  origin = 0
  /** What an earlier process told of the job; `seq` where the numbers are still those of its session. */
  base: { readonly facts: JobFacts; readonly seq: number } | undefined = undefined
  /** Whether the numbers of its events are those of the session that owns it. */
  numbered: boolean
  /** Replayed events to pass over, since they have been seen under another session's numbers. */
  skip = 0
  /** Whether a new session has begun to take it up and has not ended that: whose numbers count is not known then. */
  recovering = false
  /**
   * Whether another session may have owned it before this one, as after a repeat of its key: the runtime then counts a history in
   * that session's numbers.
   */
  foreign = false
  /** Whether it may have run before this client asked for it: then the first event that arrived may not be its first one. */
  joined = false
  /** The highest session number that an event of this job had. */
  lastSeq = 0
  /**
   * Whose numbers its frames have: the session's, or a subscription's own. While it is asked for by a subscribe they are
   * held, since only the answer tells.
   */
  numbering: "session" | "apart" | "held" = "session"
  readonly copies = new Copies()
  /** The time of the newest event, and how many have it. */
  private lastTs = ""
  private sameTs = 0
  private late: LateStart | undefined = undefined
  /** Events up to `ts` were seen before, `same` of them at exactly `ts`. At most `left` are passed over, since clocks go back. */
  private seen: { readonly ts: string; same: number; left: number; readonly first: JobEvent | undefined } | undefined =
    undefined
  /** Whether numbers have come in another order than they count. */
  unordered = false
  gaps: Array<Missed> = []
  /** Streams that read events; and the position of the closed one that took least. */
  readonly readers = new Set<Reader>()
  closed: Reader | undefined = undefined
  private before: Reader | undefined = undefined
  /** The first position of the current session, and its number. */
  epoch = 0
  epochSeq = 0
  end: End | undefined = undefined
  /** The result as it streams in. */
  readonly chunks: ResultChunks
  /** How often what waits for this job has been told. */
  changes = 0
  private waiters: Array<() => void> = []

  constructor(jobId: string, recovery: Recovery, bounds: Bounds = defaultBounds) {
    this.jobId = JobId(jobId)
    this.recovery = recovery
    this.bounds = bounds
    this.numbered = recovery._tag === "owner"
    this.chunks = new ResultChunks(bounds)
  }

  /** Takes an event in. `size`: that of its frame. */
  push(event: JobEvent, size: number): void {
    const { seq } = event
    if (seq < this.lastSeq) this.unordered = true
    else this.lastSeq = seq
    if (this.late !== undefined) this.startsLate(event)
    if (this.skip > 0) {
      this.skip--
      return
    }
    if (this.seen !== undefined && this.wasSeen(event)) return
    if (event._tag === "result_chunk" && this.chunks.isRepeat(event.body)) return
    const index = this.received++
    if (index === 0 && isFirst(event)) this.joined = false
    if (event.ts === this.lastTs) this.sameTs++
    else {
      this.lastTs = event.ts
      this.sameTs = 1
    }
    if (index === this.epoch) this.epochSeq = seq
    let kept = event
    let bytes = size
    if (event._tag === "result_chunk") {
      this.chunks.push(event.body, seq, index)
      kept = keptOf(event)
      bytes = chunkEventSize
    }
    if (index < this.origin) {
      this.dropped = this.received
      return
    }
    if (index === this.origin) this.firstSeq = seq
    if (this.closed !== undefined && index === this.closed.done) this.closed.held = seq
    this.events.push(kept)
    this.sizes.push(bytes)
    this.bytes += bytes
    this.kept += bytes
    const full = this.events.length > this.bounds.events * 2 || this.kept > this.bounds.bytes
    if (full && this.events.length >= this.trimAt) this.trim()
  }

  /** Releases the oldest events; never one that a reader has still to take. */
  private trim(): void {
    let most = this.events.length
    for (const { at } of this.readers) most = Math.min(most, at - this.dropped)
    let drop = 0
    let freed = 0
    const { bytes, events } = this.bounds
    while (drop < most && (this.events.length - drop > events || this.kept - freed > bytes / 2))
      freed += this.sizes[drop++]!
    // Not for a little.
    if (drop < events / 2 && freed < bytes / 4) {
      this.trimAt = this.events.length + Math.max(1, Math.ceil(events / 64))
      return
    }
    this.trimAt = 0
    this.droppedSeq = this.events[drop - 1]!.seq
    this.events = this.events.slice(drop)
    this.sizes = this.sizes.slice(drop)
    this.dropped += drop
    this.kept -= freed
  }

  /** The history that follows starts after the number `to`, where all after `from - 1` was asked for. */
  expectLate(from: number, to: number, overlaps: boolean): void {
    this.late = { from, to, overlaps }
  }

  /** The history that follows begins before the last seen event, which is looked for in it. */
  expectOverlap(): void {
    this.late ??= { from: 1, to: 0, overlaps: true }
  }

  private startsLate(event: JobEvent | undefined): void {
    const { from, overlaps, to } = this.late!
    this.late = undefined
    // The history is complete, whatever the answer said.
    if (event !== undefined && this.received === 0 && isFirst(event)) return
    if (overlaps && this.received > 0) {
      this.skip = 0
      const at = event === undefined ? -1 : this.events.findLastIndex((seen) => isSame(seen, event))
      if (at >= 0) {
        this.skip = this.events.length - at
        return
      }
      const ts = this.lastTs
      if (event !== undefined && ts !== "" && event.ts !== "" && compareTimes(event.ts, ts) <= 0) {
        // The event is no longer kept, and the history begins before the last seen event, so nothing is gone. Where it begins at
        // the very time of that event, seen and new events of that time cannot be distinguished: better twice than never.
        const left = this.joined ? Number.POSITIVE_INFINITY : this.received
        this.seen = { ts, same: event.ts === ts ? 0 : this.sameTs, left, first: this.events[0] }
        return
      }
    }
    if (to < from) return
    this.miss(from, to, to - from + 1)
  }

  /** Notes that events are gone before the next one. */
  miss(from: number, to: number, missed: number): void {
    if (this.gaps.length >= maxGaps) {
      const [first, second] = this.gaps.splice(0, 2) as [Missed, Missed]
      this.gaps.unshift({ at: second.at, from: first.from, to: second.to, missed: first.missed + second.missed })
    }
    this.gaps.push({ at: Math.max(this.received, this.origin), from, to, missed })
  }

  private wasSeen(event: JobEvent): boolean {
    const { seen } = this
    if (seen === undefined) return false
    if (seen.first !== undefined && isSame(seen.first, event)) {
      // The seen events begin here, and all of them follow.
      this.seen = undefined
      this.skip = this.events.length - 1
      return true
    }
    const order = event.ts === "" ? 1 : compareTimes(event.ts, seen.ts)
    const isSeen = seen.left-- > 0 && (order < 0 || (order === 0 && seen.same-- > 0))
    if (!isSeen && order !== 0) this.seen = undefined
    return isSeen
  }

  /** A stream begins to read the events. */
  read(): Reader {
    const reader = makeReader(this.origin, this.bytes - this.kept)
    reader.last = this.base?.seq ?? 0
    reader.lastOut = reader.last
    // The streams of the earlier process are closed; this one goes on for them.
    if (this.closed !== undefined && this.readers.size === 0 && this.closed === this.before) this.closed = undefined
    this.readers.add(reader)
    return reader
  }

  /** The job goes on from an earlier process: what its streams did not process is not processed yet. */
  goOn(facts: JobFacts, history: boolean): void {
    this.base = { facts, seq: history ? 0 : facts.lastEventSeq }
    this.origin = history ? facts.taken : 0
    this.numbered = !history && facts.lastEventSeq > 0
    this.foreign = this.joined = facts.isRepeat === true
    this.chunks.goOn(facts.chunk)
    this.before = makeReader(this.origin, 0)
    this.closed = this.before
  }

  /** Whose numbers its frames have from now on. */
  numbersAre(numbering: ClientJob["numbering"]): void {
    this.numbering = numbering
  }

  /** Its submit may have been a repeat, so that it may have ended. `isNew`: this client did not know it before. */
  mayRepeat(isNew: boolean): void {
    this.chunks.mayRepeat()
    if (isNew) this.foreign = this.joined = true
  }

  /** Its whole history is asked for: seen events are passed over when they come again. */
  passOverSeen(): void {
    this.skip = this.received
    this.copies.clear()
  }

  /** The runtime sends no history: no event comes again. */
  nothingFollows(): void {
    this.skip = 0
  }

  /** It is asked for in a new session, whose numbers begin anew. `anew`: with its whole history. */
  takeUp(anew: boolean): void {
    this.passOverSeen()
    if (!anew) this.skip = 0
    this.lastSeq = 0
    this.recovering = this.recovery._tag === "owner"
  }

  /** The new session has become an owner. */
  takenUp(): void {
    this.recovering = false
    this.foreign = true
  }

  /** The numbers begin anew with a new session. */
  newSession(): void {
    this.epoch = this.received
    this.epochSeq = 0
    this.numbered = false
    this.chunks.newSession()
    if (this.closed !== undefined && this.closed.done >= this.epoch) this.closed.held = 0
  }

  /** Takes of an event that was processed what the result needs. */
  pass(event: JobEvent): void {
    if (event._tag === "result_chunk") this.chunks.push(event.body, event.seq, this.received)
  }

  /** A stream of events has ended. */
  stop(reader: Reader): void {
    this.readers.delete(reader)
    if (this.closed !== undefined && this.closed.done <= reader.done) return
    if (reader.held === 0) reader.held = this.events[reader.done - this.dropped]?.seq ?? 0
    this.closed = reader
  }

  /** What a reader has not been given and cannot have; undefined where it can go on. */
  missedBy(reader: Reader): Missed | undefined {
    if (reader.at < this.dropped) {
      let missed = this.dropped - reader.at
      let gone = 0
      for (const gap of this.gaps) {
        if (gap.at > this.dropped) break
        gone++
        if (gap.at >= reader.at) missed += gap.missed
      }
      const from = reader.at <= this.origin ? this.firstSeq : reader.lastOut + 1
      const gap = { at: this.dropped, from: Math.min(from, this.droppedSeq), to: this.droppedSeq, missed }
      reader.at = this.dropped
      reader.bytes = this.bytes - this.kept
      reader.gaps = gone
      return gap
    }
    const gap = this.gaps[reader.gaps]
    if (gap === undefined || gap.at > reader.at) return undefined
    reader.gaps++
    return gap
  }

  /** The events that a reader may be handed now, at most `most` of them. */
  take(reader: Reader, most: number): ReadonlyArray<JobEvent> {
    const from = reader.at - this.dropped
    let to = Math.min(this.events.length, from + most)
    const gap = this.gaps[reader.gaps]
    if (gap !== undefined) to = Math.min(to, gap.at - this.dropped)
    if (from >= to) return []
    let bytes = reader.bytes
    for (let i = from; i < to; i++) bytes += this.sizes[i]!
    handed(reader, reader.at + to - from, bytes, this.events[from]!.seq, this.events[to - 1]!.seq)
    return this.events.slice(from, to)
  }

  /** The first end counts. */
  finish(end: End): void {
    if (this.end !== undefined) return
    if (this.late !== undefined) this.startsLate(undefined)
    this.end = end
  }

  /** Runs once when something has changed. */
  wait(waiter: () => void): () => void {
    this.waiters.push(waiter)
    return () => {
      this.waiters = this.waiters.filter((w) => w !== waiter)
    }
  }

  /** Wakes everything that waits for a change. */
  notify(): void {
    this.changes++
    if (this.waiters.length === 0) return
    const { waiters } = this
    this.waiters = []
    for (const waiter of waiters) waiter()
  }

  /** Whether a reader is further behind than this part of the bounds: what it has not taken fills the client's memory. */
  isBehind(part: number): boolean {
    return this.held(part) !== undefined
  }

  /** The lowest session number that such a reader has not taken. */
  held(part: number): number | undefined {
    const { readers } = this.chunks
    if (this.readers.size === 0 && readers.size === 0) return undefined
    const events = this.bounds.events * part
    const bytes = this.bounds.bytes * part
    let seq: number | undefined
    for (const reader of this.readers) {
      if (this.received - reader.at <= events && this.bytes - reader.bytes <= bytes) continue
      const first = this.events[Math.max(0, reader.at - this.dropped)]?.seq
      if (first !== undefined && (seq === undefined || first < seq)) seq = first
    }
    // What is kept for `result` is kept whether it is read or not.
    if (this.chunks.owned === false) return seq
    for (const reader of readers) {
      if (this.chunks.next - reader.at <= events && this.chunks.bytes - reader.bytes <= bytes) continue
      const first = this.chunks.parts[Math.max(0, reader.at - this.chunks.released)]?.seq
      if (first !== undefined && (seq === undefined || first < seq)) seq = first
    }
    return seq
  }
}

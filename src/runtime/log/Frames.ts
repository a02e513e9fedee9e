/**
 * Reading what a session is to be sent next: from memory where it is new, from the store where it is older.
 *
 * Order: by session number, without a gap. An event's payload was serialised when it was emitted; here it only gets its
 * head. What a session is sent otherwise than others is decided in {@link SessionView}.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RawEnvelope } from "../../protocol/Envelope.js"
import { ResumeWindowExpired } from "../../protocol/Errors.js"
import type { IdsService } from "../../protocol/Ids.js"
import { loadedSegments, type Payload, payloadText } from "../../store/Payload.js"
import * as Rows from "../../store/Rows.js"
import type { Delivery, SegmentClass, Store, StoreError } from "../../store/Store.js"
import { FrameParts, type Sendable } from "../../transport/FrameParts.js"
import { errorFrame } from "../kernel/ErrorFrame.js"
import * as FrameSize from "../kernel/FrameSize.js"
import { isPrioritized, prioritizedEnd } from "../kernel/Payload.js"
import { isLive, type JobLog } from "./JobLog.js"
import type { EndedJob, SessionRun } from "./Run.js"
import type { SessionLog } from "./SessionLog.js"
import * as SessionView from "./SessionView.js"
import type { Frames, Source } from "./Source.js"

type StoreService = Context.Tag.Service<Store>

/** At most this many events, or characters, go into one write. */
const maxEvents = 512
const maxChars = 262_144

/** An event's frame: its head up to the id, then id, number and payload, with the priority that the payload may carry. */
const eventText = (head: string, id: string, at: number, payload: string, prioritized: boolean): string =>
  // In this order: to look into a text that was just put together copies it.
  prioritized && isPrioritized(payload)
    ? `${head}${id}","event_seq":${at},${prioritizedEnd(payload)}`
    : `${head}${id}","event_seq":${at},"payload":${payload}}`

/** The frame of an event whose payload is bytes, which never has a priority. */
const eventParts = (head: string, id: string, at: number, payload: Uint8Array): FrameParts =>
  new FrameParts(`${head}${id}","event_seq":${at},"payload":`, payload)

/** Whether an event is sent as the bytes that it is. */
const isPlain = (payload: Payload, bytes: number): payload is Uint8Array =>
  typeof payload !== "string" && payload.length <= bytes

/** Everything of a frame before its id; the same for all events of a job in a session. */
const headOf = (session: SessionLog, job: EndedJob, type: string): string =>
  `{"arcp":"1.1","type":"${type}","session_id":${JSON.stringify(session.sessionId)},"job_id":${JSON.stringify(
    job.jobId
  )},"trace_id":${JSON.stringify(job.traceId)},"id":"`

const typeOf = (cls: SegmentClass): string =>
  cls === "result" ? "job.result" : cls === "error" ? "job.error" : "job.event"

/** The run that holds `seq`, among the newest ones. */
const recentRun = (session: SessionLog, seq: number): SessionRun | undefined => {
  const { recent } = session
  if (recent.length === 0 || seq < recent[0]!.firstSeq) return undefined
  let low = 0
  let high = recent.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (recent[middle]!.firstSeq <= seq) low = middle
    else high = middle - 1
  }
  const run = recent[low]!
  return run.firstSeq <= seq && seq <= run.lastSeq ? run : undefined
}

/** What frames may have, in encoded bytes. */
export interface FrameBounds {
  /** Bytes of the payload of an event. */
  readonly payload: number
  /** Bytes of an inline result as JSON. */
  readonly result: number
}

/** What reading needs. */
export interface ReadContext {
  readonly store: StoreService
  readonly ids: IdsService
  /** Milliseconds since the epoch: what ids of messages are made of. */
  readonly wall: () => number
  /** Elapsed milliseconds. */
  readonly mono: () => number
  readonly bounds: FrameBounds
}

/** An event of a type as a session is sent it. */
const viewed = (session: SessionLog, type: string, payload: string, bytes: number): FrameSize.EventFrame =>
  type === "job.event" ? SessionView.cut(type, payload, bytes) : SessionView.ended(session, type, payload, bytes)

/** What is in memory behind `cursor`, up to `upTo`; undefined where the store must be asked. */
const ready = (
  session: SessionLog,
  { bounds, ids, wall }: ReadContext,
  cursor: number,
  upTo: number
): Frames | undefined => {
  const now = wall()
  const frames: Array<Sendable> = []
  let chars = 0
  let at = cursor
  while (at < upTo && frames.length < maxEvents && chars < maxChars) {
    const run = recentRun(session, at + 1)
    if (run === undefined || !isLive(run.job)) break
    const { job } = run
    let jobSeq = run.firstJobSeq + (at + 1 - run.firstSeq)
    if (jobSeq < job.recentFrom) break
    const head = headOf(session, job, "job.event")
    const { prioritized } = job
    const seesOwn = job.hasOwnerPayloads && SessionView.seesOwn(session, job)
    const last = Math.min(run.lastSeq, upTo)
    while (at < last && frames.length < maxEvents && chars < maxChars) {
      const stored = job.recent[jobSeq - job.recentFrom]
      if (stored === undefined) break
      if (isPlain(stored, bounds.payload)) {
        at++
        frames.push(eventParts(head, ids.unsafeUlid(now), at, stored))
        chars += stored.length
        jobSeq++
        continue
      }
      const text = seesOwn ? SessionView.ownText(job, jobSeq, payloadText(stored)) : payloadText(stored)
      if (jobSeq !== job.terminalSeq && FrameSize.fits(text, bounds.payload)) {
        at++
        frames.push(eventText(head, ids.unsafeUlid(now), at, text, prioritized))
      } else {
        const type = jobSeq === job.terminalSeq ? job.terminalType : "job.event"
        // Its chunks are read from the store.
        if (SessionView.isWanting(session, type, text)) {
          return frames.length === 0 ? undefined : { frames, cursor: at }
        }
        at++
        const { payload, type: sent } = viewed(session, type, text, bounds.payload)
        frames.push(eventText(headOf(session, job, sent), ids.unsafeUlid(now), at, payload, prioritized))
      }
      chars += text.length
      jobSeq++
    }
  }
  return frames.length === 0 ? undefined : { frames, cursor: at }
}

/**
 * The job of a delivery, where the session is sent another text of some of its events: that text is in memory alone, also where the event
 * itself is read from the store.
 */
const ownedBy = (session: SessionLog, { jobId, lastSeq }: Delivery): JobLog | undefined => {
  if (!SessionView.maySeeSecrets(session)) return undefined
  const job = recentRun(session, lastSeq)?.job
  if (job?.jobId === jobId && SessionView.seesOwn(session, job)) return job
  for (const owned of session.owned) {
    if (owned.jobId === jobId) return SessionView.seesOwn(session, owned) ? owned : undefined
  }
  return undefined
}

/** As {@link ready}, where it is no longer in memory. */
const fromStore = (
  session: SessionLog,
  { bounds, ids, store, wall }: ReadContext,
  cursor: number,
  upTo: number
): Effect.Effect<Frames | undefined, StoreError> =>
  Effect.gen(function* () {
    const now = wall()
    const deliveries = yield* store.deliveries(session.sessionId, cursor, 32)
    const frames: Array<Sendable> = []
    let chars = 0
    let at = cursor
    for (const delivery of deliveries) {
      if (frames.length >= maxEvents || chars >= maxChars) break
      if (delivery.firstSeq > at + 1) return frames.length === 0 ? undefined : { frames, cursor: at }
      const from = delivery.firstJobSeq + (at + 1 - delivery.firstSeq)
      const to = Math.min(
        delivery.firstJobSeq + (Math.min(delivery.lastSeq, upTo) - delivery.firstSeq),
        from + maxEvents - frames.length - 1
      )
      if (to < from) break
      const stored = yield* store.job(delivery.jobId)
      if (Option.isNone(stored)) return frames.length === 0 ? undefined : { frames, cursor: at }
      const job: EndedJob = { jobId: delivery.jobId, traceId: stored.value.record.traceId }
      const owned = ownedBy(session, delivery)
      const segments = yield* loadedSegments(store, delivery.jobId, from, to, maxChars - chars)
      let jobSeq = from
      for (const segment of segments) {
        if (segment.firstSeq > jobSeq) break
        const type = typeOf(segment.class)
        for (; jobSeq <= Math.min(to, segment.lastSeq); jobSeq++) {
          const loaded = segment.payloads[jobSeq - segment.firstSeq]!
          if (type === "job.event" && isPlain(loaded, bounds.payload)) {
            at++
            frames.push(eventParts(headOf(session, job, type), ids.unsafeUlid(now), at, loaded))
            chars += loaded.length
            continue
          }
          const stored: FrameSize.EventFrame = { type, payload: payloadText(loaded) }
          const whole = SessionView.isWanting(session, type, stored.payload)
            ? yield* SessionView.whole(store, job.jobId, jobSeq, stored.payload, bounds.result)
            : stored
          // What is translated or cut is read, and must be what it looks like.
          if (type !== "job.event" || !FrameSize.fits(whole.payload, bounds.payload)) {
            yield* Rows.payload(job.jobId, whole.payload)
          }
          const text = owned === undefined ? whole.payload : SessionView.ownText(owned, jobSeq, whole.payload)
          const sent = viewed(session, whole.type, text, bounds.payload)
          at++
          frames.push(eventText(headOf(session, job, sent.type), ids.unsafeUlid(now), at, sent.payload, true))
          chars += sent.payload.length
        }
      }
      if (jobSeq <= to) break
    }
    return frames.length === 0 ? undefined : { frames, cursor: at }
  })

/** Whether events of a run from `seq` on are gone, though the session remembers the run. */
const isTrimmed = (run: SessionRun, seq: number): boolean =>
  isLive(run.job) && run.lastSeq >= seq && run.firstJobSeq + Math.max(0, seq - run.firstSeq) <= run.job.trimmedTo

/** Whether everything behind `cursor` can still be sent (§6.3). */
export const covered = (session: SessionLog, cursor: number, store: StoreService): Effect.Effect<boolean, StoreError> =>
  Effect.gen(function* () {
    if (cursor < session.floorSeq) return false
    let at = cursor
    // Fixed now: what comes later is there by construction.
    const target = session.seq
    while (at < target) {
      const first = session.recent[0]
      if (first !== undefined && first.firstSeq <= at + 1) return !session.recent.some((run) => isTrimmed(run, at + 1))
      const deliveries = yield* store.deliveries(session.sessionId, at, 1000)
      if (deliveries.length === 0) return false
      for (const delivery of deliveries) {
        if (delivery.firstSeq > at + 1) return false
        at = Math.max(at, delivery.lastSeq)
      }
    }
    return true
  })

/** A session's events, as its connection sends them. A class: an object with a getter of its own takes ten times its memory. */
class SessionSource implements Source {
  private readonly session: SessionLog
  private readonly context: ReadContext

  constructor(session: SessionLog, context: ReadContext) {
    this.session = session
    this.context = context
  }

  get seq(): number {
    return this.session.seq
  }

  ready(cursor: number, upTo: number): Frames | undefined {
    return ready(this.session, this.context, cursor, upTo)
  }

  read(cursor: number, upTo: number): Effect.Effect<Frames | undefined, StoreError> {
    const fast = this.ready(cursor, upTo)
    return fast === undefined ? fromStore(this.session, this.context, cursor, upTo) : Effect.succeed(fast)
  }

  gone(): RawEnvelope {
    return errorFrame(
      { id: this.context.ids.unsafeUlid(this.context.wall()), session_id: this.session.sessionId },
      new ResumeWindowExpired({ message: "the events that come next are gone" })
    )
  }

  seen(at: number): void {
    this.session.seen(at)
  }

  now(): number {
    return this.context.mono()
  }
}

/** A session's events, as its connection sends them. */
export const sourceOf = (session: SessionLog, context: ReadContext): Source => new SessionSource(session, context)

/**
 * The pump of a session's connection: sends its replies and its events.
 *
 * Responsibility: one pump for each connection, and the frames of the session's events: from memory where they are new, from the store where
 * they are older. An event's payload was serialised when it was emitted; here it only gets its head. What a session is sent otherwise than
 * others is decided in {@link SessionView}. The pump has a fiber only for what takes more than a step: where the connection has no room,
 * events are read from the store, or the connection is closed.
 *
 * Order: events leave in the order of the session's numbers, without a gap, live ones and those that a resume replays (ARCP 1.1 §6.3), because
 * there is one cursor. Where the turn of the event loop is over, it goes on in the next, with what is sent there.
 *
 * Races closed here: nothing follows a client's bye (1.0 §6.4), also where the store was being asked; between a look at what there is and falling
 * asleep there is no pause, so no wake is missed. It is awake while its fiber runs, so that there is one.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { RawEnvelope } from "../../protocol/Envelope.js"
import { ResumeWindowExpired } from "../../protocol/Errors.js"
import type { IdsService } from "../../protocol/Ids.js"
import { loadedSegments, type Payload, payloadText } from "../../store/Payload.js"
import * as Rows from "../../store/Rows.js"
import type { Delivery, SegmentClass, Store, StoreError } from "../../store/Store.js"
import { closeCodes, type ConnectionClosed } from "../../transport/Connection.js"
import { FrameParts, type Sendable, sendFrames, sendNow } from "../../transport/FrameParts.js"
import { errorFrame } from "../kernel/ErrorFrame.js"
import * as FrameSize from "../kernel/FrameSize.js"
import { isPrioritized, prioritizedEnd } from "../kernel/Payload.js"
import { isOver, pauseIfOver } from "../kernel/Turn.js"
import { inFrames, isLive, type JobLog } from "./JobLog.js"
import type { Outbox } from "./Outbox.js"
import type { EndedJob, SessionRun } from "./Run.js"
import type { SessionLog } from "./SessionLog.js"
import * as SessionView from "./SessionView.js"

// Events as frames.

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

/** The part of a frame that says whose it is, behind its type. */
const inSession = ({ sessionId }: SessionLog): string => `","session_id":${JSON.stringify(sessionId)}`

/** Everything of a frame before its id; the same for all events of a job in a session. */
const headOf = (type: string, ofSession: string, job: EndedJob): string =>
  `{"arcp":"1.1","type":"${type}${ofSession}${isLive(job) ? job.inFrames : inFrames(job)}`

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

/** Frames and the number of the last of them. */
interface Frames {
  readonly frames: Array<Sendable>
  readonly cursor: number
}

/** What is in memory behind `cursor`, up to `upTo`; undefined where the store must be asked. */
const ready = (
  session: SessionLog,
  { bounds, ids, wall }: ReadContext,
  cursor: number,
  upTo: number
): Frames | undefined => {
  const now = wall()
  const frames: Array<Sendable> = []
  const ofSession = inSession(session)
  let chars = 0
  let at = cursor
  while (at < upTo && frames.length < maxEvents && chars < maxChars) {
    const run = recentRun(session, at + 1)
    if (run === undefined || !isLive(run.job)) break
    const { job } = run
    let jobSeq = run.firstJobSeq + (at + 1 - run.firstSeq)
    if (jobSeq < job.recentFrom) break
    const head = headOf("job.event", ofSession, job)
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
        frames.push(eventText(headOf(sent, ofSession, job), ids.unsafeUlid(now), at, payload, prioritized))
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
    const ofSession = inSession(session)
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
        const head = headOf(type, ofSession, job)
        for (; jobSeq <= Math.min(to, segment.lastSeq); jobSeq++) {
          const loaded = segment.payloads[jobSeq - segment.firstSeq]!
          if (type === "job.event" && isPlain(loaded, bounds.payload)) {
            at++
            frames.push(eventParts(head, ids.unsafeUlid(now), at, loaded))
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
          const own = sent.type === type ? head : headOf(sent.type, ofSession, job)
          frames.push(eventText(own, ids.unsafeUlid(now), at, sent.payload, true))
          chars += sent.payload.length
        }
      }
      if (jobSeq <= to) break
    }
    return frames.length === 0 ? undefined : { frames, cursor: at }
  })

/** A session's events, as its connection sends them. A class: an object with a getter of its own takes ten times its memory. */
class Source {
  private readonly session: SessionLog
  private readonly context: ReadContext

  constructor(session: SessionLog, context: ReadContext) {
    this.session = session
    this.context = context
  }

  /** The last event that there is. */
  get seq(): number {
    return this.session.seq
  }

  /** What comes behind `cursor`, up to `upTo`, where it is in memory. */
  ready(cursor: number, upTo: number): Frames | undefined {
    return ready(this.session, this.context, cursor, upTo)
  }

  /** The same, read back; undefined where the store no longer has it. */
  read(cursor: number, upTo: number): Effect.Effect<Frames | undefined, StoreError> {
    const fast = this.ready(cursor, upTo)
    return fast === undefined ? fromStore(this.session, this.context, cursor, upTo) : Effect.succeed(fast)
  }

  /** What the client is told where that is gone. */
  gone(): RawEnvelope {
    return errorFrame(
      { id: this.context.ids.unsafeUlid(this.context.wall()), session_id: this.session.sessionId },
      new ResumeWindowExpired({ message: "the events that come next are gone" })
    )
  }

  /** Something is being sent. */
  seen(at: number): void {
    this.session.seen(at)
  }

  /** Elapsed milliseconds. */
  now(): number {
    return this.context.mono()
  }
}

/** A session's events, as its connection sends them. */
export const sourceOf = (session: SessionLog, context: ReadContext): Source => new Source(session, context)

// Sending.

/** Whether there may be more to send, in this step or behind an effect. */
type Step = boolean | Effect.Effect<boolean, ConnectionClosed | StoreError>

const sending = (source: Source, link: Outbox, cursor: number, now: number): void => {
  link.handOver(cursor, now)
  source.seen(now)
}

const send = ({ connection }: Outbox, frames: ReadonlyArray<Sendable>): Step =>
  sendNow(connection, frames) || Effect.as(sendFrames(connection, frames), true)

/** Sends events that have to be read back. */
const readBack = (
  source: Source,
  link: Outbox,
  last: number,
  now: number
): Effect.Effect<boolean, ConnectionClosed | StoreError> =>
  Effect.flatMap(source.read(link.cursor, last), (read) => {
    // The client may have left while the store was asked: nothing follows its bye (1.0 §6.4).
    if (link.closing !== undefined) return Effect.succeed(true)
    if (read === undefined) {
      link.post(source.gone())
      link.end(closeCodes.policy, "RESUME_WINDOW_EXPIRED")
      return Effect.succeed(true)
    }
    sending(source, link, read.cursor, now)
    return Effect.as(sendFrames(link.connection, read.frames), true)
  })

/** Sends what there is next, and answers whether there may be more. */
const next = (source: Source, link: Outbox): Step => {
  const { connection } = link
  link.settle()
  const upTo = link.release()
  const now = source.now()
  const replies = link.hasReplies ? link.take() : undefined
  if (replies !== undefined) link.said(now)
  if (link.closing !== undefined) {
    return replies !== undefined
      ? send(link, replies)
      : Effect.as(connection.close(link.closing.code, link.closing.reason), false)
  }
  // Replies that are left leave before events that may belong behind them.
  if (replies !== undefined && link.hasReplies) return send(link, replies)
  if (link.cursor >= source.seq) {
    if (replies !== undefined) return send(link, replies)
    link.sent()
    link.sleep()
    return false
  }
  const last = Math.min(source.seq, upTo)
  const events = source.ready(link.cursor, last)
  if (events !== undefined) {
    sending(source, link, events.cursor, now)
    return send(link, replies === undefined ? events.frames : [...replies, ...events.frames])
  }
  return replies !== undefined ? send(link, replies) : readBack(source, link, last, now)
}

/** Sends what there is as far as that is done in this step; returns what is left for a fiber. */
const advance = (source: Source, link: Outbox, timed: boolean): Exclude<Step, boolean> | undefined => {
  for (let sent = false; ; sent = true) {
    if (sent && timed && isOver()) {
      link.sendOn()
      return undefined
    }
    try {
      const step = next(source, link)
      if (step === false) return undefined
      if (step !== true) return step
    } catch (defect) {
      return Effect.die(defect)
    }
  }
}

/** Sends what the session has, behind what is left of a step. Ends when that is done, and with the connection. */
const pump = (source: Source, link: Outbox, left: Exclude<Step, boolean>): Effect.Effect<void> => {
  const look = Effect.suspend(() => {
    const answer = next(source, link)
    return typeof answer === "boolean" ? Effect.succeed(answer) : answer
  })
  // Between two steps, never between a look at what there is and falling asleep.
  const following = Effect.suspend(() => {
    const wait = pauseIfOver()
    return wait === undefined ? look : Effect.zipRight(wait, look)
  })
  let step: Exclude<Step, boolean> = left
  let more = true
  return Effect.whileLoop({
    while: () => more,
    body: () => step,
    step: (answer) => {
      more = answer
      step = following
    }
  }).pipe(
    Effect.catchTags({
      ConnectionClosed: () => Effect.sync(() => link.abandon()),
      StoreError: (error) =>
        Effect.zipRight(
          Effect.logError("a session's log could not be read", error),
          Effect.zipRight(
            Effect.sync(() => link.abandon()),
            link.connection.close(closeCodes.tryAgainLater, "the store is not available")
          )
        )
    }),
    Effect.asVoid
  )
}

/** Lets a session's pump run whenever there is something to send, until the scope closes. No fiber waits for that. */
export const pumped = (
  source: Source,
  link: Outbox,
  runFork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>,
  timed: boolean
): Effect.Effect<void, never, Scope.Scope> => {
  let running: Fiber.RuntimeFiber<void> | undefined
  link.pumpedBy(() => {
    const left = advance(source, link, timed)
    if (left === undefined) return
    const fiber = runFork(pump(source, link, left))
    if (fiber.unsafePoll() !== null) return
    running = fiber
    fiber.addObserver(() => {
      // It may have fallen asleep, and the next have been begun, before it ended.
      if (running === fiber) running = undefined
    })
  }, timed)
  link.wake()
  const stop = Effect.suspend(() => {
    link.pumpedBy(undefined)
    return running === undefined ? Effect.void : Fiber.interrupt(running)
  })
  // To the scope itself: `Effect.addFinalizer` would keep the references of this fiber for as long as the session lives.
  return Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, stop))
}

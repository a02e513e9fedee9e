/**
 * Sending what a session has over its connection.
 *
 * Responsibility: one pump for each connection, and no fiber of it while there is nothing to send.
 *
 * Order: replies leave before events that were committed with or after them, but for what has its place behind an event. Events leave
 * in the order of the session's numbers, live ones and those that are read back, because there is one cursor.
 *
 * Races closed here: nothing follows a client's bye, also where the store was being asked; between a look at what there is and falling
 * asleep there is no pause, so no wake is missed.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { ResumeWindowExpired } from "../../protocol/Errors.js"
import type { IdsService } from "../../protocol/Ids.js"
import type { Store, StoreError } from "../../store/Store.js"
import { closeCodes, type ConnectionClosed } from "../../transport/Connection.js"
import { errorFrame } from "../kernel/ErrorFrame.js"
import { pauseIfOver } from "../kernel/Turn.js"
import * as Frames from "./Frames.js"
import type { Outbox } from "./Outbox.js"
import type { SessionLog } from "./SessionLog.js"

/** What pumps need. */
export interface PumpContext {
  readonly store: Context.Tag.Service<Store>
  readonly ids: IdsService
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly bounds: Frames.FrameBounds
  readonly runFork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
}

/** Whether there may be more to send. */
type Step = Effect.Effect<boolean, ConnectionClosed | StoreError>

const sending = (session: SessionLog, link: Outbox, cursor: number, now: number): void => {
  link.handOver(cursor, now)
  session.seen(now)
}

/** Sends events that have to be read back. */
const readBack = (context: PumpContext, session: SessionLog, link: Outbox, last: number, now: number): Step => {
  const { bounds, ids, store } = context
  return Effect.flatMap(Frames.read(session, link.cursor, last, store, ids, now, bounds), (read) => {
    // The client may have left while the store was asked: nothing follows its bye (1.0 §6.4).
    if (link.closing !== undefined) return Effect.succeed(true)
    if (read === undefined) {
      const head = { id: ids.unsafeUlid(context.now()), session_id: session.sessionId }
      link.post(errorFrame(head, new ResumeWindowExpired({ message: "the events that come next are gone" })))
      link.end(closeCodes.policy, "RESUME_WINDOW_EXPIRED")
      return Effect.succeed(true)
    }
    sending(session, link, read.cursor, now)
    return Effect.as(link.connection.send(read.frames), true)
  })
}

/** Sends what there is next, and answers whether there may be more. */
const next = (context: PumpContext, session: SessionLog, link: Outbox): Step => {
  const { connection } = link
  link.settle()
  const upTo = link.release()
  const now = context.now()
  const replies = link.hasReplies ? link.take() : undefined
  if (replies !== undefined) link.said(now)
  if (link.closing !== undefined) {
    return replies !== undefined
      ? Effect.as(connection.send(replies), true)
      : Effect.as(connection.close(link.closing.code, link.closing.reason), false)
  }
  // Replies that are left leave before events that may belong behind them.
  if (replies !== undefined && link.hasReplies) return Effect.as(connection.send(replies), true)
  if (link.cursor >= session.seq) {
    if (replies !== undefined) return Effect.as(connection.send(replies), true)
    link.sent()
    link.sleep()
    return Effect.succeed(false)
  }
  const last = Math.min(session.seq, upTo)
  const events = Frames.ready(session, link.cursor, last, context.ids, now, context.bounds)
  if (events !== undefined) {
    sending(session, link, events.cursor, now)
    return Effect.as(connection.send(replies === undefined ? events.frames : [...replies, ...events.frames]), true)
  }
  return replies !== undefined ? Effect.as(connection.send(replies), true) : readBack(context, session, link, last, now)
}

/** Sends what the session has. Ends when that is done, and with the connection. */
const pump = (context: PumpContext, session: SessionLog, link: Outbox): Effect.Effect<void> => {
  const step = Effect.suspend(() => next(context, session, link))
  let more = true
  let sent = false
  return Effect.whileLoop({
    while: () => more,
    // Between two steps, never between a look at what there is and falling asleep.
    body: () => {
      const wait = sent ? pauseIfOver() : undefined
      sent = true
      return wait === undefined ? step : Effect.zipRight(wait, step)
    },
    step: (left) => {
      more = left
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
  context: PumpContext,
  session: SessionLog,
  link: Outbox
): Effect.Effect<void, never, Scope.Scope> => {
  let running: Fiber.RuntimeFiber<void> | undefined
  link.pumpedBy(() => {
    const fiber = context.runFork(pump(context, session, link))
    if (fiber.unsafePoll() !== null) return
    running = fiber
    fiber.addObserver(() => {
      // It may have fallen asleep, and the next have been begun, before it ended.
      if (running === fiber) running = undefined
    })
  })
  link.wake()
  return Effect.addFinalizer(() => {
    link.pumpedBy(undefined)
    return running === undefined ? Effect.void : Fiber.interrupt(running)
  })
}

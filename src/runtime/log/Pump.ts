/**
 * The pump of a session's connection: sends its replies and its events.
 *
 * Responsibility: one pump for each connection. It has a fiber only for what takes more than a step: where the connection has no room, events
 * are read from the store, or the connection is closed.
 *
 * Order: events leave in the order of the session's numbers, live ones and those that are read back, because there is one cursor. Where the
 * turn of the event loop is over, it goes on in the next, with what is sent there.
 *
 * Races closed here: nothing follows a client's bye (1.0 §6.4), also where the store was being asked; between a look at what there is and falling
 * asleep there is no pause, so no wake is missed. It is awake while its fiber runs, so that there is one.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { StoreError } from "../../store/Store.js"
import { closeCodes, type ConnectionClosed } from "../../transport/Connection.js"
import { type Sendable, sendFrames, sendNow } from "../../transport/FrameParts.js"
import { isOver, pauseIfOver } from "../kernel/Turn.js"
import type { Outbox } from "./Outbox.js"
import type { Source } from "./Source.js"

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

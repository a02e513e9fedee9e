/**
 * The reading of one connection, from its first frame until it ends (ARCP 1.1 §5).
 *
 * Responsibility: frames are read in order and each is checked before use. The first is the handshake's; those after it become
 * requests. A frame that cannot be read is answered with `INVALID_REQUEST` naming the field, and the next good one works; too many in a
 * row close the connection.
 *
 * Bounds, before a frame is read: while unsent replies are at their bound the connection is not read, a connection that sends faster
 * than `Limits.messagesPerSecond` is read more slowly, and the loop gives other connections a turn of the event loop.
 *
 * Order: the next frame is read when the one before it has been answered, or runs beside the reading.
 *
 * A connection that has a session and nothing to read has no fiber: it rests, where its transport is one of this package's. A frame that comes
 * then is answered in the step in which it comes, where that takes no more than a step; anything else begins a fiber, which reads until
 * nothing waits. Under a clock that a test moves, every frame begins one.
 *
 * Races: whatever ends the reading (the peer, a refusal, a defect, the runtime's end), the session leaves the connection and the
 * connection's scope closes, once, uninterruptibly. A connection rests in the step in which it has looked whether anything waits, so that no
 * frame and no end is missed; it is roused in the step in which a fiber is begun, so that two never read. At the runtime's end those that rest
 * get a fiber, which is interrupted as the others are. A fiber begins uninterruptible: one that is interrupted before its first step still
 * does what there is to do at the end.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import * as Envelope from "../../protocol/Envelope.js"
import { InvalidRequest } from "../../protocol/Errors.js"
import * as ExtensionName from "../../protocol/ExtensionName.js"
import * as Message from "../../protocol/Message.js"
import { BadFrame, closeCodes, type Connection, type Inbound } from "../../transport/Connection.js"
import { readChunks, type Resting, rouse } from "../../transport/Reading.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { Limits } from "../kernel/Limits.js"
import { badMessages, Meter, type MeterShape } from "../kernel/Metrics.js"
import { asWork, isOver, isTimed, pauseIfOver } from "../kernel/Turn.js"
import { Arrival, type Handshake } from "./Handshake.js"
import type { Conversation } from "./Conversation.js"
import type { Requests } from "./Requests.js"
import { Presence } from "./Presence.js"

/** Characters of a frame that takes a millisecond or more to be decoded. */
const largeFrame = 65_536

/** How many seconds' messages may come at once after a rest. */
const burst = 10

/** How fast one connection is read: so many messages a second, and more at once after a rest. */
class Pace {
  private left: number
  private filledAt: number
  private readonly perSecond: number
  private readonly meter: MeterShape

  constructor(perSecond: number, now: number, meter: MeterShape) {
    this.meter = meter
    this.perSecond = perSecond
    this.left = perSecond * burst
    this.filledAt = now
  }

  /** Counts a message, where it may be answered now. */
  take(): boolean {
    if (this.left < 1) return false
    this.left--
    return true
  }

  /** Counts a message; what to wait for before it is answered, where they come faster than they may. */
  next(now: () => number): Effect.Effect<void> | undefined {
    if (--this.left >= 0) return undefined
    const at = now()
    this.left = Math.min(this.left + ((at - this.filledAt) * this.perSecond) / 1000, this.perSecond * burst)
    this.filledAt = at
    if (this.left >= 0) return undefined
    this.meter.reached("messagesPerSecond")
    return Effect.sleep(Math.ceil((-this.left / this.perSecond) * 1000))
  }
}

/** How a connection that rests goes on. */
interface Rests {
  readonly take: (reading: Reading, frame: Inbound) => boolean
  readonly go: (reading: Reading, left: Effect.Effect<void>) => void
}

/** The state of reading one connection. */
class Reading implements Resting<Inbound> {
  readonly arrival: Arrival
  readonly pace: Pace
  /** What answers its requests, once it has a session. */
  conversation: Conversation | undefined = undefined
  /** The fiber that reads it; undefined while it rests. */
  fiber: Fiber.RuntimeFiber<void> | undefined = undefined
  span: Tracer.Span | undefined = undefined
  private stopped = false
  private badInARow = 0
  private hasUnderstood = false
  private readonly rests: Rests

  constructor(arrival: Arrival, pace: Pace, rests: Rests) {
    this.arrival = arrival
    this.pace = pace
    this.rests = rests
  }

  take(frame: Inbound): boolean {
    return this.rests.take(this, frame)
  }

  wake(): void {
    this.go(Effect.void)
  }

  /** A fiber goes on with what is left of a frame. */
  go(left: Effect.Effect<void>): void {
    this.rests.go(this, left)
  }

  /** Its span has begun. */
  within(span: Tracer.Span): void {
    this.span = span
  }

  /** A fiber reads it; undefined: it rests. */
  readBy(fiber: Fiber.RuntimeFiber<void> | undefined): void {
    this.fiber = fiber
  }

  /** It has a session. */
  converse(conversation: Conversation): void {
    this.conversation = conversation
  }

  /** The connection is to be read no further. */
  stop(): void {
    this.stopped = true
  }

  /** A frame that is no message; answers how many there were in a row. */
  bad(): number {
    return ++this.badInARow
  }

  /** A frame that is a message; answers whether it is the first. */
  understood(): boolean {
    const isFirst = !this.hasUnderstood
    this.badInARow = 0
    this.hasUnderstood = true
    return isFirst
  }

  /** Whether the connection is to be read no further. */
  get done(): boolean {
    // A refusal counts also where the session has come after it.
    return this.stopped || this.arrival.refused || this.conversation?.over === true
  }
}

/** The envelope of a frame, or why there is none. */
const readFrame = (
  frame: Inbound,
  limits: Envelope.ReadLimits
): Either.Either<Envelope.RawEnvelope, Envelope.Unreadable> =>
  frame instanceof BadFrame
    ? Either.left({ error: new InvalidRequest({ message: `message: ${frame.reason}` }), requestId: undefined })
    : typeof frame === "string"
      ? Envelope.fromText(frame, limits)
      : Envelope.fromUnknown(frame)

/** Why an envelope is no message for a runtime; undefined where it is one, or an extension's. */
const misplaced = (type: string): InvalidRequest =>
  new InvalidRequest({
    message: Message.isRuntimeType(type)
      ? `type: ${type} is sent by runtimes only`
      : "type: is not a message type of ARCP 1.1"
  })

/** Messages that say no more than that the client is there (§14, heartbeat amplification). */
const isSignOfLife = (type: string): boolean =>
  type === "session.ping" || type === "session.pong" || type === "session.ack"

/** Something has come from the client. */
const heard = ({ link, session }: Conversation, now: number): void => {
  link.heard(now)
  session.seen(now)
}

/** How one runtime serves connections, until the scope closes. */
export const serving = (handshake: Handshake, requests: Requests) =>
  Effect.gen(function* () {
    const sessions = yield* Presence
    const deadlines = yield* Deadlines
    const limits = yield* Limits
    const meter = yield* Meter
    const timed = yield* isTimed
    const readLimits = { maxDepth: limits.jsonDepth }

    /** A frame that is no message of a client; answered, and counted. */
    const bad = (
      reading: Reading,
      conversation: Conversation,
      error: InvalidRequest,
      request: Envelope.RawEnvelope | undefined,
      requestId?: string
    ): undefined => {
      const { link } = conversation
      meter.count(badMessages)
      if (request === undefined) conversation.unreadable(error, requestId)
      else conversation.fail(error, request)
      if (reading.bad() < limits.badFramesInARow) return
      reading.stop()
      meter.reached("badFramesInARow")
      link.end(closeCodes.policy, `${limits.badFramesInARow} bad messages in a row`)
    }

    /** Answers a frame; returns what could not be done in this step, to be run. */
    const onFrame = (reading: Reading, conversation: Conversation, frame: Inbound): Effect.Effect<void> | undefined => {
      const { link, session } = conversation
      heard(conversation, deadlines.mono())
      const envelope = readFrame(frame, readLimits)
      if (Either.isLeft(envelope)) {
        return bad(reading, conversation, envelope.left.error, undefined, envelope.left.requestId)
      }
      const raw = envelope.right
      if (raw.session_id !== undefined && raw.session_id !== session.sessionId) {
        const error = new InvalidRequest({ message: "session_id: is not this connection's session" })
        return bad(reading, conversation, error, raw)
      }
      if (!Message.isClientType(raw.type)) {
        return ExtensionName.isExtension(raw.type) ? undefined : bad(reading, conversation, misplaced(raw.type), raw)
      }
      const decoded = Message.decodeClient(raw)
      if (Either.isLeft(decoded)) return bad(reading, conversation, decoded.left, raw)
      if (!isSignOfLife(raw.type)) session.spoke(link.lastIn)
      if (reading.understood()) sessions.confirm(conversation)
      return requests.handle(conversation, decoded.right, typeof frame === "string" ? frame.length : 0)
    }

    /** Takes the first frame. */
    const greet = (reading: Reading, frame: Inbound): Effect.Effect<void> => {
      const { arrival } = reading
      return Effect.map(handshake.first(arrival, readFrame(frame, readLimits)), () => {
        arrival.settle()
        const { attached, scope } = arrival
        if (attached !== undefined) reading.converse(requests.begin(attached, scope))
      })
    }

    /** Waits until there is room for replies; a connection that ends meanwhile is read no further. */
    const drained = (reading: Reading, { link }: Conversation): Effect.Effect<void> => {
      const { full } = link
      if (full !== undefined) meter.reached(full)
      return Effect.raceFirst(
        link.room,
        Effect.zipRight(
          link.connection.closed,
          Effect.sync(() => {
            reading.stop()
            link.abandon()
          })
        )
      )
    }

    /** Answers a frame, at the connection's pace. */
    const answer = (reading: Reading, conversation: Conversation, frame: Inbound): Effect.Effect<void> | undefined => {
      const pace = reading.pace.next(deadlines.mono)
      const isLarge = typeof frame === "string" && frame.length > largeFrame
      if (!isLarge && pace === undefined) return onFrame(reading, conversation, frame)
      const handled = Effect.suspend(() => onFrame(reading, conversation, frame) ?? Effect.void)
      // Decoding cannot be interrupted: at most one large frame in a turn of the event loop, over all connections.
      const answered = isLarge ? asWork(handled) : handled
      if (pace === undefined) return answered
      heard(conversation, deadlines.mono())
      return Effect.zipRight(pace, answered)
    }

    /**
     * Answers a frame of a connection that rests, in the step in which it comes; false: it is to be read by a fiber. The bounds are those of
     * {@link read}, and what they make wait is read there.
     */
    const take = (reading: Reading, frame: Inbound): boolean => {
      if (reading.done) return true
      const { conversation } = reading
      if (!timed || conversation === undefined || (typeof frame === "string" && frame.length > largeFrame)) return false
      if (isOver() || !conversation.link.hasRoom || !reading.pace.take()) return false
      let left: Effect.Effect<void> | undefined
      try {
        left = onFrame(reading, conversation, frame)
      } catch (defect) {
        left = Effect.die(defect)
      }
      if (left !== undefined) {
        rouse(reading.arrival.connection)
        reading.go(left)
      }
      return true
    }

    /** Reads the connection until it ends, or rests; answers whether it rests. */
    const read = (reading: Reading): Effect.Effect<boolean> =>
      readChunks(
        reading.arrival.connection,
        (frames) => {
          let i = 0
          let waited = false
          const next: Effect.Effect<void> = Effect.suspend(() => {
            while (i < frames.length && !reading.done) {
              // Once for each frame: where a test moves the clock, there is nothing to wait for, and the turn stays over.
              const wait = waited ? undefined : pauseIfOver()
              waited = wait !== undefined
              if (wait !== undefined) return Effect.zipRight(wait, next)
              const { conversation } = reading
              if (conversation === undefined) return Effect.zipRight(greet(reading, frames[i++]!), next)
              if (!conversation.link.hasRoom) return Effect.zipRight(drained(reading, conversation), next)
              const left = answer(reading, conversation, frames[i++]!)
              if (left !== undefined) return Effect.zipRight(left, next)
            }
            return Effect.void
          })
          return next
        },
        (rest) => {
          // Not during the handshake.
          if (reading.conversation === undefined || !rest(reading)) return false
          reading.readBy(undefined)
          return true
        }
      )

    /** The connection has ended, or is to. */
    const ended = ({ arrival }: Reading, exit: Exit.Exit<void>): Effect.Effect<void> => {
      const { attached, connection, scope } = arrival
      handshake.leave(arrival)
      if (attached !== undefined) sessions.leave(attached)
      const closed = Scope.close(scope, exit)
      if (Exit.isSuccess(exit))
        return attached === undefined ? Effect.zipRight(closed, countTooLarge(connection)) : closed
      return Effect.zipRight(
        closed,
        Exit.isInterrupted(exit)
          ? connection.close(closeCodes.goingAway, "the runtime is shutting down")
          : Effect.zipRight(
              Effect.logError("a connection could not be served", exit.cause),
              connection.close(closeCodes.internal, "the connection could not be served")
            )
      )
    }

    /** Its inbound has ended, so its end is near. The transport cannot count. */
    const countTooLarge = (connection: Connection): Effect.Effect<void> =>
      Effect.map(connection.closed, ({ code }) => {
        if (code === closeCodes.tooBig) meter.reached("unauthenticatedFrameBytes")
      })

    /** Reads the connection behind what is left of a frame, then does what there is to do at its end. Runs uninterruptible. */
    const reads = (reading: Reading, left: Effect.Effect<void>): Effect.Effect<void> => {
      const { span } = reading
      const behind = Effect.zipRight(left, read(reading))
      return Effect.flatMap(
        Effect.exit(Effect.interruptible(span === undefined ? behind : Effect.withParentSpan(behind, span))),
        (exit) => (Exit.isSuccess(exit) && exit.value ? Effect.void : ended(reading, Exit.asVoid(exit)))
      )
    }

    /** Takes a connection in, and reads it. Runs uninterruptible. */
    const begin = (reading: Reading): Effect.Effect<void> =>
      Effect.suspend(() => {
        const { connection, scope } = reading.arrival
        const refusal = handshake.enter(reading.arrival)
        if (refusal !== undefined) return refusal
        const span = Effect.makeSpanScoped("arcp.session", {
          root: true,
          attributes: { "arcp.transport": connection.transport },
          captureStackTrace: false
        })
        return Effect.flatMap(Scope.extend(span, scope), (span) => {
          reading.within(span)
          return reads(reading, Effect.void)
        })
      })

    const serve: Effect.Effect<Serve, never, Scope.Scope> = Effect.gen(function* () {
      const runtime = Runtime.disableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
      const fork = Runtime.runFork(runtime)
      const all = new Set<Reading>()
      let over = false

      const run = (reading: Reading, effect: Effect.Effect<void>): void => {
        const fiber = fork(effect, { immediate: false })
        reading.readBy(fiber)
        fiber.addObserver(() => {
          if (reading.fiber === fiber) all.delete(reading)
        })
        if (over) fiber.unsafeInterruptAsFork(fiber.id())
      }

      const rests: Rests = { take, go: (reading, left) => run(reading, reads(reading, left)) }

      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          over = true
          const fibers: Array<Fiber.RuntimeFiber<void>> = []
          for (const reading of all) {
            if (reading.fiber === undefined) {
              rouse(reading.arrival.connection)
              reading.wake()
            }
            if (reading.fiber !== undefined) fibers.push(reading.fiber)
          }
          return Fiber.interruptAll(fibers)
        })
      )

      return (connection) => {
        const pace = new Pace(limits.messagesPerSecond, deadlines.mono(), meter)
        const reading = new Reading(new Arrival(connection, newScope()), pace, rests)
        all.add(reading)
        run(reading, begin(reading))
      }
    })
    return { serve }
  })

const newScope = (): Scope.CloseableScope => Effect.runSync(Scope.make())

/** Serves a connection until it ends. */
export type Serve = (connection: Connection) => void

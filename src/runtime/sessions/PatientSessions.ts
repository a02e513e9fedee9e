/**
 * Sessions and subscriptions that the program brought, as the runtime asks them.
 *
 * Responsibility: a decision on a session is waited for as long as for a handshake, and is looked at before it is used. What is called at
 * the end of connections, in deadlines and in commits cannot throw there. The runtime's own are asked without this, and cost no timer.
 *
 * Races closed here: a session that is decided on too late is gone again at once, so that it does not count.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { type ArcpError, InternalError } from "../../protocol/Errors.js"
import type { SessionId } from "../../protocol/Ids.js"
import * as Foreign from "../kernel/Foreign.js"
import { Limits } from "../kernel/Limits.js"
import { EventLog } from "../log/EventLog.js"
import { type OpenedSession, type ResumedSession, Sessions, type SessionsService } from "./Sessions.js"
import { Subscriptions, type SubscriptionsService } from "./Subscriptions.js"

/** The same sessions, guarded where they are the program's. */
export const patientSessions = <E, R>(
  layer: Layer.Layer<Sessions, E, R>,
  isForeign: boolean
): Layer.Layer<Sessions, E, R | EventLog> => (isForeign ? Layer.provide(guarded, layer) : layer)

/** The same subscriptions, guarded where they are the program's. */
export const patientSubscriptions = <E, R>(
  layer: Layer.Layer<Subscriptions, E, R>,
  isForeign: boolean
): Layer.Layer<Subscriptions, E, R> => (isForeign ? Layer.provide(guardedSubscriptions, layer) : layer)

const isShort = (text: unknown): boolean => typeof text === "string" && text.length > 0 && text.length <= 256

const isWindow = (millis: unknown): millis is number => typeof millis === "number" && millis >= 0

/** Its values, read once; a defect where they cannot be a session's. */
const sound = <S extends OpenedSession | ResumedSession>({ resumeWindow, sessionId, token }: S) =>
  isShort(sessionId) && isShort(token) && isWindow(resumeWindow)
    ? // The welcome tells the window: an endless one has no number in JSON.
      Effect.succeed({ sessionId, token, resumeWindow: Math.min(resumeWindow, Number.MAX_SAFE_INTEGER) })
    : Effect.dieMessage("a session's id and token are texts of 1 to 256 characters, its window is in milliseconds")

const late = new InternalError({ message: "the session could not be decided on in time; try again" })
const undecided = new InternalError({ message: "the session could not be decided on; try again" })

const guarded: Layer.Layer<Sessions, never, Sessions | EventLog> = Layer.effect(
  Sessions,
  Effect.gen(function* () {
    const sessions = yield* Sessions
    const eventLog = yield* EventLog
    const { handshakeTimeout } = yield* Limits
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const tell = (what: string, call: () => void): void => Foreign.called(`Sessions.${what}`, fork, call, undefined)
    const expired = (sessionId: SessionId): void => tell("expired", () => sessions.expired(sessionId))

    /** It goes on for as long again, so that what it decides too late can be undone. */
    const inTime = <A>(what: string, decision: Effect.Effect<A, ArcpError>, over: () => void = () => undefined) => {
      const bounded = Effect.timeoutFail(Effect.disconnect(decision), {
        duration: 2 * handshakeTimeout,
        onTimeout: () => late
      })
      return Effect.forkDaemon(Effect.interruptible(bounded)).pipe(
        Effect.flatMap((fiber) =>
          Fiber.join(fiber).pipe(
            Effect.timeoutFail({
              duration: handshakeTimeout,
              onTimeout: () => {
                over()
                return late
              }
            }),
            Effect.interruptible,
            Effect.onInterrupt(() => Fiber.interruptFork(fiber))
          )
        ),
        Effect.catchAllDefect((defect) =>
          Effect.zipRight(Effect.logError(`Sessions.${what} failed unexpectedly`, defect), Effect.fail(undecided))
        )
      )
    }

    /** A session that is not opened after all does not count; one that is open keeps its id. */
    const release = ({ sessionId }: OpenedSession) =>
      Effect.sync(() => {
        if (eventLog.sessions.get(sessionId) === undefined) expired(sessionId)
      })

    const open: SessionsService["open"] = (request) =>
      Effect.suspend(() => {
        let isOver = false
        const decided = Effect.flatMap(
          Effect.suspend(() => sessions.open(request)),
          (opened) =>
            isOver
              ? Effect.zipRight(release(opened), Effect.fail(late))
              : sound(opened).pipe(
                  Effect.map((read): OpenedSession => ({ ...read, replaces: [...(opened.replaces ?? [])] })),
                  Effect.onError(() => release(opened))
                )
        )
        return inTime("open", decided, () => {
          isOver = true
        })
      })

    const resume: SessionsService["resume"] = (request) => {
      const decided = Effect.flatMap(
        Effect.suspend(() => sessions.resume(request)),
        (resumed) =>
          Effect.map(sound(resumed), (read): ResumedSession => {
            const { stored } = resumed
            return stored === undefined ? read : { ...read, stored: () => tell("resume: stored", () => stored()) }
          })
      )
      return inTime("resume", decided)
    }

    return {
      open,
      resume,
      confirm: (sessionId) => tell("confirm", () => sessions.confirm(sessionId)),
      left: (sessionId) => tell("left", () => sessions.left(sessionId)),
      expired,
      adopt: (session) => {
        const window: unknown = Foreign.called("Sessions.adopt", fork, () => sessions.adopt(session), undefined)
        return isWindow(window) ? window : undefined
      }
    }
  })
)

const guardedSubscriptions: Layer.Layer<Subscriptions, never, Subscriptions> = Layer.effect(
  Subscriptions,
  Effect.map(
    Subscriptions,
    (own): SubscriptionsService => ({
      subscribe: (request, reply) => Foreign.asked(() => own.subscribe(request, reply)),
      unsubscribe: (request, reply) => Foreign.asked(() => own.unsubscribe(request, reply)),
      list: (request) =>
        Effect.map(
          Foreign.asked(() => own.list(request)),
          ({ nextCursor, rows }) => ({ rows, nextCursor: nextCursor ?? null })
        )
    })
  )
)

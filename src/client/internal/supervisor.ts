/**
 * Keeping a client's session alive over its connections: reconnect, wait, give up, close.
 *
 * Responsibility: one fiber that makes one connection after the other. What happens on a connection is in `connection`, which
 * session the next one asks for in `succession`, how long it waits in `pace`.
 *
 * Order: a connection has ended, with all its fibers, before the next one is made. A session that could not be resumed is
 * replaced at once; otherwise the client waits first.
 *
 * Races: `close` while a connection is made or a wait lasts: the fiber is interrupted, and the client ends once (`lifetime`).
 * A fault of the fiber itself ends the client too, so that no caller waits for a session that cannot come.
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { type ArcpError, oneLine } from "../../protocol/Errors.js"
import type { Connector } from "../../transport/Connection.js"
import { SessionEnded } from "../ClientError.js"
import type { ClientStatus } from "../ClientStatus.js"
import { broken } from "./attempt.js"
import { connectOnce } from "./connection.js"
import type { Core } from "./core.js"
import * as Fibers from "./fibers.js"
import type { Failure } from "./lifetime.js"
import type { SupervisorOptions } from "./options.js"
import { makeShared, type Shared } from "./shared.js"
import { textOf } from "./text.js"

/** What the calls of a client need. */
export interface Supervisor {
  readonly status: Stream.Stream<ClientStatus>
  /** Waits for the first welcome; fails once the client has ended. */
  readonly connected: Effect.Effect<void, Failure>
  /** Why there is no session any more; undefined while there may be one. */
  readonly ended: () => Failure | undefined
  /** Sends what is queued. */
  readonly flush: () => void
  /** A consumer has taken events. */
  readonly consumed: () => void
  /** Why a request cannot be sent to this runtime; undefined where it can. */
  readonly refusal: (request: string) => ArcpError | undefined
  readonly close: Effect.Effect<void>
}

const gaveUp = (attempt: number, reason: string): SessionEnded =>
  new SessionEnded({
    reason: "gave_up",
    message: oneLine(`no session after ${attempt} attempt${attempt === 1 ? "" : "s"}, the last one: ${reason}`)
  })

/** Waits as long as `pace` says before the next connection; returns false where the client gives up. */
const waitsFor = (shared: Shared, code: number, reason: string): Effect.Effect<boolean> =>
  Effect.flatMap(shared.pace.next(code, reason), (next) => {
    const { connector, lifetime, notices, pace } = shared
    const { attempt } = pace
    if (Option.isNone(next)) return Effect.as(lifetime.end(gaveUp(attempt, reason)), false)
    const delay = next.value
    const warning = `no session with ${textOf(connector.address)} after ${attempt} attempts: ${reason}; the next one in ${Duration.toMillis(delay)} ms`
    return notices
      .set({ _tag: "Disconnected", code, reason })
      .pipe(
        Effect.zipRight(notices.set({ _tag: "Reconnecting", attempt, delay })),
        Effect.zipRight(attempt < 2 ? Effect.void : Fibers.warn(warning)),
        Effect.zipRight(Effect.sleep(delay)),
        Effect.as(true)
      )
  })

/** One connection after the other, until the client ends. */
const run = (shared: Shared): Effect.Effect<void> => {
  const { lifetime, succession } = shared
  const connection = connectOnce(shared)
  return Effect.suspend(function loop(): Effect.Effect<void> {
    return Effect.flatMap(connection, (outcome) => {
      if (outcome._tag === "end") return lifetime.end(outcome.error)
      if (lifetime.isClosing) return lifetime.end(undefined)
      // A session that could not be resumed is replaced at once: the runtime is there.
      if (succession.takeAtOnce()) return Effect.suspend(loop)
      return Effect.flatMap(waitsFor(shared, outcome.code, outcome.reason), (goesOn) =>
        goesOn ? Effect.suspend(loop) : Effect.void
      )
    })
  })
}

/** Closes the session politely where there is one, then ends the client. */
const closing = (
  { core, lifetime, options, toSend }: Shared,
  supervisor: Fiber.RuntimeFiber<void>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!lifetime.close()) return lifetime.over
    const polite = core.welcomed
      ? Effect.suspend(() => {
          core.acknowledge()
          core.post("session.close", { reason: "client closed" })
          toSend.signal()
          return lifetime.confirmation(options.closeTimeout)
        })
      : Effect.void
    return polite.pipe(
      Effect.zipRight(supervisor.interruptAsFork(supervisor.id())),
      Effect.zipRight(Fiber.await(supervisor)),
      // A fiber that was interrupted before its first step has run no finalizer.
      Effect.zipRight(lifetime.end(undefined)),
      Effect.zipRight(lifetime.over)
    )
  })

/** Starts the supervisor; the scope's end closes the session. */
export const supervise = (
  core: Core,
  connector: Context.Tag.Service<Connector>,
  options: SupervisorOptions
): Effect.Effect<Supervisor, never, Scope.Scope> =>
  Effect.gen(function* () {
    const shared = makeShared(core, connector, options)
    const { inFlight, lag, lifetime, notices, toAcknowledge, toSend } = shared
    // The end of the loop ends the client, so that no caller waits for a session that cannot come.
    const supervisor = yield* Effect.forkDaemon(
      Effect.onExit(run(shared), (exit) => {
        if (Exit.isSuccess(exit) || lifetime.isClosing) return lifetime.end(undefined)
        const outcome = broken(exit.cause)
        return Effect.zipRight(lifetime.end(outcome.error), Fibers.report("the client failed unexpectedly", exit.cause))
      })
    )
    const close = closing(shared, supervisor)
    yield* Effect.addFinalizer(() => close)

    return {
      status: notices.changes,
      connected: lifetime.connected,
      ended: () => lifetime.ended,
      flush: () => {
        if (core.welcomed) toSend.signal()
      },
      refusal: (request) => inFlight.refusal(request),
      consumed: () => {
        lag.consumed()
        if (core.lastSeq > core.ackedSeq) toAcknowledge.signal()
      },
      close
    }
  })

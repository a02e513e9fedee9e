/**
 * The fibers of one connection, as one: where one of them fails, the connection ends.
 *
 * Responsibility: a connection whose writer, heartbeat or reader has failed must not look alive. Whatever makes a fiber fail
 * (a closed connection, a defect of the transport, an interruption from inside) closes the connection.
 *
 * Order: the reader goes on for a moment after another fiber has failed, since what came before the end is still to be
 * read, such as the reason why the runtime refused the session.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { closeCodes, type CloseInfo, type Connection, ConnectionClosed } from "../../transport/Connection.js"
import { textOf } from "./text.js"

/** How long the reader may go on after the connection should have ended. */
const readOut = 1_000

/** Logs a failure. The cause may be what a logger cannot print, and a logger may fail: neither ends who reports it. */
export const report = (message: string, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.logError(message, cause).pipe(
    Effect.catchAllCause(() => Effect.logError(`${message}: ${textOf(Cause.squash(cause))}`)),
    Effect.catchAllCause(() => Effect.void)
  )

/** Logs a warning. A logger that fails costs the line. */
export const warn = (message: string): Effect.Effect<void> =>
  Effect.catchAllCause(Effect.logWarning(message), () => Effect.void)

/** How a fiber failed, as the end of its connection; undefined where it ended because the connection did. */
const failureOf = (name: string, exit: Exit.Exit<unknown, unknown>): CloseInfo | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (error instanceof ConnectionClosed) return undefined
  return { code: closeCodes.internal, reason: `the client's ${name} failed: ${textOf(Cause.squash(exit.cause))}` }
}

/**
 * Runs the reader and the workers until the connection has ended. `reader` returns how that came; a fiber that failed is
 * the reason where there is one. A worker may end by itself. The scope's end stops all of them.
 */
export const run = (
  connection: Connection,
  reader: Effect.Effect<CloseInfo, unknown>,
  workers: { readonly [name: string]: Effect.Effect<unknown, unknown> }
): Effect.Effect<CloseInfo, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const over = yield* Deferred.make<CloseInfo>()
    let stopped = false
    let ending = false
    let failed: CloseInfo | undefined
    const end = (info: CloseInfo) => Deferred.succeed(over, failed ?? info)
    const close = Effect.suspend(() =>
      Effect.catchAllCause(connection.close(closeCodes.internal, "the client failed"), () => Effect.void)
    )
    /** A worker has failed: the reader ends with the connection, else without it. */
    const endSoon = Effect.suspend(() => {
      if (ending) return Effect.void
      ending = true
      // Called where nothing can be interrupted, which its fibers must not inherit: the scope's end waits for them.
      return Effect.forkIn(Effect.interruptible(close), scope).pipe(
        Effect.zipRight(Effect.sleep(readOut)),
        Effect.zipRight(end({ code: closeCodes.abnormal, reason: "the connection did not end" })),
        Effect.interruptible,
        Effect.forkIn(scope)
      )
    })
    const watch = <A>(
      name: string,
      fiber: Effect.Effect<A, unknown>,
      then: (exit: Exit.Exit<A, unknown>) => Effect.Effect<unknown>
    ) =>
      Effect.forkIn(
        Effect.onExit(fiber, (exit) => {
          if (stopped) return Effect.void
          const failure = failureOf(name, exit)
          failed ??= failure
          return failure === undefined || Exit.isSuccess(exit)
            ? then(exit)
            : Effect.zipRight(report(`the client's ${name} failed`, exit.cause), then(exit))
        }),
        scope
      )
    for (const [name, worker] of Object.entries(workers)) {
      yield* watch(name, worker, (exit) => (Exit.isSuccess(exit) ? Effect.void : endSoon))
    }
    yield* watch("reader", reader, (exit) =>
      end(Exit.isSuccess(exit) ? exit.value : { code: closeCodes.abnormal, reason: "the connection has ended" })
    )
    return yield* Effect.ensuring(
      Deferred.await(over),
      Effect.sync(() => {
        stopped = true
      })
    )
  })

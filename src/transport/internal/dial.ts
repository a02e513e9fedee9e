/**
 * Opening a connection in the caller's scope, so that an attempt which fails, times out or is interrupted leaves nothing:
 * what the attempt holds is released by a scope of its own, and that scope leaves the caller's when it closes.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { TransportError } from "../Connection.js"

/** Runs `attempt` within `limit`. It must register what it releases in the given scope before it begins to wait. */
export const dial = <A>(
  attempt: (scope: Scope.Scope) => Effect.Effect<A, TransportError>,
  limit: Duration.DurationInput,
  onTimeout: (millis: number) => TransportError
): Effect.Effect<A, TransportError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const bounded = Effect.timeoutFail(attempt(scope), {
        duration: limit,
        onTimeout: () => onTimeout(Duration.toMillis(limit))
      })
      return yield* Effect.onExit(restore(bounded), (exit) =>
        Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)
      )
    })
  )

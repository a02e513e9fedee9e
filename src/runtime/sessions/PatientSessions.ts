/** How long the runtime waits for sessions that the program brought: as long as for a handshake. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type ArcpError, InternalError } from "../../protocol/Errors.js"
import { Limits } from "../kernel/Limits.js"
import { Sessions } from "./Sessions.js"

/** The same sessions, whose decisions are not waited for without end. The runtime's own decide at once, and cost no timer. */
export const patientSessions = <E, R>(
  layer: Layer.Layer<Sessions, E, R>,
  isForeign: boolean
): Layer.Layer<Sessions, E, R> => (isForeign ? Layer.provide(bounded, layer) : layer)

const bounded: Layer.Layer<Sessions, never, Sessions> = Layer.effect(
  Sessions,
  Effect.gen(function* () {
    const sessions = yield* Sessions
    const { handshakeTimeout } = yield* Limits
    const inTime = <A>(decision: Effect.Effect<A, ArcpError>): Effect.Effect<A, ArcpError> =>
      decision.pipe(
        // Its end is not waited for either.
        Effect.disconnect,
        Effect.timeoutFail({
          duration: handshakeTimeout,
          onTimeout: () => new InternalError({ message: "the session could not be decided on in time; try again" })
        }),
        Effect.interruptible
      )
    return {
      open: (request) => inTime(Effect.suspend(() => sessions.open(request))),
      resume: (request) => inTime(Effect.suspend(() => sessions.resume(request))),
      confirm: (sessionId) => sessions.confirm(sessionId),
      left: (sessionId) => sessions.left(sessionId),
      expired: (sessionId) => sessions.expired(sessionId),
      adopt: (session) => sessions.adopt(session)
    }
  })
)

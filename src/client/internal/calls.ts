/**
 * Requests of the program, from the payload to the answer.
 *
 * Responsibility: a payload is encoded once, when the call starts; a call that cannot be sent (the client has ended, a feature
 * was not negotiated, the frame is too large) fails and is not sent.
 *
 * Order: encode, wait for the session, check, register, send. `answered` runs in the step that reads the answer, before any
 * later frame is read.
 *
 * Races: a reply that is faster than its waiter: the request is registered before it is sent. A caller that is interrupted: the
 * request is abandoned, and its answer is not given to another call (see `match`).
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { InternalError, oneLine } from "../../protocol/Errors.js"
import type * as Message from "../../protocol/Message.js"
import * as Trace from "../../protocol/Trace.js"
import { type Call, notNegotiated } from "./call.js"
import type { Core } from "./core.js"
import * as encode from "./encode.js"
import type { Failure } from "./lifetime.js"
import type { Pending } from "./match.js"
import type { Supervisor } from "./supervisor.js"
import { textOf } from "./text.js"

type Request = Omit<Pending, "answered" | "failed">

/** The result of a call, made from its answer. */
const taking = <A>(message: Message.RuntimeMessage, take: () => A): Effect.Effect<A, InternalError> =>
  Either.try({
    try: take,
    catch: (cause) =>
      new InternalError({
        message: oneLine(`the answer ${message.type} cannot be used: ${textOf(cause)}`),
        retryable: false
      })
  })

/** Why a request is not sent; undefined where it can be. */
const obstacle = (core: Core, session: Supervisor, request: Request): Failure | undefined =>
  session.ended() ?? notNegotiated(request.type, request.features, core.features) ?? session.refusal(request.request)

/** The calls of one client. A request of more than `maxFrameBytes` encoded bytes fails with `InvalidRequest`. */
export const makeCall = (core: Core, session: Supervisor, maxFrameBytes: number): Call => {
  const send = <A>(
    request: Request,
    answered: (message: Message.RuntimeMessage, request: string) => A
  ): Effect.Effect<A, Failure> =>
    Effect.zipRight(
      session.connected,
      Effect.async<A, Failure>((resume) => {
        const why = obstacle(core, session, request)
        if (why !== undefined) return resume(Effect.fail(why))
        const pending: Pending = {
          ...request,
          // The reader calls this function, which therefore must not throw.
          answered: (message) => {
            // A pong shows that the runtime is there, and nothing more.
            if (message.type !== "session.pong") core.progressed()
            resume(taking(message, () => answered(message, request.request)))
          },
          failed: (error) => resume(Effect.fail(error))
        }
        core.request(pending)
        session.flush()
        return Effect.sync(() => core.abandon(pending))
      })
    )

  return (type, payload, answered, more = {}) =>
    Effect.suspend(() => {
      const { features, jobId, nonce, priority, timeout, trace } = more
      const request = Either.flatMap(
        encode.request(payload, {
          job_id: jobId,
          trace_id: trace?.traceId,
          priority,
          extensions: trace === undefined ? undefined : Trace.toExtensions(trace)
        }),
        (text) => encode.bounded(text, maxFrameBytes)
      )
      return Either.isLeft(request)
        ? Effect.fail(request.left)
        : send({ type, request: request.right, jobId, traceId: trace?.traceId, nonce, timeout, features }, answered)
    })
}

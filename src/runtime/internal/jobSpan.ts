/** The span of a job's handler (ARCP 1.1 §11, 1.0 §11): a child of the caller's, whoever that is. */
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import type { Running } from "./running.js"
import { nameOf } from "./slots.js"

/** Runs the handler in its span, which tells at its end what is left of the budget. */
export const inSpan =
  ({ agent, lease, live }: Running) =>
  <A, E, R>(handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>> => {
    const { traceContext: trace } = live.values
    const left = Effect.suspend(() =>
      live.budget === undefined ? Effect.void : Effect.annotateCurrentSpan("arcp.budget.remaining", live.budget)
    )
    return Effect.withSpan(Effect.ensuring(handler, left), "arcp.job", {
      parent: Tracer.externalSpan({
        traceId: live.traceId,
        spanId: trace?.parentSpanId ?? live.traceId.slice(16),
        sampled: trace?.sampled ?? true
      }),
      attributes: {
        "arcp.job_id": live.jobId,
        "arcp.session_id": live.ownerSessionId,
        "arcp.agent": nameOf(agent),
        "arcp.lease.capabilities": Object.keys(lease.wire).join(","),
        "arcp.lease.expires_at": lease.constraints?.expires_at
      },
      captureStackTrace: false
    })
  }

/** The span of a job's handler (ARCP 1.1 §11, 1.0 §11): a child of the caller's, where the submit brought one. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Amounts } from "../../../authority/Amount.js"
import { toText } from "../BudgetText.js"
import type { Running } from "../Running.js"
import { nameOf } from "../Slots.js"

/** Runs the handler in its span, which has at its end what `counters` says is left of the budget. */
export const inSpan =
  ({ agent, lease, live }: Running, counters: () => Amounts) =>
  <A, E, R>(handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>> => {
    const { traceContext: trace } = live.values
    const left = Effect.suspend(() =>
      Option.match(Option.fromNullable(toText(counters())), {
        onNone: () => Effect.void,
        onSome: (text) => Effect.annotateCurrentSpan("arcp.budget.remaining", text)
      })
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

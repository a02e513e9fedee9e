/** The context in which an agent's or a tool's handler runs. */
import * as Context from "effect/Context"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Job } from "../Job.js"
import { JobTag } from "./jobTag.js"

/**
 * What the handler was built with wins over what the fiber that runs it has of the same tags; of the call it gets the job, its
 * scope and its span.
 */
export const handlerContext = (
  own: Context.Context<never>,
  call: Context.Context<Job | Scope.Scope>
): Context.Context<unknown> => {
  const context = Context.merge(call, own).pipe(
    Context.add(JobTag, Context.get(call, JobTag)),
    Context.add(Scope.Scope, Context.get(call, Scope.Scope))
  )
  const span = Context.getOption(call as Context.Context<never>, Tracer.ParentSpan)
  return (span._tag === "Some"
    ? Context.add(context, Tracer.ParentSpan, span.value)
    : context) as unknown as Context.Context<unknown>
}

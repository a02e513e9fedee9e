/**
 * The spans of HTTP clients without the queries of URLs, which hold keys and tokens (ARCP 1.1 §11, §14), and without the headers that hold
 * credentials. The platform's clients write whole URLs into them.
 */
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import { hiddenSpan, type Hiding, withoutQueries } from "../HiddenSpan.js"

const hiding: Hiding = { text: (text) => text, failure: withoutQueries }

const made = new WeakMap<Tracer.Tracer, Tracer.Tracer>()

const queryless = (tracer: Tracer.Tracer): Tracer.Tracer => {
  let own = made.get(tracer)
  if (own === undefined) {
    own = Tracer.make({
      span: (...args) => hiddenSpan(tracer.span(...args), () => hiding),
      context: (run, fiber) => tracer.context(run, fiber)
    })
    made.set(tracer, own)
    // One that is nested in itself is the same.
    made.set(own, own)
  }
  return own
}

/** Runs an effect whose spans are a client's. */
export const withoutQueriesInSpans = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tracerWith((tracer) => Effect.withTracer(effect, queryless(tracer)))

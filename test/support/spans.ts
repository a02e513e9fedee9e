/** The spans of a test, as they were made: what is read from them once they have ended. */
import { Effect, Layer, Tracer } from "effect"

/** A list that grows with each span, and the layer whose tracer fills it. */
export const recording = Effect.map(Effect.tracer, (native) => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (...args) => {
      const span = native.span(...args)
      spans.push(span)
      return span
    },
    context: (f) => f()
  })
  return { spans, layer: Layer.setTracer(tracer) }
})

/** Events of the kinds that an agent declares, their bodies decoded (ARCP 1.0 §8.2). */
import * as Chunk from "effect/Chunk"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { AgentEvent, EventSchemas } from "../../protocol/AgentSpec.js"
import type { JobEvent, OtherEvent } from "../../protocol/Event.js"

type Decode = (event: OtherEvent) => object

/** The Schema is the program's own code: where it throws, and where it cannot decode synchronously, the event keeps its body. */
const decoding = (schema: Schema.Schema.AnyNoContext): Decode => {
  let decode: ((body: unknown) => Either.Either<unknown, unknown>) | undefined
  return (event) => {
    try {
      decode ??= Schema.decodeUnknownEither(schema)
      const body = decode(event.body)
      if (Either.isLeft(body)) return { ...event, malformed: true }
      const { _tag, malformed, ...rest } = event
      return { ...rest, _tag: event.kind, body: body.right }
    } catch {
      return { ...event, malformed: true }
    }
  }
}

/** Decodes the events of a stream whose kinds are declared; the others pass unchanged. */
export const typedEvents = <Events>(events: Events | undefined) => {
  const decoders = new Map(
    Object.entries((events ?? {}) as EventSchemas).map(([kind, schema]): [string, Decode] => [kind, decoding(schema)])
  )
  const typed = <E extends { readonly _tag: string }>(event: E): E =>
    event._tag === "other"
      ? ((decoders.get((event as unknown as OtherEvent).kind)?.(event as unknown as OtherEvent) ?? event) as E)
      : event
  return <G extends { readonly _tag: string }, Failure>(
    stream: Stream.Stream<JobEvent | G, Failure>
  ): Stream.Stream<AgentEvent<Events> | G, Failure> =>
    (decoders.size === 0 ? stream : Stream.mapChunks(stream, (chunk) => Chunk.map(chunk, typed))) as Stream.Stream<
      AgentEvent<Events> | G,
      Failure
    >
}

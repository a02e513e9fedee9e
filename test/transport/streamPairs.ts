/** Transports made of Streams, in the forms in which they are tested. */
import { Chunk, Effect, Layer, Mailbox, Queue, Sink, Stream } from "effect"
import {
  Connection,
  ConnectionClosed,
  type ConnectionStreams,
  type Connector,
  type Inbound,
  type Server,
  StreamTransport,
  type StreamsOptions
} from "../../src/transport/index.js"

/** What becomes of the Streams of one end. */
export type Shape = (streams: ConnectionStreams<ConnectionClosed>) => ConnectionStreams<unknown>

export const asItIs: Shape = (streams) => streams

/** Two ends of a line that holds a few frames in each direction, and carries close codes. */
export const line = Effect.gen(function* () {
  const up = yield* Mailbox.make<Inbound, ConnectionClosed>(16)
  const down = yield* Mailbox.make<Inbound, ConnectionClosed>(16)
  const end = (
    from: Mailbox.Mailbox<Inbound, ConnectionClosed>,
    to: Mailbox.Mailbox<Inbound, ConnectionClosed>
  ): ConnectionStreams<ConnectionClosed> => ({
    inbound: Mailbox.toStream(from),
    outbound: Sink.forEachChunk((frames: Chunk.Chunk<string>) => to.offerAll(frames)),
    close: (info) => Effect.zipRight(to.fail(new ConnectionClosed(info)), from.shutdown),
    peer: { transport: "mailbox", secure: true, remoteAddress: "192.0.2.7" }
  })
  return [end(down, up), end(up, down)] as const
})

/** A server and a connector over such lines. */
export const overLines = (
  shape: Shape = asItIs,
  options: StreamsOptions = { closeTimeout: 300 }
): Layer.Layer<Server | Connector> =>
  Layer.unwrapEffect(
    Effect.map(Queue.unbounded<ConnectionStreams<unknown> | Connection>(), (dialled) =>
      Layer.merge(
        StreamTransport.layerServer({
          ...options,
          peers: Stream.ensuring(Stream.fromQueue(dialled), Queue.shutdown(dialled)),
          address: "mailbox:"
        }),
        StreamTransport.layerClient({
          ...options,
          open: Effect.gen(function* () {
            const [client, server] = yield* line
            if (yield* Queue.isShutdown(dialled)) return yield* Effect.fail("nobody listens")
            yield* Queue.offer(dialled, shape(server))
            return shape(client)
          }),
          address: "mailbox:"
        })
      )
    )
  )

const encoder = new TextEncoder()

/** Where a run of bytes is cut: in every place at its start, inside characters too, then seldom. */
const cuts = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  for (let at = 0, size = 1; at < bytes.length; at += size, size = at < 40 ? 1 : 50_021) {
    parts.push(bytes.subarray(at, at + size))
  }
  return parts
}

/** Bytes in place of frames, cut anywhere and glued together anywhere: one frame is one line. */
export const rechunked: Shape = (streams) => ({
  ...streams,
  inbound: Connection.readLines(
    Stream.mapChunks(streams.inbound, (frames) =>
      Chunk.flatMap(frames, (frame) => Chunk.unsafeFromArray(cuts(encoder.encode(`${String(frame)}\n`))))
    )
  ),
  outbound: Connection.writeLines(
    Sink.mapInputChunks(streams.outbound, (bytes: Chunk.Chunk<Uint8Array>) =>
      Chunk.flatMap(bytes, (some) => Chunk.fromIterable(new TextDecoder().decode(some).trimEnd().split("\n")))
    )
  )
})

/** A Sink that gives way before each frame. */
export const slow: Shape = (streams) => ({
  ...streams,
  outbound: Sink.fromChannel(Sink.toChannel(streams.outbound)).pipe(
    Sink.mapInputEffect((frame: string) => Effect.as(Effect.yieldNow(), frame))
  )
})

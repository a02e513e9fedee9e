/** A transport: two bounded queues of lines, each read by the other side. */
import { Connection, type ConnectionStreams, type Connector, type Server, StreamTransport } from "effect-arcp/transport"
import { Effect, Layer, Queue, Sink, Stream } from "effect"

const half = (inbound: Queue.Queue<Uint8Array>, outbound: Queue.Queue<Uint8Array>): ConnectionStreams<never> => ({
  inbound: Stream.orDie(Connection.readLines(Stream.fromQueue(inbound))),
  outbound: Connection.writeLines(Sink.forEach((bytes: Uint8Array) => Queue.offer(outbound, bytes))),
  close: () => Effect.asVoid(Effect.all([Queue.shutdown(inbound), Queue.shutdown(outbound)])),
  peer: { transport: "queues", secure: true }
})

/** A server and a connector that reaches it. */
export const queues: Layer.Layer<Server | Connector> = Layer.unwrapEffect(
  Effect.map(Queue.unbounded<ConnectionStreams<never>>(), (dialled) => {
    const open = Effect.gen(function* () {
      if (yield* Queue.isShutdown(dialled)) return yield* Effect.fail("the server has stopped")
      const up = yield* Queue.bounded<Uint8Array>(1)
      const down = yield* Queue.bounded<Uint8Array>(1)
      yield* Queue.offer(dialled, half(up, down))
      return half(down, up)
    })
    return Layer.merge(
      StreamTransport.layerServer({
        peers: Stream.ensuring(Stream.fromQueue(dialled), Queue.shutdown(dialled)),
        address: "queues:"
      }),
      StreamTransport.layerClient({ open, address: "queues:" })
    )
  })
)

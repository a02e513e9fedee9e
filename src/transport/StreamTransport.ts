/**
 * Servers and connectors whose connections are made of Streams: what a program's own transport needs besides `Connection.fromStreams`.
 *
 * Responsibility: a *connector* opens a pair of Streams for each connection; a *server* takes a Stream of pairs, or of connections. All of
 * a server's fibers end with its layer.
 *
 * Race closed: a pair that the Stream yields while the server stops is closed with 1001, and never offered.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { check as checkOptions } from "../protocol/Options.js"
import * as Text from "../protocol/Text.js"
import { closeCodes, type Connection, Connector, Server, TransportError } from "./Connection.js"
import type { ConnectionStreams } from "./ConnectionStreams.js"
import { Acceptor } from "./internal/Acceptor.js"
import { dial } from "./internal/dial.js"
import * as streamsEndpoint from "./internal/streamsEndpoint.js"
import { Connection as Connections, settings, type StreamsOptions } from "./Streams.js"

/**
 * How a connector opens pairs of Streams.
 *
 * @since 0.1.0
 * @category options
 */
export interface ClientOptions<E, R> extends StreamsOptions {
  /**
   * Opens a new pair. What it acquires is released when the connection's scope closes. Its failures and defects become a
   * `TransportError`.
   */
  readonly open: Effect.Effect<ConnectionStreams<unknown, R>, E, R>
  /** Where it connects to, without secrets. Default: `streams:`. */
  readonly address?: string | undefined
  /** How long opening may take. Default: 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
}

const connectError = (address: string, why: string, cause: unknown): TransportError =>
  new TransportError({ operation: "connect", message: `could not connect to ${address}: ${why}`, cause })

const asTransportError = (address: string, cause: unknown): TransportError =>
  Text.isInstance(cause, TransportError) ? cause : connectError(address, Text.ofUnknown(cause, 256), cause)

/**
 * A connector whose every connection is a new pair of Streams.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeClient = <E, R>(
  options: ClientOptions<E, R>
): Effect.Effect<typeof Connector.Service, never, Exclude<R, Scope.Scope>> =>
  Effect.map(Effect.context<Exclude<R, Scope.Scope>>(), (context) => {
    checkOptions("StreamTransport", options, { connectTimeout: "duration" })
    const bounds = settings("StreamTransport", options)
    const address = options.address ?? "streams:"
    const limit = options.connectTimeout ?? Duration.seconds(10)
    const attempt = (scope: Scope.Scope): Effect.Effect<Connection, TransportError> =>
      Effect.suspend(() => options.open).pipe(
        Effect.catchAllDefect(Effect.fail),
        Effect.mapError((cause) => asTransportError(address, cause)),
        Effect.flatMap((pair) => streamsEndpoint.scoped(pair, bounds)),
        // everything but the scope is in `context`
        Effect.provide(Context.add(context, Scope.Scope, scope) as Context.Context<R | Scope.Scope>)
      )
    return {
      address,
      connect: dial(attempt, limit, (millis) => connectError(address, `it takes more than ${millis} ms`, undefined))
    }
  })

/**
 * A connector whose every connection is a new pair of Streams.
 *
 * @example
 * ```ts
 * import type { Effect } from "effect"
 * import { type ConnectionStreams, StreamTransport } from "effect-arcp/transport"
 *
 * declare const openSerialPort: Effect.Effect<ConnectionStreams, Error>
 * const Dial = StreamTransport.layerClient({ open: openSerialPort, address: "serial:/dev/ttyUSB0" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = <E, R>(
  options: ClientOptions<E, R>
): Layer.Layer<Connector, never, Exclude<R, Scope.Scope>> => Layer.effect(Connector, makeClient(options))

/**
 * How a server takes pairs of Streams, or connections.
 *
 * @since 0.1.0
 * @category options
 */
export interface ServerOptions<E, R> extends StreamsOptions {
  /**
   * Each peer that connects, as a pair of Streams or as a connection. The server stops accepting when it ends or fails; a failure is
   * logged. A connection that is given here belongs to the server.
   */
  readonly peers: Stream.Stream<ConnectionStreams<unknown, R> | Connection, E, R>
  /** Where it listens, as it is shown. Default: `streams:`. */
  readonly address?: string | undefined
  /** How many connections may be open at once; `peers` is not pulled while so many are. Default: 4096. */
  readonly maxConnections?: number | undefined
}

type Peer<R> = ConnectionStreams<unknown, R> | Connection

const isConnection = <R>(peer: Peer<R>): peer is Connection => typeof Text.property(peer, "send") === "function"

/** A peer as a pair. One that cannot be read stays as it is: its connection ends at once, and the server goes on. */
const asPair = <R>(peer: Peer<R>): ConnectionStreams<unknown, R> =>
  Text.attempt(() => (isConnection(peer) ? Connections.toStreams(peer) : peer), peer as ConnectionStreams<unknown, R>)

const defaultConnections = 4096

/** Takes each peer: offers it to the acceptor, or closes it. `alive` has the releases that are not complete. */
const taking = <E, R>(options: ServerOptions<E, R>, acceptor: Acceptor, alive: Set<Effect.Effect<void>>) => {
  checkOptions("StreamTransport", options, { maxConnections: "count" })
  const bounds = settings("StreamTransport", options)
  const max = Math.min(options.maxConnections ?? defaultConnections, Number.MAX_SAFE_INTEGER)
  const room = Effect.unsafeMakeSemaphore(max)
  const take = Effect.fnUntraced(function* (peer: Peer<R>) {
    const { endpoint, released } = yield* streamsEndpoint.open<unknown, R>(asPair(peer), bounds)
    const refusal = acceptor.restrictions?.refusal(endpoint.remoteAddress)
    alive.add(released)
    if (refusal !== undefined) endpoint.startClose(closeCodes.tryAgainLater, refusal)
    else if (!acceptor.accept(endpoint)) endpoint.startClose(closeCodes.goingAway, "the server is shutting down")
    const left = Effect.zipRight(
      Effect.sync(() => alive.delete(released)),
      room.release(1)
    )
    yield* Effect.forkDaemon(Effect.zipRight(released, left))
  })
  // A peer that has been pulled is never left alone: interrupted in its wait for room, it is taken, and closed for the stop.
  return (peers: Iterable<Peer<R>>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.forEach(peers, (peer) => Effect.zipRight(Effect.exit(restore(room.take(1))), take(peer)), {
        discard: true
      })
    )
}

/**
 * A server of a Stream of peers.
 *
 * Each `Connection` is run as a pair of Streams too, so that the bounds of this server hold for it, and {@link Server} restricts it.
 *
 * @example
 * ```ts
 * import { type Queue, Stream } from "effect"
 * import { type ConnectionStreams, StreamTransport } from "effect-arcp/transport"
 *
 * declare const dialled: Queue.Dequeue<ConnectionStreams>
 * const Listen = StreamTransport.layerServer({ peers: Stream.fromQueue(dialled), address: "quic://0.0.0.0:7777" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = <E, R>(options: ServerOptions<E, R>): Layer.Layer<Server, never, Exclude<R, Scope.Scope>> =>
  Layer.scoped(
    Server,
    Effect.gen(function* () {
      const acceptor = new Acceptor()
      const alive = new Set<Effect.Effect<void>>()
      const loop = yield* Stream.runForEachChunk(options.peers, taking(options, acceptor, alive)).pipe(
        Effect.catchAllCause((cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.void
            : Effect.logError("the stream of peers has failed: no more connections", cause)
        ),
        Effect.ensuring(Effect.sync(() => acceptor.stop())),
        Effect.interruptible,
        Effect.forkDaemon
      )
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          acceptor.stop()
          yield* streamsEndpoint.bounded(() => Fiber.interrupt(loop), options.closeTimeout ?? Duration.seconds(5))
          yield* acceptor.shutdown
          yield* Effect.forEach(alive, (released) => released, { concurrency: "unbounded", discard: true })
        })
      )
      return {
        connections: acceptor.connections,
        stopAccepting: Effect.zipRight(
          Effect.sync(() => acceptor.stop()),
          Fiber.interruptFork(loop)
        ),
        restrict: acceptor.restrict,
        maxConnections: options.maxConnections ?? defaultConnections,
        address: options.address ?? "streams:"
      }
    })
  )

/**
 * A transport made of Streams: a {@link Connection} from a Stream of what the peer sends and a Sink of what is sent to it, and the other
 * way round (1.0 §4.3).
 *
 * What `Connection` promises holds whatever the Stream and the Sink do: order, one end, back-pressure within fixed bounds. A Stream or a
 * Sink that fails, dies or ends early ends its connection, with a code and a reason, and nothing else.
 */
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { check as checkOptions } from "../protocol/Options.js"
import {
  BadFrame,
  closeCodes,
  type CloseInfo,
  type Connection as ConnectionType,
  ConnectionClosed,
  type Frame,
  type Inbound
} from "./Connection.js"
import type { ConnectionStreams } from "./ConnectionStreams.js"
import { bytes } from "./internal/bounds.js"
import { invalid, joinLines, type Line, LineSplitter, tooLong } from "./internal/LineSplitter.js"
import * as streamsEndpoint from "./internal/streamsEndpoint.js"

/**
 * The bounds of a connection made of Streams.
 *
 * @since 0.1.0
 * @category options
 */
export interface StreamsOptions {
  /**
   * The largest text frame that is read, in UTF-8 bytes; a larger one closes the connection with 1009. Frames that arrive as objects are
   * not measured. Default: 4 MiB.
   */
  readonly maxFrameBytes?: number | undefined
  /**
   * How much may wait for the Sink before `send` suspends, what the Sink works on included. Counted in UTF-16 code units, and 64 for each
   * frame. Default: 256 KiB.
   */
  readonly highWaterBytes?: number | undefined
  /**
   * How much may wait unread before the Stream is no longer pulled. Counted as `highWaterBytes`, and 1024 for an object. One chunk of the
   * Stream may go beyond it. Default: 1 MiB.
   */
  readonly inboundBytes?: number | undefined
  /**
   * How long each part of a close may take: flushing through the Sink, the pair's `close`, the finalizers of both. Also how long a
   * connection stays open after its Stream has ended, if its reader does not see the end. Default: 5 seconds.
   */
  readonly closeTimeout?: Duration.DurationInput | undefined
}

const optionKinds = {
  maxFrameBytes: "size",
  highWaterBytes: "size",
  inboundBytes: "size",
  closeTimeout: "duration"
} as const

/** The options with their defaults. Throws a `RangeError` for one that is not a size or a duration. */
export const settings = (owner: string, options: StreamsOptions): streamsEndpoint.Settings => {
  checkOptions(owner, options, optionKinds)
  return {
    maxFrameBytes: bytes(options.maxFrameBytes ?? 4 * 1024 * 1024),
    highWaterBytes: options.highWaterBytes ?? 256 * 1024,
    inboundBytes: options.inboundBytes ?? 1024 * 1024,
    closeTimeout: options.closeTimeout ?? Duration.seconds(5)
  }
}

/**
 * A connection over a Stream and a Sink. Both begin to run at once, and are interrupted when the connection ends, at the latest when the
 * scope closes.
 *
 * `send` returns once its frames are queued, and waits while `highWaterBytes` wait already: interrupted while it waits, it has sent
 * nothing. What is queued and has not gone through the Sink is lost where the connection ends by itself.
 *
 * @example
 * ```ts
 * import type { Effect, Sink, Stream } from "effect"
 * import { Connection } from "effect-arcp/transport"
 *
 * declare const port: {
 *   readonly bytes: Stream.Stream<Uint8Array>
 *   readonly sink: Sink.Sink<void, Uint8Array>
 *   readonly hangUp: Effect.Effect<void>
 * }
 * const connection = Connection.fromStreams({
 *   inbound: Connection.readLines(port.bytes),
 *   outbound: Connection.writeLines(port.sink),
 *   close: () => port.hangUp,
 *   peer: { transport: "serial", secure: true }
 * })
 * ```
 */
const fromStreams = <E = never, R = never>(
  streams: ConnectionStreams<E, R>,
  options: StreamsOptions = {}
): Effect.Effect<ConnectionType, never, Scope.Scope | R> =>
  Effect.suspend(() => streamsEndpoint.scoped(streams, settings("Connection.fromStreams", options)))

/**
 * A connection as a Stream and a Sink.
 *
 * @since 0.1.0
 * @category models
 */
export interface FromConnection extends ConnectionStreams<ConnectionClosed> {
  /** What the peer sends. Consume it once. Ends where the connection ended with 1000, and fails where it ended otherwise. */
  readonly inbound: Stream.Stream<Inbound, ConnectionClosed>
  /** Sends each chunk as one batch. The end of its input does not close the connection. */
  readonly outbound: Sink.Sink<void, Frame, never, ConnectionClosed>
  /** Ends the connection with this code and reason, after what was sent has left; harmless when it has ended. */
  readonly close: (info: CloseInfo) => Effect.Effect<void>
  /** Waits for the end and returns its code and reason. */
  readonly closed: Effect.Effect<CloseInfo>
}

/** A connection as a Stream and a Sink: for programs that are made of Streams, and to put a transport on another ({@link fromStreams}). */
const toStreams = (connection: ConnectionType): FromConnection => ({
  inbound: Stream.concat(
    connection.inbound,
    Stream.execute(
      Effect.flatMap(connection.closed, (info) =>
        info.code === closeCodes.normal ? Effect.void : Effect.fail(new ConnectionClosed(info))
      )
    )
  ),
  outbound: Sink.forEachChunk((frames: Chunk.Chunk<Frame>) => connection.send(Chunk.toReadonlyArray(frames))),
  close: ({ code, reason }) => connection.close(code, reason),
  closed: connection.closed,
  peer: { transport: connection.transport, secure: connection.secure, remoteAddress: connection.remoteAddress }
})

const encoder = new TextEncoder()

const framesOf = (lines: ReadonlyArray<Line>, overlong: BadFrame): Array<Inbound> =>
  lines.map((line) =>
    line === tooLong ? overlong : line === invalid ? new BadFrame("the line is not valid UTF-8") : line
  )

/**
 * Bytes as frames, one a line (1.0 §4.2), however the bytes are cut. A line that is not UTF-8 is a `BadFrame`; one over `maxFrameBytes`
 * (default 4 MiB) is one too, and then the Stream fails with 1009. `Stream.decodeText` with `Stream.splitLines` is no substitute: it
 * splits characters, and accepts lines of any length.
 */
const readLines = <E, R>(
  input: Stream.Stream<Uint8Array, E, R>,
  options: Pick<StreamsOptions, "maxFrameBytes"> = {}
): Stream.Stream<Inbound, E | ConnectionClosed, R> =>
  Stream.suspend(() => {
    const { maxFrameBytes } = settings("Connection.readLines", options)
    const splitter = new LineSplitter(maxFrameBytes)
    const reason = `the line is longer than ${maxFrameBytes} bytes`
    const overlong = new BadFrame(reason)
    let over = false
    return input.pipe(
      Stream.mapChunks((chunk) =>
        Chunk.unsafeFromArray(Chunk.toReadonlyArray(chunk).flatMap((some) => framesOf(splitter.push(some), overlong)))
      ),
      Stream.takeUntil((frame) => (over = frame === overlong)),
      Stream.concat(
        Stream.suspend(() =>
          over
            ? Stream.fail(new ConnectionClosed({ code: closeCodes.tooBig, reason }))
            : Stream.fromIterable(framesOf(splitter.end(), overlong))
        )
      )
    )
  })

/** A Sink of bytes as one of frames, each a line (1.0 §4.2). A chunk of frames is one chunk of bytes. */
const writeLines = <A, L, E, R>(output: Sink.Sink<A, Uint8Array, L, E, R>): Sink.Sink<A, string, L, E, R> =>
  Sink.mapInputChunks(output, (texts: Chunk.Chunk<string>) =>
    Chunk.of(encoder.encode(joinLines(Chunk.toReadonlyArray(texts))))
  )

/**
 * Both directions to one peer.
 *
 * @interface
 * @since 0.1.0
 * @category models
 */
export type Connection = ConnectionType

/**
 * Makes connections from Streams, and Streams from connections.
 *
 * @since 0.1.0
 * @category constructors
 */
export const Connection = { fromStreams, toStreams, readLines, writeLines }

/**
 * The WebSocket transport's client over the global `WebSocket`: browsers, workers, Deno, Bun, Node 22 and later. It imports
 * no Node module. On Node prefer `WebSocketClient`, which can do what the global one cannot:
 *
 * - hold the peer back: here, frames that wait unread are bounded by closing the connection (`maxInboundBytes`);
 * - tell when the socket has room again: here `bufferedAmount` is looked at every `pollInterval`, by the `Clock`;
 * - set headers and TLS, and say why a connection could not be opened;
 * - close with 1001 to 1014: a browser may send 1000 and 3000 to 4999 only, so code `c` of that range is sent as `c + 3000`
 *   (1008 as 4008).
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { check as checkOptions } from "../protocol/Options.js"
import { BadFrame, closeCodes, type Connection, Connector, TransportError } from "./Connection.js"
import * as Address from "./internal/address.js"
import { receivedCode, sendableCode, sendableReason } from "./internal/closeFrame.js"
import * as connectError from "./internal/connectError.js"
import { dial } from "./internal/dial.js"
import { Endpoint, frameText } from "./internal/Endpoint.js"

/**
 * What is needed of a WebSocket: the standard's interface, of which `ws` has the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface WebSocketLike {
  /** 1 while it is open, as the standard says. */
  readonly readyState: number
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number
  /** Set to `"arraybuffer"`, so that binary frames come synchronously. */
  binaryType: string
  /** Called when it has opened. */
  onopen: ((event: never) => void) | null
  /** Called with each message; its `data` is a string for a text frame. */
  onmessage: ((event: never) => void) | null
  /** Called when it has failed; a close follows. */
  onerror: ((event: never) => void) | null
  /** Called once when it has ended, with `code` and `reason`. */
  onclose: ((event: never) => void) | null
  /** Sends a text frame. */
  send(data: string): void
  /** Begins the closing handshake. */
  close(code?: number, reason?: string): void
}

/**
 * How a connection is dialled, and its bounds.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** `ws://` or `wss://`. Pages that came by https may use `wss://` only. */
  readonly url: string
  /** Sub-protocols to offer. Default: none. */
  readonly protocols?: ReadonlyArray<string> | undefined
  /** The class to use. Default: `globalThis.WebSocket`. */
  readonly WebSocket?: (new (url: string, protocols?: Array<string>) => WebSocketLike) | undefined
  /** How long opening may take. Default: 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** How many bytes may wait in the socket before `send` suspends. Default: 256 KiB. */
  readonly highWaterBytes?: number | undefined
  /** How often a suspended `send` looks whether there is room again. Default: 20 milliseconds. */
  readonly pollInterval?: Duration.DurationInput | undefined
  /** How many characters may wait unread; one frame beyond that closes the connection (4013). Default: 64 Mi. */
  readonly maxInboundBytes?: number | undefined
  /** The largest frame that is taken, in characters; a larger one closes the connection (4009). Default: 4 Mi. */
  readonly maxFrameBytes?: number | undefined
  /** How long a close may take before the connection counts as ended. Default: 5 seconds. */
  readonly closeTimeout?: Duration.DurationInput | undefined
}

const isOpen = 1

/** The code as a browser may send it. */
const browserCode = (code: number): number => {
  const sendable = sendableCode(code)
  return sendable === closeCodes.normal || sendable >= 3000 ? sendable : sendable + 3000
}

/** The connection, and what the fiber beside it waits for. */
interface Opened {
  readonly ws: WebSocketLike
  readonly endpoint: Endpoint
  /** Waits until a sender waits for room. */
  readonly waiting: Effect.Effect<void>
}

const attach = (ws: WebSocketLike, options: Options, secure: boolean): Opened => {
  const maxInbound = options.maxInboundBytes ?? 64 * 1024 * 1024
  const maxFrame = options.maxFrameBytes ?? 4 * 1024 * 1024
  let wake: (() => void) | undefined
  const endpoint: Endpoint = new Endpoint(
    {
      write: (frames) => {
        if (ws.readyState !== isOpen) return false
        for (const text of frames.map(frameText)) ws.send(text)
        return true
      },
      waiting: () => ws.bufferedAmount,
      hold: () => {
        endpoint.startClose(closeCodes.tryAgainLater, "the reader is too slow")
      },
      release: () => {},
      shut: (code, reason) => ws.close(browserCode(code), sendableReason(reason)),
      onWait: () => wake?.()
    },
    {
      transport: "websocket",
      secure,
      highWater: options.highWaterBytes ?? 256 * 1024,
      inboundBound: maxInbound
    }
  )
  ws.binaryType = "arraybuffer"
  ws.onmessage = (event: { readonly data: unknown }) => {
    if (typeof event.data !== "string") {
      endpoint.push(new BadFrame("the frame is binary, text is expected"), 64)
    } else if (event.data.length > maxFrame) {
      endpoint.startClose(closeCodes.tooBig, `a frame is larger than ${maxFrame} characters`)
    } else {
      endpoint.push(event.data, event.data.length + 64)
    }
  }
  ws.onclose = (event: { readonly code: number; readonly reason: string }) =>
    endpoint.end(receivedCode(event.code), event.reason)
  return {
    ws,
    endpoint,
    waiting: Effect.async<void>((resume) => {
      if (endpoint.hasWaiting) return resume(Effect.void)
      wake = () => resume(Effect.void)
    })
  }
}

/** The socket does not tell when it has room: while someone waits for it, look at it again and again. */
const poll = ({ endpoint, waiting }: Opened, interval: Duration.DurationInput): Effect.Effect<never> =>
  waiting.pipe(
    Effect.zipRight(Effect.sleep(interval)),
    Effect.zipRight(Effect.sync(() => endpoint.flushed())),
    Effect.forever
  )

const attempt = (options: Options, target: Address.Target) =>
  Effect.fnUntraced(function* (scope: Scope.Scope): Effect.fn.Return<Connection, TransportError> {
    const closeTimeout = options.closeTimeout ?? Duration.seconds(5)
    const opened = yield* Effect.uninterruptible(
      Effect.gen(function* () {
        // read here: a polyfill may come after this module
        const Constructor = options.WebSocket ?? (globalThis as { readonly WebSocket?: Options["WebSocket"] }).WebSocket
        if (Constructor === undefined) {
          return yield* new TransportError({
            operation: "connect",
            message:
              "could not connect: there is no global WebSocket here; use WebSocketClient, or pass a class as options.WebSocket"
          })
        }
        const ws = yield* Effect.try({
          try: () => new Constructor(target.url, [...(options.protocols ?? [])]),
          catch: (cause) => connectError.fromCause(target.address, cause)
        })
        const opened = attach(ws, options, target.secure)
        // an attempt that is given up still reports its end; nobody listens to it any more
        ws.onerror = () => {}
        yield* Scope.addFinalizer(
          scope,
          Effect.suspend(() => close(opened, closeTimeout)(closeCodes.normal, ""))
        )
        return opened
      })
    )
    const { endpoint, ws } = opened
    yield* Effect.async<void, TransportError>((resume) => {
      const failed = (event: object): void =>
        resume(
          Effect.fail(
            "error" in event && event.error instanceof Error
              ? connectError.fromCause(target.address, event.error)
              : new TransportError({
                  operation: "connect",
                  message:
                    `could not connect to ${target.address}: WebSocket does not tell why; check that the runtime listens ` +
                    "there, that its allowedOrigins lists this page's origin, and its certificate"
                })
          )
        )
      // It may have opened since it was made: the fiber may have given way in between.
      if (ws.readyState === isOpen) return resume(Effect.void)
      ws.onopen = () => resume(Effect.void)
      ws.onerror = failed
      endpoint.onEnd(() => failed({}))
    })
    ws.onerror = () => {}
    yield* Effect.forkIn(poll(opened, options.pollInterval ?? Duration.millis(20)), scope)
    return {
      transport: endpoint.transport,
      secure: endpoint.secure,
      remoteAddress: undefined,
      inbound: endpoint.inbound,
      send: endpoint.send,
      closed: endpoint.closed,
      close: close(opened, closeTimeout)
    }
  })

/** A browser bounds a close by its own idea; this bounds it by ours. */
const close =
  ({ endpoint }: Opened, limit: Duration.DurationInput) =>
  (code: number, reason: string): Effect.Effect<void> =>
    endpoint.close(code, reason).pipe(
      Effect.interruptible,
      Effect.timeoutTo({
        duration: limit,
        onSuccess: () => undefined,
        onTimeout: () => endpoint.end(closeCodes.abnormal, "")
      })
    )

/**
 * A connector to `options.url`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): typeof Connector.Service => {
  checkOptions("WebSocketGlobal", options, optionKinds)
  return connector(options)
}

const optionKinds = {
  connectTimeout: "duration",
  highWaterBytes: "size",
  pollInterval: "duration",
  maxInboundBytes: "size",
  maxFrameBytes: "size",
  closeTimeout: "duration"
} as const

const connector = (options: Options): typeof Connector.Service => ({
  connect: Effect.suspend(() =>
    Either.match(Address.parse(options.url), {
      onLeft: (error) => Effect.fail(error),
      onRight: (target) =>
        dial(attempt(options, target), options.connectTimeout ?? Duration.seconds(10), (limit) =>
          connectError.timedOut(target.address, limit)
        )
    })
  ),
  address: Address.shown(options.url)
})

/**
 * Dials with the global `WebSocket`.
 *
 * @example
 * ```ts
 * import { WebSocketGlobal } from "effect-arcp/transport"
 *
 * const Dial = WebSocketGlobal.layer({ url: "wss://agents.example/arcp" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Connector> => Layer.succeed(Connector, make(options))

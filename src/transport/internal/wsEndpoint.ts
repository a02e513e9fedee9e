/**
 * A {@link Endpoint} over a `ws` WebSocket, either side.
 *
 * All listeners are attached before this returns: call it in the very callback that hands the WebSocket out, and no
 * early frame is lost.
 *
 * Outbound, a batch is one write to the socket below `ws` (see `textFrames`); with compression negotiated it goes
 * through `ws`. Both are followed by the close frame that `ws` writes, in order, since nothing else is ever queued in `ws`.
 */
import type { Socket } from "node:net"
import type { WebSocket } from "ws"
import { BadFrame, closeCodes } from "../Connection.js"
import type { Sendable } from "../FrameParts.js"
import { receivedCode, sendableCode, sendableReason } from "./closeFrame.js"
import { Endpoint, frameText } from "./Endpoint.js"
import { pieces } from "./framePieces.js"
import { WsLimit } from "./wsLimit.js"

/** What a waiting frame counts besides its bytes, so that empty frames are not free. */
export const frameOverhead = 64

export interface WsEndpointOptions {
  readonly secure: boolean
  /** Whether this is the client's end, which masks. */
  readonly mask: boolean
  readonly highWaterBytes: number
  readonly inboundBytes: number
  readonly maxFrameBytes: number
}

/** An endpoint, and what its opener tells it once the socket is there. */
export interface WsEndpoint {
  readonly endpoint: Endpoint
  readonly opened: (socket: Socket) => void
}

const tooLarge = (limit: WsLimit): string =>
  `a frame${limit.isLowered ? " before authentication" : ""} is larger than ${limit.bytes} bytes`

/** What `ws` found wrong with the peer's bytes, as the close code that it answered with. */
const violation = (error: Error & { readonly code?: string }, limit: WsLimit): [number, string] | undefined => {
  switch (error.code) {
    case "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH":
    case "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH":
      return [closeCodes.tooBig, tooLarge(limit)]
    case "WS_ERR_INVALID_UTF8":
      return [1007, "a text frame is not valid UTF-8"]
    case "WS_ERR_TOO_MANY_BUFFERED_PARTS":
      return [closeCodes.policy, "a message comes in too many parts"]
    default:
      return error.code?.startsWith("WS_ERR_") === true ? [1002, "the peer broke the WebSocket protocol"] : undefined
  }
}

/** Puts an endpoint on `ws`; the socket follows with `opened`, at the latest when `ws` is open. */
export const make = (ws: WebSocket, options: WsEndpointOptions): WsEndpoint => {
  let socket: Socket | undefined
  let failure: [number, string] | undefined

  const flushed = (): void => endpoint.flushed()

  const refuseTooLarge = (): void => void endpoint.startClose(closeCodes.tooBig, tooLarge(limit))
  const limit = new WsLimit(ws, options.maxFrameBytes, refuseTooLarge)

  const write = (frames: ReadonlyArray<Sendable>): boolean => {
    if (ws.readyState !== ws.OPEN || socket === undefined) return false
    if (ws.extensions === "") {
      const written = pieces(frames, options.mask)
      const last = written.length - 1
      if (last > 0) socket.cork()
      for (let i = 0; i < last; i++) socket.write(written[i]!)
      socket.write(written[last]!, flushed)
      if (last > 0) socket.uncork()
    } else {
      const texts = frames.map(frameText)
      socket.cork()
      const last = texts.length - 1
      for (let i = 0; i < last; i++) ws.send(texts[i]!)
      ws.send(texts[last]!, flushed)
      socket.uncork()
    }
    return true
  }

  const endpoint: Endpoint = new Endpoint(
    {
      write,
      waiting: () => ws.bufferedAmount,
      hold: () => ws.pause(),
      release: () => ws.resume(),
      shut: (code, reason) => ws.close(sendableCode(code), sendableReason(reason)),
      limitFrames: (bytes) => {
        if (bytes === undefined) limit.lift()
        else if (socket !== undefined) limit.lower(bytes, socket)
      }
    },
    {
      transport: "websocket",
      secure: options.secure,
      highWater: options.highWaterBytes,
      inboundBound: options.inboundBytes
    }
  )

  ws.on("message", (data: Buffer, isBinary: boolean) => {
    if (!limit.received(data.length)) return refuseTooLarge()
    // `binaryType` is "nodebuffer", so a message is one Buffer, and a text is valid UTF-8
    endpoint.push(
      isBinary ? new BadFrame("the frame is binary, text is expected") : data.toString("utf8"),
      data.length + frameOverhead
    )
  })
  ws.on("error", (error: Error) => {
    failure ??= violation(error, limit) ?? [closeCodes.abnormal, error.message]
  })
  ws.on("close", (code: number, reason: Buffer) => {
    if (code === closeCodes.abnormal && failure !== undefined) endpoint.end(...failure)
    else endpoint.end(receivedCode(code), reason.toString("utf8"))
  })

  return {
    endpoint,
    opened: (opened) => {
      socket = opened
      endpoint.remoteAddress = opened.remoteAddress
    }
  }
}

/** Connections of the fuzzer's clients: in memory, and over a socket. */
import { Chunk, type Context, Effect, Exit, Scope, Stream } from "effect"
import type { Connector } from "effect-arcp/transport"
import { WebSocket } from "ws"

/** What a connection does when something comes. */
export interface Listener {
  readonly frame: (text: string) => void
  readonly ended: (code: number) => void
}

/** A connection. */
export interface Channel {
  /** Whether bytes that are no text can be sent. */
  readonly bytes: boolean
  /** Sends a text, or bytes that claim to be one. Resolves once there is room for more. */
  readonly send: (frame: string | Uint8Array) => Promise<void> | undefined
  /** Sends a frame of bytes. */
  readonly sendBinary: (bytes: Uint8Array) => void
  /** Ends it without a word. */
  readonly cut: () => void
}

/** Opens connections. */
export type Open = (listener: Listener) => Promise<Channel>

/** Connections of a connector. */
export const overConnector =
  (connector: Context.Tag.Service<typeof Connector>): Open =>
  async (listener) => {
    const scope = await Effect.runPromise(Scope.make())
    const connection = await Effect.runPromise(Scope.extend(connector.connect, scope))
    let over = false
    const take = Stream.runForEachChunk(connection.inbound, (chunk) =>
      Effect.sync(() => {
        for (const frame of Chunk.toReadonlyArray(chunk)) {
          if (!over) listener.frame(typeof frame === "string" ? frame : JSON.stringify(frame))
        }
      })
    )
    Effect.runFork(
      Effect.flatMap(Effect.zipRight(take, connection.closed), ({ code }) =>
        Effect.sync(() => {
          if (!over) listener.ended(code)
          over = true
          Effect.runFork(Scope.close(scope, Exit.void))
        })
      )
    )
    return {
      bytes: false,
      send: (frame) => {
        // What cannot be sent any more is told by the end.
        const fiber = Effect.runFork(Effect.ignore(connection.send([frame as string])))
        return fiber.unsafePoll() === null ? new Promise((resolve) => fiber.addObserver(() => resolve())) : undefined
      },
      sendBinary: () => undefined,
      cut: () => {
        over = true
        Effect.runFork(Effect.zipRight(connection.close(1000, ""), Scope.close(scope, Exit.void)))
      }
    }
  }

/** Bytes that may wait in a socket before its sender waits. */
const highWater = 1_048_576

/** Connections to an address. */
export const overSocket =
  (url: string): Open =>
  (listener) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 0 })
      let over = false
      socket.on("error", (error) => reject(error))
      socket.on("message", (data: Buffer) => {
        if (!over) listener.frame(data.toString("utf8"))
      })
      socket.on("close", (code) => {
        if (!over) listener.ended(code)
        over = true
      })
      socket.on("open", () =>
        resolve({
          bytes: true,
          send: (frame) => {
            if (socket.readyState !== WebSocket.OPEN) return undefined
            if (socket.bufferedAmount < highWater) return void socket.send(frame, { binary: false })
            return new Promise((sent) => socket.send(frame, { binary: false }, () => sent()))
          },
          sendBinary: (bytes) => {
            if (socket.readyState === WebSocket.OPEN) socket.send(bytes, { binary: true })
          },
          cut: () => {
            over = true
            socket.terminate()
          }
        })
      )
    })

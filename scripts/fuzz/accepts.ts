/** The side of a connection on which a runtime that keeps to no rule sits: in memory, and on a socket. */
import { Chunk, Context, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { Connector, MemoryTransport, Server } from "effect-arcp/transport"
import { WebSocketClient } from "effect-arcp/transport/ws"
import { type WebSocket, WebSocketServer } from "ws"
import type { Listener } from "./channel.js"

/** A connection that a client opened. */
export interface Accepted {
  /** Whether bytes that are no text can be sent. */
  readonly bytes: boolean
  readonly send: (text: string) => void
  readonly sendBytes: (bytes: Uint8Array, binary: boolean) => void
  readonly close: (code: number) => void
}

/** Where clients connect to, until the end. */
export interface Listening {
  readonly connector: Context.Tag.Service<typeof Connector>
  readonly end: () => Promise<void>
}

/** What takes connections in. */
export type Takes = (connection: Accepted) => Listener

/** Connections in memory. */
export const listenInMemory = async (takes: Takes): Promise<Listening> => {
  const scope = await Effect.runPromise(Scope.make())
  const context = await Effect.runPromise(Scope.extend(MemoryTransport.make({ encoded: true }), scope))
  const serving = Effect.runFork(
    Stream.runForEach(Context.get(context, Server).connections, (connection) =>
      Effect.sync(() => {
        const listener = takes({
          bytes: false,
          send: (text) => void Effect.runFork(Effect.ignore(connection.send([text]))),
          sendBytes: () => undefined,
          close: (code) => void Effect.runFork(connection.close(code, ""))
        })
        const read = Stream.runForEachChunk(connection.inbound, (chunk) =>
          Effect.sync(() => {
            for (const frame of Chunk.toReadonlyArray(chunk))
              listener.frame(typeof frame === "string" ? frame : JSON.stringify(frame))
          })
        )
        Effect.runFork(
          Effect.flatMap(Effect.zipRight(read, connection.closed), ({ code }) =>
            Effect.sync(() => listener.ended(code))
          )
        )
      })
    )
  )
  return {
    connector: Context.get(context, Connector),
    end: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await Effect.runPromise(Fiber.interrupt(serving))
    }
  }
}

const take = (socket: WebSocket, takes: Takes): void => {
  const listener = takes({
    bytes: true,
    send: (text) => {
      if (socket.readyState === socket.OPEN) socket.send(text)
    },
    sendBytes: (bytes, binary) => {
      if (socket.readyState === socket.OPEN) socket.send(bytes, { binary })
    },
    close: (code) => (code === 1006 ? socket.terminate() : socket.close(code))
  })
  socket.on("error", () => undefined)
  socket.on("message", (data: Buffer) => listener.frame(data.toString("utf8")))
  socket.on("close", (code) => listener.ended(code))
}

/** Connections over a socket. */
export const listenOnSocket = async (takes: Takes): Promise<Listening> => {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, maxPayload: 0 })
  await new Promise<void>((resolve) => server.once("listening", resolve))
  server.on("connection", (socket) => take(socket, takes))
  const { port } = server.address() as { readonly port: number }
  const connector = await Effect.runPromise(
    Effect.provide(Connector, Layer.fresh(WebSocketClient.layer({ url: `ws://127.0.0.1:${port}/arcp` })))
  )
  return {
    connector,
    end: async () => {
      for (const socket of server.clients) socket.terminate()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
}

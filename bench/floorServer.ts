/**
 * The floor: a bare `ws` server that sends the same texts. It keeps nothing, checks nothing and promises nothing; what it
 * does is what any server with JSON over WebSocket has to do.
 */
import type { AddressInfo, Socket } from "node:net"
import { type WebSocket, WebSocketServer } from "ws"
import { sqliteLoop } from "./sqliteLoop.js"

/** What the floor's client asks for. */
export type FloorRequest =
  | { readonly op: "events"; readonly count: number; readonly streams: number; readonly corked: boolean }
  | { readonly op: "echo"; readonly n: number }
  | { readonly op: "stream"; readonly bytes: number; readonly chunk: number; readonly encoding: "utf8" | "base64" }
  | { readonly op: "observe" }
  | { readonly op: "tell"; readonly count: number }

const session = "sess_01M8A2FCGG1SAQYYJ2AJADGNHT"
const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
const head = (stream: number): string =>
  `{"arcp":"1.1","type":"job.event","session_id":"${session}","job_id":"job_01M8A2FCGG1SAQYYJ2AJADGN${String(stream).padStart(2, "0")}","trace_id":"${trace}","id":"01M8A2FCGJXD5KYVA6XSVW46AR","event_seq":`

/** The text of an event, as long as the runtime's. */
const eventText = (start: string, n: number): string =>
  `${start}${n},"payload":{"kind":"log","ts":"2026-01-01T00:00:00.000Z","body":{"level":"info","message":"event ${n}"}}}`

/** Frames of one turn of the event loop. */
const perTurn = 512
/** Bytes that may wait in a socket before the next turn is put off. */
const highWater = 4 * 1024 * 1024

/** The socket under a WebSocket, which `ws` does not show. */
const raw = (socket: WebSocket): Socket => (socket as unknown as { readonly _socket: Socket })._socket

/** Calls `send` until it answers false, with a turn of the event loop after each batch. */
const inTurns = (sockets: Iterable<WebSocket>, batch: number, send: () => boolean): void => {
  const turn = (): void => {
    for (const socket of sockets) if (socket.bufferedAmount > highWater) return void setImmediate(turn)
    for (let i = 0; i < batch; i++) if (!send()) return
    setImmediate(turn)
  }
  turn()
}

/** `corked`: the frames of a turn go to the system in one write, where `ws` writes each by itself. */
const sendEvents = (socket: WebSocket, count: number, streams: number, corked: boolean): void => {
  const heads = Array.from({ length: streams }, (_, i) => head(i))
  let n = 0
  inTurns([socket], perTurn, () => {
    if (corked && n % perTurn === 0) {
      raw(socket).cork()
      process.nextTick(() => raw(socket).uncork())
    }
    socket.send(eventText(heads[n % streams]!, ++n))
    return n < count
  })
}

const sendStream = (socket: WebSocket, bytes: number, chunk: number, encoding: "utf8" | "base64"): void => {
  const text = "abcdefghijklmnopqrstuvwxyz".repeat(Math.ceil(chunk / 26)).slice(0, chunk)
  const piece = Buffer.from(text)
  const chunks = Math.ceil(bytes / chunk)
  const start = head(0)
  let n = 0
  inTurns([socket], 4, () => {
    const data = encoding === "utf8" ? JSON.stringify(text) : `"${piece.toString("base64")}"`
    socket.send(
      `${start}${++n},"payload":{"kind":"result_chunk","ts":"2026-01-01T00:00:00.000Z","body":{"result_id":"res_01M8A2FCGG1SAQYYJ2AJADGNHT","chunk_seq":${n - 1},"data":${data},"encoding":"${encoding}","more":${n < chunks}}}}`
    )
    return n < chunks
  })
}

/** Listens on a free port. */
export const floorServer = async () => {
  const observers = new Set<WebSocket>()
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
  server.on("connection", (socket) => {
    socket.on("close", () => observers.delete(socket))
    socket.on("message", (data) => {
      const request = JSON.parse(String(data)) as FloorRequest
      switch (request.op) {
        case "echo":
          return socket.send(JSON.stringify(request))
        case "events":
          return sendEvents(socket, request.count, request.streams, request.corked)
        case "stream":
          return sendStream(socket, request.bytes, request.chunk, request.encoding)
        case "observe":
          observers.add(socket)
          return socket.send(JSON.stringify(request))
        case "tell": {
          const start = head(0)
          let n = 0
          return inTurns(observers, Math.max(1, Math.floor(perTurn / observers.size)), () => {
            const text = eventText(start, ++n)
            for (const observer of observers) observer.send(text)
            return n < request.count
          })
        }
      }
    })
  })
  await new Promise((resolve) => server.once("listening", resolve))
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, tasks: { sqliteLoop } }
}

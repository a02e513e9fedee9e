/**
 * WebSocket peers made by hand over plain sockets: for what a well-behaved library would never do.
 */
import { createHash } from "node:crypto"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

export const requestText = (
  port: number,
  options: { readonly path?: string; readonly headers?: ReadonlyArray<string> } = {}
) =>
  [
    `GET ${options.path ?? "/arcp"} HTTP/1.1`,
    ...(options.headers?.some((header) => /^host:/i.test(header)) === true ? [] : [`Host: 127.0.0.1:${port}`]),
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...(options.headers ?? []),
    "",
    ""
  ].join("\r\n")

/** A client's frame: masked. */
export const clientFrame = (
  opcode: number,
  payload: string | Uint8Array,
  options: { readonly fin?: boolean; readonly mask?: boolean } = {}
) => {
  const data = Buffer.from(payload)
  const mask = Buffer.from([1, 2, 3, 4])
  const head =
    data.length < 126
      ? Buffer.from([0, data.length])
      : data.length < 65_536
        ? Buffer.from([0, 126, data.length >> 8, data.length & 255])
        : Buffer.concat([
            Buffer.from([0, 127]),
            (() => {
              const size = Buffer.alloc(8)
              size.writeBigUInt64BE(BigInt(data.length))
              return size
            })()
          ])
  head[0] = (options.fin === false ? 0 : 0x80) | opcode
  if (options.mask === false) return Buffer.concat([head, data])
  head[1]! |= 0x80
  return Buffer.concat([head, mask, Buffer.from(data.map((byte, i) => byte ^ mask[i % 4]!))])
}

/** A socket to a port, with all that it has received; destroyed with the scope. */
export class Raw {
  readonly socket: Socket
  received = Buffer.alloc(0)
  private readonly listeners = new Set<() => void>()
  constructor(socket: Socket) {
    this.socket = socket
    socket.on("error", () => {})
    socket.on("data", (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes])
      for (const listener of this.listeners) listener()
    })
    socket.on("close", () => {
      for (const listener of this.listeners) listener()
    })
  }
  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes)
  }
  /** Waits until what has been received holds `text`. */
  until = (text: string): Effect.Effect<string> => this.when(() => this.received.includes(text))
  /** Waits until the peer has closed. */
  ended: Effect.Effect<string> = Effect.suspend(() => this.when(() => this.socket.destroyed))
  private when(condition: () => boolean): Effect.Effect<string> {
    return Effect.async<string>((resume) => {
      const look = (): void => {
        if (!condition()) return
        this.listeners.delete(look)
        resume(Effect.sync(() => this.received.toString("latin1")))
      }
      this.listeners.add(look)
      look()
    })
  }
}

export const rawClient = (port: number): Effect.Effect<Raw, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Raw>((resume) => {
      const socket = connect({ host: "127.0.0.1", port }, () => {
        socket.setNoDelay(true)
        resume(Effect.succeed(new Raw(socket)))
      })
    }),
    (raw) => Effect.sync(() => raw.socket.destroy())
  )

/** A raw client whose WebSocket is open. */
export const rawWebSocket = (port: number): Effect.Effect<Raw, never, Scope.Scope> =>
  Effect.tap(rawClient(port), (raw) => {
    raw.write(requestText(port))
    return raw.until("\r\n\r\n")
  })

/** A TCP server that does what it is told with each socket. */
export const rawServer = (handle: (socket: Socket) => void): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<{ readonly server: Server; readonly sockets: Set<Socket> }>((resume) => {
        const sockets = new Set<Socket>()
        const server = createServer((socket) => {
          sockets.add(socket)
          socket.on("error", () => {})
          socket.on("close", () => sockets.delete(socket))
          handle(socket)
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
      }),
      ({ server, sockets }) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    ),
    ({ server }) => (server.address() as AddressInfo).port
  )

/** Answers a client's handshake, then goes on. */
export const shakeHands = (socket: Socket, then: () => void, also: Uint8Array = Buffer.alloc(0)): void => {
  let text = ""
  const onData = (bytes: Buffer): void => {
    text += bytes.toString("latin1")
    if (!text.includes("\r\n\r\n")) return
    socket.off("data", onData)
    const key = /sec-websocket-key: (.*)\r\n/i.exec(text)![1]!
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
    socket.write(
      Buffer.concat([
        Buffer.from(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
        ),
        also
      ])
    )
    then()
  }
  socket.on("data", onData)
}

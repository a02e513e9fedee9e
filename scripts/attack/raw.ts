/** WebSocket connections written byte by byte, for frames that no client library would send. */
import { randomBytes } from "node:crypto"
import { connect, type Socket } from "node:net"
import { within } from "./small.js"

/** A connection that has been upgraded, or the reason why there is none. */
export type Raw = { readonly socket: Socket; ended: boolean; received: number } | string

/** Opens a TCP connection and upgrades it. */
export const upgrade = (url: string, millis = 5_000): Promise<Raw> => {
  const { hostname, pathname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const raw = { socket, ended: false, received: 0 }
  const opened = new Promise<Raw>((resolve) => {
    let head = ""
    socket.on("error", (error) => {
      raw.ended = true
      resolve(error.message)
    })
    socket.on("close", () => {
      raw.ended = true
      resolve("closed")
    })
    socket.on("data", (data) => {
      raw.received += data.length
      if (head.includes("\r\n\r\n")) return
      head += data.toString("latin1")
      if (head.includes("\r\n\r\n")) resolve(head.startsWith("HTTP/1.1 101") ? raw : head.slice(0, 24).trim())
    })
    socket.on("connect", () =>
      socket.write(
        `GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n\r\n`
      )
    )
  })
  return within(millis, opened, "no upgrade in time")
}

/** The head of a masked text frame (mask 0), or of a continuation, that announces `length` bytes. */
export const frameHead = (length: number, kind: "text" | "first" | "more"): Buffer => {
  const head = Buffer.alloc(14)
  head[0] = kind === "text" ? 0x81 : kind === "first" ? 0x01 : 0x00
  head[1] = 0x80 | 127
  head.writeBigUInt64BE(BigInt(length), 2)
  return head
}

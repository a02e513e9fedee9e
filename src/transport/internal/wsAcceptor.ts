/**
 * Upgrade requests to connections: what a stand-alone, an attached and a routed WebSocket server share.
 *
 * Everything happens synchronously in the upgrade's callback: checks, handshake, listeners, hand-over. So no early frame
 * is lost and no refused request is left without an answer.
 */
import type { IncomingMessage } from "node:http"
import type { AddressInfo, Server as NetServer, Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as Duration from "effect/Duration"
import { type ServerOptions, type WebSocket, WebSocketServer } from "ws"
import { check as checkOptions, timerMillis } from "../../protocol/Options.js"
import type { WebSocketServerOptions } from "../WebSocketServerOptions.js"
import { isHost, urlHost } from "../Hosts.js"
import { Acceptor } from "./Acceptor.js"
import { bytes } from "./bounds.js"
import type { Endpoint } from "./Endpoint.js"
import * as forwarded from "./forwarded.js"
import { check, guard, type Refusal, refuse, type UpgradePolicy } from "./upgrade.js"
import * as wsEndpoint from "./wsEndpoint.js"

export const defaults = {
  path: "/arcp",
  maxFrameBytes: 4 * 1024 * 1024,
  maxConnections: 4096,
  highWaterBytes: 256 * 1024,
  inboundBytes: 1024 * 1024,
  closeTimeout: Duration.seconds(5),
  handshakeTimeout: Duration.seconds(10)
}

const optionKinds = {
  maxFrameBytes: "size",
  maxConnections: "countOrZero",
  highWaterBytes: "size",
  inboundBytes: "size",
  closeTimeout: "duration",
  handshakeTimeout: "duration"
} as const

export interface WsAcceptor {
  readonly path: string
  readonly acceptor: Acceptor
  /** Upgrades or refuses. The endpoint, unless the request was refused. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => Endpoint | undefined
}

/** An entry that no Host header can be would let nobody in, without a word. */
const checkHosts = (hosts: "*" | ReadonlyArray<string>): void => {
  const wrong = hosts === "*" ? undefined : hosts.find((entry) => !isHost(entry))
  if (wrong === undefined) return
  // edge: a server that is made from a wrong option is a mistake of its program
  throw new RangeError(
    `WebSocketServer: allowedHosts: ${JSON.stringify(wrong.slice(0, 64))} is not a host, such as "arcp.example", "arcp.example:7777" or "[::1]"`
  )
}

export const make = (options: WebSocketServerOptions): WsAcceptor => {
  checkOptions("WebSocketServer", options, optionKinds)
  checkHosts(options.allowedHosts ?? "*")
  const acceptor = new Acceptor()
  const maxConnections = options.maxConnections ?? defaults.maxConnections
  const maxFrameBytes = bytes(options.maxFrameBytes ?? defaults.maxFrameBytes)
  const known = options.protocols ?? ["arcp"]
  const policy: UpgradePolicy = {
    allowedOrigins: options.allowedOrigins ?? [],
    allowedHosts: options.allowedHosts
  }
  // `closeTimeout` is an option of ws that its types do not know yet
  const wsOptions: ServerOptions & { readonly closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    maxPayload: maxFrameBytes,
    perMessageDeflate: options.perMessageDeflate ?? false,
    closeTimeout: timerMillis(options.closeTimeout ?? defaults.closeTimeout),
    handleProtocols: (offered) => known.find((protocol) => offered.has(protocol)) ?? false
  }
  const wss = new WebSocketServer(wsOptions)

  const peerAddress = forwarded.make(options)

  const refusal = (
    request: IncomingMessage,
    socket: Socket,
    secure: boolean,
    address: string | undefined
  ): Refusal | undefined => {
    const refused = check(request, policy, boundAddress(socket), secure)
    if (refused !== undefined) return refused
    if (acceptor.stopped) return { status: 503, message: "the server is shutting down" }
    if (acceptor.count >= maxConnections)
      return { status: 503, message: "too many connections are open; try again later" }
    const message = acceptor.restrictions?.refusal(address)
    return message === undefined ? undefined : { status: 429, message }
  }

  const upgrade = (request: IncomingMessage, duplex: Duplex, head: Buffer): Endpoint | undefined => {
    guard(duplex)
    // an HTTP server's upgrade socket is a net.Socket or a tls.TLSSocket; the type of the event is wider for its users' sake
    const socket = duplex as Socket
    const secure = "encrypted" in socket && socket.encrypted === true
    const address = peerAddress(request, socket.remoteAddress)
    const refused = refusal(request, socket, secure, address)
    if (refused !== undefined) {
      refuse(socket, refused)
      return undefined
    }
    let accepted: Endpoint | undefined
    wss.handleUpgrade(request, socket, head, (ws: WebSocket) => {
      const { endpoint, opened } = wsEndpoint.make(ws, {
        secure,
        mask: false,
        highWaterBytes: options.highWaterBytes ?? defaults.highWaterBytes,
        inboundBytes: options.inboundBytes ?? defaults.inboundBytes,
        maxFrameBytes
      })
      opened(socket)
      endpoint.remoteAddress = address
      acceptor.accept(endpoint)
      accepted = endpoint
    })
    return accepted
  }

  return { path: options.path ?? defaults.path, acceptor, upgrade }
}

/** The address that the socket's server is bound to. Node keeps the server on the sockets that it accepted. */
const boundAddress = (socket: Socket & { readonly server?: NetServer }): AddressInfo | undefined => {
  const address = socket.server?.address()
  if (typeof address === "object" && address !== null) return address
  // a Unix socket has no host that could be rebound; a socket without its server is judged by its own local end
  return typeof address === "string" || socket.localAddress === undefined || socket.localPort === undefined
    ? undefined
    : { address: socket.localAddress, port: socket.localPort, family: socket.localFamily ?? "IPv4" }
}

/** Where a server listens, as a URL. */
export const addressOf = (server: NetServer, path: string, secure: boolean): string => {
  const scheme = secure ? "wss" : "ws"
  const address = server.address()
  if (address === null) return `${scheme}:${path}`
  return typeof address === "string"
    ? `${scheme}+unix:${address}:${path}`
    : `${scheme}://${urlHost(address.address)}:${address.port}${path}`
}

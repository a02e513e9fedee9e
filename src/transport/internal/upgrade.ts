/**
 * Who may upgrade: the checks on an HTTP upgrade request before it becomes a WebSocket, and the answer to a refused one (ARCP 1.1 §14).
 *
 * DNS rebinding: a page of `evil.example` whose name is made to point to 127.0.0.1 reaches a runtime on the loopback
 * interface with `Host: evil.example` and `Origin: http://evil.example`. So a server that is bound to a loopback address takes
 * only loopback names as Host unless it is told otherwise. One that listens elsewhere, on loopback too where it listens on
 * every address, cannot know its names: programs pass with any, and a page passes whose host is an address, a name of loopback or,
 * over TLS of this server's own, a name that its certificate has. Cross-site use: a browser always sends `Origin`; one that is not of
 * the same host and is not listed is refused. Programs send none and pass.
 */
import { type IncomingMessage, STATUS_CODES } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { canonicalHost, isFixed, isLoopback, urlHost } from "../Hosts.js"

export interface UpgradePolicy {
  /** `"*"`, or the origins that are let in besides the server's own. */
  readonly allowedOrigins: "*" | ReadonlyArray<string>
  /** `"*"`, or the hosts that are let in; undefined decides by the bound address. */
  readonly allowedHosts: "*" | ReadonlyArray<string> | undefined
}

/** Why an upgrade is refused. */
export interface Refusal {
  readonly status: 400 | 403 | 404 | 429 | 503
  readonly message: string
}

/** The path of a request, without its query. */
export const pathOf = (request: IncomingMessage): string => {
  const url = request.url ?? "/"
  const query = url.indexOf("?")
  return query < 0 ? url : url.slice(0, query)
}

const hostAllowed = (
  host: string | undefined,
  policy: UpgradePolicy,
  bound: AddressInfo | undefined,
  secure: boolean
): boolean => {
  const allowed = policy.allowedHosts
  if (allowed === "*") return true
  if (allowed === undefined && (bound === undefined || !isLoopback(bound.address))) return true
  const asked = host === undefined ? undefined : canonicalHost(host, secure)
  if (asked === undefined) return false
  if (allowed === undefined) {
    const own = urlHost(bound!.address.replace(/^::ffff:/, ""))
    return asked.port === String(bound!.port) && ["localhost", "127.0.0.1", "[::1]", own].includes(asked.name)
  }
  return allowed.some((entry) => {
    const listed = canonicalHost(entry, secure)
    // an entry without a port stands for every port
    return listed !== undefined && listed.name === asked.name && (!listed.explicit || listed.port === asked.port)
  })
}

const originRefusal = (
  origin: string,
  host: string | undefined,
  policy: UpgradePolicy,
  secure: boolean
): string | undefined => {
  const foreign = "this Origin is not allowed here; the server's allowedOrigins lists those that are"
  if (policy.allowedOrigins === "*") return undefined
  const wanted = origin.toLowerCase()
  if (policy.allowedOrigins.some((entry) => entry.toLowerCase().replace(/\/$/, "") === wanted)) return undefined
  const match = /^https?:\/\/([^/]+)$/.exec(wanted)
  if (match === null || host === undefined) return foreign
  const own = canonicalHost(host, secure)
  const theirs = canonicalHost(match[1]!, wanted.startsWith("https:"))
  if (own === undefined || theirs === undefined || own.name !== theirs.name) return foreign
  // neither names a port: the same one, also where a proxy in front ends TLS and the schemes differ
  if (own.port !== theirs.port && (own.explicit || theirs.explicit)) return foreign
  return policy.allowedHosts !== undefined || secure || isFixed(own)
    ? undefined
    : "this server does not know the Host of this page; name it in the server's allowedHosts"
}

/** Checks Host and Origin. `bound` is the address that the server listens on, where it is a network address. */
export const check = (
  request: IncomingMessage,
  policy: UpgradePolicy,
  bound: AddressInfo | undefined,
  secure: boolean
): Refusal | undefined => {
  const { host, origin } = request.headers
  if (!hostAllowed(host, policy, bound, secure)) {
    return { status: 403, message: "this Host is not allowed here; the server's allowedHosts lists those that are" }
  }
  const message = origin === undefined ? undefined : originRefusal(origin, host, policy, secure)
  return message === undefined ? undefined : { status: 403, message }
}

/** Answers a refused upgrade and drops the socket. */
export const refuse = (socket: Duplex, refusal: Refusal): void => {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = `${refusal.message}\n`
  socket.once("finish", () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n` +
      "Connection: close\r\n" +
      "Content-Type: text/plain; charset=utf-8\r\n" +
      (refusal.status === 503 ? "Retry-After: 1\r\n" : refusal.status === 429 ? "Retry-After: 60\r\n" : "") +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
}

/** Keeps a reset during the upgrade from killing the process: until the upgrade a socket has no listener of its own. */
export const guard = (socket: Duplex): void => {
  socket.on("error", ignore)
}

const ignore = (): void => {}

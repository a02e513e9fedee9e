/**
 * The address of a peer behind proxies: what the nearest proxy that is not trusted, or the peer itself, connected from.
 *
 * Each proxy appends the address that it was connected from, so that only what trusted proxies appended can be believed: the
 * header is read from its end, and the first address that is not a trusted proxy's counts. What stands before it may be
 * anything. A header that cannot be read counts up to where it can.
 */
import type { IncomingMessage } from "node:http"
import type { ProxyOptions } from "../WebSocketServerOptions.js"
import { BlockList, isIP, isIPv4 } from "node:net"

/** An address in its plain spelling, without port, brackets and zone; undefined where it is none. */
const plain = (text: string): string | undefined => {
  const trimmed = text.trim()
  const bracketed = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(trimmed)
  const ported = /^(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}$/.exec(trimmed)
  const address = (bracketed?.[1] ?? ported?.[1] ?? trimmed).split("%", 1)[0]!.toLowerCase()
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/.exec(address)?.[1]
  if (mapped !== undefined && isIPv4(mapped)) return mapped
  return isIP(address) === 0 ? undefined : address
}

/** The value of `for` of each element of a `Forwarded` header (RFC 7239 §4), which may hold commas and semicolons in quotes. */
const forwardedFor = (header: string): ReadonlyArray<string> => {
  const elements = header.match(/(?:"(?:[^"\\]|\\.)*"|[^",])+/g) ?? []
  return elements.map((element) => {
    const match = /(?:^|;)\s*for\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]+))/i.exec(element)
    return match?.[1]?.replace(/\\(.)/g, "$1") ?? match?.[2] ?? ""
  })
}

/** The longest header that is looked at, in characters; Node bounds headers to 16 KiB together. */
const maxHeader = 16_384

/** Reads peers' addresses as the options say. Throws at once where an entry is not an address or a network. */
export const make = ({ forwardedHeader, trustedProxies = [] }: ProxyOptions) => {
  const list = new BlockList()
  let unix = false
  for (const entry of trustedProxies) {
    if (entry === "unix") {
      unix = true
      continue
    }
    const [text = "", prefix, ...rest] = entry.split("/")
    const address = plain(text)
    const bits = address === undefined ? 0 : isIPv4(address) ? 32 : 128
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
    if (address === undefined || rest.length > 0 || length < 0 || length > bits) {
      // edge: a server that is made from a wrong option is a mistake of its program
      throw new RangeError(
        `trustedProxies: ${JSON.stringify(entry.slice(0, 64))} is not an address, a network or "unix"`
      )
    }
    list.addSubnet(address, length, bits === 32 ? "ipv4" : "ipv6")
  }
  const trusts = (address: string | undefined): boolean =>
    address === undefined ? unix : list.check(address, isIPv4(address) ? "ipv4" : "ipv6")
  const name = forwardedHeader ?? "x-forwarded-for"

  /** The address of a request's peer, where the connection comes from `connected`. */
  return (request: IncomingMessage, connected: string | undefined): string | undefined => {
    const near = connected === undefined ? undefined : (plain(connected) ?? connected)
    if (trustedProxies.length === 0 || (near !== undefined && isIP(near) === 0) || !trusts(near)) return connected
    const value = request.headers[name]
    const header = (Array.isArray(value) ? value.join(",") : (value ?? "")).slice(-maxHeader)
    const hops = name === "forwarded" ? forwardedFor(header) : header.split(",")
    let address = near
    for (let i = hops.length - 1; i >= 0; i--) {
      const hop = plain(hops[i]!)
      if (hop === undefined) return address
      address = hop
      if (!trusts(hop)) return address
    }
    return address
  }
}

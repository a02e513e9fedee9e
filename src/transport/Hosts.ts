/** Names and addresses by which a server is reached: what a `Host` header may be, and which of them only this machine can mean. */
import { isIP } from "node:net"

/** Whether an address is one of the loopback interface. */
export const isLoopback = (address: string): boolean =>
  address === "::1" || /^(::ffff:)?127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$/.test(address)

/** An address as it stands in a URL. */
export const urlHost = (address: string): string => (address.includes(":") ? `[${address}]` : address)

/** A host and port, as a `Host` header has them. */
export interface Host {
  readonly name: string
  readonly port: string
  readonly explicit: boolean
}

/** A `host[:port]` in one spelling, the scheme's default port filled in; undefined if it is none. */
export const canonicalHost = (host: string, secure: boolean): Host | undefined => {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/?#@\s]+)(?::([0-9]{1,5}))?$/.exec(host)
  if (match === null) return undefined
  const name = match[1]!.toLowerCase()
  return {
    name: name.endsWith(".") ? name.slice(0, -1) : name,
    port: match[2] ?? (secure ? "443" : "80"),
    explicit: match[2] !== undefined
  }
}

/** Whether an entry of `allowedHosts` can be a Host header's. */
export const isHost = (entry: string): boolean => canonicalHost(entry, false) !== undefined

/** Whether a name cannot be made to point here by others than this machine: an address, or a name that browsers keep for loopback. */
export const isFixed = ({ name }: Host): boolean =>
  name.startsWith("[") || isIP(name) !== 0 || name === "localhost" || name.endsWith(".localhost")

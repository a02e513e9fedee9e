/**
 * Peers that have not been authenticated: how many there may be, and which addresses are refused after failed authentications
 * (ARCP 1.1 §14).
 *
 * Addresses are counted as an attacker has them: an IPv4 address, or the /64 network of an IPv6 address. The loopback interface
 * has the bounds in all only, since a proxy on this machine stands for many peers, and so have peers without an address (a Unix
 * socket). Peers in this process or on standard streams are not counted.
 *
 * Room in all is shared between addresses: where there is none, a peer from an address that has fewer takes the place of the one from an
 * address that has more which has been silent for longest. One that has sent its hello is not displaced.
 *
 * Both tables are bounded: the one of connections by their number and {@link maxDisplaced}, the one of failures by {@link maxAddresses}.
 */
import { isIPv4, isIPv6 } from "node:net"
import { count } from "../../kernel/Counts.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"

/** How long a failed authentication counts, in milliseconds. */
const window = 60_000

/** Addresses whose failures are remembered; beyond it the oldest go. */
const maxAddresses = 8_192

/** Displaced connections that are being closed at a time, for each that may be there: a peer that does not read holds its own for seconds. */
const maxDisplaced = 0.25

/** Connections that are looked at, the oldest first, for one that makes room. */
const maxLooks = 1_024

/** In this process or on standard streams. Every other transport, whatever its name, may have the network behind it. */
export const isLocal = ({ transport }: Peer): boolean => transport === "memory" || transport === "stdio"

/** The eight groups of an IPv6 address. */
const groupsOf = (address: string): ReadonlyArray<number> => {
  // URL spells an address in one way, an embedded IPv4 address included.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const [left = "", right] = canonical.split("::")
  const read = (text: string): ReadonlyArray<number> =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16))
  const [head, tail] = [read(left), read(right ?? "")]
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail]
}

/** What an address is counted as; undefined where it is not counted by itself: none, or the loopback interface. */
export const addressKey = (address: string | undefined): string | undefined => {
  if (address === undefined) return undefined
  const bare = address.split("%", 1)[0]!
  if (isIPv4(bare)) return bare.startsWith("127.") ? undefined : bare
  if (!isIPv6(bare)) return address.slice(0, 64)
  const groups = groupsOf(bare)
  const upper = groups.slice(0, 5).every((group) => group === 0)
  if (upper && groups[5] === 0xffff) {
    return addressKey(`${groups[6]! >> 8}.${groups[6]! & 255}.${groups[7]! >> 8}.${groups[7]! & 255}`)
  }
  if (upper && groups[5] === 0 && groups[6] === 0 && groups[7] === 1) return undefined
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`
}

/** What is known of a connection before its hello. */
export interface Peer {
  readonly transport: string
  readonly remoteAddress: string | undefined
}

interface Failures {
  count: number
  readonly since: number
}

/** A connection that counts. */
interface Stranger {
  readonly key: string | undefined
  /** Whether its first frame has not come. */
  silent: boolean
  /** Refuses it, to make room. */
  readonly displace: () => void
}

const full = "too many connections have not been authenticated yet; try again later"
const tried = "too many authentications have failed; try again in a minute"

/** The peers of one runtime that have not been authenticated. */
export class Strangers {
  private readonly limits: LimitsShape
  private readonly now: () => number
  private readonly meter: MeterShape
  /** In the order in which they came. */
  private readonly present = new Map<object, Stranger>()
  /** Displaced ones that have not ended. */
  private readonly displaced = new Set<object>()
  private readonly perAddress = new Map<string, number>()
  /** Those that count for no address. */
  private elsewhere = 0
  /** In the order of `since`. */
  private readonly failures = new Map<string | undefined, Failures>()
  private all: Failures = { count: 0, since: Number.NEGATIVE_INFINITY }

  constructor(limits: LimitsShape, now: () => number, meter: MeterShape) {
    this.meter = meter
    this.limits = limits
    this.now = now
  }

  /** How many there are. */
  get size(): number {
    return this.present.size
  }

  /** Why a peer from this address is refused now; undefined: it may connect. Counts the bound that was reached. */
  refusal(address: string | undefined): string | undefined {
    return this.refused(address, addressKey(address), (key) => this.displaceable(key) !== undefined)
  }

  /** As {@link refusal}; `makesRoom` is asked last, and where there is no room only. */
  private refused(
    address: string | undefined,
    key: string | undefined,
    makesRoom: (key: string | undefined) => boolean
  ): string | undefined {
    const { limits } = this
    if (key !== undefined && this.countOf(key) >= limits.unauthenticatedPerAddress) {
      this.meter.reached("unauthenticatedPerAddress")
      return full
    }
    const barred = this.barred(address)
    if (barred !== undefined) return barred
    if (this.present.size < limits.unauthenticatedConnections || makesRoom(key)) return undefined
    this.meter.reached("unauthenticatedConnections")
    return full
  }

  /** Why a peer from this address may not authenticate now; undefined: it may. Counts the bound that was reached. */
  barred(address: string | undefined): string | undefined {
    const now = this.now()
    const key = addressKey(address)
    const failed = this.failures.get(key)
    if (failed === undefined || failed.since + window <= now) return undefined
    if (key !== undefined && failed.count >= this.limits.failedAuthenticationsPerAddress) {
      this.meter.reached("failedAuthenticationsPerAddress")
      return tried
    }
    if (this.all.since + window > now && this.all.count >= this.limits.failedAuthentications) {
      this.meter.reached("failedAuthentications")
      return tried
    }
    return undefined
  }

  /**
   * Counts a connection until {@link leave}; why it is refused where it is. `displace` refuses it later, where it has to make room while
   * it is silent.
   */
  enter(connection: Peer, displace: () => void = () => undefined): string | undefined {
    if (isLocal(connection)) return undefined
    const key = addressKey(connection.remoteAddress)
    const refusal = this.refused(connection.remoteAddress, key, () => this.makeRoom(key))
    if (refusal !== undefined) return refusal
    this.present.set(connection, { key, silent: true, displace })
    this.count(key, 1)
    return undefined
  }

  /** Its first frame has come: it is not displaced any more. */
  spoke(connection: Peer): void {
    const stranger = this.present.get(connection)
    if (stranger !== undefined) stranger.silent = false
  }

  /** The connection's peer has been authenticated, or it has ended. Harmless when it is not counted. */
  leave(connection: Peer): void {
    this.displaced.delete(connection)
    const stranger = this.present.get(connection)
    if (stranger === undefined) return
    this.present.delete(connection)
    this.count(stranger.key, -1)
  }

  /** How many there are of an address; those without one count together. */
  private countOf(key: string | undefined): number {
    return key === undefined ? this.elsewhere : (this.perAddress.get(key) ?? 0)
  }

  private count(key: string | undefined, by: 1 | -1): void {
    if (key === undefined) this.elsewhere += by
    else count(this.perAddress, key, by)
  }

  /**
   * The one that makes room for a peer of this address: its own address has no fewer even afterwards. Looks at the oldest ones only: a flood
   * asks this for each connection.
   */
  private displaceable(key: string | undefined): object | undefined {
    if (this.displaced.size >= Math.ceil(this.limits.unauthenticatedConnections * maxDisplaced)) return undefined
    const own = this.countOf(key) + 1
    let looks = maxLooks
    for (const [connection, { key: other, silent }] of this.present) {
      if (looks-- === 0) return undefined
      if (silent && other !== key && this.countOf(other) > own) return connection
    }
    return undefined
  }

  /** Refuses one that makes room; whether there is one. */
  private makeRoom(key: string | undefined): boolean {
    const connection = this.displaceable(key)
    const stranger = connection === undefined ? undefined : this.present.get(connection)
    if (connection === undefined || stranger === undefined) return false
    this.meter.reached("unauthenticatedConnections")
    this.present.delete(connection)
    this.count(stranger.key, -1)
    this.displaced.add(connection)
    stranger.displace()
    return true
  }

  /** Counts a failed authentication. */
  failed(peer: Peer): void {
    if (isLocal(peer)) return
    const { remoteAddress } = peer
    const now = this.now()
    if (this.all.since + window <= now) this.all = { count: 0, since: now }
    this.all.count++
    const key = addressKey(remoteAddress)
    const before = this.failures.get(key)
    if (before !== undefined && before.since + window > now) {
      before.count++
      return
    }
    this.failures.delete(key)
    for (const [oldest, { since }] of this.failures) {
      if (since + window > now && this.failures.size < maxAddresses) break
      this.failures.delete(oldest)
    }
    this.failures.set(key, { count: 1, since: now })
  }
}

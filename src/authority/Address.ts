/**
 * IP addresses: which of them are public, so that a wildcard in a lease's host may reach them (ARCP 1.1 §9.3, 1.0 §14).
 *
 * Public is what the special-purpose registries of IANA call globally reachable, with two exceptions that are not public: addresses that
 * only tunnel (Teredo, IPv4-compatible and translated forms of local use), and those at which a cloud serves its metadata. An IPv6
 * address that stands for an IPv4 address (mapped, NAT64, 6to4, ISATAP) is public only if that IPv4 address is. What cannot be
 * parsed is not public.
 *
 * Pure: resolving a name is for the caller, who must check every address and connect to one that was checked.
 */

/** An address as 4 or 16 bytes. */
export type Address = ReadonlyArray<number>

const decimal = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/

const parse4 = (text: string): Address | undefined => {
  const parts = decimal.exec(text)
  if (parts === null) return undefined
  const bytes = parts.slice(1).map(Number)
  return bytes.every((byte) => byte <= 255) ? bytes : undefined
}

/** WHATWG's spelling of an IPv6 address: hexadecimal groups, the longest run of zeros as `::`. */
const canonical6 = (text: string): string | undefined => {
  try {
    return new URL(`http://[${text}]/`).hostname.slice(1, -1)
  } catch {
    // the constructor's only way to say no
    return undefined
  }
}

const parse6 = (text: string): Address | undefined => {
  const canonical = /^[0-9a-f:.]+$/i.test(text) ? canonical6(text) : undefined
  if (canonical === undefined) return undefined
  const [head = "", tail] = canonical.split("::")
  const groups = (part: string | undefined) => (part === undefined || part === "" ? [] : part.split(":"))
  const before = groups(head)
  const after = groups(tail)
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0")
  return [...before, ...zeros, ...after].flatMap((group) => {
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}

/**
 * The address that a text spells: dotted decimal, or IPv6 with or without brackets and a zone (`fe80::1%eth0`). Undefined for a
 * name, and for spellings that have more than one meaning (`0177.0.0.1`, `127.1`); `Canonical.url` has replaced those.
 */
export const parse = (text: string): Address | undefined => {
  if (text.length > 128) return undefined
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text
  return bare.includes(":") ? parse6(bare.replace(/%.*$/s, "")) : parse4(bare)
}

/** A block of addresses: all that share its first `bits` bits. */
type Block = readonly [address: Address, bits: number]

const blocks = (texts: ReadonlyArray<string>): ReadonlyArray<Block> =>
  texts.map((text) => {
    const [address = "", bits] = text.split("/")
    return [parse(address) ?? [], Number(bits)] as const
  })

const within = (address: Address, [prefix, bits]: Block): boolean => {
  if (address.length !== prefix.length) return false
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = bits - bit >= 8 ? 0xff : (0xff << (8 - (bits - bit))) & 0xff
    if (((address[bit / 8]! ^ prefix[bit / 8]!) & mask) !== 0) return false
  }
  return true
}

const special4 = blocks([
  "0.0.0.0/8", // this network; reaches the machine itself
  "10.0.0.0/8", // private
  "100.64.0.0/10", // shared by carriers; a metadata service of a cloud, too
  "127.0.0.0/8", // loopback
  "168.63.129.16/32", // Azure's host services
  "169.254.0.0/16", // link-local, metadata services
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // relays of 6to4
  "192.168.0.0/16", // private
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4" // reserved, broadcast
])

/** Outside of it nothing is assigned to the public: loopback, unique local, link-local and multicast addresses. */
const global6: Block = [parse("2000::") ?? [], 3]

const special6 = blocks([
  "2001::/23", // protocol assignments: Teredo, benchmarks, ORCHID
  "2001:db8::/32", // documentation
  "3fff::/20" // documentation
])

/** Blocks whose addresses hold an IPv4 address, and where it begins. */
const embedding: ReadonlyArray<readonly [block: Block, at: number]> = [
  [[parse("::ffff:0:0") ?? [], 96], 12],
  [[parse("64:ff9b::") ?? [], 96], 12],
  [[parse("2002::") ?? [], 16], 2]
]

// The interface of an ISATAP tunnel: 0000:5efe or 0200:5efe before the IPv4 address.
const isatap = (address: Address): boolean =>
  (address[8] === 0 || address[8] === 2) && address[9] === 0 && address[10] === 0x5e && address[11] === 0xfe

const isPublic4 = (address: Address): boolean => !special4.some((block) => within(address, block))

/** Whether a text spells a public address. False for every name, and for what cannot be parsed. */
export const isPublic = (text: string): boolean => {
  const address = parse(text)
  if (address === undefined) return false
  if (address.length === 4) return isPublic4(address)
  for (const [block, at] of embedding) {
    if (within(address, block)) return isPublic4(address.slice(at, at + 4))
  }
  if (!within(address, global6) || special6.some((block) => within(address, block))) return false
  return !isatap(address) || isPublic4(address.slice(12))
}

/** Why a URL is refused whose host is not public: the end of a sentence, with what to do. It does not say which address it is. */
export const notPublic =
  "its host is not on the public network (loopback, private, link-local, metadata or reserved addresses); to allow it, name the host without a wildcard in net.fetch"

const loopbackName = /(^|\.)localhost$/
const localName = /^[^.]+$|\.(local|internal|intranet|corp|home|lan|private|localdomain|home\.arpa)$/

/** Whether a canonical host is a name that means this machine wherever it is resolved (RFC 6761). */
export const isLoopbackName = (host: string): boolean => loopbackName.test(host)

/**
 * Whether a canonical host is a name that public DNS does not resolve: one label, `localhost`, or under `.local`, `.internal` and the like.
 * For callers that cannot resolve names.
 */
export const isLocalName = (host: string): boolean => isLoopbackName(host) || localName.test(host)

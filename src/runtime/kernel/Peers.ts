/**
 * Clients of other SDKs, known by the shape of their hello. What is sent to them otherwise is in `log/SessionView`.
 *
 * The shape is advisory: it decides on fields that every other client ignores, and never on what a client may do. `RuntimeOptions.peers:
 * "strict"` switches it off.
 */
import type { RawEnvelope } from "../../protocol/Envelope.js"
import { coreFeatures } from "../../protocol/Features.js"

/** An SDK whose clients need something of their own; undefined for every other client. */
export type PeerKind = "go" | "java" | undefined

const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i
const bareUlid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
const known: ReadonlySet<string> = new Set(coreFeatures)

const isText = (u: unknown): u is string => typeof u === "string"

/** What the names of a hello are: ascending, and of the specification. One name alone is in every order. */
const isSorted = (names: ReadonlyArray<unknown>): boolean =>
  names.every((name, i) => isText(name) && known.has(name) && (i === 0 || (names[i - 1] as string) < name))

/**
 * Whose hello it is. Go: the envelope's id is a UUIDv7. Java: it is a bare ULID, there is no `timestamp`, the features are core ones in
 * ascending order, and a resume is flat and names no session.
 */
export const peerKind = ({ id, payload, timestamp }: RawEnvelope): PeerKind => {
  if (uuid7.test(id)) return "go"
  if (!bareUlid.test(id) || timestamp !== undefined) return undefined
  if (payload.resume !== undefined && payload.resume !== null) return undefined
  const features = (payload.capabilities as { readonly features?: unknown } | null | undefined)?.features
  if (!Array.isArray(features) || features.length === 0 || !isSorted(features)) return undefined
  const isFlat = isText(payload.resume_token) && !isText(payload.session_id)
  return features.length > 1 || isFlat ? "java" : undefined
}

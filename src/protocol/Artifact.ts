/** Payloads of the artifact messages: beyond the specification, negotiated as the feature `artifacts`. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { InvalidRequest } from "./Errors.js"
import { Id, optional, Seq } from "./Fields.js"

export { Fetch, Put, Release } from "./Requests.js"

/**
 * Bytes of the largest artifact that fits a frame of 4 MiB, the default limit of every transport: 4,000,000 characters of
 * base64, and room for the envelope around them. Runtimes and clients hold to it unless they are told otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultMaxBytes = 3_000_000

/** @internal Characters of base64 for so many bytes. */
export const base64Length = (bytes: number): number => Math.ceil(bytes / 3) * 4

const uriPrefix = "arcp://artifact/"

/**
 * The URI of an artifact.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toUri = (artifactId: string): string => uriPrefix + artifactId

/**
 * The id in `arcp://artifact/<id>`, or the id itself. Ids are 1 to 256 letters, digits and `.`, `_`, `~`, `-`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parseId = (idOrUri: string): Either.Either<string, InvalidRequest> => {
  const id = idOrUri.startsWith(uriPrefix) ? idOrUri.slice(uriPrefix.length) : idOrUri
  return id.length <= 256 && /^[A-Za-z0-9._~-]+$/.test(id)
    ? Either.right(id)
    : Either.left(new InvalidRequest({ message: `artifact_id: must be an id or ${uriPrefix}<id>` }))
}

const contentType =
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"))*$/

/**
 * Whether a text is a media type with its parameters (RFC 9110 §8.3.1), of at most 256 characters of ASCII.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isContentType = (text: string): boolean => text.length <= 256 && contentType.test(text)

/**
 * `artifact.ref`: the answer to a put.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Ref = Schema.Struct({
  /** The `id` of the message that this answers. */
  request_id: optional(Id),
  /** The artifact's id. */
  artifact_id: Id,
  /** `arcp://artifact/<id>`. */
  uri: Schema.String,
  /** A media type with its parameters. */
  content_type: Schema.String,
  /** Bytes. */
  byte_size: Seq,
  /** The digest of the bytes: 64 lower-case hex digits. */
  sha256: Schema.String,
  /** ISO 8601, UTC. */
  expires_at: optional(Schema.String)
})

/**
 * `artifact.ref`: the answer to a put.
 *
 * @since 0.1.0
 * @category models
 */
export type Ref = typeof Ref.Type

/**
 * `artifact.data`: the answer to a fetch; `data` is base64.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Data = Schema.Struct({
  /** The `id` of the message that this answers. */
  request_id: optional(Id),
  /** The artifact's id. */
  artifact_id: Id,
  /** A media type with its parameters. */
  content_type: Schema.String,
  /** The bytes in base64. */
  data: Schema.String,
  /** The digest of the bytes: 64 lower-case hex digits. */
  sha256: Schema.String
})

/**
 * `artifact.data`: the answer to a fetch; `data` is base64.
 *
 * @since 0.1.0
 * @category models
 */
export type Data = typeof Data.Type

/**
 * `artifact.released`: the answer to a release.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Released = Schema.Struct({ request_id: optional(Id), artifact_id: Id })

/**
 * `artifact.released`: the answer to a release.
 *
 * @since 0.1.0
 * @category models
 */
export type Released = typeof Released.Type

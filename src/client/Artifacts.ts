/**
 * Artifacts as a client sees them: bytes kept by the runtime for the client's principal. Beyond the specification; the
 * feature `artifacts` must have been negotiated.
 *
 * What arrives is hostile until its digest has been checked: bytes are handed out only when they have the digest that the
 * runtime told with them.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Artifact from "../protocol/Artifact.js"
import { toHex } from "../protocol/Bytes.js"
import { type ArcpError, InternalError, InvalidRequest } from "../protocol/Errors.js"
import { parseTimestamp } from "../protocol/Fields.js"
import type { ClientError } from "./ClientError.js"
import { decodeBase64, encodeBase64 } from "./internal/base64.js"
import type { Call } from "./internal/call.js"
import { reading } from "./internal/encode.js"

/**
 * An artifact's bytes do not have the digest that was told, or they could not be read or digested at all.
 *
 * @since 0.1.0
 * @category errors
 */
export class ArtifactInvalid extends Schema.TaggedError<ArtifactInvalid>()("ArtifactInvalid", {
  /** Undefined where the artifact has no id yet. */
  artifactId: Schema.optional(Schema.String),
  message: Schema.String
}) {}

/**
 * What is known of an artifact that was put.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArtifactInfo {
  /** Its id, by which it is fetched and released. */
  readonly artifactId: string
  /** `arcp://artifact/<id>`. */
  readonly uri: string
  /** The media type with its parameters. */
  readonly contentType: string
  /** Bytes. */
  readonly byteSize: number
  /** 64 lower-case hex digits. */
  readonly sha256: string
  /** Milliseconds since the epoch; undefined where the runtime does not say. */
  readonly expiresAt: number | undefined
}

/**
 * An artifact with its bytes, whose digest has been checked.
 *
 * @since 0.1.0
 * @category models
 */
export interface FetchedArtifact {
  /** Its id. */
  readonly artifactId: string
  /** The media type with its parameters. */
  readonly contentType: string
  /** 64 lower-case hex digits. */
  readonly sha256: string
  /** The bytes. */
  readonly bytes: Uint8Array
}

/**
 * Options of a put.
 *
 * @since 0.1.0
 * @category options
 */
export interface PutOptions {
  /** A media type with its parameters, such as `text/csv; charset=utf-8`. */
  readonly contentType: string
  /** Seconds, at least 1; the runtime has a default and a maximum. */
  readonly retainSeconds?: number | undefined
  /** What the digest of the bytes should be. Default: it is computed here; either way the runtime compares it. */
  readonly sha256?: string | undefined
}

/**
 * The calls on artifacts.
 *
 * @since 0.1.0
 * @category services
 */
export interface ClientArtifacts {
  /**
   * Stores bytes. A put that is in flight during a drop is repeated and may be stored twice; the copy that nobody knows
   * expires. Bytes over the client's `maxArtifactBytes` are refused here, since they would not fit a frame.
   */
  readonly put: (
    bytes: Uint8Array,
    options: PutOptions
  ) => Effect.Effect<ArtifactInfo, ArcpError | ClientError | ArtifactInvalid>
  /** An artifact by its id or its URI, such as an `artifact_ref` event names it. An unknown one fails with `JobNotFound`. */
  readonly fetch: (idOrUri: string) => Effect.Effect<FetchedArtifact, ArcpError | ClientError | ArtifactInvalid>
  /**
   * Removes an artifact by its id or its URI. An unknown one fails with `JobNotFound`, so does one that was released by
   * a call whose answer was lost in a drop.
   */
  readonly release: (idOrUri: string) => Effect.Effect<void, ArcpError | ClientError>
}

/** SHA-256 in hex, by the platform's WebCrypto, which browsers have on secure pages only. */
const digestOf = (bytes: Uint8Array, artifactId: string | undefined): Effect.Effect<string, ArtifactInvalid> =>
  Effect.map(
    Effect.tryPromise({
      // A copy: WebCrypto refuses views of shared memory.
      // edge: WebCrypto answers by a promise
      try: () => globalThis.crypto.subtle.digest("SHA-256", new Uint8Array(bytes)),
      catch: () =>
        new ArtifactInvalid({
          artifactId,
          message: "the digest cannot be computed: WebCrypto is missing, serve the page by https or from localhost"
        })
    }),
    (digest) => toHex(new Uint8Array(digest))
  )

const idOf = (idOrUri: unknown): Effect.Effect<string, InvalidRequest> =>
  typeof idOrUri === "string"
    ? Artifact.parseId(idOrUri)
    : new InvalidRequest({ message: "artifact_id: must be a string" })

/** The calls over a client's session. `maxBytes` is what fits a frame. */
export const make = (call: Call, maxBytes: number): ClientArtifacts => {
  const more = { features: ["artifacts"] }
  return {
    put: (bytes, options) =>
      Effect.gen(function* () {
        const { contentType, retainSeconds, sha256 } = yield* reading("options", () => ({
          contentType: options.contentType,
          retainSeconds: options.retainSeconds,
          sha256: options.sha256
        }))
        if (typeof contentType !== "string" || !Artifact.isContentType(contentType)) {
          return yield* new InvalidRequest({ message: "contentType: must be a media type, such as text/plain" })
        }
        if (retainSeconds !== undefined && !(Number.isSafeInteger(retainSeconds) && retainSeconds >= 1)) {
          return yield* new InvalidRequest({ message: "retainSeconds: must be a whole number, 1 or greater" })
        }
        const size = yield* reading("bytes", () => (ArrayBuffer.isView(bytes) ? bytes.length : undefined))
        if (size === undefined) return yield* new InvalidRequest({ message: "bytes: must be a Uint8Array" })
        if (size > maxBytes) {
          return yield* new InvalidRequest({
            message: `an artifact of ${size} bytes does not fit a frame: at most ${maxBytes} bytes go`
          })
        }
        // The caller's buffer may change while the digest is computed, and may be detached already.
        const own = yield* reading("bytes", () => new Uint8Array(bytes))
        const digest = yield* digestOf(own, undefined)
        if (sha256 !== undefined && sha256 !== digest) {
          return yield* new InvalidRequest({ message: "sha256: is not the digest of the bytes" })
        }
        const ref = yield* call(
          "artifact.put",
          {
            content_type: contentType,
            data: encodeBase64(own),
            sha256: digest,
            retain_seconds: retainSeconds
          },
          (message) => (message.type === "artifact.ref" ? message.payload : undefined),
          more
        )
        if (ref === undefined) return yield* new ArtifactInvalid({ message: "the runtime gave another answer" })
        if (ref.sha256 !== digest || ref.byte_size !== own.length) {
          return yield* new ArtifactInvalid({
            artifactId: ref.artifact_id,
            message: "the runtime stored other bytes than were sent"
          })
        }
        const info: ArtifactInfo = {
          artifactId: ref.artifact_id,
          uri: ref.uri,
          contentType: ref.content_type,
          byteSize: ref.byte_size,
          sha256: digest,
          expiresAt: ref.expires_at === undefined ? undefined : parseTimestamp(ref.expires_at)
        }
        return info
      }),
    fetch: (idOrUri) =>
      Effect.gen(function* () {
        const artifactId = yield* idOf(idOrUri)
        const found = yield* call(
          "artifact.fetch",
          { artifact_id: artifactId },
          (message) => (message.type === "artifact.data" ? message.payload : undefined),
          more
        )
        const invalid = (message: string) => new ArtifactInvalid({ artifactId, message })
        if (found?.artifact_id !== artifactId) return yield* invalid("the runtime answered another artifact")
        const bytes = decodeBase64(found.data)
        if (bytes === undefined) return yield* invalid("the data is not base64")
        if ((yield* digestOf(bytes, artifactId)) !== found.sha256) {
          return yield* invalid("the bytes do not have the digest that was told with them")
        }
        return { artifactId, contentType: found.content_type, sha256: found.sha256, bytes }
      }),
    release: (idOrUri) =>
      Effect.flatMap(idOf(idOrUri), (artifactId) =>
        Effect.asVoid(
          Effect.filterOrFail(
            call("artifact.release", { artifact_id: artifactId }, (message) => message.type, more),
            (type) => type === "artifact.released",
            (type) => new InternalError({ message: `artifact.release was answered with ${type}`, retryable: false })
          )
        )
      )
  }
}

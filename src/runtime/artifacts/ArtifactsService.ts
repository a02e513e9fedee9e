/** What `Artifacts` offers and takes: the types that the service and its parts share. */
import type * as Effect from "effect/Effect"
import type * as Artifact from "../../protocol/Artifact.js"
import type { InternalError, InvalidRequest, JobNotFound } from "../../protocol/Errors.js"
import type { StoredArtifact } from "../../store/ArtifactStore.js"

/**
 * What is to be stored.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArtifactPut {
  /** A media type with its parameters. */
  readonly contentType: string
  /** The bytes. */
  readonly data: Uint8Array
  /** What the digest should be: 64 lower-case hex digits. */
  readonly sha256?: string | undefined
  /** Seconds, greater than 0; bounded by `retainArtifactsAtMost`. */
  readonly retainSeconds?: number | undefined
  /** The job that makes it. */
  readonly jobId?: string | undefined
}

/**
 * What the artifacts of a principal, or of all, amount to.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArtifactUsage {
  /** How many artifacts. */
  readonly count: number
  /** Bytes of all of them. */
  readonly bytes: number
}

/**
 * What `Artifacts` offers.
 *
 * @since 0.1.0
 * @category services
 */
export interface ArtifactsService {
  /** Whether there is a store to keep artifacts in. */
  readonly available: boolean
  /** Stores an artifact; durable, where the store is, once this returns. */
  readonly put: (principalId: string, put: ArtifactPut) => Effect.Effect<Artifact.Ref, InvalidRequest | InternalError>
  /** An artifact of the principal with its bytes, whose digest has been checked. */
  readonly fetch: (
    principalId: string,
    artifactId: string
  ) => Effect.Effect<StoredArtifact, JobNotFound | InvalidRequest | InternalError>
  /** Removes an artifact of the principal. */
  readonly release: (
    principalId: string,
    artifactId: string
  ) => Effect.Effect<void, JobNotFound | InvalidRequest | InternalError>
  /** What a principal has, or without one what all have; with what is being written. */
  readonly usage: (principalId?: string) => ArtifactUsage
}

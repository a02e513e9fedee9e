/**
 * Put, fetch and release, for a principal: what is well-formed, what may be seen, and whether the bytes are what they were.
 *
 * Order: an artifact is durable, where the store is, before its reference is returned.
 *
 * Race closed: the caller's buffer may change while it is written, so the digest and the store get a copy.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Artifact from "../../../protocol/Artifact.js"
import { type InternalError, InvalidRequest, JobNotFound, permanentError } from "../../../protocol/Errors.js"
import { formatTimestamp } from "../../../protocol/Fields.js"
import { type ArtifactRecord, isArtifactId, type StoredArtifact } from "../../../store/ArtifactStore.js"
import { sha256Bytes } from "../../kernel/Hash.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import { tooLarge } from "../Refusals.js"
import { storeFailure } from "../../kernel/Refusals.js"
import type { ArtifactPut } from "../ArtifactsService.js"
import { type Keeper, remove, write } from "./keeping.js"

const notFound = new JobNotFound({
  message: "artifact_id: there is no such artifact (any more), or it is not yours",
  details: { reason: "artifact_not_found" }
})

const damaged = permanentError("the artifact is damaged in the store")

/** Milliseconds for which an artifact is kept; undefined where the request is malformed. */
const retention = (seconds: number | undefined, limits: LimitsShape): number | undefined =>
  seconds === undefined
    ? Math.min(limits.retainArtifactsFor, limits.retainArtifactsAtMost)
    : seconds > 0
      ? Math.min(Math.ceil(seconds * 1000), limits.retainArtifactsAtMost)
      : undefined

/** As `ArtifactsService.put`. */
export const put = (
  keeper: Keeper,
  principalId: string,
  { contentType, data, jobId, retainSeconds, sha256 }: ArtifactPut
): Effect.Effect<Artifact.Ref, InvalidRequest | InternalError> =>
  Effect.suspend((): Effect.Effect<Artifact.Ref, InvalidRequest | InternalError> => {
    const { deadlines, ids, limits, meter } = keeper
    if (!Artifact.isContentType(contentType)) {
      return new InvalidRequest({ message: "payload.content_type: must be a media type, such as text/plain" })
    }
    const kept = retention(retainSeconds, limits)
    if (kept === undefined) {
      return new InvalidRequest({ message: "payload.retain_seconds: must be a number greater than 0" })
    }
    if (data.length > limits.artifactBytes) return meter.reaching("artifactBytes", tooLarge(limits))
    // The caller's buffer may change while it is written, and the digest is of these bytes.
    const bytes = new Uint8Array(data)
    const digest = sha256Bytes(bytes)
    if (sha256 !== undefined && sha256 !== digest) {
      return new InvalidRequest({ message: "payload.sha256: is not the digest of the data" })
    }
    const now = deadlines.wall()
    const record: ArtifactRecord = {
      artifactId: `art_${ids.unsafeUlid(now)}`,
      principalId,
      contentType,
      byteSize: bytes.length,
      sha256: digest,
      createdAt: now,
      expiresAt: now + kept,
      jobId
    }
    return Effect.as(write(keeper, record, bytes), {
      artifact_id: record.artifactId,
      uri: Artifact.toUri(record.artifactId),
      content_type: contentType,
      byte_size: record.byteSize,
      sha256: digest,
      expires_at: formatTimestamp(record.expiresAt)
    })
  })

/** The record of an artifact that the principal may see. */
const visible = (
  { deadlines, store }: Keeper,
  principalId: string,
  artifactId: string
): Effect.Effect<ArtifactRecord, JobNotFound | InternalError> =>
  isArtifactId(artifactId)
    ? store.info(artifactId).pipe(
        Effect.tapError((error) => Effect.logError(`the artifact ${artifactId} could not be read`, error)),
        Effect.mapError(storeFailure),
        Effect.flatMap((found) =>
          Option.isSome(found) && found.value.principalId === principalId && found.value.expiresAt > deadlines.wall()
            ? Effect.succeed(found.value)
            : notFound
        )
      )
    : notFound

/** The artifact, where its bytes are what was stored. */
const intact = (found: StoredArtifact): Effect.Effect<StoredArtifact, InternalError> => {
  const { data, record } = found
  return data.length === record.byteSize && sha256Bytes(data) === record.sha256
    ? Effect.succeed(found)
    : Effect.zipRight(
        Effect.logError(`the artifact ${record.artifactId} is damaged: its bytes do not have its digest`),
        damaged
      )
}

/** As `ArtifactsService.fetch`. */
export const fetch = (
  keeper: Keeper,
  principalId: string,
  artifactId: string
): Effect.Effect<StoredArtifact, JobNotFound | InternalError> =>
  Effect.zipRight(visible(keeper, principalId, artifactId), keeper.store.get(artifactId)).pipe(
    Effect.catchTag("StoreError", (error) =>
      Effect.zipRight(
        Effect.logError(`the artifact ${artifactId} could not be read`, error),
        Effect.fail(storeFailure(error))
      )
    ),
    Effect.flatMap(
      Option.match({
        onNone: (): Effect.Effect<StoredArtifact, JobNotFound | InternalError> => notFound,
        onSome: intact
      })
    )
  )

/** As `ArtifactsService.release`. */
export const release = (
  keeper: Keeper,
  principalId: string,
  artifactId: string
): Effect.Effect<void, JobNotFound | InternalError> =>
  Effect.flatMap(visible(keeper, principalId, artifactId), (record) =>
    remove(keeper, record).pipe(
      Effect.tapError((error) => Effect.logError(`the artifact ${artifactId} could not be released`, error)),
      Effect.mapError(storeFailure),
      Effect.flatMap((gone) => (gone ? Effect.void : notFound))
    )
  )

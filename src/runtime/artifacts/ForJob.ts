/** `Job.artifact`: artifacts that a job leaves. */
import * as Effect from "effect/Effect"
import type { ArtifactOptions, ArtifactRef, StoredArtifactRef } from "../../agent/Job.js"
import type { InternalError, InvalidRequest } from "../../protocol/Errors.js"
import { parseTimestamp } from "../../protocol/Fields.js"
import type { ArtifactsService } from "./ArtifactsService.js"

/**
 * `Job.artifact`: stores bytes under the job's principal, then announces them. Where the announcement is refused, the
 * artifact goes again; where the job ends in between, it stays until it expires.
 */
export const forJob =
  (
    artifacts: ArtifactsService,
    job: { readonly jobId: string; readonly principalId: string },
    announce: (ref: ArtifactRef) => Effect.Effect<void, InvalidRequest>
  ) =>
  (data: Uint8Array, options: ArtifactOptions): Effect.Effect<StoredArtifactRef, InvalidRequest | InternalError> =>
    Effect.flatMap(artifacts.put(job.principalId, { ...options, data, jobId: job.jobId }), (stored) => {
      const ref: StoredArtifactRef = {
        artifactId: stored.artifact_id,
        uri: stored.uri,
        contentType: stored.content_type,
        byteSize: stored.byte_size,
        sha256: stored.sha256,
        expiresAt: parseTimestamp(stored.expires_at ?? "") ?? 0
      }
      return announce(ref).pipe(
        Effect.tapError(() => Effect.ignore(artifacts.release(job.principalId, stored.artifact_id))),
        Effect.as(ref)
      )
    })

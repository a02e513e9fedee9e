/**
 * Artifacts: bytes that agents and clients leave for each other, owned by a principal. Beyond the specification, whose
 * `artifact_ref` events name them (ARCP 1.1 §8.2); the feature `artifacts` is negotiated.
 *
 * Responsibility: who may see what, digests, caps and retention, over an `ArtifactStore`. Without one, nothing is offered
 * and every call is refused.
 *
 * Order: an artifact is stored before anybody hears of it.
 *
 * Races closed here: room is reserved before the bytes are written and given back when they could not be, so that puts at
 * once cannot pass a cap together; what goes (released or expired) is counted once, since a store tells one release only
 * that it was the one. A put that has begun to write cannot be interrupted, so that the count always is what is there.
 *
 * An artifact that is unknown, another principal's or expired is `JOB_NOT_FOUND` in the same words: of the codes of §12 it
 * is the one that means "does not exist or is not visible"; `INVALID_REQUEST` would say that the message is malformed.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { ArtifactOptions, ArtifactRef, StoredArtifactRef } from "../agent/Job.js"
import * as Artifact from "../protocol/Artifact.js"
import { InternalError, InvalidRequest, JobNotFound, permanentError } from "../protocol/Errors.js"
import { formatTimestamp, parseTimestamp } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import { type ArtifactRecord, ArtifactStore, isArtifactId, type StoredArtifact } from "../store/ArtifactStore.js"
import * as Rows from "../store/Rows.js"
import type { StoreError } from "../store/Store.js"
import { Deadlines } from "./Deadlines.js"
import { sha256Bytes } from "./internal/hash.js"
import { patient } from "./internal/patience.js"
import { claim, instanceOf } from "./internal/claims.js"
import { Limits, type LimitsShape } from "./Limits.js"
import { Meter } from "./Metrics.js"

/** What is to be stored. */
export interface ArtifactPut {
  /** A media type with its parameters. */
  readonly contentType: string
  readonly data: Uint8Array
  /** What the digest should be: 64 lower-case hex digits. */
  readonly sha256?: string | undefined
  /** Seconds, greater than 0; bounded by `retainArtifactsAtMost`. */
  readonly retainSeconds?: number | undefined
  /** The job that makes it. */
  readonly jobId?: string | undefined
}

/** What the artifacts of a principal, or of all, amount to. */
export interface ArtifactUsage {
  readonly count: number
  readonly bytes: number
}

/** What {@link Artifacts} offers. */
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

/** Artifacts swept in one step; a sweep goes on until none is left. */
const stepSize = 100

/** The refusal of one that is over the cap. */
export const tooLarge = (limits: LimitsShape): InternalError =>
  permanentError(`payload.data: an artifact has at most ${limits.artifactBytes} bytes here`, {
    reason: "artifact_too_large",
    max_bytes: limits.artifactBytes
  })

const notFound = new JobNotFound({
  message: "artifact_id: there is no such artifact (any more), or it is not yours",
  details: { reason: "artifact_not_found" }
})

const noStore = new InvalidRequest({
  message: "artifacts: this runtime keeps none; provide an ArtifactStore to it"
})

const storeFailure = (error: StoreError): InternalError =>
  new InternalError({ message: `the store is not available: ${error.operation} failed; try again` })

const sum = (a: ArtifactUsage, b: ArtifactUsage): ArtifactUsage => ({
  count: a.count + b.count,
  bytes: a.bytes + b.bytes
})

const nothing: ArtifactUsage = { count: 0, bytes: 0 }

const unavailable: ArtifactsService = {
  available: false,
  put: () => noStore,
  fetch: () => noStore,
  release: () => noStore,
  usage: () => nothing
}

const make = (impatient: typeof ArtifactStore.Service) =>
  Effect.gen(function* () {
    const deadlines = yield* Deadlines
    const ids = yield* Ids
    const limits = yield* Limits
    const meter = yield* Meter
    const { reached, reaching } = meter
    const store = Rows.decodedArtifacts(patient(impatient, limits, meter, ["totals"]))

    const used = new Map<string, ArtifactUsage>()
    let all = nothing

    const add = (principalId: string, change: ArtifactUsage): void => {
      all = sum(all, change)
      const next = sum(used.get(principalId) ?? nothing, change)
      if (next.count === 0) used.delete(principalId)
      else used.set(principalId, next)
    }
    const take = (principalId: string, bytes: number): void => add(principalId, { count: -1, bytes: -bytes })

    /** Which cap an artifact would pass. */
    const overCap = (principalId: string, bytes: number): InternalError | undefined => {
      const own = used.get(principalId) ?? nothing
      const refuse = (message: string, reason: string) => new InternalError({ message, details: { reason } })
      if (own.count >= limits.artifactsPerPrincipal) {
        reached("artifactsPerPrincipal")
        return refuse(
          `you have ${limits.artifactsPerPrincipal} artifacts already; release some, or wait until some expire`,
          "artifact_count"
        )
      }
      if (own.bytes + bytes > limits.artifactBytesPerPrincipal) {
        reached("artifactBytesPerPrincipal")
        return refuse(
          `your artifacts may have ${limits.artifactBytesPerPrincipal} bytes together; release some, or wait until some expire`,
          "artifact_bytes"
        )
      }
      return all.count >= limits.artifacts || all.bytes + bytes > limits.artifactBytesTotal
        ? reaching(
            all.count >= limits.artifacts ? "artifacts" : "artifactBytesTotal",
            refuse("the runtime has no room for more artifacts; try again later", "artifacts_full")
          )
        : undefined
    }

    for (const { principalId, ...usage } of yield* Effect.orDie(store.totals)) add(principalId, usage)

    const remove = ({
      artifactId,
      byteSize,
      principalId
    }: Pick<ArtifactRecord, "artifactId" | "principalId" | "byteSize">): Effect.Effect<boolean, StoreError> =>
      Effect.uninterruptible(
        Effect.tap(store.release(artifactId), (gone) =>
          gone ? Effect.sync(() => take(principalId, byteSize)) : Effect.void
        )
      )

    /** Removes what has expired. One that cannot be removed is left for the next time and holds up no other. */
    const sweep: Effect.Effect<void, StoreError> = Effect.suspend(() => store.expired(deadlines.now(), stepSize)).pipe(
      Effect.flatMap((expired) =>
        Effect.map(
          Effect.forEach(expired, (entry) =>
            Effect.catchAll(remove(entry), (error) =>
              Effect.as(
                Effect.logWarning(`the expired artifact ${entry.artifactId} could not be removed`, error),
                false
              )
            )
          ),
          (gone) => expired.length === stepSize && gone.includes(true)
        )
      ),
      Effect.flatMap((more) => (more ? sweep : Effect.void))
    )

    yield* sweep.pipe(
      Effect.catchAllCause((cause) => Effect.logWarning("expired artifacts could not be looked after", cause)),
      Effect.schedule(Schedule.spaced(limits.sweepEvery)),
      Effect.forkScoped
    )

    const retention = (seconds: number | undefined): number | undefined =>
      seconds === undefined
        ? Math.min(limits.retainArtifactsFor, limits.retainArtifactsAtMost)
        : seconds > 0
          ? Math.min(Math.ceil(seconds * 1000), limits.retainArtifactsAtMost)
          : undefined

    const write = (record: ArtifactRecord, data: Uint8Array): Effect.Effect<void, InternalError> => {
      const { byteSize, principalId } = record
      const reserved = Effect.suspend(() => {
        const refusal = overCap(principalId, byteSize)
        if (refusal !== undefined) return refusal
        add(principalId, { count: 1, bytes: byteSize })
        return Effect.void
      })
      // A cap counts what has expired until it is swept: at a cap that is done at once.
      const reserve = Effect.catchAll(reserved, () => Effect.zipRight(Effect.mapError(sweep, storeFailure), reserved))
      return Effect.uninterruptible(
        Effect.zipRight(
          reserve,
          store.put(record, data).pipe(
            Effect.onExit((exit) =>
              exit._tag === "Success" ? Effect.void : Effect.sync(() => take(principalId, byteSize))
            ),
            Effect.tapError((error) => Effect.logError("an artifact could not be stored", error)),
            Effect.mapError(storeFailure)
          )
        )
      )
    }

    const put: ArtifactsService["put"] = (principalId, { contentType, data, jobId, retainSeconds, sha256 }) =>
      Effect.suspend((): Effect.Effect<Artifact.Ref, InvalidRequest | InternalError> => {
        if (!Artifact.isContentType(contentType)) {
          return new InvalidRequest({ message: "payload.content_type: must be a media type, such as text/plain" })
        }
        const kept = retention(retainSeconds)
        if (kept === undefined) {
          return new InvalidRequest({ message: "payload.retain_seconds: must be a number greater than 0" })
        }
        if (data.length > limits.artifactBytes) return reaching("artifactBytes", tooLarge(limits))
        // The caller's buffer may change while it is written, and the digest is of these bytes.
        const bytes = new Uint8Array(data)
        const digest = sha256Bytes(bytes)
        if (sha256 !== undefined && sha256 !== digest) {
          return new InvalidRequest({ message: "payload.sha256: is not the digest of the data" })
        }
        const now = deadlines.now()
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
        return Effect.as(write(record, bytes), {
          artifact_id: record.artifactId,
          uri: Artifact.toUri(record.artifactId),
          content_type: contentType,
          byte_size: record.byteSize,
          sha256: digest,
          expires_at: formatTimestamp(record.expiresAt)
        })
      })

    /** The record of an artifact that the principal may see. */
    const visible = (principalId: string, artifactId: string) =>
      isArtifactId(artifactId)
        ? store.info(artifactId).pipe(
            Effect.tapError((error) => Effect.logError(`the artifact ${artifactId} could not be read`, error)),
            Effect.mapError(storeFailure),
            Effect.flatMap((found) =>
              Option.isSome(found) && found.value.principalId === principalId && found.value.expiresAt > deadlines.now()
                ? Effect.succeed(found.value)
                : notFound
            )
          )
        : notFound

    const damaged = permanentError("the artifact is damaged in the store")

    const fetch: ArtifactsService["fetch"] = (principalId, artifactId) =>
      Effect.zipRight(visible(principalId, artifactId), store.get(artifactId)).pipe(
        Effect.catchTag("StoreError", (error) =>
          Effect.zipRight(
            Effect.logError(`the artifact ${artifactId} could not be read`, error),
            Effect.fail(storeFailure(error))
          )
        ),
        Effect.flatMap((found): Effect.Effect<StoredArtifact, JobNotFound | InternalError> => {
          if (Option.isNone(found)) return notFound
          const { data, record } = found.value
          return data.length === record.byteSize && sha256Bytes(data) === record.sha256
            ? Effect.succeed(found.value)
            : Effect.zipRight(
                Effect.logError(`the artifact ${artifactId} is damaged: its bytes do not have its digest`),
                damaged
              )
        })
      )

    const release: ArtifactsService["release"] = (principalId, artifactId) =>
      Effect.flatMap(visible(principalId, artifactId), (record) =>
        remove(record).pipe(
          Effect.tapError((error) => Effect.logError(`the artifact ${artifactId} could not be released`, error)),
          Effect.mapError(storeFailure),
          Effect.flatMap((gone) => (gone ? Effect.void : notFound))
        )
      )

    const service: ArtifactsService = {
      available: true,
      put,
      fetch,
      release,
      usage: (principalId) => (principalId === undefined ? all : (used.get(principalId) ?? nothing))
    }
    return service
  })

/**
 * Keeps artifacts for principals. Over the `ArtifactStore` that is there, which the layers of the stores provide; without
 * one it is not {@link ArtifactsService.available}. Dies at its start when the store cannot be read.
 */
export class Artifacts extends Context.Tag("effect-arcp/runtime/Artifacts")<Artifacts, ArtifactsService>() {
  static readonly layer: Layer.Layer<Artifacts, never, Deadlines | Ids> = Layer.scoped(
    Artifacts,
    Effect.flatMap(
      Effect.serviceOption(ArtifactStore),
      Option.match({
        onNone: () => Effect.succeed(unavailable),
        onSome: (store) => Effect.zipRight(claim("store", instanceOf(store)), make(store))
      })
    )
  )
}

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

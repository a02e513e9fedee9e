/**
 * Artifacts: bytes with a content type and a digest, kept until they are released or expire. Beyond the specification,
 * which names artifacts by `artifact_ref` events only (ARCP 1.1 §8.2).
 *
 * Responsibility: keeping bytes and what is known of them. Who may see an artifact, how large it may be and when it
 * expires is decided by the runtime: a store checks nothing of that.
 *
 * Order: an artifact is there whole or not at all. After `put` has returned, bytes and record survive a crash of the
 * process where the store is durable; when it has failed, or the process has died in it, nothing is there. `release`
 * takes the record first, so that an artifact that is half gone is gone.
 *
 * Races closed here: of several releases of one artifact exactly one answers true, so that whoever counts bytes counts
 * them once; a read that a release overtakes answers that there is nothing.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { StoreError } from "./Store.js"

/**
 * What is known of an artifact. Times are milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArtifactRecord {
  /** `art_` and a ULID. */
  readonly artifactId: string
  /** Whose it is. */
  readonly principalId: string
  /** The media type with its parameters. */
  readonly contentType: string
  /** Bytes. */
  readonly byteSize: number
  /** Of the bytes: 64 lower-case hex digits. */
  readonly sha256: string
  /** When it was put. */
  readonly createdAt: number
  /** When it expires: a sweep removes it after this time. */
  readonly expiresAt: number
  /** The job that made it; undefined where a client did. */
  readonly jobId: string | undefined
}

/**
 * An artifact with its bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredArtifact {
  /** What is known of it. */
  readonly record: ArtifactRecord
  /** The caller's own: a change of it changes nothing in the store. */
  readonly data: Uint8Array
}

/**
 * An artifact as a sweep needs it: damage to anything else must not keep it from going.
 *
 * @since 0.1.0
 * @category models
 */
export type ArtifactEntry = Pick<ArtifactRecord, "artifactId" | "principalId" | "byteSize">

/**
 * What one principal has in the store.
 *
 * @since 0.1.0
 * @category models
 */
export interface ArtifactTotals {
  /** Whose they are. */
  readonly principalId: string
  /** How many artifacts. */
  readonly count: number
  /** Bytes of all of them. */
  readonly bytes: number
}

/**
 * Whether a text is an artifact's id: `art_` and a ULID, the only ids that a store ever makes a name of.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isArtifactId = (text: string): boolean => /^art_[0-9A-HJKMNP-TV-Z]{26}$/.test(text)

/**
 * What cannot be put, in words; undefined where all is well.
 *
 * @since 0.1.0
 * @category functions
 */
export const putProblem = (record: ArtifactRecord, data: Uint8Array): string | undefined =>
  !isArtifactId(record.artifactId)
    ? "the id is not art_ and a ULID"
    : record.byteSize !== data.length
      ? `${record.artifactId} has ${data.length} bytes, and its record says ${record.byteSize}`
      : undefined

/**
 * Keeps artifacts.
 *
 * @since 0.1.0
 * @category services
 */
export class ArtifactStore extends Context.Tag("effect-arcp/store/ArtifactStore")<
  ArtifactStore,
  {
    /** Whether what is put survives the process. */
    readonly durable: boolean
    /** Stores an artifact, all or nothing. The id is new; one that exists is refused. */
    readonly put: (record: ArtifactRecord, data: Uint8Array) => Effect.Effect<void, StoreError>
    /** An artifact with its bytes. Fails where they are damaged. */
    readonly get: (artifactId: string) => Effect.Effect<Option.Option<StoredArtifact>, StoreError>
    /** What is known of an artifact, without its bytes. */
    readonly info: (artifactId: string) => Effect.Effect<Option.Option<ArtifactRecord>, StoreError>
    /** Removes an artifact; answers whether it was this call that did. */
    readonly release: (artifactId: string) => Effect.Effect<boolean, StoreError>
    /** The artifacts whose `expiresAt` is at or before `now`, the earliest first, at most `limit`. */
    readonly expired: (now: number, limit: number) => Effect.Effect<ReadonlyArray<ArtifactEntry>, StoreError>
    /** What each principal has, for those that have anything. */
    readonly totals: Effect.Effect<ReadonlyArray<ArtifactTotals>, StoreError>
  }
>() {
  /** In memory, for tests and for runtimes whose artifacts need not outlive the process. Each build is a new, empty one. */
  static readonly layerMemory: Layer.Layer<ArtifactStore> = Layer.sync(ArtifactStore, () => {
    const artifacts = new Map<string, StoredArtifact>()
    return ArtifactStore.of({
      durable: false,
      put: (record, data) =>
        Effect.suspend(() => {
          const message =
            putProblem(record, data) ??
            (artifacts.has(record.artifactId) ? `the artifact ${record.artifactId} exists already` : undefined)
          if (message !== undefined) return Effect.fail(new StoreError({ operation: "put an artifact", message }))
          artifacts.set(record.artifactId, { record, data: new Uint8Array(data) })
          return Effect.void
        }),
      get: (artifactId) =>
        Effect.sync(() =>
          Option.map(Option.fromNullable(artifacts.get(artifactId)), ({ data, record }) => ({
            record,
            data: new Uint8Array(data)
          }))
        ),
      info: (artifactId) =>
        Effect.sync(() => Option.map(Option.fromNullable(artifacts.get(artifactId)), ({ record }) => record)),
      release: (artifactId) => Effect.sync(() => artifacts.delete(artifactId)),
      expired: (now, limit) =>
        Effect.sync(() =>
          earliest(
            Array.from(artifacts.values(), ({ record }) => record),
            now,
            limit
          )
        ),
      totals: Effect.sync(() => totalsOf(Array.from(artifacts.values(), ({ record }) => record)))
    })
  })
}

/** @internal Of the given records those that have expired by `now`, the earliest first, at most `limit`. */
export const earliest = (
  records: ReadonlyArray<ArtifactRecord>,
  now: number,
  limit: number
): ReadonlyArray<ArtifactEntry> =>
  records
    .filter(({ expiresAt }) => expiresAt <= now)
    .toSorted((a, b) => a.expiresAt - b.expiresAt || (a.artifactId < b.artifactId ? -1 : 1))
    .slice(0, limit)
    .map(({ artifactId, byteSize, principalId }) => ({ artifactId, principalId, byteSize }))

/** @internal What each principal has among the given records. */
export const totalsOf = (records: ReadonlyArray<ArtifactRecord>): ReadonlyArray<ArtifactTotals> => {
  const totals = new Map<string, ArtifactTotals>()
  for (const { byteSize, principalId } of records) {
    const { bytes, count } = totals.get(principalId) ?? { bytes: 0, count: 0 }
    totals.set(principalId, { principalId, count: count + 1, bytes: bytes + byteSize })
  }
  return [...totals.values()]
}

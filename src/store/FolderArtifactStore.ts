/**
 * Artifacts in a folder: for each one file with its bytes, `<id>.bin`, and one with what is known of it, `<id>.json`.
 *
 * Order: each file is written under a temporary name, flushed to the disk and renamed; the bytes first, then the record,
 * and with the record the artifact is there. Removal takes the record first. So a crash at any point leaves an artifact
 * whole, or leftovers that the next start sweeps: temporary files, and bytes without a record.
 *
 * Names are made of the id alone, which is `art_` and a ULID; nothing that a client says gets into a path. Files with
 * other names are not touched. The records are held in memory. One runtime has the folder at a time.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { type ArtifactRecord, ArtifactStore, earliest, putProblem, totalsOf } from "./ArtifactStore.js"
import { aesGcmOf } from "./internal/aesGcm.js"
import * as Sealing from "./Sealer.js"
import { StoreError } from "./Store.js"

/**
 * Where and how.
 *
 * @since 0.1.0
 * @category options
 */
export interface FolderOptions {
  /** The folder's path; made (for this user only) when it is not there. */
  readonly directory: string
  /** Encrypts bytes and records with AES-256-GCM under this secret: at least 32 random bytes, in any spelling; a weaker one is refused. */
  readonly encryptionKey?: Redacted.Redacted<string> | undefined
}

const RecordFile = Schema.parseJson(
  Schema.Struct({
    artifactId: Schema.String,
    principalId: Schema.String,
    contentType: Schema.String,
    byteSize: Schema.Number,
    sha256: Schema.String,
    createdAt: Schema.Number,
    expiresAt: Schema.Number,
    jobId: Schema.optional(Schema.String)
  })
)
const decodeRecord = Schema.decodeUnknownEither(RecordFile)

const FolderFile = Schema.parseJson(Schema.Struct({ format: Schema.Number, canary: Schema.String }))
const decodeFolder = Schema.decodeUnknownEither(FolderFile)

/** Says how the folder is written, so that a wrong key is noticed before anything is read with it. */
const folderFile = "arcp-artifacts.json"
const format = 1
const canary = "effect-arcp"

const name = /^(art_[0-9A-HJKMNP-TV-Z]{26})\.(bin|json)(\.tmp)?$/

/** On Windows files have what their folder grants. */
const hasModes = process.platform !== "win32"

/** A link would have another file changed or read than one of the folder, and a pipe would be waited for. */
const refuseOthers = (fs: FileSystem.FileSystem, path: string, file: string) =>
  Effect.gen(function* () {
    const isLink = Either.isRight(yield* Effect.either(fs.readLink(path)))
    const found = isLink ? undefined : yield* fs.stat(path)
    if (found?.type === "File") return found
    return yield* Effect.fail({ message: `${file} is ${isLink ? "a link" : "not a regular file"}: remove it` })
  })

/** Files are made for this user only; those of a looser mode, as a copy may have left them, are given that mode. The folder is left as it is. */
const closeToOthers = (
  fs: FileSystem.FileSystem,
  directory: string,
  files: Iterable<string>
): Effect.Effect<void, { readonly message: string }> =>
  Effect.gen(function* () {
    if (!hasModes) return
    const { mode: folder } = yield* fs.stat(directory)
    if ((folder & 0o1002) === 0o002) {
      yield* Effect.logWarning(
        `every user of this machine can replace what is in ${directory}: give the artifacts a folder of their own`
      )
    }
    let mended = 0
    for (const file of files) {
      if (file !== folderFile && !name.test(file)) continue
      const path = `${directory}/${file}`
      if (((yield* refuseOthers(fs, path, file)).mode & 0o077) === 0) continue
      yield* fs.chmod(path, 0o600)
      mended++
    }
    if (mended > 0) {
      yield* Effect.logWarning(`${mended} files in ${directory} could be reached by other users: their mode is 600 now`)
    }
  })

/** The store over a folder. The sealer's key is not judged. Where it is `whole`, a damaged artifact is a failure, and is not left out. */
const open = (
  directory: string,
  sealer: Sealing.Sealer,
  whole = false
): Effect.Effect<typeof ArtifactStore.Service, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const records = new Map<string, ArtifactRecord>()
    /** Ids that are being put, so that two puts of one id cannot meet. */
    const putting = new Set<string>()

    const failed = (operation: string, message: string, cause?: unknown): StoreError =>
      new StoreError({ operation, message, ...(cause === undefined ? {} : { cause }) })
    const attempt = <A>(operation: string, effect: Effect.Effect<A, { readonly message: string }>) =>
      Effect.mapError(effect, (error) => failed(operation, `${directory}: ${error.message}`, error))
    const pathOf = (file: string) => `${directory}/${file}`
    const remove = (file: string) => fs.remove(pathOf(file), { force: true })

    // A folder cannot be opened on every platform; there the rename is all that can be had.
    const syncFolder = Effect.ignore(
      Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync))
    )

    const write = (file: string, bytes: Uint8Array) => {
      const temporary = `${file}.tmp`
      return Effect.scoped(
        Effect.flatMap(fs.open(pathOf(temporary), { flag: "w", mode: 0o600 }), (opened) =>
          Effect.zipRight(bytes.length === 0 ? Effect.void : opened.writeAll(bytes), opened.sync)
        )
      ).pipe(Effect.zipRight(fs.rename(pathOf(temporary), pathOf(file))))
    }

    const encoder = new TextEncoder()
    const writeText = (file: string, text: string) => write(file, encoder.encode(text))

    const start = Effect.gen(function* () {
      const operation = "start"
      yield* attempt(operation, fs.makeDirectory(directory, { recursive: true, mode: 0o700 }))
      const files = new Set(yield* attempt(operation, fs.readDirectory(directory)))
      yield* attempt(operation, closeToOthers(fs, directory, files))
      if (files.has(folderFile)) {
        const folder = decodeFolder(yield* attempt(operation, fs.readFileString(pathOf(folderFile))))
        if (Either.isLeft(folder)) return yield* failed(operation, `${directory}: ${folderFile} is damaged`)
        if (folder.right.format !== format) {
          return yield* failed(operation, `${directory} was written by a newer version: use that version`)
        }
        if (sealer.encrypts !== (folder.right.canary !== "clear")) {
          return yield* failed(
            operation,
            sealer.encrypts
              ? `${directory} is not encrypted: start without an encryption key, or with a new folder`
              : `${directory} is encrypted: start with its encryption key`
          )
        }
        if (sealer.encrypts && sealer.open(folder.right.canary, "canary") !== canary) {
          return yield* failed(operation, `${directory}: the encryption key is not the one that it was written with`)
        }
      } else {
        const text = JSON.stringify({ format, canary: sealer.encrypts ? sealer.seal(canary, "canary") : "clear" })
        yield* attempt(operation, writeText(folderFile, text))
      }
      for (const file of files) {
        const [, artifactId, kind, temporary] = name.exec(file) ?? []
        if (artifactId === undefined) continue
        if (temporary !== undefined || (kind === "bin" && !files.has(`${artifactId}.json`))) {
          yield* attempt(operation, remove(file))
          continue
        }
        if (kind !== "json") continue
        const text = sealer.open(yield* attempt(operation, fs.readFileString(pathOf(file))), `artifact ${artifactId}`)
        const record = decodeRecord(text)
        // Never the work of a crash, so nothing is removed: somebody should look.
        if (Either.isLeft(record) || record.right.artifactId !== artifactId || !files.has(`${artifactId}.bin`)) {
          if (whole) {
            return yield* failed(
              "rekey",
              `${directory}: the artifact ${artifactId} is damaged: restore its files, or remove them`
            )
          }
          yield* Effect.logWarning(`the artifact ${artifactId} in ${directory} is damaged and is left out`)
        } else records.set(artifactId, { ...record.right, jobId: record.right.jobId })
      }
    })
    yield* start

    const put = (record: ArtifactRecord, data: Uint8Array): Effect.Effect<void, StoreError> =>
      Effect.suspend(() => {
        const operation = "put an artifact"
        const { artifactId } = record
        const problem =
          putProblem(record, data) ??
          (records.has(artifactId) || putting.has(artifactId) ? `the artifact ${artifactId} exists already` : undefined)
        if (problem !== undefined) return Effect.fail(failed(operation, problem))
        putting.add(artifactId)
        const bin = `${artifactId}.bin`
        const json = `${artifactId}.json`
        return attempt(
          operation,
          write(bin, sealer.sealBytes(data, `bytes of ${artifactId}`)).pipe(
            Effect.zipRight(writeText(json, sealer.seal(JSON.stringify(record), `artifact ${artifactId}`))),
            Effect.zipRight(syncFolder)
          )
        ).pipe(
          Effect.tapError(() =>
            Effect.forEach([json, bin, `${json}.tmp`, `${bin}.tmp`], (file) => Effect.ignore(remove(file)), {
              discard: true
            })
          ),
          Effect.map(() => void records.set(artifactId, record)),
          Effect.ensuring(Effect.sync(() => putting.delete(artifactId)))
        )
      }).pipe(
        // A call of the system cannot be taken back: what was begun is finished, or fails.
        Effect.uninterruptible
      )

    const get = (artifactId: string) =>
      Effect.gen(function* () {
        const record = records.get(artifactId)
        if (record === undefined) return Option.none()
        const operation = "read an artifact"
        const read = yield* Effect.either(attempt(operation, fs.readFile(pathOf(`${artifactId}.bin`))))
        // A release may have overtaken the read: then there is nothing, and nothing is wrong.
        if (!records.has(artifactId)) return Option.none()
        const sealed = yield* read
        const bytes = sealer.openBytes(sealed, `bytes of ${artifactId}`)
        if (bytes === undefined || bytes.length !== record.byteSize) {
          return yield* failed(operation, `${directory}: the bytes of ${artifactId} were changed`)
        }
        return Option.some({ record, data: new Uint8Array(bytes) })
      })

    const release = (artifactId: string) =>
      Effect.suspend(() => {
        const record = records.get(artifactId)
        if (record === undefined) return Effect.succeed(false)
        records.delete(artifactId)
        return attempt("release an artifact", remove(`${artifactId}.json`)).pipe(
          Effect.tapError(() => Effect.sync(() => records.set(artifactId, record))),
          Effect.zipRight(
            // The artifact is gone already; bytes that stay behind are swept at the next start.
            Effect.catchAll(remove(`${artifactId}.bin`), (error) =>
              Effect.logWarning(`the bytes of ${artifactId} could not be removed`, error)
            )
          ),
          Effect.as(true)
        )
      }).pipe(Effect.uninterruptible)

    return ArtifactStore.of({
      durable: true,
      put,
      get,
      info: (artifactId) => Effect.sync(() => Option.fromNullable(records.get(artifactId))),
      release,
      expired: (now, limit) => Effect.sync(() => earliest([...records.values()], now, limit)),
      totals: Effect.sync(() => totalsOf([...records.values()]))
    })
  })

/**
 * Makes the store over a folder; sweeps what a crash has left.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({
  directory,
  encryptionKey
}: FolderOptions): Effect.Effect<typeof ArtifactStore.Service, StoreError, FileSystem.FileSystem> =>
  Effect.flatMap(
    Sealing.ofKey(
      encryptionKey,
      "start",
      ". A folder that has this key is copied under another one by FolderArtifactStore.rekey"
    ),
    (sealer) => open(directory, sealer)
  )

/**
 * Artifacts in a folder. Fails when it cannot be read and written, is encrypted with another key, or when the key is too weak.
 *
 * @example
 * ```ts
 * import { NodeFileSystem } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { FolderArtifactStore } from "effect-arcp/store"
 *
 * const ArtifactsLive = FolderArtifactStore.layer({ directory: "/var/lib/arcp/artifacts" }).pipe(
 *   Layer.provide(NodeFileSystem.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: FolderOptions): Layer.Layer<ArtifactStore, StoreError, FileSystem.FileSystem> =>
  Layer.effect(ArtifactStore, make(options))

/**
 * Which folder is copied, and under which key.
 *
 * @since 0.2.0
 * @category options
 */
export interface FolderRekeyOptions {
  /** The folder, which is left as it is. */
  readonly directory: string
  /** The key that it has, however weak. Absent: it is not encrypted. */
  readonly from?: Redacted.Redacted<string> | undefined
  /** The key of the copy: at least 32 random bytes, in any spelling. */
  readonly to: Redacted.Redacted<string>
  /** The folder of the copy; made when it is not there. */
  readonly into: string
}

/**
 * Copies the artifacts of a folder into another one, encrypted with another key (ARCP 1.0 §14). Returns how many were copied. No runtime may have
 * either folder meanwhile. Each artifact is copied whole or not at all, and those that are there already are left out: where the copy was
 * interrupted, repeat it, then start the runtime with the copy and delete the old folder.
 *
 * Fails with a `StoreError` when a folder cannot be read and written, when `from` is not its key, when bytes were changed or a record is damaged, when
 * `to` is too weak or the same, and where the copy has another key.
 *
 * @since 0.2.0
 * @category functions
 */
export const rekey = ({
  directory,
  from,
  into,
  to
}: FolderRekeyOptions): Effect.Effect<{ readonly artifacts: number }, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    if (from !== undefined && Redacted.value(from) === Redacted.value(to)) {
      return yield* new StoreError({ operation: "rekey", message: "the new key is the same as the old one" })
    }
    const sealer = yield* Sealing.ofKey(to, "rekey")
    const fs = yield* FileSystem.FileSystem
    const failed = (error: PlatformError) =>
      new StoreError({ operation: "rekey", message: `${directory}: ${error.message}`, cause: error })
    // It would be made otherwise.
    yield* Effect.mapError(fs.access(`${directory}/${folderFile}`), failed)
    const source = yield* open(directory, from === undefined ? Sealing.none : aesGcmOf(from), true)
    const copy = yield* open(into, sealer)
    let artifacts = 0
    for (const { artifactId } of yield* source.expired(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)) {
      if (Option.isSome(yield* copy.info(artifactId))) continue
      const found = yield* source.get(artifactId)
      if (Option.isNone(found)) continue
      yield* copy.put(found.value.record, found.value.data)
      artifacts++
    }
    return { artifacts }
  })

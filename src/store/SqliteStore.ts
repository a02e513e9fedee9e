/**
 * The store in a SQLite file, over `@effect/sql-sqlite-node`.
 *
 * The file, its log and its index are readable by their owner only (0600). The file is held exclusively: a second runtime
 * on it is refused, and a crash frees it.
 */
import { closeSync, constants, openSync } from "node:fs"
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql/SqlClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Configured from "../protocol/Configured.js"
import type { ArtifactStore } from "./ArtifactStore.js"
import type { CredentialLedger } from "./CredentialLedger.js"
import * as SqliteClient from "./internal/sqliteClient.js"
import { nextTurn } from "./internal/turn.js"
import * as Sealing from "./Sealer.js"
import * as SqlStore from "./SqlStore.js"
import { type Store, StoreError } from "./Store.js"

/**
 * Where and how.
 *
 * @since 0.1.0
 * @category options
 */
export interface SqliteOptions {
  /** The file's path; made when it is not there. `:memory:` for a database that ends with the process. */
  readonly filename: string
  /**
   * `NORMAL` (the default) survives a crash of the process; a loss of power may take the last commits. `FULL` survives
   * that too, at the price of a disk flush per commit.
   */
  readonly synchronous?: "NORMAL" | "FULL" | undefined
  /**
   * Encrypts payloads, inputs, claims, artifacts and credential handles with AES-256-GCM under this secret: at least 32
   * random bytes, in any spelling.
   */
  readonly encryptionKey?: Redacted.Redacted<string> | undefined
  /**
   * Whether what is committed counts as durable: credentials are provisioned with a durable ledger only (§14). Default: true
   * for a file, false for `:memory:`; the test of a runtime may say otherwise.
   */
  readonly durable?: boolean | undefined
}

const explain = (filename: string, cause: unknown): StoreError => {
  const { code, message } = cause as { readonly code?: unknown; readonly message?: unknown }
  const what =
    code === "SQLITE_BUSY"
      ? "is in use by another runtime: stop it, or give each runtime a file of its own"
      : code === "SQLITE_NOTADB" || code === "SQLITE_CORRUPT"
        ? "is not a SQLite database or is damaged: restore it from a backup, or start with a new file"
        : code === "SQLITE_CANTOPEN" || code === "ENOENT"
          ? "cannot be opened: is its folder there, and may it be written?"
          : code === "EACCES"
            ? "may not be read and written by this user"
            : `cannot be opened: ${String(message)}`
  return new StoreError({ operation: "open", message: `${filename} ${what}`, cause })
}

/** Makes the file with its mode before SQLite does; SQLite gives its log and index the mode of the file. */
const prepare = (filename: string): Effect.Effect<void, StoreError> =>
  filename === ":memory:"
    ? Effect.void
    : Effect.try({
        try: () => closeSync(openSync(filename, constants.O_RDWR | constants.O_CREAT, 0o600)),
        catch: (cause) => explain(filename, cause)
      })

/** Free pages that one step gives back to the file system: a step holds up the writer for some milliseconds at most. */
const pagesPerStep = 128
/** Steps of one purge; what is left then is left to the next. */
const maxSteps = 1_024

/**
 * Gives free pages back, and empties the log, which holds what has been removed until it is written over. Removed rows are
 * zeroed where they were (`secure_delete`).
 */
const purge = (sql: SqlClient): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    // The driver takes one step of a statement that answers no rows, and this one's step is a page.
    const freePage = sql.unsafe("PRAGMA incremental_vacuum(1)")
    let before = Number.POSITIVE_INFINITY
    for (let step = 0; step < maxSteps; step++) {
      const [row] = yield* sql.unsafe<{ readonly freelist_count: number }>("PRAGMA freelist_count")
      const free = row?.freelist_count ?? 0
      // A file of the first version keeps its free pages, and writes to them again.
      if (free === 0 || free >= before) break
      before = free
      yield* sql.withTransaction(Effect.replicateEffect(freePage, Math.min(free, pagesPerStep), { discard: true }))
      yield* nextTurn
    }
    yield* sql.unsafe("PRAGMA wal_checkpoint(TRUNCATE)")
  }).pipe(
    // A COMMIT that fails is a defect of the client.
    Effect.catchAllDefect((defect) => Effect.fail(defect)),
    Effect.mapError(
      (error) => new StoreError({ operation: "purge", message: "space could not be given back", cause: error })
    ),
    Effect.asVoid
  )

/**
 * The store, the ledger of credentials and the artifacts in a SQLite file. Fails when the file is damaged, in use, newer than
 * this version, or sealed with another key.
 *
 * @example
 * ```ts
 * import { SqliteStore } from "effect-arcp/store/sqlite"
 *
 * const StoreLive = SqliteStore.layer({ filename: "/var/lib/arcp/arcp.db", synchronous: "FULL" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: SqliteOptions): Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError> => {
  const { encryptionKey, filename } = options
  const client = Layer.scoped(
    SqlClient,
    Effect.gen(function* () {
      yield* prepare(filename)
      // Its log is switched on below: once it is, a new file can no longer be told how to give space back.
      const sql = yield* Effect.mapError(SqliteClient.make(filename), (error) => explain(filename, error.cause))
      for (const pragma of [
        "auto_vacuum = INCREMENTAL",
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        `synchronous = ${options.synchronous ?? "NORMAL"}`,
        "secure_delete = ON",
        // The last resort: 16 MiB of log, inside of a COMMIT. The client writes it back sooner, and outside of one (`writeBack`).
        "wal_autocheckpoint = 4000",
        "journal_size_limit = 67108864",
        "foreign_keys = OFF"
      ]) {
        yield* Effect.mapError(sql.unsafe(`PRAGMA ${pragma}`), (error) => explain(filename, error.cause))
      }
      // Takes the exclusive lock now, so that a second runtime is refused at its start and not at its first write.
      yield* Effect.mapError(Effect.zipRight(sql.unsafe("BEGIN EXCLUSIVE"), sql.unsafe("COMMIT")), (error) =>
        explain(filename, error.cause)
      )
      return sql
    }).pipe(Effect.provide(reactivity))
  )
  return SqlStore.layer({
    durable: options.durable ?? filename !== ":memory:",
    immediate: true,
    sealer: encryptionKey === undefined ? undefined : Sealing.aesGcm(encryptionKey),
    purge
  }).pipe(Layer.provide(client))
}

const configured = Configured.all({
  filename: Configured.text("ARCP_SQLITE_FILENAME"),
  synchronous: Configured.oneOf("ARCP_SQLITE_SYNCHRONOUS", ["NORMAL", "FULL"]),
  encryptionKey: Configured.secret("ARCP_SQLITE_ENCRYPTION_KEY")
})

/**
 * {@link layer}, with the values that the configuration sets, and the rest from `options`. Fails with a `ConfigError` that names the key
 * where a value is not valid.
 *
 * | key | default |
 * |---|---|
 * | `ARCP_SQLITE_FILENAME` | required |
 * | `ARCP_SQLITE_SYNCHRONOUS`, `NORMAL` or `FULL` | `NORMAL` |
 * | `ARCP_SQLITE_ENCRYPTION_KEY` (secret) | nothing is encrypted |
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Partial<SqliteOptions> = {}
): Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const values = yield* configured
      const filename = yield* Configured.required("ARCP_SQLITE_FILENAME", values.filename, options.filename)
      return layer({ ...options, ...values, filename })
    })
  )

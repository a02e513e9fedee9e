/**
 * The store in a SQLite file, over `@effect/sql-sqlite-node`.
 *
 * The file, its log and its index are readable by their owner only: files of a looser mode are given the mode 0600 when they are opened, and are
 * refused where that is not possible, and where the file is a link that another user has made. The file is held exclusively: a second runtime on it is refused, and a crash frees it.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Configured from "../protocol/Configured.js"
import type { ArtifactStore } from "./ArtifactStore.js"
import type { CredentialLedger } from "./CredentialLedger.js"
import { aesGcmOf } from "./internal/aesGcm.js"
import { type Access, access } from "./internal/sql.js"
import { openFile } from "./internal/sqliteFile.js"
import { layerSealed } from "./internal/sqliteLayer.js"
import { type Fit, fitOf } from "./internal/sqlKey.js"
import { type Keys, nothingUnnamed, rekey as rekeyIn } from "./internal/sqlRekey.js"
import * as Sealing from "./Sealer.js"
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
   * random bytes, in any spelling. One that cannot hold so many, repeats itself or follows a pattern is refused. {@link rekey} changes it.
   */
  readonly encryptionKey?: Redacted.Redacted<string> | undefined
  /**
   * Whether what is committed counts as durable: credentials are provisioned with a durable ledger only (§14). Default: true
   * for a file, false for `:memory:`; the test of a runtime may say otherwise.
   */
  readonly durable?: boolean | undefined
}

/**
 * The store, the ledger of credentials and the artifacts in a SQLite file. Fails when the file is damaged, in use, newer than
 * this version, sealed with another key, or when the key is too weak.
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
  const { filename } = options
  return Layer.unwrapEffect(
    Effect.map(Sealing.ofKey(options.encryptionKey, "open", Sealing.replaceIt), (sealer) =>
      layerSealed(
        {
          filename,
          synchronous: options.synchronous ?? "NORMAL",
          durable: options.durable ?? filename !== ":memory:"
        },
        sealer
      )
    )
  )
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

/**
 * Which key a file gets.
 *
 * @since 0.2.0
 * @category options
 */
export interface RekeyOptions {
  /** The file's path; it must be there. */
  readonly filename: string
  /** The key that it has, however weak. Absent: the file is not encrypted, and is encrypted now. */
  readonly from?: Redacted.Redacted<string> | undefined
  /** The key that it gets: at least 32 random bytes, in any spelling. */
  readonly to: Redacted.Redacted<string>
}

const refused = (message: string): StoreError => new StoreError({ operation: "rekey", message })

/** Whether the file has the old key; where it has the new one, it was given that before. Nothing is changed. */
const hasKey = (database: Access, filename: string, keys: Keys): Effect.Effect<"old" | "new", StoreError> =>
  Effect.gen(function* () {
    const tables = yield* database.query("rekey", "SELECT 1 AS n FROM sqlite_master WHERE name = 'arcp_meta'", [])
    const fit: Fit = tables.length === 0 ? "new" : yield* fitOf(database, keys.from)
    if (fit === "fits") return "old"
    if (fit === "new")
      return yield* refused(`${filename} is not the file of a store, or no runtime has started with it`)
    if ((yield* fitOf(database, keys.to)) === "fits") return "new"
    return yield* refused(
      fit === "sealed"
        ? `${filename} is encrypted: give the key that it has`
        : fit === "clear"
          ? `${filename} is not encrypted: give no key that it has`
          : `${filename} has another key than the one that was given as its own`
    )
  })

/** Empties the log, which has what was written before, and what was written now. */
const emptyLog = (sql: SqlClient) =>
  Effect.mapError(
    sql.unsafe("PRAGMA wal_checkpoint(TRUNCATE)"),
    (cause) =>
      new StoreError({ operation: "rekey", message: "the file has its new key; its log could not be emptied", cause })
  )

/**
 * Gives a file another key, or encrypts one that is not encrypted (ARCP 1.0 §14): everything that a key covers is opened with the old key and sealed
 * with the new one, and nothing of the old one is kept. Returns how many values that were: none where the file has the new key already, so that it can be repeated.
 *
 * No runtime may have the file meanwhile: one that is in use is refused. It is one transaction: whatever ends the process on the way (a crash, a loss of power, an
 * interruption), the file has the old key and all its content, and the schema that it had. Where the disk fails in the commit itself, the file has one of the
 * two keys, and the error says so: repeat it. Needs as much room on the disk again as the file has. Copies that were
 * made before keep the old key.
 *
 * Fails with a `StoreError` when the file is absent, in use or damaged, when `from` is not its key, when `to` is too weak or the same, and where
 * an unfinished job has steps that an earlier version of this package recorded under a key: only their agent can read those.
 *
 * @example
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { SqliteStore } from "effect-arcp/store/sqlite"
 *
 * declare const from: Redacted.Redacted<string>
 * declare const to: Redacted.Redacted<string>
 * const rotate = Effect.flatMap(SqliteStore.rekey({ filename: "/var/lib/arcp/arcp.db", from, to }), ({ values }) =>
 *   Effect.logInfo(`${values} values have the new key`)
 * )
 * ```
 *
 * @since 0.2.0
 * @category functions
 */
export const rekey = ({ filename, from, to }: RekeyOptions): Effect.Effect<{ readonly values: number }, StoreError> =>
  Effect.scoped(
    Effect.gen(function* () {
      if (from !== undefined && Redacted.value(from) === Redacted.value(to)) {
        return yield* refused("the new key is the same as the old one")
      }
      const keys: Keys = {
        from: from === undefined ? Sealing.none : aesGcmOf(from),
        to: yield* Sealing.ofKey(to, "rekey")
      }
      const sql = yield* openFile({ filename, synchronous: "FULL", make: false })
      const database = access(sql)
      let values = 0
      if ((yield* hasKey(database, filename, keys)) === "old") {
        yield* database.withConnection("rekey", (connection) => nothingUnnamed(connection, keys))
        values = yield* database.withConnection("rekey", (connection) => rekeyIn(connection, keys))
      }
      yield* emptyLog(sql)
      return { values }
    })
  )

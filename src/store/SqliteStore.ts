/**
 * The store in a SQLite file, over `@effect/sql-sqlite-node`.
 *
 * The file, its log and its index are readable by their owner only (0600). The file is held exclusively: a second runtime
 * on it is refused, and a crash frees it.
 */
import { closeSync, constants, openSync } from "node:fs"
import { layer as reactivity } from "@effect/experimental/Reactivity"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { ArtifactStore } from "./ArtifactStore.js"
import type { CredentialLedger } from "./CredentialLedger.js"
import * as Sealing from "./Sealer.js"
import * as SqlStore from "./SqlStore.js"
import { type Store, StoreError } from "./Store.js"

/** Where and how. */
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

/**
 * The store, the ledger of credentials and the artifacts in a SQLite file. Fails when the file is damaged, in use, newer than
 * this version, or sealed with another key.
 */
export const layer = (options: SqliteOptions): Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError> => {
  const { encryptionKey, filename } = options
  const client = Layer.scoped(
    SqlClient,
    Effect.gen(function* () {
      yield* prepare(filename)
      const sql = yield* SqliteClient.make({ filename, prepareCacheSize: 500 }).pipe(
        // The driver throws where a file cannot be opened.
        Effect.catchAllDefect((defect) => Effect.fail(explain(filename, defect)))
      )
      for (const pragma of [
        "locking_mode = EXCLUSIVE",
        `synchronous = ${options.synchronous ?? "NORMAL"}`,
        "secure_delete = ON",
        "auto_vacuum = INCREMENTAL",
        "journal_size_limit = 67108864",
        "foreign_keys = OFF"
      ]) {
        yield* Effect.mapError(sql.unsafe(`PRAGMA ${pragma}`), (error) => explain(filename, error.cause))
      }
      // Takes the exclusive lock now, so that a second runtime is refused at its start and not at its first write.
      yield* Effect.mapError(Effect.zipRight(sql.unsafe("BEGIN EXCLUSIVE"), sql.unsafe("COMMIT")), (error) =>
        explain(filename, error.cause)
      )
      return sql as SqlClient
    }).pipe(Effect.provide(reactivity))
  )
  return SqlStore.layer({
    durable: options.durable ?? filename !== ":memory:",
    sealer: encryptionKey === undefined ? undefined : Sealing.aesGcm(encryptionKey)
  }).pipe(Layer.provide(client))
}

/**
 * Opening a SQLite file: its modes, its options, and the lock that one process has on it.
 *
 * Order: the file is there with its mode, then SQLite opens it, then the lock is taken. So a second process is rejected at its start, and not
 * at its first write.
 */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { StoreError } from "../Store.js"
import { LooseMode, prepareFile } from "./fileModes.js"
import * as SqliteClient from "./sqliteClient.js"

/** How it is opened. */
export interface Opening {
  readonly filename: string
  readonly synchronous: "NORMAL" | "FULL"
  /** Whether a file that is not there is made. */
  readonly make: boolean
}

/** What a person can do about a file that cannot be opened. */
export const explain = (filename: string, cause: unknown): StoreError => {
  if (cause instanceof LooseMode) return new StoreError({ operation: "open", message: cause.message, cause })
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

const prepare = ({ filename, make }: Opening): Effect.Effect<void, StoreError> =>
  filename === ":memory:"
    ? Effect.void
    : Effect.flatMap(
        Effect.try({ try: () => prepareFile(filename, make), catch: (cause) => explain(filename, cause) }),
        Effect.forEach((path) => Effect.logWarning(`${path} could be reached by other users: its mode is 600 now`), {
          discard: true
        })
      )

/** Opens it for this process alone, until the scope ends. */
export const openFile = (opening: Opening): Effect.Effect<SqlClient, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const { filename, synchronous } = opening
    yield* prepare(opening)
    // Its log is switched on below: once it is, a new file can no longer be told how to give space back.
    const sql = yield* Effect.mapError(SqliteClient.make(filename), (error) => explain(filename, error.cause))
    for (const pragma of [
      "auto_vacuum = INCREMENTAL",
      "locking_mode = EXCLUSIVE",
      "journal_mode = WAL",
      `synchronous = ${synchronous}`,
      "secure_delete = ON",
      // The last resort: 16 MiB of log, inside of a COMMIT. The client writes it back sooner, and outside of one (`writeBack`).
      "wal_autocheckpoint = 4000",
      "journal_size_limit = 67108864",
      "foreign_keys = OFF"
    ]) {
      yield* Effect.mapError(sql.unsafe(`PRAGMA ${pragma}`), (error) => explain(filename, error.cause))
    }
    // Takes the exclusive lock now, so that a second process is refused at its start and not at its first write.
    yield* Effect.mapError(Effect.zipRight(sql.unsafe("BEGIN EXCLUSIVE"), sql.unsafe("COMMIT")), (error) =>
      explain(filename, error.cause)
    )
    return sql
  }).pipe(Effect.provide(reactivity))

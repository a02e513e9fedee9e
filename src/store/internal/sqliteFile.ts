/**
 * Opening a SQLite file: its modes, its options, and the lock that one process has on it.
 *
 * Order: the file is there with its mode, then SQLite opens it, then the lock is taken, then the file is looked at again. So a second process
 * is rejected at its start, and not at its first write.
 *
 * Races: POSIX gives up the locks that a process has on a file when it closes any descriptor of that file. Within one process a second opening is
 * rejected before it touches the file; otherwise it would be rejected too, and leave the first one without its lock.
 */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { StoreError } from "../Store.js"
import { checkFile, identityOf, type Prepared, prepareFile, UnsafeFile } from "./fileModes.js"
import * as SqliteClient from "./sqliteClient.js"

/** How it is opened. */
export interface Opening {
  readonly filename: string
  readonly synchronous: "NORMAL" | "FULL"
  /** Whether a file that is not there is made. */
  readonly make: boolean
}

interface SystemError {
  readonly code?: unknown
  readonly message?: unknown
  readonly path?: unknown
}

/** What a person can do about a file that cannot be opened. */
const explain = ({ filename, make }: Opening, cause: unknown): StoreError => {
  if (cause instanceof UnsafeFile) return new StoreError({ operation: "open", message: cause.message, cause })
  const { code, message, path } = cause as SystemError
  const what =
    code === "SQLITE_BUSY"
      ? "is in use by another runtime: stop it, or give each runtime a file of its own"
      : code === "SQLITE_NOTADB" || code === "SQLITE_CORRUPT"
        ? "is not a SQLite database or is damaged: restore it from a backup, or start with a new file"
        : code === "ENOENT" && !make
          ? "does not exist: give the path of a store's file"
          : code === "SQLITE_CANTOPEN" || code === "ENOENT"
            ? "cannot be opened: is its folder there, and may it be written?"
            : code === "EACCES"
              ? "may not be read and written by this user"
              : `cannot be opened: ${String(message)}`
  return new StoreError({ operation: "open", message: `${typeof path === "string" ? path : filename} ${what}`, cause })
}

/** The files that this process has open, by their identities. */
const held = new Set<string>()

const inUse = Object.assign(new Error("this process has the file open"), { code: "SQLITE_BUSY" })

const hold = (opening: Opening): Effect.Effect<Prepared, StoreError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => {
        const found = identityOf(opening.filename)
        // edge: caught below, as what the file system throws
        if (found !== undefined && held.has(found)) throw inUse
        const prepared = prepareFile(opening.filename, opening.make)
        held.add(prepared.identity)
        return prepared
      },
      catch: (cause) => explain(opening, cause)
    }),
    ({ identity }) => Effect.sync(() => held.delete(identity))
  )

const warnings = ({ mended, openFolder }: Prepared): ReadonlyArray<string> => [
  ...mended.map((path) => `${path} could be reached by other users: its mode is 600 now`),
  ...(openFolder === undefined
    ? []
    : [`every user of this machine can replace what is in ${openFolder}: give the store a folder of its own`])
]

const prepare = (opening: Opening): Effect.Effect<Prepared, StoreError, Scope.Scope> =>
  Effect.tap(hold(opening), (prepared) =>
    Effect.forEach(warnings(prepared), (line) => Effect.logWarning(line), { discard: true })
  )

/** Opens it for this process alone, until the scope ends. */
export const openFile = (opening: Opening): Effect.Effect<SqlClient, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const failed = (error: { readonly cause?: unknown }) => explain(opening, error.cause)
    const prepared = opening.filename === ":memory:" ? undefined : yield* prepare(opening)
    // Its log is switched on below: once it is, a new file can no longer be told how to give space back.
    // By the path of the file itself, since its log lies beside that.
    const sql = yield* Effect.mapError(SqliteClient.make(prepared?.real ?? opening.filename), failed)
    for (const pragma of [
      "auto_vacuum = INCREMENTAL",
      "locking_mode = EXCLUSIVE",
      "journal_mode = WAL",
      `synchronous = ${opening.synchronous}`,
      "secure_delete = ON",
      // The last resort: 16 MiB of log, inside of a COMMIT. The client writes it back sooner, and outside of one (`writeBack`).
      "wal_autocheckpoint = 4000",
      "journal_size_limit = 67108864",
      "foreign_keys = OFF"
    ]) {
      yield* Effect.mapError(sql.unsafe(`PRAGMA ${pragma}`), failed)
    }
    // Takes the exclusive lock now, so that a second process is refused at its start and not at its first write.
    yield* Effect.mapError(Effect.zipRight(sql.unsafe("BEGIN EXCLUSIVE"), sql.unsafe("COMMIT")), failed)
    if (prepared !== undefined) {
      yield* Effect.try({ try: () => checkFile(prepared), catch: (cause) => explain(opening, cause) })
    }
    return sql
  }).pipe(Effect.provide(reactivity))

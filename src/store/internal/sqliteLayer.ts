/** The stores over a SQLite file, with a sealer. */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ArtifactStore } from "../ArtifactStore.js"
import type { CredentialLedger } from "../CredentialLedger.js"
import type { Sealer } from "../Sealer.js"
import * as SqlStore from "../SqlStore.js"
import { type Store, StoreError } from "../Store.js"
import { directOf } from "./direct.js"
import { type Opening, openFile } from "./sqliteFile.js"
import { inPieces } from "./turn.js"

/** Free pages that one piece gives back to the file system. */
const pagesPerPiece = 64
/** Pages of one purge; what is left then is left to the next. */
const maxPages = 131_072
const pageSize = 4_096

/**
 * Gives free pages back, and empties the log, which holds what has been removed until it is written over. Removed rows are
 * zeroed where they were (`secure_delete`).
 */
const purge = (sql: SqlClient): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    // The driver takes one step of a statement that answers no rows, and this one's step is a page.
    const freePage = sql.unsafe("PRAGMA incremental_vacuum(1)")
    const wrote = directOf(sql)?.wrote
    let before = Number.POSITIVE_INFINITY
    let given = 0
    yield* inPieces(
      Effect.gen(function* () {
        const [row] = yield* sql.unsafe<{ readonly freelist_count: number }>("PRAGMA freelist_count")
        const free = row?.freelist_count ?? 0
        // A file of the first version keeps its free pages, and writes to them again.
        if (free === 0 || free >= before || given >= maxPages) return false
        before = free
        const pages = Math.min(free, pagesPerPiece)
        yield* sql.withTransaction(Effect.replicateEffect(freePage, pages, { discard: true }))
        wrote?.(pages * pageSize)
        given += pages
        return true
      })
    )
    yield* sql.unsafe("PRAGMA wal_checkpoint(TRUNCATE)")
  }).pipe(
    // A COMMIT that fails is a defect of the client.
    Effect.catchAllDefect((defect) => Effect.fail(defect)),
    Effect.mapError(
      (error) => new StoreError({ operation: "purge", message: "space could not be given back", cause: error })
    ),
    Effect.asVoid
  )

/** Where, and whether what is committed counts as durable. */
export interface Sealed extends Omit<Opening, "make"> {
  readonly durable: boolean
}

/** The stores. The sealer's key is not judged. */
export const layerSealed = (
  { durable, filename, synchronous }: Sealed,
  sealer: Sealer
): Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError> =>
  SqlStore.layer({ durable, immediate: true, sealer, purge }).pipe(
    Layer.provide(Layer.scoped(SqlClient, openFile({ filename, synchronous, make: true })))
  )

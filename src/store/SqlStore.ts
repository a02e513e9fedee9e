/**
 * The store in a SQL database, over `@effect/sql`.
 *
 * Responsibility: puts the operations of a store together: commits, reads, and the sweeps of retention. The tables are created, and the
 * key is checked, before any of them can be used.
 *
 * Order: one commit is one transaction on one reserved connection. A failure of any statement, and of the COMMIT itself,
 * rolls back and is a `StoreError`; the connection is usable for the next commit.
 *
 * The statements' texts are few and fixed (rows are written in groups of 16, 4 and 1), so that the driver's cache of
 * prepared statements holds them all.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ArtifactStore } from "./ArtifactStore.js"
import { CredentialLedger } from "./CredentialLedger.js"
import { directOf } from "./internal/direct.js"
import { committingDirect } from "./internal/directCommit.js"
import { migrate } from "./internal/migrating.js"
import { access } from "./internal/sql.js"
import { make as makeArtifacts } from "./internal/sqlArtifacts.js"
import { committing } from "./internal/sqlCommit.js"
import { tryKey } from "./internal/sqlKey.js"
import { makeSqlLedger } from "./internal/sqlLedger.js"
import { reads } from "./internal/sqlReads.js"
import { reseal } from "./internal/sqlResealing.js"
import { sweeps } from "./internal/sqlSweeps.js"
import * as Sealing from "./Sealer.js"
import { Store, type StoreError } from "./Store.js"

/**
 * Makes the store over the database that `SqlClient` is connected to; runs the migrations first.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  sealer: Sealing.Sealer = Sealing.none
): Effect.Effect<typeof Store.Service, StoreError, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const database = access(sql)
    yield* database.withConnection("migrate", migrate)
    yield* tryKey(database, sealer)
    yield* reseal(database, sealer)
    const direct = directOf(sql)
    return Store.of({
      durable: true,
      commit: direct === undefined ? committing(database, sealer) : committingDirect(sql, direct, sealer),
      ...reads(database, sealer),
      ...sweeps(database, direct?.wrote ?? (() => {}))
    })
  })

/**
 * The stores over a `SqlClient`, optionally encrypting payloads, inputs, claims, artifacts and credential handles.
 *
 * @example
 * ```ts
 * import { SqliteClient } from "@effect/sql-sqlite-node"
 * import { Layer, type Redacted } from "effect"
 * import { Sealer, SqlStore } from "effect-arcp/store/sql"
 *
 * // At least 32 random bytes, in any spelling.
 * declare const key: Redacted.Redacted<string>
 * const StoreLive = SqlStore.layer({ sealer: Sealer.aesGcm(key) }).pipe(
 *   Layer.provide(SqliteClient.layer({ filename: "arcp.db" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: {
    /** Encrypts what is stored. Default: nothing is encrypted. */
    readonly sealer?: Sealing.Sealer | undefined
    /** Whether the database outlives the process. Default true. */
    readonly durable?: boolean | undefined
    /** Whether the database answers in the step in which it is asked ({@link Store}). Default false. */
    readonly immediate?: boolean | undefined
    /** How this database gives up what has been removed; nothing by default. */
    readonly purge?: ((sql: SqlClient) => Effect.Effect<void, StoreError>) | undefined
  } = {}
): Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError, SqlClient> =>
  Layer.effectContext(
    Effect.gen(function* () {
      // the store first: it runs the migrations and tries the key
      const store = yield* make(options.sealer)
      const artifacts = yield* makeArtifacts(options.sealer)
      const sql = yield* SqlClient
      const ledger = makeSqlLedger(sql, options.sealer ?? Sealing.none)
      const durable = options.durable ?? true
      const purge = Effect.zipRight(store.purge, options.purge?.(sql) ?? Effect.void)
      return Context.make(Store, { ...store, durable, immediate: options.immediate, over: [sql], purge }).pipe(
        Context.add(ArtifactStore, { ...artifacts, durable }),
        Context.add(CredentialLedger, { ...ledger, durable })
      )
    })
  )

/**
 * Commits a batch synchronously, on the driver.
 *
 * Responsibility: the same statements in the same order as over a connection ({@link changesOf}), prepared once, each run for one row; the
 * same errors. Nothing of a failed batch is there.
 *
 * Order: BEGIN, the statements and COMMIT are one step of the event loop. So no other code of the process sees an open transaction of a
 * commit, and none is between its statements.
 *
 * Races: another operation (a purge, a write of credentials) may be inside a transaction across steps. Its rows and the batch's must not share
 * a fate: in one step the answer is `busy`; as an effect, the commit waits for its turn with the connection.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { committingNow, type CommitNow } from "../CommitNow.js"
import type { Sealer } from "../Sealer.js"
import type { LoadedBatch } from "../Payload.js"
import { StoreError } from "../Store.js"
import type { Direct, Prepared } from "./direct.js"
import { JobSizes } from "./jobSizes.js"
import { access, fail } from "./sql.js"
import { type Change, changesOf } from "./sqlCommit.js"
import { writing } from "./sqlRows.js"
import { weightOf } from "./writeBack.js"

/** Runs changes as one transaction. Undefined where all of them are there; otherwise the failure, and none of them is. */
const transact = (direct: Direct, changes: ReadonlyArray<Change>): StoreError | undefined => {
  try {
    let bytes = 0
    direct.prepare("BEGIN IMMEDIATE").run()
    for (const { rows, write } of changes) {
      if (rows.length === 0) continue
      let last: string | undefined
      let prepared: Prepared | undefined
      for (const [text, params] of write.calls(rows)) {
        if (prepared === undefined || text !== last) prepared = direct.prepare(text)
        last = text
        prepared.run(...params)
        bytes += weightOf(params)
      }
    }
    direct.prepare("COMMIT").run()
    direct.wrote(bytes)
    return undefined
  } catch (cause) {
    const error = fail("commit", new SqlError({ cause, message: "Failed to execute statement" }))
    try {
      // SQLite may have rolled back by itself, as it does when the disk is full.
      if (direct.inTransaction()) direct.prepare("ROLLBACK").run()
    } catch {
      // The first failure is the one to report.
    }
    return error
  }
}

/** Commits in one step. */
const now = (direct: Direct, sealer: Sealer): CommitNow => {
  const row = writing(sealer)
  const sizes = new JobSizes()
  return (batch) => {
    if (direct.inTransaction()) return "busy"
    try {
      sizes.add(batch)
      const error = transact(direct, changesOf(batch, row, sizes.of))
      if (error === undefined) sizes.committed(batch)
      else sizes.failed(batch)
      return error
    } catch (cause) {
      // A record that is no JSON, or too long for one text.
      sizes.failed(batch)
      return fail("commit", cause)
    }
  }
}

/** A transaction that is open while the connection is reserved for this commit; the client ends such ones. */
const stuck = () =>
  new StoreError({ operation: "commit", message: "the database is inside a transaction that never ends" })

/** Writes batches, each all or nothing: as an effect, and in one step. */
export const committingDirect = (
  sql: SqlClient,
  direct: Direct,
  sealer: Sealer
): ((batch: LoadedBatch) => Effect.Effect<void, StoreError>) => {
  const { withConnection } = access(sql)
  const commitNow = now(direct, sealer)
  const inTurn = (batch: LoadedBatch): Effect.Effect<void, StoreError> =>
    withConnection("commit", () =>
      Effect.suspend(() => {
        const outcome = commitNow(batch)
        return outcome === undefined ? Effect.void : Effect.fail(outcome === "busy" ? stuck() : outcome)
      })
    )
  const commit = (batch: LoadedBatch): Effect.Effect<void, StoreError> =>
    Effect.suspend(() => {
      const outcome = commitNow(batch)
      if (outcome === "busy") return inTurn(batch)
      return outcome === undefined ? Effect.void : Effect.fail(outcome)
    })
  return committingNow(commit, commitNow)
}

/**
 * The ledger of credentials in the store's database. Handles are sealed as payloads are; states and times are in clear, so
 * that what is outstanding is found by an index.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { CredentialLedger, LedgerRecord } from "../CredentialLedger.js"
import * as Rows from "../Rows.js"
import type { Sealer } from "../Sealer.js"
import type { StoreError } from "../Store.js"
import { access, type Param, type Row, transaction, write } from "./sql.js"
import { opening, plain } from "./sqlRows.js"

const about = (reference: string): string => `credential ${reference}`

/** Over a database that has been migrated. */
export const makeSqlLedger = (sql: SqlClient, sealer: Sealer): Context.Tag.Service<CredentialLedger> => {
  const { query, remove, withConnection } = access(sql)
  const { openMaybe } = opening(sealer)

  const params = (r: LedgerRecord): ReadonlyArray<Param> => [
    r.reference,
    r.credentialId,
    r.jobId,
    r.principalId,
    r.handle === undefined ? null : sealer.seal(r.handle, about(r.reference)),
    r.endpoint ?? null,
    r.profile ?? null,
    r.state,
    r.attempts,
    r.lastError ?? null,
    r.createdAt,
    r.updatedAt,
    r.revokedAt ?? null
  ]

  const record = (row: Row): Effect.Effect<LedgerRecord, StoreError> =>
    Effect.flatMap(openMaybe(row.handle, about(String(row.reference))), (handle) =>
      Rows.credential({
        reference: row.reference,
        credentialId: row.credential_id,
        jobId: row.job_id,
        principalId: row.principal_id,
        handle,
        endpoint: plain(row.endpoint),
        profile: plain(row.profile),
        state: row.state,
        attempts: plain(row.attempts),
        lastError: plain(row.last_error),
        createdAt: plain(row.created_at),
        updatedAt: plain(row.updated_at),
        revokedAt: plain(row.revoked_at)
      })
    )

  return {
    durable: true,
    put: (records) =>
      withConnection("write credentials", (connection) =>
        transaction(connection, write.credentials(connection, records.map(params)))
      ),
    list: ({ after, jobId, limit, states }) => {
      if (states.length === 0) return Effect.succeed([])
      const where = [`state IN (${states.map(() => "?").join(",")})`]
      const values: Array<Param> = [...states]
      if (jobId !== undefined) {
        where.push("job_id = ?")
        values.push(jobId)
      }
      if (after !== undefined) {
        where.push("reference > ?")
        values.push(after)
      }
      return Effect.flatMap(
        query(
          "list credentials",
          `SELECT * FROM arcp_credentials WHERE ${where.join(" AND ")} ORDER BY reference LIMIT ?`,
          [...values, limit]
        ),
        Effect.forEach(record)
      )
    },
    sweep: (revokedBefore) =>
      remove("sweep", "arcp_credentials", "reference", "state = 'revoked' AND revoked_at < ?", [revokedBefore])
  }
}

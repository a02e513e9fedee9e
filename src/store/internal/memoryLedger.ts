/** The ledger of credentials in memory. */
import * as Effect from "effect/Effect"
import type * as Context from "effect/Context"
import type { CredentialLedger, LedgerRecord } from "../CredentialLedger.js"

export const makeMemoryLedger = (): Context.Tag.Service<CredentialLedger> => {
  const rows = new Map<string, LedgerRecord>()
  return {
    durable: false,
    put: (records) =>
      Effect.sync(() => {
        for (const record of records) {
          if (rows.get(record.reference)?.state !== "revoked") rows.set(record.reference, record)
        }
      }),
    list: ({ after, jobId, limit, states }) =>
      Effect.sync(() =>
        [...rows.values()]
          .filter(
            (record) =>
              states.includes(record.state) &&
              (jobId === undefined || record.jobId === jobId) &&
              (after === undefined || record.reference > after)
          )
          .toSorted((a, b) => (a.reference < b.reference ? -1 : 1))
          .slice(0, limit)
      ),
    sweep: (revokedBefore) =>
      Effect.sync(() => {
        let removed = 0
        for (const { reference, revokedAt, state } of rows.values()) {
          if (state !== "revoked" || (revokedAt ?? 0) >= revokedBefore) continue
          rows.delete(reference)
          removed++
        }
        return removed
      })
  }
}

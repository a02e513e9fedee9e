/**
 * Issuing the credentials of a job (ARCP 1.1 §9.8.2).
 *
 * Order: ledger row `issuing`, upstream, check of the answer, ledger row `live`, and only then the credential is there for `of` and the
 * caller. One key of an answer that is refused refuses the whole answer, which is revoked.
 *
 * Races closed: whether the answer is still wanted is asked once more after the ledger has been written; the job may have ended, and the
 * caller may have gone, in between. What was taken up for a caller who has gone in that moment is taken back and revoked.
 */
import * as Effect from "effect/Effect"
import * as Amount from "../../../authority/Amount.js"
import { type InternalError, permanentError } from "../../../protocol/Errors.js"
import type { LedgerRecord } from "../../../store/CredentialLedger.js"
import type { Issued, ProvisionRequest } from "../CredentialProvisioner.js"
import type { IssueRequest, JobCredential } from "../JobCredential.js"
import { complain, credentialOf, discard, nothingMade, receive, writeLive } from "./answer.js"
import type { Core } from "./core.js"
import type { Entry } from "./live.js"
import { auditedOf } from "./revocations.js"
import { newRow, notIssued, notProvisioned, obtain, provisionRequest } from "./upstream.js"

const takeIssued =
  (core: Core, entry: Entry, row: LedgerRecord, asked: ProvisionRequest, request: IssueRequest) =>
  (issued: ReadonlyArray<Issued>, wanted: () => boolean): Effect.Effect<ReadonlyArray<JobCredential>, InternalError> =>
    Effect.gen(function* () {
      if (issued.length === 0) {
        nothingMade(core, row)
        return []
      }
      const arrived = yield* receive(core, row, asked, issued, undefined)
      const usable = () => wanted() && !entry.ended && !core.revocations.isClosing()
      if (arrived.some(({ wrong }) => wrong !== undefined)) {
        discard(core, arrived)
        yield* complain(arrived)
        return yield* permanentError(notProvisioned().message)
      }
      if (!usable() || !(yield* writeLive(core, arrived)) || !usable()) {
        discard(core, arrived)
        return yield* notProvisioned()
      }
      return arrived.map((one, index) => {
        const credential = credentialOf(one)
        core.live.keep(entry, {
          credential,
          held: one.held,
          request,
          index,
          lock: Effect.unsafeMakeSemaphore(1)
        })
        core.audit?.add({ type: "credential.issued", ...auditedOf(one.held.record) })
        return credential
      })
    })

/** Takes back what was taken up for a caller who has gone. */
const abandon = ({ live }: Core, entry: Entry, taken: ReadonlyArray<JobCredential>): void => {
  for (const { id } of taken) {
    const found = entry.live.get(id)
    if (found === undefined) continue
    live.drop(entry, id)
    live.startRevoking(found.held)
  }
}

/** As `Credentials.issue`. */
export const issue = (core: Core, request: IssueRequest): Effect.Effect<ReadonlyArray<JobCredential>, InternalError> =>
  Effect.gen(function* () {
    const { ids, live, provisioner } = core
    const remaining = yield* request.remaining
    // every operation of such a job is refused (§9.6), and an upstream may take a cap of zero for none
    if (Amount.firstExhausted(remaining) !== undefined) return []
    const row = yield* newRow(core, request, (now) => `cred_${ids.unsafeUlid(now)}`)
    const entry = live.open(request.jobId, request.parentJobId)
    const asked = provisionRequest(request, row.reference, remaining)
    return yield* Effect.uninterruptibleMask((restore) =>
      obtain(core, restore, {
        entry,
        row,
        ask: Effect.suspend(() => provisioner.issue(asked)),
        take: takeIssued(core, entry, row, asked, request),
        abandon: (taken) => abandon(core, entry, taken),
        failed: (cause) => notIssued(core, row, cause),
        settled: Effect.void
      })
    ).pipe(Effect.ensuring(Effect.sync(() => live.close(entry))))
  })

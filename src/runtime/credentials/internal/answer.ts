/**
 * What the upstream has answered with (ARCP 1.1 §9.8.2): each key gets a row of the ledger, a claim on its handle and value, and a verdict.
 *
 * Order: a key is claimed and counted as this process's own when it is received, before anything is decided about it. From there it is
 * either kept or discarded, which revokes it; a handle that is another credential's is not revoked with the key that repeats it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Text from "../../../protocol/Text.js"
import type { LedgerRecord } from "../../../store/CredentialLedger.js"
import type { Issued, ProvisionRequest } from "../CredentialProvisioner.js"
import type { JobCredential } from "../JobCredential.js"
import type { Core } from "./core.js"
import { mayStore, maxIssued, problem } from "./issued.js"
import { annotations, type Held } from "./revocations.js"
import { writeRows } from "./upstream.js"

/** A key that the upstream has answered with, and what is wrong with it. */
export interface Arrived {
  readonly issued: Issued
  readonly held: Held
  /** Undefined where it may be used. */
  readonly wrong: string | undefined
  /** The key belongs to another credential, with which it is revoked. */
  readonly foreign: boolean
}

/** Takes stock of an answer: a row, a holder and a verdict for each key. The first key has the row that is there. */
export const receive = (
  { claims, ids, live }: Core,
  row: LedgerRecord,
  asked: ProvisionRequest,
  answer: ReadonlyArray<Issued>,
  /** The handle that a rotation in place may answer with. */
  prior: string | undefined
): Effect.Effect<ReadonlyArray<Arrived>> =>
  Effect.map(Clock.currentTimeMillis, (now) =>
    answer.map((issued, index): Arrived => {
      const reference = index === 0 ? row.reference : `prov_${ids.unsafeUlid(now)}`
      const storable = mayStore(issued)
      const { foreign, reused } = claims.take(reference, issued, prior)
      const wrong =
        (answer.length > maxIssued ? `there are more than ${maxIssued} of them` : undefined) ??
        // Constraints are JSON, but may hold anything.
        Text.attempt(() => problem(issued, asked), "its constraints are malformed") ??
        (foreign ? "its handle is another credential's" : undefined) ??
        (reused ? "its value is another credential's" : undefined)
      live.present(reference)
      const handle = issued.handle === "" ? undefined : issued.handle
      return {
        issued,
        wrong,
        foreign,
        held: {
          record: {
            ...row,
            reference,
            credentialId: index === 0 ? row.credentialId : `cred_${ids.unsafeUlid(now)}`,
            handle: storable ? handle : undefined,
            endpoint: wrong === undefined ? issued.endpoint : undefined,
            profile: wrong === undefined ? issued.profile : undefined,
            state: "live",
            updatedAt: now
          },
          handle,
          secret: issued.value
        }
      }
    })
  )

/** Revokes what of an answer is not kept. */
export const discard = ({ live }: Core, arrived: ReadonlyArray<Arrived>): void => {
  for (const { foreign, held } of arrived) live.startRevoking(held, foreign)
}

/** Ends the row of a call that made no key. */
export const nothingMade = ({ live }: Core, row: LedgerRecord): void =>
  live.startRevoking({ record: row, handle: undefined, secret: undefined }, true)

/** Logs what of an answer is wrong, for operators. */
export const complain = (arrived: ReadonlyArray<Arrived>): Effect.Effect<void> =>
  Effect.forEach(
    arrived.filter(({ wrong }) => wrong !== undefined),
    ({ held, wrong }) =>
      Effect.annotateLogs(
        Effect.logError(`the provisioner answered with a credential that is refused: ${wrong}`),
        annotations(held.record)
      ),
    { discard: true }
  )

/** Whether the ledger has the keys as live now. */
export const writeLive = (core: Core, arrived: ReadonlyArray<Arrived>): Effect.Effect<boolean> =>
  Effect.isSuccess(
    writeRows(
      core,
      arrived.map(({ held }) => held.record)
    )
  )

/** The credential that a job gets. */
export const credentialOf = ({ held, issued }: Arrived): JobCredential => ({
  id: held.record.credentialId,
  jobId: held.record.jobId,
  scheme: issued.scheme ?? "bearer",
  value: issued.value,
  endpoint: issued.endpoint,
  profile: issued.profile,
  constraints: issued.constraints
})

/**
 * Putting a new value behind a credential (ARCP 1.1 §9.8.2).
 *
 * Order: the new key is asked for, checked and written as an issued one is; then the swap, then the new value is announced, then the prior
 * key is revoked. The announcement is part of the call: it cannot be forgotten, and cannot keep the prior key alive for longer than its
 * time-out.
 *
 * Races closed. Rotations of one credential run one after another: the next begins when the answer of the one before has come, even if its
 * caller has gone. A rotation that changes the key in place has made the prior value invalid whenever it comes, so it is taken up late too
 * and announced, as long as the job lives. Where the answer of a rotation was lost, the value that the job holds may be invalid: another
 * key is issued in its place, repeatedly, until there is one or the job ends. A second rotation would not do: the first may still be under
 * way.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Amount from "../../../authority/Amount.js"
import * as Expiry from "../../../authority/Expiry.js"
import { BudgetExhausted, type InternalError, InvalidRequest, LeaseExpired } from "../../../protocol/Errors.js"
import type { LedgerRecord } from "../../../store/CredentialLedger.js"
import type { Issued, ProvisionRequest } from "../CredentialProvisioner.js"
import type { JobCredential } from "../JobCredential.js"
import { type Arrived, complain, credentialOf, discard, nothingMade, receive, writeLive } from "./answer.js"
import type { Core } from "./core.js"
import type { Entry, Live } from "./live.js"
import { annotations, auditedOf } from "./revocations.js"
import {
  answerOf,
  closingError,
  isUncertain,
  newRow,
  notIssued,
  notProvisioned,
  obtain,
  provisionRequest,
  type Restore,
  writeRows
} from "./upstream.js"

/** Tells the owner of the new value. */
export type Announce = (credential: JobCredential) => Effect.Effect<void>

/** A rotation of one credential, in its turn. */
interface Turn {
  readonly entry: Entry
  readonly prior: Live
  readonly row: LedgerRecord
  readonly asked: ProvisionRequest
}

const unknownCredential = () => new InvalidRequest({ message: "the job has no such credential, or the job has ended" })

/** Announces the new value, within the time-out, whatever becomes of it. */
const announced = ({ timeouts }: Core, announce: Announce, credential: JobCredential): Effect.Effect<void> =>
  Effect.suspend(() => announce(credential)).pipe(
    Effect.timeoutOption(timeouts.notify),
    Effect.catchAllCause(() => Effect.logError("the new value of a credential could not be announced")),
    Effect.annotateLogs({ credentialId: credential.id, jobId: credential.jobId }),
    Effect.asVoid
  )

/** The key of an answer that takes the place of the prior one: at its place, else the first with its endpoint, else the first. */
const chosenOf = (arrived: ReadonlyArray<Arrived>, { credential, index }: Live): Arrived | undefined => {
  const byPlace = arrived[index]
  return byPlace?.issued.endpoint === credential.endpoint
    ? byPlace
    : (arrived.find((one) => one.issued.endpoint === credential.endpoint) ?? arrived[0])
}

const takeRotated =
  (core: Core, { asked, entry, prior, row }: Turn, announce: Announce) =>
  (
    issued: ReadonlyArray<Issued>,
    wanted: () => boolean
  ): Effect.Effect<JobCredential, InternalError | InvalidRequest> =>
    Effect.gen(function* () {
      const { live, revocations } = core
      const arrived = yield* receive(core, row, asked, issued, prior.held.handle)
      const chosen = chosenOf(arrived, prior)
      if (chosen === undefined) {
        nothingMade(core, row)
        return yield* notProvisioned()
      }
      discard(
        core,
        arrived.filter((one) => one !== chosen)
      )
      yield* complain(arrived)
      const inPlace = chosen.issued.handle === prior.held.handle
      const current = () => !entry.ended && !revocations.isClosing() && entry.live.get(prior.credential.id) === prior
      const usable = () => chosen.wrong === undefined && (wanted() || inPlace) && current()
      // the credential keeps its id, whichever key of the answer is behind it
      const one: Arrived = {
        ...chosen,
        held: { ...chosen.held, record: { ...chosen.held.record, credentialId: prior.credential.id } }
      }
      if (!usable() || !(yield* writeLive(core, [one])) || !usable()) {
        discard(core, [one])
        if (inPlace && current()) {
          // the prior value is dead, and the one that replaced it cannot be handed out
          live.drop(entry, prior.credential.id)
          live.startRevoking(prior.held, true)
        }
        return yield* current() ? notProvisioned() : unknownCredential()
      }
      const credential = credentialOf(one)
      live.keep(entry, { ...prior, credential, held: one.held })
      core.audit?.add({ type: "credential.rotated", ...auditedOf(one.held.record) })
      revocations.spawn(
        Effect.ensuring(
          announced(core, announce, credential),
          Effect.sync(() => live.startRevoking(prior.held, inPlace))
        )
      )
      return credential
    })

/** The request for another key of a credential, where there can be one. */
const another = (core: Core, { credential, request }: Live) =>
  Effect.gen(function* () {
    const remaining = yield* request.remaining
    const exhausted = Amount.firstExhausted(remaining)
    if (exhausted !== undefined) return yield* new BudgetExhausted({ message: `the ${exhausted} budget is used up` })
    if (Expiry.isOver(request.lease.expiresAt, yield* Clock.currentTimeMillis)) {
      return yield* new LeaseExpired({ message: "the job's lease has expired" })
    }
    const row = yield* newRow(core, request, () => credential.id)
    return { row, asked: provisionRequest(request, row.reference, remaining) }
  })

/** Issues another key for a credential whose value may have become invalid, until there is one or the job ends. */
const issueInstead = (
  core: Core,
  entry: Entry,
  prior: Live,
  announce: Announce
): Effect.Effect<JobCredential, InternalError | InvalidRequest> =>
  Effect.gen(function* () {
    const { live, provisioner, revocations } = core
    const { id } = prior.credential
    for (let failures = 0; ; failures++) {
      if (failures > 0) yield* revocations.backOff(failures - 1)
      if (revocations.isClosing()) return yield* closingError()
      if (entry.ended || entry.live.get(id) !== prior) return yield* unknownCredential()
      const next = yield* Effect.option(another(core, prior))
      if (Option.isNone(next)) break
      const { asked, row } = next.value
      if (Exit.isFailure(yield* Effect.exit(writeRows(core, [row])))) continue
      live.present(row.reference)
      const exit = yield* answerOf(
        core,
        Effect.suspend(() => provisioner.issue(asked))
      )
      const made = yield* Effect.either(
        Exit.isSuccess(exit)
          ? takeRotated(core, { entry, prior, row, asked }, announce)(exit.value, () => true)
          : notIssued(core, row, exit.cause)
      )
      if (Either.isRight(made)) return made.right
      if (made.left.code === "INTERNAL_ERROR" && !made.left.retryable) break
    }
    live.drop(entry, id)
    live.startRevoking(prior.held)
    yield* Effect.logError("a job has lost a credential: the answer of a rotation was lost, and no other key is issued")
    return yield* notProvisioned()
  }).pipe(Effect.annotateLogs(annotations(prior.held.record)))

/** What a rotation begins with, when it is its turn. */
const turnOf = (core: Core, jobId: string, credentialId: string) =>
  Effect.gen(function* () {
    const entry = core.live.find(jobId)
    const prior = entry?.live.get(credentialId)
    if (entry === undefined || prior === undefined) return yield* unknownCredential()
    return { entry, prior, ...(yield* another(core, prior)) }
  })

/** One rotation in its turn; `release` lets the next begin. */
const rotateIn = (core: Core, restore: Restore, turn: Turn, announce: Announce, release: Effect.Effect<void>) => {
  const { asked, entry, prior, row } = turn
  const { handle } = prior.held
  const { provisioner } = core
  const { rotate } = provisioner
  const atUpstream = rotate !== undefined && handle !== undefined
  return obtain<JobCredential, InvalidRequest>(core, restore, {
    entry,
    row,
    ask: Effect.suspend(() =>
      atUpstream ? Effect.map(rotate(handle, asked), (one) => [one]) : provisioner.issue(asked)
    ),
    take: takeRotated(core, turn, announce),
    // the owner has been told of the new value: it stays
    abandon: () => undefined,
    failed: (cause) =>
      Effect.catchAll(notIssued(core, row, cause), (error) =>
        atUpstream && isUncertain(cause) ? issueInstead(core, entry, prior, announce) : error
      ),
    settled: release
  })
}

/** As `Credentials.replace`. */
export const replace = (
  core: Core,
  jobId: string,
  credentialId: string,
  announce: Announce
): Effect.Effect<JobCredential, InvalidRequest | InternalError | BudgetExhausted | LeaseExpired> =>
  Effect.suspend(() => {
    const lock = core.live.find(jobId)?.live.get(credentialId)?.lock
    if (lock === undefined) return unknownCredential()
    return Effect.uninterruptibleMask(
      (restore) =>
        Effect.gen(function* () {
          yield* restore(lock.take(1))
          const release = Effect.asVoid(lock.release(1))
          const turn = yield* Effect.onError(restore(turnOf(core, jobId, credentialId)), () => release)
          return yield* rotateIn(core, restore, turn, announce, release)
        })
      // also for one that waits for the rotation before it
    ).pipe(Effect.timeoutFail({ duration: core.timeouts.issue, onTimeout: () => notProvisioned() }))
  })

/**
 * One call to the upstream that makes keys, for an issue or for a rotation (ARCP 1.1 §9.8.2, §14).
 *
 * Order: the row of the ledger is written as `issuing`, the upstream is asked, its answer is taken, and the caller gets what was made
 * of it.
 *
 * Races closed: the call runs in a fiber of its own. Whether its answer is still wanted is decided when it comes, in one synchronous step
 * with taking it up, so a time-out, an interruption, the job's end and a shutdown each lead to the revocation of what comes late, and
 * nothing is both handed out and revoked. A call that is not answered in time is interrupted, and its answer is waited for all the same.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Amounts } from "../../../authority/Amount.js"
import { InternalError, permanentError } from "../../../protocol/Errors.js"
import { JobId, PrincipalId } from "../../../protocol/Ids.js"
import type { StoreError } from "../../../store/Store.js"
import type { LedgerRecord } from "../../../store/CredentialLedger.js"
import type { Issued, ProvisionError, ProvisionRequest } from "../CredentialProvisioner.js"
import type { IssueRequest } from "../JobCredential.js"
import type { Core } from "./core.js"
import type { Entry } from "./live.js"
import { annotations, type Held, nameOfDefect, scrub } from "./revocations.js"

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const transient = (message: string) => new InternalError({ message })

export const closingError = () => transient("the runtime is shutting down")

/** What a caller is told whose credentials could not be made. `hide` takes the job's values out of what the provisioner explains. */
export const notProvisioned = (error?: ProvisionError, hide: (text: string) => string = (text) => text) =>
  (error?.retryable === false ? permanentError : transient)(
    `the job's credentials could not be provisioned${
      error?.explanation === undefined ? "" : `: ${hide(error.explanation)}`
    }`
  )

/** Whether the upstream may have done what it was asked, though it did not say so. */
export const isUncertain = (cause: Cause.Cause<ProvisionError>): boolean => {
  const failure = Cause.failureOption(cause)
  return Option.isNone(failure) || failure.value.uncertain
}

/** The row of the ledger for a call that is to be made now. */
export const newRow = (
  { ids }: Core,
  request: IssueRequest,
  credentialId: (now: number) => string
): Effect.Effect<LedgerRecord> =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    reference: `prov_${ids.unsafeUlid(now)}`,
    credentialId: credentialId(now),
    jobId: request.jobId,
    principalId: request.principalId,
    handle: undefined,
    endpoint: undefined,
    profile: undefined,
    state: "issuing",
    attempts: 0,
    lastError: undefined,
    createdAt: now,
    updatedAt: now,
    revokedAt: undefined
  }))

/** What the provisioner is asked for. */
export const provisionRequest = (request: IssueRequest, reference: string, remaining: Amounts): ProvisionRequest => ({
  reference,
  jobId: JobId(request.jobId),
  principalId: PrincipalId(request.principalId),
  agent: request.agent,
  parentJobId: request.parentJobId === undefined ? undefined : JobId(request.parentJobId),
  lease: request.lease,
  remaining,
  models: request.lease.grants.get("model.use")?.globs.map((glob) => glob.source),
  expiresAt: request.lease.expiresAt
})

/** Writes rows of the ledger; a failure is logged. */
export const writeRows = ({ ledger }: Core, rows: ReadonlyArray<LedgerRecord>): Effect.Effect<void, StoreError> =>
  Effect.tapError(ledger.put(rows), ({ message }) =>
    Effect.logError(`the ledger of credentials could not be written: ${message}`)
  )

/** Fails because the upstream did not answer with keys, and revokes what it may have made all the same. */
export const notIssued = (
  { live, timeouts }: Core,
  row: LedgerRecord,
  cause: Cause.Cause<ProvisionError>
): Effect.Effect<never, InternalError> => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  const uncertain = isUncertain(cause)
  const held: Held = { record: row, handle: undefined, secret: undefined }
  // In a rotation it may quote the prior value.
  const values =
    live
      .find(row.jobId)
      ?.hidden()
      .map(({ value }) => value) ?? []
  const why =
    failure !== undefined
      ? scrub(failure.message, values)
      : Cause.isInterruptedOnly(cause)
        ? `no answer within ${timeouts.late} ms`
        : nameOfDefect(Option.getOrUndefined(Cause.dieOption(cause)))
  return Effect.suspend(() => {
    live.startRevoking(held, !uncertain)
    return Effect.annotateLogs(Effect.logWarning(`a credential was not issued: ${why}`), annotations(row))
  }).pipe(Effect.zipRight(Effect.fail(notProvisioned(failure, (text) => scrub(text, values)))))
}

/** The answer of a call, whose fiber is interrupted when it takes far too long. */
const late = <A, E>({ timeouts }: Core, upstream: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.timeoutOption(Fiber.await(upstream), timeouts.late).pipe(
    Effect.flatMap(
      Option.match({
        onSome: Effect.succeed,
        // one that cannot be interrupted is waited for all the same: its answer must not be lost
        onNone: () => Effect.zipRight(Fiber.interruptFork(upstream), Fiber.await(upstream))
      })
    ),
    Effect.onInterrupt(() => Fiber.interruptFork(upstream))
  )

const forkCall = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<Fiber.RuntimeFiber<A, E>> =>
  Effect.forkDaemon(Effect.interruptible(Effect.suspend(() => call)))

/** Makes a call and waits for its answer, which comes at the latest when the call was interrupted. */
export const answerOf = <A, E>(core: Core, call: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.flatMap(forkCall(call), (upstream) => late(core, upstream))

/** A call to the upstream, and what is to become of its answer. */
export interface Call<A, E> {
  readonly entry: Entry
  /** Its row of the ledger, not yet written. */
  readonly row: LedgerRecord
  readonly ask: Effect.Effect<ReadonlyArray<Issued>, ProvisionError>
  /** Owns the answer, and decides together with `wanted` what becomes of it. */
  readonly take: (issued: ReadonlyArray<Issued>, wanted: () => boolean) => Effect.Effect<A, E | InternalError>
  /** Takes back what was taken up for a caller who has gone in that very moment. */
  readonly abandon: (taken: A) => void
  /** What follows when the call failed. */
  readonly failed: (cause: Cause.Cause<ProvisionError>) => Effect.Effect<A, E | InternalError>
  /** Runs once, when nothing is under way any more. */
  readonly settled: Effect.Effect<void>
}

/** Makes a call and waits for what is made of its answer. Runs where it cannot be interrupted; `restore` is for the wait. */
export const obtain = <A, E>(
  core: Core,
  restore: Restore,
  { abandon, ask, entry, failed, row, settled, take }: Call<A, E>
): Effect.Effect<A, E | InternalError> =>
  Effect.gen(function* () {
    const { live, revocations, timeouts } = core
    yield* Effect.suspend(() => {
      if (revocations.isClosing()) return closingError()
      return entry.ended ? notProvisioned() : Effect.mapError(writeRows(core, [row]), () => notProvisioned())
    }).pipe(Effect.onError(() => settled))
    const answer = yield* Deferred.make<A, E | InternalError>()
    let wanted = true
    let taken: Option.Option<A> = Option.none()
    live.begun(entry, row.reference)
    const upstream = yield* forkCall(ask)
    revocations.spawn(
      late(core, upstream).pipe(
        Effect.flatMap((exit) =>
          Exit.isSuccess(exit)
            ? Effect.tap(
                take(exit.value, () => wanted),
                (made) => {
                  taken = Option.some(made)
                  // the caller may have gone since it was taken up
                  if (!wanted) abandon(made)
                }
              )
            : failed(exit.cause)
        ),
        Effect.intoDeferred(answer),
        Effect.ensuring(Effect.sync(() => live.settled(entry))),
        Effect.ensuring(settled)
      )
    )
    return yield* restore(
      Effect.timeoutFail(Deferred.await(answer), { duration: timeouts.issue, onTimeout: () => notProvisioned() })
    ).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) return
          wanted = false
          if (Option.isSome(taken)) abandon(taken.value)
        })
      )
    )
  })

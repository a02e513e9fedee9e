/**
 * Provisioned credentials (ARCP 1.1 §9.8): keys at an upstream that belong to one job, are bounded by its lease, and are
 * revoked when it ends.
 *
 * Responsibility: issues by a `CredentialProvisioner`, keeps the values in memory alone, and guarantees the revocation of
 * everything that was ever issued, over restarts, by a durable `CredentialLedger` (§14). Without both it is not
 * `available`, and then `provisioned_credentials` must not be offered.
 *
 * Order, for the runtime: `issue` before `job.accepted`, which `View` completes for the submitter alone; `revoke` at every kind of end,
 * also when a submit fails after its issue; `recover` once at the start. A rotation is announced before the prior key is revoked: by what
 * its caller gives to `replace`. This room knows no jobs, so the runtime's own `rotate` is made above it, in `jobs/Rotations`.
 *
 * Races: the heads of `internal/issuing`, `internal/rotating`, `internal/upstream` and `internal/revocations` name what each of them closes.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import {
  type BudgetExhausted,
  type InternalError,
  InvalidRequest,
  type LeaseExpired,
  type PermissionDenied
} from "../../protocol/Errors.js"
import { Ids } from "../../protocol/Ids.js"
import type { Credential } from "../../protocol/Job.js"
import { check as checkOptions } from "../../protocol/Options.js"
import { CredentialLedger, type LedgerRecord, type LedgerState } from "../../store/CredentialLedger.js"
import * as Rows from "../../store/Rows.js"
import type { StoreError } from "../../store/Store.js"
import { CredentialProvisioner } from "./CredentialProvisioner.js"
import { atEnd } from "../kernel/AtEnd.js"
import { type Auditor, Auditing } from "../kernel/Auditing.js"
import { makeClaims } from "./internal/claims.js"
import type { Core } from "./internal/core.js"
import { issue } from "./internal/issuing.js"
import { makeLiveCredentials } from "./internal/live.js"
import { patient } from "../kernel/Patience.js"
import { makeRevocations } from "./internal/revocations.js"
import { provisioning } from "./internal/provisioning.js"
import { replace } from "./internal/rotating.js"
import type { IssueRequest, JobCredential } from "./JobCredential.js"
import { translate } from "./UpstreamErrors.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"

export type { IssueRequest, JobCredential } from "./JobCredential.js"

/**
 * How long things may take, and how long they are kept.
 *
 * @since 0.1.0
 * @category options
 */
export interface CredentialsOptions {
  /** How long an issue or a rotation may take before it fails; what comes later is revoked. Default 10 seconds. */
  readonly issueTimeout?: Duration.DurationInput | undefined
  /** How long a late answer is waited for before the call is interrupted. Default 1 minute. */
  readonly lateTimeout?: Duration.DurationInput | undefined
  /** How long one attempt to revoke may take. Default 10 seconds. */
  readonly revokeTimeout?: Duration.DurationInput | undefined
  /** The first pause between attempts to revoke; they double, with a jitter of a quarter. Default 500 milliseconds. */
  readonly retryDelay?: Duration.DurationInput | undefined
  /** The longest pause between attempts to revoke. Default 5 minutes. */
  readonly retryMaxDelay?: Duration.DurationInput | undefined
  /** Attempts to revoke at a time. Default 16. */
  readonly revokeConcurrency?: number | undefined
  /** How long the announcement of a rotation may hold up the revocation of the prior value. Default 5 seconds. */
  readonly notifyTimeout?: Duration.DurationInput | undefined
  /** How long a shutdown waits for revocations. Default 5 seconds. */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
  /** How long the ledger keeps the rows of revoked credentials, for audit. Default 7 days. */
  readonly retainRevoked?: Duration.DurationInput | undefined
}

const optionKinds = {
  issueTimeout: "duration",
  lateTimeout: "duration",
  revokeTimeout: "duration",
  retryDelay: "duration",
  retryMaxDelay: "duration",
  revokeConcurrency: "count",
  notifyTimeout: "duration",
  shutdownTimeout: "duration",
  retainRevoked: "duration"
} as const

/**
 * The credentials of the jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class Credentials extends Context.Tag("effect-arcp/runtime/Credentials")<
  Credentials,
  {
    /** Whether credentials can be issued and their revocation guaranteed: there is a provisioner, and a durable ledger (§14). */
    readonly available: boolean
    /**
     * Issues a job's credentials, within the issue time-out. Empty where it is not available, where the provisioner gives none, and
     * where the budget is zero. When it fails or is interrupted, nothing is left behind: what was or will be made is
     * revoked. `INTERNAL_ERROR` when the ledger or the provisioner fails, the answer is refused, or the job ends meanwhile.
     */
    readonly issue: (request: IssueRequest) => Effect.Effect<ReadonlyArray<JobCredential>, InternalError>
    /** The live credentials of a job. */
    readonly of: (jobId: string) => ReadonlyArray<JobCredential>
    /** The live credentials of a job and the last that were replaced: their values are shown in no text of the job (§14). */
    readonly hidden: (jobId: string) => ReadonlyArray<JobCredential>
    /**
     * What reads {@link hidden} of this job, also when the job has ended: its handler may unwind later. The same function for the same job.
     * Undefined where the job has no credentials now.
     */
    readonly watch: (jobId: string) => (() => ReadonlyArray<JobCredential>) | undefined
    /** The same as `job.accepted.credentials` shows them, with their values: for the submitter's own session alone (§9.8.1). */
    readonly wire: (jobId: string) => ReadonlyArray<Credential>
    /**
     * Begins to revoke everything of a job and of the jobs that it delegated to, and returns at once. What is being issued or
     * rotated for it meanwhile is revoked when it comes. Harmless when repeated.
     */
    readonly revoke: (jobId: string) => void
    /**
     * Puts a new value behind a credential (§9.8.2): the sessions that own the job get an event with it, then the prior value is revoked.
     * `INVALID_REQUEST` where the job has no such credential or has ended, `BUDGET_EXHAUSTED` and `LEASE_EXPIRED` where
     * nothing could be issued any more, `INTERNAL_ERROR` where the provisioner fails; then the prior value stays. Where the
     * answer of the provisioner's `rotate` was lost, the prior value may be invalid: another key is issued in its place,
     * repeatedly until there is one or the job ends, and the owner is told of it. Rotations of one credential run one after
     * another; one that cannot begin within the issue time-out fails with `INTERNAL_ERROR`. Without a runtime around it, as in a program
     * that builds this layer alone, there is no session to tell.
     */
    readonly rotate: (
      jobId: string,
      credentialId: string
    ) => Effect.Effect<JobCredential, InvalidRequest | InternalError | BudgetExhausted | LeaseExpired>
    /**
     * As `rotate`, and runs `announce` with the new value in place of telling the owner. The prior value lives until `announce` has
     * returned, failed or used up `notifyTimeout`. It also runs for a caller who no longer waits, where a key that was changed in
     * place, or issued instead of one whose answer was lost, comes late: the job has that value from then on.
     */
    readonly replace: (
      jobId: string,
      credentialId: string,
      announce: (credential: JobCredential) => Effect.Effect<void>
    ) => Effect.Effect<JobCredential, InvalidRequest | InternalError | BudgetExhausted | LeaseExpired>
    /**
     * Begins to revoke everything that an earlier process left unrevoked, its values being gone, and what failed for good then is
     * tried once more. Returns which of the given jobs have lost credentials: they need new ones.
     */
    readonly recover: (liveJobIds: Iterable<string>) => Effect.Effect<ReadonlyArray<string>, StoreError>
    /** The credentials that the upstream refuses to revoke, for operators. */
    readonly failed: Effect.Effect<ReadonlyArray<LedgerRecord>, StoreError>
    /** Everything that may still be valid at the upstream: live, being issued, being revoked, failed. */
    readonly outstanding: Effect.Effect<ReadonlyArray<LedgerRecord>, StoreError>
    /** Tries the failed ones once more, after an operator has changed something; returns how many. */
    readonly retryFailed: Effect.Effect<number, StoreError>
  }
>() {
  /** Over the `CredentialProvisioner` and the `CredentialLedger` that are there, if they are. */
  static readonly layer = (options: CredentialsOptions = {}): Layer.Layer<Credentials, never, Ids> => {
    checkOptions("Credentials", options, optionKinds)
    return Layer.scoped(Credentials, quietly(make(options)))
  }

  /**
   * What an upstream's error means in the protocol (§9.6, §13.7): `BUDGET_EXHAUSTED` for a credential whose budget is used up,
   * `PERMISSION_DENIED` for a model that it may not use, undefined for anything else. Takes errors of HTTP clients and SDKs,
   * response bodies as objects or text, and their causes. Nothing of the upstream's text is repeated.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Credentials } from "effect-arcp/runtime"
   *
   * declare const callModel: Effect.Effect<string, Error>
   * const call = callModel.pipe(Effect.mapError((error) => Credentials.translate(error) ?? error))
   * ```
   */
  static readonly translate: (error: unknown) => BudgetExhausted | PermissionDenied | undefined = translate
}

type Ledger = Context.Tag.Service<CredentialLedger>
type Service = typeof Credentials.Service

const pageSize = 500

const listAll = (ledger: Ledger, states: ReadonlyArray<LedgerState>) =>
  Effect.gen(function* () {
    const out: Array<LedgerRecord> = []
    for (;;) {
      const page = yield* ledger.list({ states, limit: pageSize, after: out.at(-1)?.reference })
      out.push(...page)
      if (page.length < pageSize) return out
    }
  })

/** The states of a key that may still be valid at the upstream. */
const unrevoked: ReadonlyArray<LedgerState> = ["issuing", "live", "revoking", "failed"]

const millis = (input: Duration.DurationInput | undefined, fallback: Duration.DurationInput): number =>
  Duration.toMillis(input ?? fallback)

const make = (options: CredentialsOptions): Effect.Effect<Service, never, Ids | Scope.Scope> =>
  Effect.gen(function* () {
    const provisioner = yield* Effect.serviceOption(CredentialProvisioner)
    const ledger = yield* Effect.serviceOption(CredentialLedger)
    if (Option.isNone(provisioner) || Option.isNone(ledger) || !ledger.value.durable) {
      if (Option.isSome(provisioner)) {
        yield* Effect.logWarning(
          "credentials are not provisioned: without a durable ledger their revocation cannot be guaranteed"
        )
      }
      return unavailable(Option.getOrUndefined(Option.map(ledger, Rows.decodedLedger)))
    }
    return yield* makeAvailable(
      options,
      yield* Ids,
      Rows.decodedLedger(patient(ledger.value, yield* Limits, yield* Meter)),
      provisioning(provisioner.value),
      yield* Auditing
    )
  })

const noneHere = () => new InvalidRequest({ message: "no credentials are provisioned here" })

const unavailable = (ledger: Ledger | undefined): Service => ({
  available: false,
  issue: () => Effect.succeed([]),
  of: () => [],
  hidden: () => [],
  watch: () => undefined,
  wire: () => [],
  revoke: () => undefined,
  rotate: noneHere,
  replace: noneHere,
  recover: () =>
    ledger === undefined
      ? Effect.succeed([])
      : Effect.flatMap(listAll(ledger, unrevoked), (left) =>
          left.length === 0
            ? Effect.succeed([])
            : Effect.as(
                Effect.logError(`${left.length} credentials are not revoked, and there is no provisioner to do it`),
                []
              )
        ),
  failed: ledger === undefined ? Effect.succeed([]) : listAll(ledger, ["failed"]),
  outstanding: ledger === undefined ? Effect.succeed([]) : listAll(ledger, unrevoked),
  retryFailed: Effect.succeed(0)
})

const makeCore = (
  options: CredentialsOptions,
  ids: Context.Tag.Service<Ids>,
  ledger: Ledger,
  provisioner: Context.Tag.Service<CredentialProvisioner>,
  audit: Auditor | undefined
): Effect.Effect<Core, never, Scope.Scope> => {
  const claims = makeClaims()
  const times = {
    attemptTimeout: millis(options.revokeTimeout, "10 seconds"),
    firstDelay: millis(options.retryDelay, "500 millis"),
    maxDelay: millis(options.retryMaxDelay, "5 minutes"),
    settleAfter: millis(options.lateTimeout, "1 minute"),
    concurrency: options.revokeConcurrency ?? 16
  }
  return Effect.map(
    makeRevocations(ledger, provisioner, times, claims.release, audit),
    (revocations): Core => ({
      ids,
      ledger,
      provisioner,
      timeouts: {
        issue: millis(options.issueTimeout, "10 seconds"),
        late: millis(options.lateTimeout, "1 minute"),
        notify: millis(options.notifyTimeout, "5 seconds")
      },
      audit,
      revocations,
      claims,
      live: makeLiveCredentials(revocations)
    })
  )
}

/** Deletes rows of the ledger that are no longer kept for audit, every hour. */
const sweeping = ({ ledger }: Core, retainFor: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.clock, (clock) =>
    Effect.suspend(() => ledger.sweep(clock.unsafeCurrentTimeMillis() - retainFor))
  ).pipe(
    Effect.catchAllCause(() => Effect.logWarning("the ledger of credentials could not be swept")),
    Effect.schedule(Schedule.spaced("1 hour")),
    Effect.forkScoped,
    Effect.asVoid
  )

/** At the end of the scope everything is revoked, within this many milliseconds; the ledger keeps what is left. */
const revokingAtEnd = ({ live, revocations }: Core, within: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.addFinalizer(() =>
    Effect.suspend(() => {
      live.revokeAll()
      // a finalizer is uninterruptible, and a time-out there would wait for what hangs
      return atEnd(Effect.timeoutOption(revocations.drain, within))
    })
  )

/** Begins to revoke those keys that are not this process's own; returns them. */
const takeOver = ({ live, revocations }: Core, records: ReadonlyArray<LedgerRecord>): ReadonlyArray<LedgerRecord> => {
  const foreign = records.filter(({ reference }) => !live.owns(reference))
  for (const record of foreign) revocations.start({ record, handle: record.handle, secret: undefined })
  return foreign
}

/** Which of the given jobs have lost credentials with an earlier process, whose keys are revoked. */
const recover = (core: Core, liveJobIds: Iterable<string>): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  Effect.map(listAll(core.ledger, unrevoked), (left) => {
    const lost = new Set(takeOver(core, left).map(({ jobId }) => jobId))
    return [...new Set(liveJobIds)].filter((jobId) => lost.has(jobId))
  })

const toWire = ({ constraints, endpoint, id, profile, scheme, value }: JobCredential): Credential => ({
  id,
  scheme,
  value: Redacted.value(value),
  endpoint,
  ...(profile === undefined ? {} : { profile }),
  ...(constraints === undefined ? {} : { constraints: { ...constraints } })
})

/** Effect logs what a fiber fails with that nobody observes, at the level Debug; a provisioner's error may quote a value. */
const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withUnhandledErrorLogLevel(effect, Option.none())

const makeAvailable = (
  options: CredentialsOptions,
  ids: Context.Tag.Service<Ids>,
  ledger: Ledger,
  provisioner: Context.Tag.Service<CredentialProvisioner>,
  audit: Auditor | undefined
): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const core = yield* makeCore(options, ids, ledger, provisioner, audit)
    yield* sweeping(core, millis(options.retainRevoked, "7 days"))
    yield* revokingAtEnd(core, millis(options.shutdownTimeout, "5 seconds"))

    const of = (jobId: string): ReadonlyArray<JobCredential> =>
      Array.from(core.live.find(jobId)?.live.values() ?? [], ({ credential }) => credential)

    const replaceIn: Service["replace"] = (jobId, credentialId, announce) =>
      replace(core, jobId, credentialId, announce).pipe(
        quietly,
        Effect.withSpan("arcp.credentials.rotate", { attributes: { jobId, credentialId } })
      )

    return {
      available: true,
      issue: (request) =>
        issue(core, request).pipe(
          quietly,
          Effect.withSpan("arcp.credentials.issue", { attributes: { jobId: request.jobId } })
        ),
      of,
      hidden: (jobId) => core.live.find(jobId)?.hidden() ?? [],
      watch: (jobId) => core.live.find(jobId)?.hidden,
      wire: (jobId) => of(jobId).map(toWire),
      revoke: core.live.revoke,
      rotate: (jobId, credentialId) => replaceIn(jobId, credentialId, () => Effect.void),
      replace: replaceIn,
      recover: (liveJobIds) => recover(core, liveJobIds),
      failed: listAll(ledger, ["failed"]),
      outstanding: listAll(ledger, unrevoked),
      retryFailed: Effect.map(listAll(ledger, ["failed"]), (failed) => takeOver(core, failed).length)
    }
  })

/**
 * Provisioned credentials (ARCP 1.1 §9.8): keys at an upstream that belong to one job, are bounded by its lease, and are
 * revoked when it ends.
 *
 * Responsibility: issues by a `CredentialProvisioner`, keeps the values in memory alone, and answers for the revocation of
 * everything that was ever issued, over restarts, by a durable `CredentialLedger` (§14). Without both it is not
 * `available`, and then `provisioned_credentials` must not be offered.
 *
 * How a runtime calls it: `issue` before `job.accepted`, with `wire` in that message to the submitter alone; `revoke` at every
 * kind of end, also when a submit fails after its issue; `recover` once at the start. The head of `internal/credentials`
 * tells the order of each step and the races that are closed.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Amounts } from "../authority/Amount.js"
import type { Lease } from "../authority/Lease.js"
import {
  type BudgetExhausted,
  type InternalError,
  InvalidRequest,
  type LeaseExpired,
  type PermissionDenied
} from "../protocol/Errors.js"
import { Ids } from "../protocol/Ids.js"
import type { Credential } from "../protocol/Job.js"
import { check as checkOptions } from "../protocol/Options.js"
import { CredentialLedger, type LedgerRecord, type LedgerState } from "../store/CredentialLedger.js"
import * as Rows from "../store/Rows.js"
import type { StoreError } from "../store/Store.js"
import { type Constraints, CredentialProvisioner } from "./CredentialProvisioner.js"
import { atEnd } from "./internal/atEnd.js"
import { makeCore } from "./internal/credentials.js"
import { sha256 } from "./internal/hash.js"
import { patient } from "./internal/patience.js"
import { makeRevocations } from "./internal/revocations.js"
import { provisioning } from "./internal/userCode.js"
import { translate } from "./internal/upstreamErrors.js"
import { Limits } from "./Limits.js"
import { Meter } from "./Metrics.js"

/** A credential of a job. Its value is in memory only, and prints as redacted. */
export interface JobCredential {
  /** `cred_<ulid>`; the same before and after a rotation. */
  readonly id: string
  readonly jobId: string
  readonly scheme: string
  readonly value: Redacted.Redacted<string>
  readonly endpoint: string
  readonly profile: string | undefined
  readonly constraints: Constraints | undefined
}

/** For which job credentials are wanted. */
export interface IssueRequest {
  readonly jobId: string
  readonly principalId: string
  /** `name@version`. */
  readonly agent: string
  /** The job that delegated; its end revokes the child's credentials too (§9.8.2). */
  readonly parentJobId?: string | undefined
  /** The effective lease. */
  readonly lease: Lease
  /** What is left of the job's budget: read at the issue and at each rotation, so that a rotated key is no fresh budget. */
  readonly remaining: Effect.Effect<Amounts>
}

/** A credential has a new value. */
export interface Rotation {
  readonly jobId: string
  /** With the new value. */
  readonly credential: JobCredential
}

/** How long things may take, and how long they are kept. */
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
  /** How long a listener of a rotation may hold up the revocation of the prior value. Default 5 seconds. */
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

/** The credentials of the jobs. */
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
    /** The same as `job.accepted.credentials` shows them, with their values: for the submitter's own session alone (§9.8.1). */
    readonly wire: (jobId: string) => ReadonlyArray<Credential>
    /**
     * Begins to revoke everything of a job and of the jobs that it delegated to, and returns at once. What is being issued or
     * rotated for it meanwhile is revoked when it comes. Harmless when repeated.
     */
    readonly revoke: (jobId: string) => void
    /**
     * Puts a new value behind a credential (§9.8.2): the listeners of `onRotated` hear it, then the prior value is revoked.
     * `INVALID_REQUEST` where the job has no such credential or has ended, `BUDGET_EXHAUSTED` and `LEASE_EXPIRED` where
     * nothing could be issued any more, `INTERNAL_ERROR` where the provisioner fails; then the prior value stays. Where the
     * answer of the provisioner's `rotate` was lost, the prior value may be invalid: another key is issued in its place,
     * repeatedly until there is one or the job ends, and `onRotated` hears of it. Rotations of one credential run one after
     * another; one that cannot begin within the issue time-out fails with `INTERNAL_ERROR`.
     */
    readonly rotate: (
      jobId: string,
      credentialId: string
    ) => Effect.Effect<JobCredential, InvalidRequest | InternalError | BudgetExhausted | LeaseExpired>
    /** Hears of every rotation until the scope closes. The prior value lives until the listener has returned or timed out. */
    readonly onRotated: (
      listener: (rotation: Rotation) => Effect.Effect<void>
    ) => Effect.Effect<void, never, Scope.Scope>
    /**
     * Begins to revoke everything that an earlier process left unrevoked, its values being gone, and what failed for good then is
     * tried once more. Answers which of the given jobs have lost credentials: they need new ones.
     */
    readonly recover: (liveJobIds: Iterable<string>) => Effect.Effect<ReadonlyArray<string>, StoreError>
    /** The credentials that the upstream refuses to revoke, for operators. */
    readonly failed: Effect.Effect<ReadonlyArray<LedgerRecord>, StoreError>
    /** Everything that may still be valid at the upstream: live, being issued, being revoked, failed. */
    readonly outstanding: Effect.Effect<ReadonlyArray<LedgerRecord>, StoreError>
    /** Tries the failed ones once more, after an operator has changed something; answers how many. */
    readonly retryFailed: Effect.Effect<number, StoreError>
  }
>() {
  /** Over the `CredentialProvisioner` and the `CredentialLedger` that are there, if they are. */
  static readonly layer = (options: CredentialsOptions = {}): Layer.Layer<Credentials, never, Ids> => {
    checkOptions("Credentials", options, optionKinds)
    return Layer.scoped(Credentials, make(options))
  }

  /**
   * What an upstream's error means in the protocol (§9.6, §13.7): `BUDGET_EXHAUSTED` for a credential whose budget is used up,
   * `PERMISSION_DENIED` for a model that it may not use, undefined for anything else. Takes errors of HTTP clients and SDKs,
   * response bodies as objects or text, and their causes. Nothing of the upstream's text is repeated.
   *
   * @example
   * callModel.pipe(Effect.mapError((error) => Credentials.translate(error) ?? error))
   */
  static readonly translate: (error: unknown) => BudgetExhausted | PermissionDenied | undefined = translate
}

type Ledger = Context.Tag.Service<CredentialLedger>

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

const open: ReadonlyArray<LedgerState> = ["issuing", "live", "revoking"]

const millis = (input: Duration.DurationInput | undefined, fallback: Duration.DurationInput): number =>
  Duration.toMillis(input ?? fallback)

const make = (options: CredentialsOptions): Effect.Effect<typeof Credentials.Service, never, Ids | Scope.Scope> =>
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
      provisioning(provisioner.value)
    )
  })

const unavailable = (ledger: Ledger | undefined): typeof Credentials.Service => ({
  available: false,
  issue: () => Effect.succeed([]),
  of: () => [],
  wire: () => [],
  revoke: () => undefined,
  rotate: () => new InvalidRequest({ message: "no credentials are provisioned here" }),
  onRotated: () => Effect.void,
  recover: () =>
    ledger === undefined
      ? Effect.succeed([])
      : Effect.flatMap(listAll(ledger, [...open, "failed"]), (left) =>
          left.length === 0
            ? Effect.succeed([])
            : Effect.as(
                Effect.logError(`${left.length} credentials are not revoked, and there is no provisioner to do it`),
                []
              )
        ),
  failed: ledger === undefined ? Effect.succeed([]) : listAll(ledger, ["failed"]),
  outstanding: ledger === undefined ? Effect.succeed([]) : listAll(ledger, [...open, "failed"]),
  retryFailed: Effect.succeed(0)
})

const makeAvailable = (
  options: CredentialsOptions,
  ids: Context.Tag.Service<Ids>,
  ledger: Ledger,
  provisioner: Context.Tag.Service<CredentialProvisioner>
): Effect.Effect<typeof Credentials.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const claims = new Map<string, string>()
    const revocations = yield* makeRevocations(
      ledger,
      provisioner,
      {
        attemptTimeout: millis(options.revokeTimeout, "10 seconds"),
        firstDelay: millis(options.retryDelay, "500 millis"),
        maxDelay: millis(options.retryMaxDelay, "5 minutes"),
        settleAfter: millis(options.lateTimeout, "1 minute"),
        concurrency: options.revokeConcurrency ?? 16
      },
      ({ handle, record, secret }) => {
        for (const key of [
          ...(handle === undefined ? [] : [`handle ${handle}`]),
          ...(secret === undefined ? [] : [`value ${sha256(Redacted.value(secret))}`])
        ]) {
          if (claims.get(key) === record.reference) claims.delete(key)
        }
      }
    )
    const core = makeCore(
      ids,
      ledger,
      provisioner,
      {
        issueTimeout: millis(options.issueTimeout, "10 seconds"),
        lateTimeout: millis(options.lateTimeout, "1 minute"),
        notifyTimeout: millis(options.notifyTimeout, "5 seconds")
      },
      revocations,
      claims
    )

    const retainFor = millis(options.retainRevoked, "7 days")
    yield* Effect.flatMap(Effect.clock, (clock) =>
      Effect.suspend(() => ledger.sweep(clock.unsafeCurrentTimeMillis() - retainFor))
    ).pipe(
      Effect.catchAllCause(() => Effect.logWarning("the ledger of credentials could not be swept")),
      Effect.schedule(Schedule.spaced("1 hour")),
      Effect.forkScoped
    )

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        core.revokeAll()
        // a finalizer is uninterruptible, and a time-out there would wait for what hangs
        return atEnd(Effect.timeoutOption(revocations.drain, millis(options.shutdownTimeout, "5 seconds")))
      })
    )

    const take = (records: ReadonlyArray<LedgerRecord>): number => {
      let taken = 0
      for (const record of records) {
        if (core.owns(record.reference)) continue
        taken++
        revocations.start({ record, handle: record.handle, secret: undefined })
      }
      return taken
    }

    return {
      available: true,
      issue: (request) =>
        core.issue(request).pipe(Effect.withSpan("arcp.credentials.issue", { attributes: { jobId: request.jobId } })),
      of: core.of,
      wire: (jobId) =>
        core.of(jobId).map(({ constraints, endpoint, id, profile, scheme, value }) => ({
          id,
          scheme,
          value: Redacted.value(value),
          endpoint,
          ...(profile === undefined ? {} : { profile }),
          ...(constraints === undefined ? {} : { constraints: { ...constraints } })
        })),
      revoke: core.revoke,
      rotate: (jobId, credentialId) =>
        core
          .rotate(jobId, credentialId)
          .pipe(Effect.withSpan("arcp.credentials.rotate", { attributes: { jobId, credentialId } })),
      onRotated: (listener) =>
        Effect.acquireRelease(
          Effect.sync(() => void core.listeners.add(listener)),
          () => Effect.sync(() => void core.listeners.delete(listener))
        ),
      recover: (liveJobIds) =>
        Effect.map(listAll(ledger, [...open, "failed"]), (left) => {
          const foreign = left.filter(({ reference }) => !core.owns(reference))
          take(foreign)
          const lost = new Set(foreign.map(({ jobId }) => jobId))
          return [...new Set(liveJobIds)].filter((jobId) => lost.has(jobId))
        }),
      failed: listAll(ledger, ["failed"]),
      outstanding: listAll(ledger, [...open, "failed"]),
      retryFailed: Effect.map(listAll(ledger, ["failed"]), take)
    }
  })

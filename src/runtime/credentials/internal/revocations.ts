/**
 * Revoking credentials until they are gone (ARCP 1.1 §9.8.2, §14).
 *
 * Responsibility: each key that is handed to `start` is revoked at the upstream, however often that must be tried, and the
 * ledger says how it stands. One fiber per key; attempts in all are bounded, so that a gateway that hangs does not collect
 * thousands of calls.
 *
 * Order: the ledger says `revoking` before the upstream is asked, and `revoked` after it has agreed. A ledger that cannot be
 * written holds nothing up: the row is then behind, and the next process asks the upstream once more, which is harmless.
 *
 * Races closed: a key is started once, however often that is asked for. A key whose answer was lost may come into being after it was looked
 * for, so the upstream is asked again when the answer can no longer be under way. At shutdown every pause is cut short, one
 * more attempt is made, and what is left stays in the ledger for the next process.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { elapsedOf } from "../../../protocol/Elapsed.js"
import { oneLine } from "../../../protocol/Errors.js"
import type { CredentialLedger, LedgerRecord } from "../../../store/CredentialLedger.js"
import type { Auditor } from "../../kernel/Auditing.js"
import { type CredentialProvisioner, RevokeError } from "../CredentialProvisioner.js"
import { hiding } from "../Values.js"

/** A key at the upstream that this process answers for. */
export interface Held {
  readonly record: LedgerRecord
  /** Undefined where the upstream's answer was lost: then it is looked for by its reference. */
  readonly handle: string | undefined
  /** Taken out of every text that is logged or stored. */
  readonly secret: Redacted.Redacted<string> | undefined
}

export interface RevocationOptions {
  /** Milliseconds that one attempt may take. */
  readonly attemptTimeout: number
  /** Milliseconds before the second attempt; each further pause is twice as long. */
  readonly firstDelay: number
  readonly maxDelay: number
  /** Milliseconds after which a lost answer can no longer be under way. */
  readonly settleAfter: number
  /** Attempts at a time. */
  readonly concurrency: number
}

export interface Revocations {
  /** Begins to revoke; a key that has begun already is left to it. `gone`: the upstream has none, only the ledger is told. */
  readonly start: (held: Held, gone?: boolean) => void
  /** Whether this process is revoking it. */
  readonly owns: (reference: string) => boolean
  /** Runs in the background; `drain` waits for it. */
  readonly spawn: (effect: Effect.Effect<void>) => void
  readonly isClosing: () => boolean
  /** The pause after so many failures; a shutdown cuts it short. */
  readonly backOff: (failures: number) => Effect.Effect<void>
  /** Cuts pauses short and returns when nothing is under way. Nothing is retried from then on. */
  readonly drain: Effect.Effect<void>
}

/** A text for logs and the ledger: one line, without the secrets. */
export const scrub = (text: string, secrets: ReadonlyArray<Redacted.Redacted<string>>): string =>
  oneLine(secrets.length === 0 ? text : hiding(secrets)(text))

/** What a defect is, without what it says: a provisioner's defect may quote anything. */
export const nameOfDefect = (defect: unknown): string =>
  `the provisioner died with ${defect instanceof Error && /^[A-Za-z]{1,64}$/.test(defect.name) ? `a ${defect.name}` : "a defect"}`

/** The facts that a log line names. */
export const annotations = (record: LedgerRecord): Record<string, unknown> => ({
  credentialId: record.credentialId,
  reference: record.reference,
  jobId: record.jobId,
  principalId: record.principalId,
  ...(record.endpoint === undefined ? {} : { endpoint: record.endpoint })
})

/** What the audit trail names of a credential: never its value, nor the handle by which an upstream may know it. */
export const auditedOf = (record: LedgerRecord) => ({
  principal: record.principalId,
  job_id: record.jobId,
  credential_id: record.credentialId,
  reference: record.reference,
  endpoint: record.endpoint,
  profile: record.profile
})

export const makeRevocations = (
  ledger: Context.Tag.Service<CredentialLedger>,
  provisioner: Context.Tag.Service<CredentialProvisioner>,
  options: RevocationOptions,
  onGone: (held: Held) => void,
  audit: Auditor | undefined
): Effect.Effect<Revocations, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fork = yield* FiberSet.makeRuntime<never>()
    const permits = yield* Effect.makeSemaphore(options.concurrency)
    const closed = yield* Deferred.make<void>()
    const idle = yield* Deferred.make<void>()
    const owned = new Set<string>()
    let closing = false
    let running = 0

    const settled = () => {
      if (closing && running === 0) Deferred.unsafeDone(idle, Effect.void)
    }
    const spawn = (effect: Effect.Effect<void>): void => {
      running++
      const done = Effect.sync(() => {
        running--
        settled()
      })
      fork(Effect.ensuring(effect, done))
    }

    const pause = (millis: number) => Effect.raceFirst(Effect.sleep(millis), Deferred.await(closed))
    const backOff = (failures: number) =>
      Effect.flatMap(Random.next, (random) =>
        pause(Math.min(options.maxDelay, options.firstDelay * 2 ** Math.min(failures, 30)) * (0.75 + random / 2))
      )

    const ask = (held: Held): Effect.Effect<void, RevokeError> =>
      Effect.suspend(() => {
        if (held.handle !== undefined) return provisioner.revoke(held.handle)
        if (provisioner.reclaim !== undefined) return provisioner.reclaim(held.record.reference)
        return new RevokeError({
          message: "the upstream's answer was lost and the provisioner cannot reclaim: look for it at the upstream",
          permanent: true
        })
      })

    /** The failure of one attempt, if any. Never waits longer than the time-out, even for a call that cannot be interrupted. */
    const attempt = (held: Held): Effect.Effect<Option.Option<RevokeError>> =>
      ask(held).pipe(
        Effect.disconnect,
        Effect.timeoutFail({
          duration: options.attemptTimeout,
          onTimeout: () =>
            new RevokeError({ message: `no answer within ${options.attemptTimeout} ms`, permanent: false })
        }),
        Effect.as(Option.none<RevokeError>()),
        Effect.catchAllCause((cause) => {
          const failure = Cause.failureOption(cause)
          if (Option.isSome(failure)) return Effect.succeed(failure)
          const defect = Option.getOrUndefined(Cause.dieOption(cause))
          return Effect.succeedSome(new RevokeError({ message: nameOfDefect(defect), permanent: false }))
        }),
        permits.withPermits(1)
      )

    const failed = (record: LedgerRecord, attempts: number, final: boolean, detail: string): void =>
      audit?.add({ type: "credential.revocation_failed", ...auditedOf(record), attempts, final, detail })

    const revoke = (held: Held, gone: boolean) =>
      Effect.gen(function* () {
        let record = held.record
        const write = (changes: Partial<LedgerRecord>) =>
          Effect.flatMap(Clock.currentTimeMillis, (updatedAt) => {
            record = { ...record, ...changes, updatedAt }
            return ledger.put([record])
          })
        const note = (changes: Partial<LedgerRecord>) =>
          write(changes).pipe(
            Effect.catchAll(({ message }) =>
              Effect.logWarning(`the ledger of credentials could not be written: ${message}`)
            )
          )

        if (!gone) {
          yield* note({ state: "revoking" })
          // Wall time counts once, since an earlier process may have made it; from here on it is what passes.
          const age = (yield* Clock.currentTimeMillis) - record.createdAt
          const { settleAfter } = options
          const settles = held.handle === undefined ? Math.min(settleAfter, Math.max(0, settleAfter - age)) : 0
          const elapsed = elapsedOf(yield* Effect.clock)
          const settleAt = elapsed() + settles
          for (let failures = 0; ; ) {
            const last = closing
            const failure = yield* attempt(held)
            if (Option.isNone(failure)) {
              const left = settleAt - elapsed()
              if (left <= 0) break
              if (last) return
              yield* pause(left)
              continue
            }
            const message = scrub(failure.value.message, held.secret === undefined ? [] : [held.secret])
            const attempts = record.attempts + 1
            if (failure.value.permanent) {
              yield* note({ state: "failed", attempts, lastError: message })
              failed(record, attempts, true, message)
              return yield* Effect.logError(`a credential cannot be revoked: ${message}`)
            }
            yield* note({ attempts, lastError: message })
            if (failures === 0 || failures === 9) failed(record, attempts, false, message)
            if (++failures === 1) yield* Effect.logWarning(`a credential is not revoked yet: ${message}`)
            if (failures === 10) {
              yield* Effect.logError(`a credential is still not revoked after ${failures} attempts: ${message}`)
            }
            if (last) return
            yield* backOff(failures - 1)
          }
        }
        onGone(held)
        if (!gone) audit?.add({ type: "credential.revoked", ...auditedOf(record) })
        const revokedAt = yield* Clock.currentTimeMillis
        for (let failures = 0; ; failures++) {
          const last = closing
          const done = yield* Effect.either(
            write({ state: "revoked", revokedAt, attempts: record.attempts + (gone || failures > 0 ? 0 : 1) })
          )
          if (done._tag === "Right") return
          if (failures === 0) {
            yield* Effect.logWarning(`a revoked credential could not be noted in the ledger: ${done.left.message}`)
          }
          if (last) return
          yield* backOff(failures)
        }
      }).pipe(Effect.annotateLogs(annotations(held.record)))

    return {
      start: (held, gone = false) => {
        const { reference } = held.record
        if (owned.has(reference)) return
        owned.add(reference)
        spawn(
          Effect.ensuring(
            revoke(held, gone),
            Effect.sync(() => owned.delete(reference))
          )
        )
      },
      owns: (reference) => owned.has(reference),
      spawn,
      isClosing: () => closing,
      backOff,
      drain: Effect.suspend(() => {
        closing = true
        Deferred.unsafeDone(closed, Effect.void)
        settled()
        return Deferred.await(idle)
      })
    }
  })

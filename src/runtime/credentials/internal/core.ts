/**
 * Which credentials are live, and how they come and go (ARCP 1.1 §9.8.2): the state behind `Credentials`.
 *
 * Order of an issue: ledger row `issuing`, upstream, check of the answer, ledger row `live`, and only then the credential is
 * there for `of` and the caller. Order of a rotation: the same for the new key, then the swap, then the owner is told, then
 * the prior key is revoked.
 *
 * Races closed. The upstream call runs in a fiber of its own: whether its answer is still wanted is decided when it comes,
 * in one synchronous step with taking it up, so a time-out, an interruption, the job's end and a shutdown each lead to the
 * revocation of what comes late, and nothing is both handed out and revoked. Rotations of one credential run one after
 * another: the next begins when the answer of the one before has come, even if its caller has gone. A rotation that changes
 * the key in place has made the prior value invalid whenever it comes, so it is taken up late too, as long as the job lives.
 * Where the answer of a rotation was lost, the value that the job holds may be invalid: another key is issued in its place,
 * repeatedly, until there is one or the job ends. A second rotation would not do: the first may still be under way.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Amount from "../../../authority/Amount.js"
import * as Expiry from "../../../authority/Expiry.js"
import {
  BudgetExhausted,
  InternalError,
  InvalidRequest,
  LeaseExpired,
  permanentError
} from "../../../protocol/Errors.js"
import type { IdsService } from "../../../protocol/Ids.js"
import type { CredentialLedger, LedgerRecord } from "../../../store/CredentialLedger.js"
import {
  type CredentialProvisioner,
  type Issued,
  ProvisionError,
  type ProvisionRequest
} from "../CredentialProvisioner.js"
import type { IssueRequest, JobCredential, Rotation } from "../Credentials.js"
import { sha256 } from "../../kernel/Hash.js"
import * as Text from "../../../protocol/Text.js"
import { mayStore, maxIssued, problem } from "./issued.js"
import { annotations, type Held, nameOfDefect, type Revocations, scrub } from "./revocations.js"

interface Live {
  readonly credential: JobCredential
  readonly held: Held
  readonly request: IssueRequest
  /** Its place in what the provisioner answered. */
  readonly index: number
  /** One rotation at a time. */
  readonly lock: Effect.Semaphore
}

interface Entry {
  readonly jobId: string
  readonly parentJobId: string | undefined
  readonly live: Map<string, Live>
  ended: boolean
  /** Issues and rotations that are under way. */
  pending: number
}

/** A key that the upstream has answered with, and what is wrong with it. */
interface Arrived {
  readonly issued: Issued
  readonly held: Held
  /** Undefined where it may be used. */
  readonly wrong: string | undefined
  /** The key belongs to another credential, with which it is revoked. */
  readonly foreign: boolean
}

export interface CoreOptions {
  /** Milliseconds, as all of these. */
  readonly issueTimeout: number
  readonly lateTimeout: number
  readonly notifyTimeout: number
}

const transient = (message: string) => new InternalError({ message })
const closingError = () => new InternalError({ message: "the runtime is shutting down" })
const notProvisioned = (error?: ProvisionError) =>
  (error?.retryable === false ? permanentError : transient)(
    `the job's credentials could not be provisioned${error?.explanation === undefined ? "" : `: ${error.explanation}`}`
  )

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Whether the upstream may have done what it was asked, though it did not say so. */
const isUncertain = (cause: Cause.Cause<ProvisionError>): boolean => {
  const failure = Cause.failureOption(cause)
  return Option.isNone(failure) || failure.value.uncertain
}

export const makeCore = (
  ids: IdsService,
  ledger: Context.Tag.Service<CredentialLedger>,
  provisioner: Context.Tag.Service<CredentialProvisioner>,
  options: CoreOptions,
  revocations: Revocations,
  /** Handles and digests of values that are live or being revoked, with the reference that they belong to. */
  claims: Map<string, string>
) => {
  const jobs = new Map<string, Entry>()
  const children = new Map<string, Set<string>>()
  const listeners = new Set<(rotation: Rotation) => Effect.Effect<void>>()
  /** References that are issuing or live in this process. */
  const present = new Set<string>()

  const open = (jobId: string, parentJobId: string | undefined): Entry => {
    const found = jobs.get(jobId)
    if (found !== undefined) return found
    const entry: Entry = { jobId, parentJobId, live: new Map(), ended: false, pending: 0 }
    jobs.set(jobId, entry)
    if (parentJobId !== undefined) {
      const siblings = children.get(parentJobId) ?? new Set()
      children.set(parentJobId, siblings.add(jobId))
    }
    return entry
  }

  /** Forgets a job that has ended or has nothing. */
  const closeIfDone = (entry: Entry): void => {
    if (entry.pending > 0 || entry.live.size > 0 || jobs.get(entry.jobId) !== entry) return
    jobs.delete(entry.jobId)
    if (entry.parentJobId === undefined) return
    const siblings = children.get(entry.parentJobId)
    siblings?.delete(entry.jobId)
    if (siblings?.size === 0) children.delete(entry.parentJobId)
  }

  const startRevoking = (held: Held, gone = false): void => {
    revocations.start(held, gone)
    present.delete(held.record.reference)
  }

  const revoke = (jobId: string): void => {
    const entry = jobs.get(jobId)
    // before the entry is forgotten: what is issued for a child of an ended job is not kept either
    for (const child of [...(children.get(jobId) ?? [])]) revoke(child)
    if (entry === undefined) return
    entry.ended = true
    for (const { held } of entry.live.values()) startRevoking(held)
    entry.live.clear()
    closeIfDone(entry)
  }

  const newRow = (request: IssueRequest, credentialId: (now: number) => string): Effect.Effect<LedgerRecord> =>
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

  const provisionRequest = (request: IssueRequest, reference: string, remaining: Amount.Amounts): ProvisionRequest => ({
    reference,
    jobId: request.jobId,
    principalId: request.principalId,
    agent: request.agent,
    parentJobId: request.parentJobId,
    lease: request.lease,
    remaining,
    models: request.lease.grants.get("model.use")?.globs.map((glob) => glob.source),
    expiresAt: request.lease.expiresAt
  })

  /** Takes stock of an answer: a row, a holder and a verdict for each key. The first key has the row that is there. */
  const receive = (
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
        const handleKey = `handle ${issued.handle}`
        const valueKey = `value ${sha256(Redacted.value(issued.value))}`
        const foreign = issued.handle !== "" && claims.has(handleKey) && issued.handle !== prior
        const reused = claims.has(valueKey)
        const wrong =
          (answer.length > maxIssued ? `there are more than ${maxIssued} of them` : undefined) ??
          // Constraints are JSON, but may hold anything.
          Text.attempt(() => problem(issued, asked), "its constraints are malformed") ??
          (foreign ? "its handle is another credential's" : undefined) ??
          (reused ? "its value is another credential's" : undefined)
        present.add(reference)
        const handle = issued.handle === "" ? undefined : issued.handle
        if (!foreign) claims.set(handleKey, reference)
        if (!reused) claims.set(valueKey, reference)
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

  const discard = (arrived: ReadonlyArray<Arrived>): void => {
    for (const { foreign, held } of arrived) startRevoking(held, foreign)
  }

  /** What of an answer is wrong, told to operators. */
  const complain = (arrived: ReadonlyArray<Arrived>) =>
    Effect.forEach(
      arrived.filter(({ wrong }) => wrong !== undefined),
      ({ held, wrong }) =>
        Effect.annotateLogs(
          Effect.logError(`the provisioner answered with a credential that is refused: ${wrong}`),
          annotations(held.record)
        ),
      { discard: true }
    )

  /** The upstream did not answer with keys. */
  const notIssued = (row: LedgerRecord, cause: Cause.Cause<ProvisionError>): Effect.Effect<never, InternalError> => {
    const failure = Option.getOrUndefined(Cause.failureOption(cause))
    const uncertain = isUncertain(cause)
    const held: Held = { record: row, handle: undefined, secret: undefined }
    const why =
      failure !== undefined
        ? scrub(failure.message, undefined)
        : Cause.isInterruptedOnly(cause)
          ? `no answer within ${options.lateTimeout} ms`
          : nameOfDefect(Option.getOrUndefined(Cause.dieOption(cause)))
    return Effect.suspend(() => {
      startRevoking(held, !uncertain)
      return Effect.annotateLogs(Effect.logWarning(`a credential was not issued: ${why}`), annotations(row))
    }).pipe(Effect.zipRight(Effect.fail(notProvisioned(failure))))
  }

  const writeRows = (rows: ReadonlyArray<LedgerRecord>) =>
    Effect.tapError(ledger.put(rows), ({ message }) =>
      Effect.logError(`the ledger of credentials could not be written: ${message}`)
    )

  /** The answer of a call, whose fiber is interrupted when it takes far too long. */
  const late = <A, E>(upstream: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
    Effect.timeoutOption(Fiber.await(upstream), options.lateTimeout).pipe(
      Effect.flatMap(
        Option.match({
          onSome: Effect.succeed,
          // one that cannot be interrupted is waited for all the same: its answer must not be lost
          onNone: () => Effect.zipRight(Fiber.interruptFork(upstream), Fiber.await(upstream))
        })
      ),
      Effect.onInterrupt(() => Fiber.interruptFork(upstream))
    )

  /**
   * Asks the upstream and waits for what `take` makes of the answer. `take` owns the answer, and decides together with `wanted` what
   * becomes of it; `abandon` takes back what was taken up for a caller who has gone in that very moment. Runs where it cannot
   * be interrupted; `restore` is for the wait.
   */
  const obtain = <A, E>(
    restore: Restore,
    entry: Entry,
    row: LedgerRecord,
    call: Effect.Effect<ReadonlyArray<Issued>, ProvisionError>,
    take: (issued: ReadonlyArray<Issued>, wanted: () => boolean) => Effect.Effect<A, E | InternalError>,
    abandon: (taken: A) => void,
    /** What follows when the call failed. */
    failed: (cause: Cause.Cause<ProvisionError>) => Effect.Effect<A, E | InternalError>,
    /** Runs once, when nothing is under way any more. */
    settled: Effect.Effect<void>
  ): Effect.Effect<A, E | InternalError> =>
    Effect.gen(function* () {
      yield* Effect.suspend(() => {
        if (revocations.isClosing()) return closingError()
        return entry.ended ? notProvisioned() : Effect.mapError(writeRows([row]), () => notProvisioned())
      }).pipe(Effect.onError(() => settled))
      const answer = yield* Deferred.make<A, E | InternalError>()
      let wanted = true
      let taken: Option.Option<A> = Option.none()
      entry.pending++
      present.add(row.reference)
      const upstream = yield* Effect.forkDaemon(Effect.interruptible(Effect.suspend(() => call)))
      revocations.spawn(
        late(upstream).pipe(
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
          Effect.ensuring(
            Effect.sync(() => {
              entry.pending--
              closeIfDone(entry)
            })
          ),
          Effect.ensuring(settled)
        )
      )
      return yield* restore(
        Effect.timeoutFail(Deferred.await(answer), {
          duration: options.issueTimeout,
          onTimeout: () => notProvisioned()
        })
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

  const credentialOf = ({ held, issued }: Arrived): JobCredential => ({
    id: held.record.credentialId,
    jobId: held.record.jobId,
    scheme: issued.scheme ?? "bearer",
    value: issued.value,
    endpoint: issued.endpoint,
    profile: issued.profile,
    constraints: issued.constraints
  })

  const writeLive = (arrived: ReadonlyArray<Arrived>) =>
    Effect.isSuccess(writeRows(arrived.map(({ held }) => held.record)))

  const takeIssued =
    (entry: Entry, row: LedgerRecord, asked: ProvisionRequest, request: IssueRequest) =>
    (
      issued: ReadonlyArray<Issued>,
      wanted: () => boolean
    ): Effect.Effect<ReadonlyArray<JobCredential>, InternalError> =>
      Effect.gen(function* () {
        if (issued.length === 0) {
          startRevoking({ record: row, handle: undefined, secret: undefined }, true)
          return []
        }
        const arrived = yield* receive(row, asked, issued, undefined)
        const usable = () => wanted() && !entry.ended && !revocations.isClosing()
        if (arrived.some(({ wrong }) => wrong !== undefined)) {
          discard(arrived)
          yield* complain(arrived)
          return yield* permanentError(notProvisioned().message)
        }
        if (!usable() || !(yield* writeLive(arrived)) || !usable()) {
          discard(arrived)
          return yield* notProvisioned()
        }
        return arrived.map((one, index) => {
          const credential = credentialOf(one)
          entry.live.set(credential.id, {
            credential,
            held: one.held,
            request,
            index,
            lock: Effect.unsafeMakeSemaphore(1)
          })
          return credential
        })
      })

  const issue = (request: IssueRequest): Effect.Effect<ReadonlyArray<JobCredential>, InternalError> =>
    Effect.gen(function* () {
      const remaining = yield* request.remaining
      // every operation of such a job is refused (§9.6), and an upstream may take a cap of zero for none
      if (Amount.firstExhausted(remaining) !== undefined) return []
      const row = yield* newRow(request, (now) => `cred_${ids.unsafeUlid(now)}`)
      const entry = open(request.jobId, request.parentJobId)
      const asked = provisionRequest(request, row.reference, remaining)
      return yield* Effect.uninterruptibleMask((restore) =>
        obtain(
          restore,
          entry,
          row,
          Effect.suspend(() => provisioner.issue(asked)),
          takeIssued(entry, row, asked, request),
          (taken) => {
            for (const { id } of taken) {
              const live = entry.live.get(id)
              if (live === undefined) continue
              entry.live.delete(id)
              startRevoking(live.held)
            }
          },
          (cause) => notIssued(row, cause),
          Effect.void
        )
      ).pipe(Effect.ensuring(Effect.sync(() => closeIfDone(entry))))
    })

  const notify = (rotation: Rotation) =>
    Effect.forEach(
      [...listeners],
      (listener) =>
        listener(rotation).pipe(
          Effect.timeoutOption(options.notifyTimeout),
          Effect.catchAllCause(() => Effect.logError("a listener to rotated credentials failed")),
          Effect.annotateLogs({ credentialId: rotation.credential.id, jobId: rotation.jobId })
        ),
      { concurrency: "unbounded", discard: true }
    )

  const unknownCredential = () =>
    new InvalidRequest({ message: "the job has no such credential, or the job has ended" })

  const takeRotated =
    (entry: Entry, row: LedgerRecord, asked: ProvisionRequest, prior: Live) =>
    (
      issued: ReadonlyArray<Issued>,
      wanted: () => boolean
    ): Effect.Effect<JobCredential, InternalError | InvalidRequest> =>
      Effect.gen(function* () {
        const arrived = yield* receive(row, asked, issued, prior.held.handle)
        const byPlace = arrived[prior.index]
        const chosen =
          byPlace?.issued.endpoint === prior.credential.endpoint
            ? byPlace
            : (arrived.find((one) => one.issued.endpoint === prior.credential.endpoint) ?? arrived[0])
        if (chosen === undefined) {
          startRevoking({ record: row, handle: undefined, secret: undefined }, true)
          return yield* notProvisioned()
        }
        const others = arrived.filter((one) => one !== chosen)
        discard(others)
        yield* complain(arrived)
        const inPlace = chosen.issued.handle === prior.held.handle
        const current = () => !entry.ended && !revocations.isClosing() && entry.live.get(prior.credential.id) === prior
        const usable = () => chosen.wrong === undefined && (wanted() || inPlace) && current()
        // the credential keeps its id, whichever key of the answer is behind it
        const one: Arrived = {
          ...chosen,
          held: { ...chosen.held, record: { ...chosen.held.record, credentialId: prior.credential.id } }
        }
        if (!usable() || !(yield* writeLive([one])) || !usable()) {
          discard([one])
          if (inPlace && current()) {
            // the prior value is dead, and the one that replaced it cannot be handed out
            entry.live.delete(prior.credential.id)
            startRevoking(prior.held, true)
          }
          return yield* current() ? notProvisioned() : unknownCredential()
        }
        const credential = credentialOf(one)
        entry.live.set(credential.id, { ...prior, credential, held: one.held })
        revocations.spawn(
          Effect.ensuring(
            notify({ jobId: entry.jobId, credential }),
            Effect.sync(() => startRevoking(prior.held, inPlace))
          )
        )
        return credential
      })

  /** The request for another key of a credential, where there can be one. */
  const another = (prior: Live) =>
    Effect.gen(function* () {
      const { credential, request } = prior
      const remaining = yield* request.remaining
      const exhausted = Amount.firstExhausted(remaining)
      if (exhausted !== undefined) return yield* new BudgetExhausted({ message: `the ${exhausted} budget is used up` })
      if (Expiry.isOver(request.lease.expiresAt, yield* Clock.currentTimeMillis)) {
        return yield* new LeaseExpired({ message: "the job's lease has expired" })
      }
      const row = yield* newRow(request, () => credential.id)
      return { row, asked: provisionRequest(request, row.reference, remaining) }
    })

  /** Issues another key for a credential whose value may have become invalid, until there is one or the job ends. */
  const replace = (entry: Entry, prior: Live): Effect.Effect<JobCredential, InternalError | InvalidRequest> =>
    Effect.gen(function* () {
      const { id } = prior.credential
      for (let failures = 0; ; failures++) {
        if (failures > 0) yield* revocations.backOff(failures - 1)
        if (revocations.isClosing()) return yield* closingError()
        if (entry.ended || entry.live.get(id) !== prior) return yield* unknownCredential()
        const next = yield* Effect.option(another(prior))
        if (Option.isNone(next)) break
        const { asked, row } = next.value
        if (Exit.isFailure(yield* Effect.exit(writeRows([row])))) continue
        present.add(row.reference)
        const issuing = Effect.suspend(() => provisioner.issue(asked))
        const exit = yield* Effect.flatMap(Effect.forkDaemon(Effect.interruptible(issuing)), late)
        const made = yield* Effect.either(
          Exit.isSuccess(exit)
            ? takeRotated(entry, row, asked, prior)(exit.value, () => true)
            : notIssued(row, exit.cause)
        )
        if (Either.isRight(made)) return made.right
        if (made.left.code === "INTERNAL_ERROR" && !made.left.retryable) break
      }
      entry.live.delete(id)
      startRevoking(prior.held)
      yield* Effect.logError(
        "a job has lost a credential: the answer of a rotation was lost, and no other key is issued"
      )
      return yield* notProvisioned()
    }).pipe(Effect.annotateLogs(annotations(prior.held.record)))

  const rotate = (
    jobId: string,
    credentialId: string
  ): Effect.Effect<JobCredential, InvalidRequest | InternalError | BudgetExhausted | LeaseExpired> =>
    Effect.suspend(() => {
      const lock = jobs.get(jobId)?.live.get(credentialId)?.lock
      if (lock === undefined) return unknownCredential()
      const turn = Effect.gen(function* () {
        const entry = jobs.get(jobId)
        const prior = entry?.live.get(credentialId)
        if (entry === undefined || prior === undefined) return yield* unknownCredential()
        return { entry, prior, ...(yield* another(prior)) }
      })
      return Effect.uninterruptibleMask(
        (restore) =>
          Effect.gen(function* () {
            yield* restore(lock.take(1))
            const release = Effect.asVoid(lock.release(1))
            const { asked, entry, prior, row } = yield* Effect.onError(restore(turn), () => release)
            const { handle } = prior.held
            const { rotate } = provisioner
            const atUpstream = rotate !== undefined && handle !== undefined
            return yield* obtain<JobCredential, InvalidRequest>(
              restore,
              entry,
              row,
              Effect.suspend(() =>
                atUpstream ? Effect.map(rotate(handle, asked), (one) => [one]) : provisioner.issue(asked)
              ),
              takeRotated(entry, row, asked, prior),
              // the owner has been told of the new value: it stays
              () => undefined,
              (cause) =>
                Effect.catchAll(notIssued(row, cause), (error) =>
                  atUpstream && isUncertain(cause) ? replace(entry, prior) : error
                ),
              release
            )
          })
        // also for one that waits for the rotation before it
      ).pipe(Effect.timeoutFail({ duration: options.issueTimeout, onTimeout: () => notProvisioned() }))
    })

  return {
    issue,
    rotate,
    revoke,
    revokeAll: (): void => {
      for (const jobId of [...jobs.keys()]) revoke(jobId)
    },
    of: (jobId: string): ReadonlyArray<JobCredential> =>
      Array.from(jobs.get(jobId)?.live.values() ?? [], ({ credential }) => credential),
    /** Whether a row of the ledger belongs to this process. */
    owns: (reference: string): boolean => present.has(reference) || revocations.owns(reference),
    listeners
  }
}

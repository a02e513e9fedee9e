/**
 * Idempotency keys: a submit that is repeated finds its job (ARCP 1.1 §7.2).
 *
 * Responsibility: a key of a principal stands for one job, for as long as the store keeps it. A repeat is answered with the job's
 * `job.accepted`, makes its session an owner of the job and of the children that it has, and replays what a late owner needs of the result.
 *
 * Order: the key is looked up before anything of the submit is judged; the reply to a repeat precedes the announcements of the children,
 * which precede their events.
 *
 * Races closed here: two submits with one key are one job, since the second waits for the first; a job that ends while its repeat reads
 * the store is known by what it has become; the end of a job may be queued behind the repeat, and is then its next event.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { type ArcpError, DuplicateKey } from "../../protocol/Errors.js"
import { isTerminal } from "../../protocol/Session.js"
import type { DecodedJob, KeptAccepted } from "../../store/Rows.js"
import type { JobRecord, KeyRecord, SegmentHead } from "../../store/Store.js"
import { shuttingDown, storeFailure } from "../kernel/Refusals.js"
import { refuse, type Reply } from "../kernel/Reply.js"
import type { Batch } from "../log/Batch.js"
import type { JobLog } from "../log/JobLog.js"
import type { SessionLog } from "../log/SessionLog.js"
import { replayChunks, replayEnd, runsOf } from "../log/Replay.js"
import { announcement } from "./internal/announced.js"
import { askedHash, sameAsked } from "./internal/asked.js"
import type { Engine } from "./internal/engine.js"
import type { JobAccepted, SubmitRequest } from "./JobScheduler.js"
import type { Running } from "./Running.js"

/** What is asked for, by which session of the log, and how it is answered. */
export interface Submitting {
  readonly session: SessionLog
  readonly request: SubmitRequest
  readonly reply: Reply<JobAccepted>
}

/** An idempotency key that is being used for the first time. */
export interface Key {
  readonly key: string
  readonly hash: string
  /** Called when the job's change is queued: from then on the change releases the key, whatever becomes of the request. */
  readonly queued: () => void
  readonly done: () => void
}

/** Answers with a job's acceptance, as the session that asks may see it. */
type Accept = (submitting: Submitting, record: JobRecord, kept: KeptAccepted) => void

/** A repeat whose key stands for a job. */
interface Repeat {
  readonly submitting: Submitting
  readonly stored: DecodedJob
  readonly running: Running | undefined
  readonly live: JobLog | undefined
  /** Of a job that has ended. */
  readonly heads: ReadonlyArray<SegmentHead>
}

/** The jobs that a job's delegations have started and that have not ended. */
const descendants = (running: Running): ReadonlyArray<JobLog> =>
  [...running.children].flatMap((child) => (child.queued ? [child.live, ...descendants(child)] : []))

/** The keys in use. */
export class Idempotency {
  private readonly inProgress = new Map<string, Deferred.Deferred<void>>()
  private readonly engine: Engine
  private readonly accept: Accept

  constructor(engine: Engine, accept: Accept) {
    this.engine = engine
    this.accept = accept
  }

  /** Answers a submit whose key is known, and calls `create` for a key that is not. */
  submit(
    submitting: Submitting,
    key: string,
    create: (key: Key) => Effect.Effect<void, ArcpError>
  ): Effect.Effect<void, ArcpError> {
    return Effect.suspend(() => {
      const { payload, principal } = submitting.request
      const slot = `${principal.id}\u0000${key}`
      const inProgress = this.inProgress.get(slot)
      if (inProgress !== undefined) {
        return Effect.zipRight(Deferred.await(inProgress), this.submit(submitting, key, create))
      }
      const done = Deferred.unsafeMake<void>(FiberId.none)
      this.inProgress.set(slot, done)
      let queued = false
      const release = () => {
        this.inProgress.delete(slot)
        Deferred.unsafeDone(done, Effect.void)
      }
      const hash = askedHash(payload)
      return this.lookUp(submitting, key, hash).pipe(
        Effect.flatMap((repeated) => {
          if (repeated) return Effect.sync(release)
          return create({ key, hash, queued: () => void (queued = true), done: release })
        }),
        Effect.onExit((exit) => (exit._tag === "Failure" && !queued ? Effect.sync(release) : Effect.void))
      )
    })
  }

  /** Whether the key stood for a job, whose repeat this is now. */
  private lookUp(submitting: Submitting, key: string, hash: string): Effect.Effect<boolean, ArcpError> {
    const { deadlines, store } = this.engine
    // Before anything of the request is judged: what a deploy changes does not keep a submit from its job.
    return Effect.flatMap(Effect.mapError(store.key(submitting.request.principal.id, key), storeFailure), (found) =>
      Option.isSome(found) && found.value.expiresAt > deadlines.wall()
        ? this.repeat(submitting, found.value, hash)
        : Effect.succeed(false)
    )
  }

  /** Answers a submit whose key is known; false where its job is gone. */
  private repeat(submitting: Submitting, key: KeyRecord, hash: string): Effect.Effect<boolean, ArcpError> {
    const { drain, jobs, store } = this.engine
    return Effect.gen(this, function* () {
      // Before the store is read: a job that ends meanwhile is known by what it has become, and not by what was read.
      const live = jobs.get(key.jobId)?.live
      const found = yield* Effect.mapError(store.job(key.jobId), storeFailure)
      if (Option.isNone(found)) return false
      const { record, state } = found.value
      if (!sameAsked(key.parametersHash, hash, submitting.request.payload, record)) {
        return yield* new DuplicateKey({
          message: `idempotency_key: this key stands for ${record.jobId}, which was submitted with other parameters`,
          details: { job_id: record.jobId }
        })
      }
      const running = jobs.get(record.jobId)
      // A job that is left to the next process can be asked for there.
      if (running === undefined ? live === undefined && !isTerminal(state.status) : drain.isLeft(running)) {
        return yield* shuttingDown
      }
      const heads =
        live === undefined
          ? yield* Effect.mapError(store.segmentHeads(record.jobId, 1, state.lastJobSeq), storeFailure)
          : []
      this.answer({ submitting, stored: found.value, running, live, heads })
      return true
    })
  }

  private answer(repeat: Repeat): void {
    const { stored, submitting } = repeat
    const { record } = stored
    const { eventLog } = this.engine
    eventLog.change({
      write: (batch) => {
        batch.reply(() => this.accept(submitting, record, stored.values.accepted))
        this.write(repeat, batch)
      },
      failed: (error) => refuse(submitting.reply, storeFailure(error))
    })
  }

  private write({ heads, live, running, stored, submitting }: Repeat, batch: Batch): void {
    const { session } = submitting
    const { record, state } = stored
    const last = state.lastJobSeq
    if (live === undefined) return replayEnd(batch, session, record, runsOf(heads), 0, last)
    // By what is in the log so far: the end of a job that is ending may be queued behind this change.
    if (batch.hasEnd(live)) {
      return replayEnd(batch, session, live, live.gated, live.trimmedTo, live.assigned)
    }
    // Its children's events belong to the same stream.
    for (const job of [live, ...(running === undefined ? [] : descendants(running))]) {
      if (session.removed || job.owners.includes(session)) continue
      // The rest of the result is of no use without its beginning.
      if (!job.attachments.has(session.sessionId)) {
        replayChunks(batch, session, job, job.gated, job.trimmedTo + 1, job.assigned)
      }
      batch.addOwner(job, session)
      // Behind the answer, and before its events.
      if (job !== live) batch.tell(session, () => announcement(this.engine, session, job))
    }
  }
}

/**
 * What a client waits for and may never come: missing numbers (§8.3), and news of jobs after a resume, a repeat or the
 * announcement that they have ended.
 *
 * Order: a job that is silent for two seconds is looked for in the listing, or asked for by a subscribe. One that runs is looked
 * for again, ever more rarely; one that has ended, or that the runtime does not know, is asked for with its history, and ends in
 * a typed error where its end does not come then. A silent job on a runtime that offers neither goes on waiting: nothing tells
 * it from one that works.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type ArcpError, Cancelled, InternalError, JobNotFound, Timeout } from "../../protocol/Errors.js"
import type * as Message from "../../protocol/Message.js"
import { isTerminal } from "../../protocol/Session.js"
import { closeCodes, type Connection } from "../../transport/Connection.js"
import { type ClientError, ResultInvalid } from "../ClientError.js"
import type { Core } from "./core.js"
import * as encode from "./encode.js"
import type { ClientJob } from "./job.js"
import { subscribe } from "./recovery.js"
import type { Suspect } from "./suspect.js"

const tick = "1 second"
/** Ticks that a number may be missing, and where a subscribe may still explain it. */
const gapTicks = 2
const heldGapTicks = 10
/** Ticks after which a running job is looked for again, at most. */
const maxPatience = 60
/** Ticks that an end may take after it was asked for. */
const endPatience = 3
/** Ticks that a runtime that sends other frames may leave a question about a job unanswered, and one that sends nothing. */
const maxIgnored = 30
const maxUnanswered = 300
/** Rows of a page of the listing, and pages that are read. */
const pageSize = 500
const maxPages = 20

/** Runs `then` once the core calls; at once where it already would. */
const called = (isSo: () => boolean, set: (wake: (() => void) | undefined) => void): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (isSo()) return resume(Effect.void)
    set(() => {
      set(undefined)
      resume(Effect.void)
    })
    return Effect.sync(() => set(undefined))
  })

/** Ends the connection when a number stays missing; `onGap` is told which. Numbers that are not read yet are not missing. */
const watchNumbers = (
  core: Core,
  connection: Connection,
  isPaused: () => boolean,
  onGap: (expected: number) => void
): Effect.Effect<never> => {
  const opened = called(
    () => core.intake.numbers.open,
    (wake) => core.intake.whenOpen(wake)
  )
  // In ticks and not in one wait: a process that stood still reads what has come meanwhile before it judges.
  const watch = (missing: number, ticks: number): Effect.Effect<void> =>
    Effect.zipRight(
      Effect.sleep(tick),
      Effect.suspend(() => {
        if (!core.intake.numbers.open || core.lastSeq + 1 !== missing) return Effect.void
        if (isPaused()) return watch(missing, 0)
        core.intake.releaseAnswered()
        if (ticks + 1 < (core.intake.holdsFrames ? heldGapTicks : gapTicks)) return watch(missing, ticks + 1)
        if (!core.intake.numbers.open || core.lastSeq + 1 !== missing) return Effect.void
        onGap(missing)
        return connection.close(closeCodes.policy, `event ${missing} did not come`)
      })
    )
  return Effect.forever(
    Effect.zipRight(
      opened,
      Effect.suspend(() => watch(core.lastSeq + 1, 0))
    )
  )
}

const isOver = (status: Suspect["status"]): status is NonNullable<Suspect["status"]> =>
  status === "missing" || (status !== undefined && isTerminal(status))

/** How a job ended whose end the runtime does not send. */
const endOf = (jobId: string, status: Suspect["status"]): ArcpError | ClientError => {
  switch (status) {
    case "missing":
      return new JobNotFound({ message: `the runtime does not know the job ${jobId} any more` })
    case "cancelled":
      return new Cancelled({ message: `the job ${jobId} was cancelled` })
    case "timed_out":
      return new Timeout({ message: `the job ${jobId} exceeded its time` })
    case "error":
      return new InternalError({
        message: `the job ${jobId} failed, and the runtime does not say why`,
        retryable: false
      })
    default:
      return new ResultInvalid({
        jobId,
        message: `the job ended as ${status ?? "unknown"}, and the runtime does not send its result again`
      })
  }
}

/** What the connection's owner offers. */
export interface WatchOptions {
  /** Whether nothing is read for the moment, since consumers are behind. */
  readonly isPaused: () => boolean
  readonly onGap: (expected: number) => void
  readonly flush: () => void
  /** Publishes what a job's loss has made known. */
  readonly publish: Effect.Effect<void>
}

/** Asks for silent jobs; `flush` sends what is asked. */
const watchJobs = (core: Core, { flush, isPaused, publish }: WatchOptions): Effect.Effect<never> => {
  let listing = false
  /** Whether a suspicion still counts when the answer comes. */
  const counts = (job: ClientJob, suspect: Suspect): boolean => core.registry.suspects.get(job) === suspect

  const askHistory = (job: ClientJob, suspect: Suspect): void => {
    suspect.asksHistory()
    if (!core.features.has("subscribe")) {
      if (suspect.status === "missing") return core.lose(job, endOf(job.jobId, suspect.status))
      suspect.told()
      suspect.waitsFor(endPatience)
      const { recovery } = job
      // The runtime knows the job, so that its key starts no second one.
      if (recovery._tag === "owner") {
        const ignored = (): void => {}
        core.request({
          type: "job.submit",
          request: recovery.submit,
          recovers: true,
          answered: ignored,
          failed: ignored
        })
      }
      return
    }
    suspect.ask("history", core.lastIn)
    // An observer's numbers are not those of the owner's session: all is asked for, and what has been seen is passed over.
    const isOwner = job.recovery._tag === "owner"
    if (!isOwner) job.passOverSeen()
    subscribe(
      core,
      job,
      job.recovery._tag === "observer" ? job.recovery.from : job.lastSeq,
      !isOwner,
      () => {
        suspect.told()
        suspect.waitsFor(isOver(suspect.status) ? endPatience : suspect.patience * 2)
      },
      (error) => {
        suspect.told()
        if (!counts(job, suspect)) return
        const isGone = "code" in error && error.code === "JOB_NOT_FOUND"
        if (isGone && !isOver(suspect.status)) core.lose(job, error)
        else if (isOver(suspect.status)) core.lose(job, endOf(job.jobId, suspect.status))
      }
    )
  }

  /** What the runtime says of a job that was looked for. */
  const told = (job: ClientJob, suspect: Suspect, status: Suspect["status"]): void => {
    suspect.says(status)
    if (isOver(status)) askHistory(job, suspect)
    else suspect.waitsFor(Math.min(suspect.patience * 2, maxPatience))
  }

  const looked = (): ReadonlyArray<readonly [ClientJob, Suspect]> =>
    [...core.registry.suspects].filter(([, { waits }]) => waits === "listing")

  const list = (cursor: string | undefined, page: number): void => {
    const request = encode.request({ limit: pageSize, cursor })
    if (Either.isLeft(request)) return
    listing = true
    core.request({
      type: "session.list_jobs",
      request: request.right,
      recovers: true,
      answered: (message) => {
        listing = false
        const { jobs, next_cursor: next } = message.payload as Message.RuntimePayload<"session.jobs">
        const rows = new Map(jobs.map((row) => [row.job_id, row.status]))
        for (const [job, suspect] of looked()) {
          const status = rows.get(job.jobId)
          if (status !== undefined) told(job, suspect, status)
        }
        if (looked().length > 0 && next !== null && next !== cursor && page < maxPages) list(next, page + 1)
        else for (const [job, suspect] of looked()) told(job, suspect, "missing")
        flush()
      },
      failed: () => {
        listing = false
        for (const [job, suspect] of looked()) {
          suspect.told()
          if (core.features.has("subscribe") && job.recovery._tag === "owner") askHistory(job, suspect)
          else core.registry.suspects.delete(job)
        }
        flush()
      }
    })
  }

  /** Fails what was asked about a job, and the job where that did not. */
  const giveUp = (job: ClientJob, error: ArcpError): void => {
    for (const [id, pending] of [...core.pending]) {
      if (pending.recovers !== true || pending.jobId !== job.jobId) continue
      core.pending.delete(id)
      pending.failed(error)
    }
    if (job.end === undefined) core.lose(job, error)
  }

  const look = (job: ClientJob, suspect: Suspect): void => {
    if (core.jobs.get(job.jobId) !== job || job.end !== undefined) {
      core.registry.suspects.delete(job)
      return
    }
    if (suspect.hasNews(job.changes)) {
      if (!isOver(suspect.status)) core.registry.suspects.delete(job)
      return
    }
    suspect.tick()
    if (suspect.waits !== "news") {
      if (suspect.silent < (suspect.isIgnored(core.lastIn) ? maxIgnored : maxUnanswered)) return
      const message = `the runtime does not say what became of the job ${job.jobId}`
      return giveUp(job, new InternalError({ message, retryable: true }))
    }
    if (suspect.silent < suspect.patience) return
    suspect.countAnew()
    const isOwner = job.recovery._tag === "owner"
    if (isOver(suspect.status)) {
      if (suspect.asked) core.lose(job, endOf(job.jobId, suspect.status))
      else askHistory(job, suspect)
    } else if (suspect.status !== undefined && !suspect.asked && isOwner && core.features.has("subscribe")) {
      askHistory(job, suspect)
    } else if (core.features.has("list_jobs")) suspect.ask("listing", core.lastIn)
    else if (core.features.has("subscribe") && isOwner) askHistory(job, suspect)
    else core.registry.suspects.delete(job)
  }

  const suspected = called(
    () => core.registry.suspects.size > 0 || core.intake.holdsFrames,
    (wake) => core.registry.whenWatched(wake)
  )
  return Effect.forever(
    suspected.pipe(
      Effect.zipRight(Effect.sleep(tick)),
      Effect.zipRight(
        Effect.sync(() => {
          // While nothing is read, nothing has stayed away.
          if (isPaused()) return
          core.intake.releaseOld()
          for (const [job, suspect] of [...core.registry.suspects]) look(job, suspect)
          if (!listing && looked().length > 0) list(undefined, 1)
          flush()
        })
      ),
      Effect.zipRight(Effect.suspend(() => publish))
    )
  )
}

/** Runs as long as a connection does. */
export const watch = (core: Core, connection: Connection, options: WatchOptions): Effect.Effect<void> =>
  Effect.all([watchNumbers(core, connection, options.isPaused, options.onGap), watchJobs(core, options)], {
    concurrency: 2,
    discard: true
  })

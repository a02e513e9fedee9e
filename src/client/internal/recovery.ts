/**
 * Taking the jobs of a lost session up in a new one.
 *
 * Responsibility: which requests recover a job, and when it is lost. `succession` decides when a session is replaced.
 *
 * Order: each live job is first observed from the last event that was seen, then submitted again under its key, so that nothing
 * is missed between the two. Where the observation stands, a refused submit does not lose the job: it goes on as an observed one.
 */
import * as Either from "effect/Either"
import type { ArcpError } from "../../protocol/Errors.js"
import type { ClientError } from "../ClientError.js"
import type { Core } from "./core.js"
import * as encode from "./encode.js"
import { startsAt, subscribedOf } from "./history.js"
import type { ClientJob } from "./job.js"

/** Subscribes to a job from a number of its owner's session on, with what came before. */
export const subscribe = (
  core: Core,
  job: ClientJob,
  from: number,
  /** Whether what was seen may come again under other numbers. */
  anew: boolean,
  answered: () => void,
  failed: (error: ArcpError | ClientError) => void
): void => {
  const { jobId } = job
  const request = encode.request({ job_id: jobId, history: true, from_event_seq: from }, { job_id: jobId })
  if (Either.isLeft(request)) return failed(request.left)
  core.request({
    type: "job.subscribe",
    request: request.right,
    jobId,
    recovers: true,
    answered: (message) => {
      const said = subscribedOf(message)
      startsAt(job, said, from, anew)
      // Without a history, no event comes again.
      if (said.replayed === false || said.replayed === 0) job.nothingFollows()
      else if (anew && job.joined) job.expectOverlap()
      answered()
    },
    failed
  })
}

const recoverJob = (core: Core, job: ClientJob, done: (lost: boolean) => void): void => {
  const lose = (error: ArcpError | ClientError): void => {
    core.lose(job, error)
    done(true)
  }
  const { recovery } = job
  const submitAgain = (refused: (error: ArcpError | ClientError) => void): void => {
    if (recovery._tag === "observer" || job.end !== undefined) return done(false)
    core.request({
      type: "job.submit",
      request: recovery.submit,
      jobId: job.jobId,
      recovers: true,
      answered: () => {
        job.takenUp()
        done(false)
      },
      failed: refused
    })
  }
  if (!core.features.has("subscribe")) {
    if (recovery._tag === "owner") core.registry.suspect(job).ask("history", core.lastIn)
    return submitAgain(lose)
  }
  // The runtime counts in the session that owned the job first. Where the previous session may not be that one, the whole history
  // is asked for, and seen events are passed over.
  const anew = recovery._tag === "observer" || job.recovering || job.foreign
  const from = recovery._tag === "observer" && !job.foreign ? recovery.from : anew ? 0 : job.lastSeq
  job.takeUp(anew)
  // Where no answer comes, the job is lost in the end.
  const suspect = core.registry.suspect(job)
  suspect.ask("history", core.lastIn)
  const answered = (): void => {
    suspect.told()
    submitAgain(() => done(false))
  }
  subscribe(core, job, from, anew, answered, lose)
}

/** Takes every live job up. `done` is called once, with how many there were and how many the runtime no longer knew. */
export const recover = (core: Core, done: (jobs: number, lost: number) => void): void => {
  const jobs = [...core.jobs.values()]
  let left = jobs.length
  let lost = 0
  if (left === 0) return done(0, 0)
  for (const job of jobs) {
    recoverJob(core, job, (isLost) => {
      if (isLost) lost++
      if (--left === 0) done(jobs.length, lost)
    })
  }
}

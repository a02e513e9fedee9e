/** What other rooms may ask of the jobs of this process: a thin view of the job engine. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { StoreError } from "../../store/Store.js"
import type { JobLog } from "../log/JobLog.js"
import type { RecoveredJobLog } from "../log/Recovery.js"
import { JobEngine } from "./JobEngine.js"
import type { Running } from "./Running.js"

/** The jobs that have not ended. */
export class JobRunner extends Context.Tag("effect-arcp/runtime/JobRunner")<
  JobRunner,
  {
    readonly running: (jobId: string) => Running | undefined
    readonly live: (jobId: string) => JobLog | undefined
    /** Whether a job is being left to the next process: nothing is to be asked of it here. */
    readonly left: (running: Running) => boolean
    /** Recovers the jobs that an earlier process left unfinished, then ends each or starts it again. */
    readonly recover: (jobs: ReadonlyArray<RecoveredJobLog>) => Effect.Effect<void, StoreError>
    /**
     * Starts no more jobs, gives those that run this many milliseconds, then ends them, or leaves them to the next process
     * where their agents run again and the store is durable. Returns when no job is left.
     */
    readonly drain: (millis: number) => Effect.Effect<void>
  }
>() {
  static readonly layer: Layer.Layer<JobRunner, never, JobEngine> = Layer.effect(
    JobRunner,
    Effect.map(JobEngine, ({ drain, jobs, recovery }) => ({
      running: (jobId) => jobs.get(jobId),
      live: (jobId) => jobs.get(jobId)?.live,
      left: (running) => drain.isLeft(running),
      recover: (left) => recovery.recover(left),
      drain: (millis) => drain.drain(millis)
    }))
  )
}

/**
 * The jobs of one client: the live ones, and the ids that are remembered of others.
 *
 * Responsibility: a job becomes known, is suspected to be silent for ever, ends, or is lost. Its events are kept by
 * the job itself (`job`); `intake` decides which events it is given.
 *
 * Order: an end settles the cancel that waits for it, in the same step. Races: frames of a job after its end, or after
 * its observation was ended, are dropped; a job that is made known again starts anew.
 */
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobStatus } from "../../protocol/Session.js"
import type { ClientError } from "../ClientError.js"
import type { JobFacts } from "../JobFacts.js"
import { Behind } from "./behind.js"
import type { Bounds } from "./bounds.js"
import { Changed } from "./changed.js"
import { Cursor } from "./cursor.js"
import { endOf, type Terminal } from "./ends.js"
import { ClientJob, type Recovery } from "./job.js"
import type { Matcher } from "./match.js"
import { Remembered } from "./remembered.js"
import { Suspect } from "./suspect.js"

/** Job ids that are remembered: of jobs that have been known, and of those that have ended. */
const maxRemembered = 16_384
/** Ticks of `silence` that a job may be silent before it is asked for. */
const patience = 2
/** Observations whose end the runtime has not confirmed, at most. */
const maxUnobserved = 1_024

/** The jobs of one client. */
export class Registry {
  readonly jobs = new Map<string, ClientJob>()
  /** Jobs that may be silent for ever: those of a resumed session, repeats, and those whose end was announced (see `silence`). */
  readonly suspects = new Map<ClientJob, Suspect>()
  /** Jobs of which a reader is behind. */
  readonly behind = new Behind(this.jobs)
  readonly changed = new Changed(this.behind)
  /** What the program has processed. */
  readonly cursor = new Cursor()
  /** Jobs that are no longer observed; what the runtime still sends of them is dropped. */
  private readonly unobserved = new Set<string>()
  private readonly known = new Remembered(maxRemembered)
  private readonly ended = new Remembered(maxRemembered)
  private readonly cancelling = new Remembered(maxRemembered)
  private readonly matcher: Matcher
  private readonly bounds: Bounds
  private adopted = false
  private wake: (() => void) | undefined = undefined

  constructor(matcher: Matcher, bounds: Bounds) {
    this.matcher = matcher
    this.bounds = bounds
  }

  /** Whether it has been accepted or observed. */
  isKnown(jobId: string): boolean {
    return this.known.has(jobId)
  }

  /** Whether no job has been known yet. */
  get isEmpty(): boolean {
    return this.known.size === 0
  }

  /** Remembers a job of which the program has no handle. */
  note(jobId: string): void {
    this.known.add(jobId)
  }

  /** Whether the frames of a job are dropped: it has ended, or is no longer observed. */
  isOver(jobId: string): boolean {
    return this.ended.has(jobId) || this.unobserved.has(jobId)
  }

  /** Whether a job has been made known since this was last asked. */
  takeAdopted(): boolean {
    const { adopted } = this
    this.adopted = false
    return adopted
  }

  /** Makes a job known that is unknown or lost. `before`: how far an earlier process has read; `history`: its whole history follows. */
  add(jobId: string, recovery: Recovery, before: JobFacts | undefined, history: boolean): ClientJob {
    const job = new ClientJob(jobId, recovery, this.bounds)
    this.jobs.set(jobId, job)
    this.unobserved.delete(jobId)
    this.adopted = true
    this.ended.delete(jobId)
    this.known.add(jobId)
    if (before !== undefined) {
      job.goOn(before, history)
      this.cursor.opened(job)
    }
    return job
  }

  /** A stream of the job was opened. */
  opened(job: ClientJob): void {
    this.behind.look(job)
    this.cursor.opened(job)
  }

  /** Ends an observation: later frames are dropped. */
  unobserve(jobId: string): void {
    if (this.unobserved.size >= maxUnobserved) this.unobserved.delete(this.unobserved.values().next().value ?? "")
    this.unobserved.add(jobId)
  }

  /** The runtime has ended the observation too. */
  unobservedBy(jobId: string): void {
    this.unobserved.delete(jobId)
  }

  /** Observations whose end the runtime has not confirmed. */
  get unconfirmed(): Iterable<string> {
    return this.unobserved
  }

  /** A job is to be cancelled. Returns whether it may still run: its end settles the cancel. */
  cancels(jobId: string): boolean {
    if (this.ended.has(jobId)) return false
    this.cancelling.add(jobId)
    return true
  }

  /** The job has ended. */
  finish(job: ClientJob, message: Terminal): void {
    const { jobId } = job
    job.finish(endOf(jobId, message))
    // Handles keep the job; the client need not, once it has ended.
    this.jobs.delete(jobId)
    this.suspects.delete(job)
    this.changed.add(job)
    this.ended.add(jobId)
    if (this.cancelling.delete(jobId)) this.matcher.endCancels(jobId, job.end)
  }

  /** The client will hear no more of a job. */
  lose(job: ClientJob, error: ArcpError | ClientError): void {
    job.finish({ _tag: "lost", error })
    if (this.jobs.get(job.jobId) === job) this.jobs.delete(job.jobId)
    this.suspects.delete(job)
    if (this.cancelling.delete(job.jobId)) this.matcher.endCancels(job.jobId, job.end)
    job.notify()
  }

  /** Asks for a job, unless a frame of it arrives in the next seconds. `status`: the one that its end was announced with. */
  suspect(job: ClientJob, status?: JobStatus): Suspect {
    const suspect = this.suspects.get(job) ?? new Suspect(job, patience)
    suspect.suspected(status)
    this.suspects.set(job, suspect)
    this.watch()
    return suspect
  }

  /** Sets a function that runs once when there is something to watch (see `silence`). */
  whenWatched(wake: (() => void) | undefined): void {
    this.wake = wake
  }

  /** There is something to watch: a suspect, or frames that are held. */
  watch(): void {
    this.wake?.()
  }

  /** The session goes on over another connection: each job may have ended meanwhile. */
  resumed(): void {
    this.suspects.clear()
    for (const job of this.jobs.values()) this.suspect(job)
  }

  /** The session is gone; jobs stay, and get their numbers from the next one. */
  forgetSession(): void {
    this.unobserved.clear()
    this.suspects.clear()
    for (const job of this.jobs.values()) job.numbersAre("session")
    this.cursor.reset(this.jobs.values())
  }

  /** Notifies the consumers of every job that has changed; once for many frames. */
  flush(): void {
    if (this.changed.notify()) this.cursor.touch()
  }

  /** Loses every job: the client is at its end. */
  end(error: ArcpError | ClientError): void {
    for (const job of this.jobs.values()) {
      job.finish({ _tag: "lost", error })
      this.changed.add(job)
    }
    this.jobs.clear()
    this.suspects.clear()
    this.changed.notify()
    // Also without a job: streams of the session's facts end now.
    this.cursor.touch()
  }
}

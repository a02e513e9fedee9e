/**
 * A job of which nothing may come any more.
 *
 * Responsibility: how far the suspicion has come, counted in ticks; `silence` decides what follows from it.
 */
import type { JobStatus } from "../../protocol/Session.js"
import type { ClientJob } from "./job.js"

/** How far a suspicion has come; counted in ticks. */
export class Suspect {
  /** What the runtime says that the job is; `missing` where it knows of none. */
  status: JobStatus | "missing" | undefined = undefined
  /** What is being waited for: news of the job, or the runtime's answer. */
  waits: "news" | "listing" | "history" = "news"
  /** Whether its history has been asked for. */
  asked = false
  /** Ticks that it has been silent, and after how many it is asked for. */
  silent = 0
  patience: number
  /** When the last frame had come as it was asked for. */
  private askedAt = 0
  /** The job's changes when it was last looked at. */
  seen: number

  constructor(job: ClientJob, patience: number) {
    this.seen = job.changes
    this.patience = patience
  }

  /** It is suspected, perhaps once more. `status`: the one that its end was announced with. */
  suspected(status: JobStatus | undefined): void {
    this.status = status ?? this.status
    this.silent = 0
  }

  /** The runtime is asked; `lastIn` is when its last frame came. */
  ask(what: "listing" | "history", lastIn: number): void {
    this.waits = what
    this.silent = 0
    this.askedAt = lastIn
  }

  /** The runtime has answered. */
  told(): void {
    this.waits = "news"
    this.silent = 0
  }

  /** The runtime has answered with the status of the job. */
  says(status: Suspect["status"]): void {
    this.status = status
    this.told()
  }

  /** Its history is asked for. */
  asksHistory(): void {
    this.asked = true
  }

  /** Sets after how many silent ticks it is asked for. */
  waitsFor(ticks: number): void {
    this.patience = ticks
  }

  /** Whether the job has changed since this was last asked. `changes`: how often it has, in all. */
  hasNews(changes: number): boolean {
    if (changes === this.seen) return false
    this.seen = changes
    this.silent = 0
    return true
  }

  /** One more tick has passed without news. */
  tick(): void {
    this.silent++
  }

  /** Something is done about the silence, which counts anew. */
  countAnew(): void {
    this.silent = 0
  }

  /** Whether the runtime has sent something since it was asked: then it is there, and does not answer. */
  isIgnored(lastIn: number): boolean {
    return lastIn !== this.askedAt
  }
}

/**
 * A job as the client keeps it: its events in arrival order, the chunks of its result, its end, and who consumes it.
 *
 * Plain mutable state, changed by synchronous code only. Events are appended once; every consumer reads them by its own
 * position, so that several streams of one handle see the same.
 */
import type { Accepted, JobError, Result } from "../../protocol/Job.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobEvent } from "../../protocol/Event.js"
import type { ClientError } from "../ClientError.js"
import { Copies } from "./numbers.js"

/** How a job ended. */
export type End =
  | { readonly _tag: "result"; readonly payload: Result }
  | { readonly _tag: "error"; readonly payload: JobError; readonly error: ArcpError }
  /** The client will hear no more of it. */
  | { readonly _tag: "lost"; readonly error: ArcpError | ClientError }

/** How to take the job up again in a new session. */
export type Recovery =
  /** `submit` is the encoded request of its submit, with its key: the same bytes are sent again. */
  | { readonly _tag: "owner"; readonly submit: string }
  /** Subscribed from this number of the owner's session. */
  | { readonly _tag: "observer"; readonly from: number }

/** A position in a job's events. */
export interface Consumer {
  at: number
}

/** The client's side of one job. */
export class ClientJob {
  readonly jobId: string
  accepted: Accepted | undefined
  readonly recovery: Recovery
  /** The events from number `dropped` on. */
  events: Array<JobEvent> = []
  dropped = 0
  /** How many events have arrived, in all sessions. */
  received = 0
  /** Replayed events to pass over, since they have been seen under another session's numbers. */
  skip = 0
  /** Whether a new session has begun to take it up and has not ended that: whose numbers count is not known then. */
  recovering = false
  /** The highest session number that an event of this job had. */
  lastSeq = 0
  /**
   * Whose numbers its frames have: the session's, or a subscription's own. While it is asked for by a subscribe they are
   * held, since only the answer tells.
   */
  numbering: "session" | "apart" | "held" = "session"
  readonly copies = new Copies()
  readonly consumers = new Set<Consumer>()
  end: End | undefined = undefined
  /** The result as it streams in. */
  resultId: string | undefined = undefined
  chunks: Array<{ readonly data: string; readonly encoding: "utf8" | "base64" }> = []
  nextChunk = 0
  /** How often the result began anew, as it does when the job is started again after a restart of the runtime. */
  restarts = 0
  chunksBroken = false
  /** Whether the chunk has come that says that it is the last. */
  complete = false
  /** How often what waits for this job has been told. */
  changes = 0
  private waiters: Array<() => void> = []

  constructor(jobId: string, recovery: Recovery) {
    this.jobId = jobId
    this.recovery = recovery
  }

  /** Takes an event in. */
  push(event: JobEvent, maximum: number): void {
    this.lastSeq = Math.max(this.lastSeq, event.seq)
    if (this.skip > 0) {
      this.skip--
      return
    }
    this.received++
    this.events.push(event)
    if (event._tag === "result_chunk") this.chunk(event.body)
    if (this.events.length > maximum * 2) this.trim(maximum)
  }

  /** Lets go of the oldest events; never of one that a consumer has still to take. */
  private trim(maximum: number): void {
    let drop = this.events.length - maximum
    for (const { at } of this.consumers) drop = Math.min(drop, at - this.dropped)
    if (drop < maximum / 2) return
    this.events = this.events.slice(drop)
    this.dropped += drop
  }

  private chunk(body: {
    readonly result_id: string
    readonly chunk_seq: number
    readonly data: string
    readonly encoding: "utf8" | "base64"
    readonly more: boolean
  }): void {
    if (body.result_id !== this.resultId && body.chunk_seq === 0) {
      if (this.resultId !== undefined) this.restarts++
      this.resultId = body.result_id
      this.chunks = []
      this.nextChunk = 0
      this.complete = false
    }
    if (body.result_id !== this.resultId || body.chunk_seq !== this.nextChunk || this.complete) {
      this.chunksBroken = true
      return
    }
    this.nextChunk++
    this.complete = !body.more
    this.chunks.push({ data: body.data, encoding: body.encoding })
  }

  /** The first end counts. */
  finish(end: End): void {
    if (this.end === undefined) this.end = end
  }

  /** Runs once when something has changed. */
  wait(waiter: () => void): () => void {
    this.waiters.push(waiter)
    return () => {
      this.waiters = this.waiters.filter((w) => w !== waiter)
    }
  }

  /** Tells everybody who waits. */
  notify(): void {
    this.changes++
    if (this.waiters.length === 0) return
    const { waiters } = this
    this.waiters = []
    for (const waiter of waiters) waiter()
  }

  /** How far the slowest consumer is behind. */
  get lag(): number {
    let lag = 0
    const end = this.dropped + this.events.length
    for (const { at } of this.consumers) lag = Math.max(lag, end - at)
    return lag
  }

  /** The lowest session number that a consumer has not taken; undefined where all have taken all. */
  get firstUnconsumed(): number | undefined {
    let at = Number.POSITIVE_INFINITY
    for (const consumer of this.consumers) at = Math.min(at, consumer.at)
    return this.events[Math.max(0, at - this.dropped)]?.seq
  }
}

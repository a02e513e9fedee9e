/**
 * The frames of jobs, in the order of their numbers: each is given to the job that it belongs to (ARCP 1.1 §8.3).
 *
 * Responsibility: which frame is taken in, when, and by which job. Frames that cannot be taken in yet are in `kept`, the numbers
 * of the session in `numbers`, the jobs in `registry`.
 *
 * Order: events are taken in the order of their numbers. A number seen before is dropped; a frame ahead of its number waits for
 * those before it, and a number that stays missing causes a resume.
 *
 * Races: events of an unknown job are kept until its `job.accepted` has come, and those of a job whose subscribe is unanswered
 * until the answer, which defines whose numbers they have. A child whose `job.accepted` was lost with a connection is known by its
 * `delegate` event.
 */
import type * as Envelope from "../../protocol/Envelope.js"
import * as Event from "../../protocol/Event.js"
import type { Accepted } from "../../protocol/Job.js"
import type { JobFacts } from "../JobFacts.js"
import { takeIn } from "./adopted.js"
import { Announced } from "./announced.js"
import type { ClientJob, Recovery } from "./job.js"
import { type JobFrame, Kept } from "./kept.js"
import type { Matcher, Pending } from "./match.js"
import { Numbers, type Place } from "./numbers.js"
import { none, type Reaction } from "./reaction.js"
import type { Registry } from "./registry.js"

/** Called for each delegated job (§10). */
export type OnChild = (accepted: Accepted) => void

/** How a job is made known. */
export interface AdoptOptions {
  /** How far an earlier process has read it. */
  readonly before?: JobFacts | undefined
  /** Whether its whole history follows: frames that have arrived already are in it again. */
  readonly history?: boolean
}

/** Takes in the frames of one client's jobs. */
export class Intake {
  readonly numbers = new Numbers()
  private readonly registry: Registry
  private readonly matcher: Matcher
  private readonly kept = new Kept()
  private readonly announced = new Announced()
  private events = 0
  private onChild: OnChild | undefined = undefined
  private onOpen: (() => void) | undefined = undefined

  constructor(registry: Registry, matcher: Matcher) {
    this.registry = registry
    this.matcher = matcher
  }

  /** How many new events have arrived. */
  get taken(): number {
    return this.events
  }

  /** The number of the first frame that is kept of an unknown job. */
  get firstOrphan(): (jobId: string) => number | undefined {
    return this.kept.firstOrphan
  }

  /** Sets the function that is called for each child. */
  whenChild(onChild: OnChild): void {
    this.onChild = onChild
  }

  /** Sets a function that runs once when numbers are missing. */
  whenOpen(onOpen: (() => void) | undefined): void {
    this.onOpen = onOpen
  }

  /** The session is gone, and its numbers with it. */
  forgetSession(): void {
    this.numbers.reset(0)
    this.kept.clear()
  }

  /** Uses up the number of a frame other than a job's event or end. */
  use({ event_seq: seq }: Envelope.RawEnvelope): Reaction {
    if (seq === undefined) return none
    const place = this.numbers.take(seq)
    if (place === "gap") return { _tag: "gap", expected: this.numbers.last + 1, got: seq }
    this.placed(place)
    return none
  }

  /** After a number has been used: delivers the frames that waited for it, and reports missing numbers. */
  private placed(place: Place): void {
    const { numbers } = this
    if (place === "next") for (const { bytes, frame } of this.kept.takeDue(numbers.last)) this.deliver(frame, bytes)
    if (numbers.open) this.onOpen?.()
  }

  /** A `job.event`. `size`: of its frame. */
  event(raw: Envelope.RawEnvelope, size: number): Reaction {
    const { event_seq: seq, job_id: jobId } = raw
    if (seq === undefined) return none
    const { numbers } = this
    const job = jobId === undefined ? undefined : this.registry.jobs.get(jobId)
    // The usual case, and the hot path: the next number, of a known job.
    if (job !== undefined && job.numbering === "session" && numbers.takeNext(seq)) {
      this.push(job, raw, size)
      return none
    }
    return this.numbered({ type: "job.event", envelope: raw }, size)
  }

  /** Every other frame of a job: of an unknown job, of one whose frames are held, or with a number that is not the next. */
  numbered(frame: JobFrame, size: number): Reaction {
    const { event_seq: seq, job_id: jobId } = frame.envelope
    if (jobId !== undefined && this.holdsFrames && this.hold(jobId, frame, size)) return none
    const job = jobId === undefined ? undefined : this.registry.jobs.get(jobId)
    if (job?.numbering === "apart" || seq === undefined) {
      this.deliver(frame, size)
      return none
    }
    const { last } = this.numbers
    const place = seq > last + 1 && !this.kept.hasRoom(size) ? "gap" : this.numbers.take(seq)
    if (place === "gap") return { _tag: "gap", expected: last + 1, got: seq }
    // What is missing may be of the same job, whose events keep their order.
    if (place === "ahead") this.kept.wait(frame, size)
    else if (place === "next") this.deliver(frame, size)
    this.placed(place)
    return none
  }

  /** Holds a job's frames from now on: a subscribe is sent, and its answer defines whose numbers they have. */
  startHold(jobId: string, pending: Pending): void {
    this.registry.jobs.get(jobId)?.numbersAre("held")
    this.kept.startHold(jobId, pending)
    this.registry.watch()
  }

  /** Keeps a frame of a job whose subscribe is unanswered. */
  private hold(jobId: string, frame: JobFrame, size: number): boolean {
    const hold = this.kept.holds.get(jobId)
    if (hold === undefined) return false
    if (this.matcher.waits(hold.pending) && this.kept.hold(jobId, frame, size)) return true
    this.release(jobId, false)
    return false
  }

  /**
   * Takes in the frames that were held of a job, by the session's numbers or apart from them. `again`: a history repeats all of
   * them, so that only their numbers count.
   */
  release(jobId: string, apart: boolean, again = false): void {
    if (!this.kept.holds.has(jobId)) return
    this.registry.jobs.get(jobId)?.numbersAre(apart ? "apart" : "session")
    // A number that is missing here causes a resume once it has been missing for long (see `silence`).
    for (const { bytes, frame } of this.kept.takeHold(jobId)) {
      if (again) this.use(frame.envelope)
      else this.numbered(frame, bytes)
    }
  }

  /** Releases frames that were held for subscribes that have failed or were abandoned. */
  releaseAnswered(): void {
    for (const [jobId, { pending }] of this.kept.holds) if (!this.matcher.waits(pending)) this.release(jobId, false)
  }

  /** Releases frames that were held for subscribes whose answer does not come. Called once a second. */
  releaseOld(): void {
    this.releaseAnswered()
    for (const jobId of this.kept.oldHolds()) this.release(jobId, false)
  }

  /** Whether frames may be held for subscribes. */
  get holdsFrames(): boolean {
    return this.kept.holds.size > 0
  }

  /** Whether a job has been accepted, announced or observed, or frames of it have arrived. */
  hasHeardOf(jobId: string): boolean {
    return this.announced.has(jobId) || this.registry.isKnown(jobId) || this.kept.hasOrphans(jobId)
  }

  /** Makes a job known; its frames that have arrived already are taken in. */
  adopt(jobId: string, recovery: Recovery, { before, history = false }: AdoptOptions): ClientJob {
    const { registry } = this
    const known = registry.jobs.get(jobId)
    if (known !== undefined && known.end?._tag !== "lost") return known
    const job = registry.add(jobId, recovery, before, history)
    const kept = this.kept.takeOrphans(jobId)
    if (kept === undefined || history) return job
    const lost = takeIn(job, kept, before?.lastEventSeq, (frame, size) => this.deliver(frame, size))
    if (lost !== undefined) registry.lose(job, lost)
    return job
  }

  /** The `job.accepted` of a child has come. */
  childAccepted(accepted: Accepted): void {
    this.announced.take(accepted.job_id)
    this.onChild?.(accepted)
  }

  /** The child whose first message has arrived without its `job.accepted`, which was lost with a connection. */
  private announcedChild(jobId: string): ClientJob | undefined {
    const accepted = this.announced.take(jobId)
    if (accepted === undefined) return undefined
    this.onChild?.(accepted)
    return this.registry.jobs.get(jobId)
  }

  /** Gives a frame to its job, or keeps it until the job is known. */
  private deliver(frame: JobFrame, size: number): void {
    const { envelope } = frame
    const { registry } = this
    const { job_id: jobId, payload } = envelope
    // Frames after a job's end are dropped.
    if (jobId === undefined || registry.isOver(jobId)) return
    const job = registry.jobs.get(jobId) ?? this.announcedChild(jobId)
    if (frame.type !== "job.event") {
      if (job === undefined) this.kept.orphan(jobId, frame, this.numbers.last, size)
      else registry.finish(job, frame)
    } else if (job !== undefined) this.push(job, envelope, size)
    else if (typeof payload.kind === "string") {
      if (payload.kind === "delegate") this.announced.add(jobId, payload.body, registry.jobs)
      this.kept.orphan(jobId, frame, this.numbers.last, size)
    }
  }

  /** An event of a job that is known, in its order. */
  private push(job: ClientJob, raw: Envelope.RawEnvelope, size: number): void {
    const payload = raw.payload as unknown as Event.EventPayload
    if (typeof payload.kind !== "string" || job.end !== undefined || job.copies.isCopy(raw.id)) return
    const { registry } = this
    if (payload.kind === "delegate") this.announced.add(job.jobId, payload.body, registry.jobs)
    if (job.skip === 0) this.events++
    const seq = raw.event_seq ?? 0
    const event = Event.fromWire(job.jobId, seq, payload, raw.priority)
    job.push(event, size)
    registry.changed.add(job)
  }
}

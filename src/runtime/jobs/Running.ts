/**
 * The jobs of this process that have not ended: the state of each, which there are, which run and which wait for a slot.
 *
 * Responsibility: what the parts of the engine and the handler's services share of a job beyond what the log has of it. Fields are written by
 * the methods of this file alone; which of them is called when, and in which order, is decided by `Run` (start, handover), `Ending` (stop,
 * end), `Recovery` and the handler's services. Money is not here: `Budgets` has it. A submitted job that runs has one slot, from the step that
 * queues its start until it is removed (ARCP 1.1 §7.3 pending and running). A delegated job has none: its parent, which may wait for it, has
 * one.
 *
 * Order: jobs that wait get their slots in the order of submission; one that cannot start yet, since its principal, its agent or anonymous
 * principals together have too many that run, is passed over and keeps its place.
 *
 * Races closed here: the first reason to stop a job counts, and so does the first outcome; a job finishes once; a slot counts against the
 * agent that took it, also when another agent has taken the job over since.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import type { Lease } from "../../authority/Lease.js"
import type { ArcpError } from "../../protocol/Errors.js"
import { isAnonymous } from "../../protocol/AnonymousIds.js"
import type { JobStatus } from "../../protocol/Session.js"
import { anonymousShare } from "../kernel/AnonymousShare.js"
import { count } from "../kernel/Counts.js"
import type { Deadline } from "../kernel/Deadlines.js"
import type { LimitsShape } from "../kernel/Limits.js"
import { type MeterShape, pendingJobs, runningJobs } from "../kernel/Metrics.js"
import type { JobLog } from "../log/JobLog.js"
import { Waiting } from "./internal/waiting.js"

/** Why the runtime stops a job. The first reason counts. */
export interface Stop {
  readonly status: "error" | "cancelled" | "timed_out"
  readonly error: ArcpError
  /** The session that has it cancelled; absent: the job that delegated it, or the runtime. */
  readonly by?: { readonly sessionId: string; readonly requestId: string | undefined } | undefined
}

/** What a job ends with. */
export type Outcome =
  | {
      readonly _tag: "result"
      readonly payload: string
      /** The encoded result for the job's parent; the error says why it cannot be handed over. */
      readonly value: { readonly _tag: "value"; readonly value: unknown } | { readonly _tag: "lost"; error: ArcpError }
    }
  | {
      readonly _tag: "error"
      readonly status: Exclude<JobStatus, "pending" | "running" | "success">
      readonly error: ArcpError
    }

/** The result as it streams. */
export interface ResultStream {
  readonly resultId: string
  readonly complete: boolean
  /** Decoded bytes of the whole, once it is complete. */
  readonly size: number
  readonly summary: string | undefined
  /** The whole, where it is wanted inline or by the job's parent. */
  readonly inline: string | undefined
}

/** The agent that takes a job over, with its input. */
export interface Successor {
  readonly agent: AgentRegistration
  readonly input: unknown
}

/** An agent as it is named on the wire: `name@version`. */
export const nameOf = ({ name, version }: AgentRegistration): string => `${name}@${version}`

const none: ReadonlySet<never> = new Set<never>()

/** A job that waits for a slot or runs. */
export class Running {
  readonly live: JobLog
  /** The agent whose handler runs; another one after a handoff. */
  agent: AgentRegistration
  input: unknown
  readonly lease: Lease
  /** The owner's connection did not negotiate `result_chunk`: a streamed result goes inline (§6.2). */
  inlineStream: boolean
  /** Whether credentials are issued for it and its children: the session that submitted it negotiated them (§9.8). */
  provisioned: boolean
  /** Whether its handler has been started. */
  begun = false
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  stop: Stop | undefined = undefined
  /** Whether its record is in the log's queue; before that it ends without a trace. */
  queued = false
  /** What the handler ended with, while its children are still ending. */
  outcome: Outcome | undefined = undefined
  finished = false
  /** Whether its credentials were issued anew after a restart: the owner gets them when it starts. */
  reissued = false
  /** Made when there is one, as the next ones: most jobs have none. */
  private calls: Set<string> | undefined = undefined
  /** The result stream, once it has begun. */
  stream: ResultStream | undefined = undefined
  private deadlines: Array<Deadline> | undefined = undefined
  /** The job that delegated this one (§10). */
  readonly parent: Running | undefined
  readonly depth: number
  private unfinished: Set<Running> | undefined = undefined
  /** How many it has delegated in all. */
  delegated = 0
  handoffs = 0
  /** The agent that takes over once the handler has unwound. */
  next: Successor | undefined = undefined
  /** The end of a delegated job, for the handler that delegated it; done once it is durable. */
  private readonly ended: Deferred.Deferred<Outcome> | undefined

  constructor(options: {
    readonly live: JobLog
    readonly agent: AgentRegistration
    readonly input: unknown
    readonly lease: Lease
    readonly inlineStream: boolean
    readonly provisioned: boolean
    readonly parent: Running | undefined
    readonly ended?: Deferred.Deferred<Outcome> | undefined
  }) {
    this.live = options.live
    this.agent = options.agent
    this.input = options.input
    this.lease = options.lease
    this.inlineStream = options.inlineStream
    this.provisioned = options.provisioned
    this.parent = options.parent
    this.depth = options.parent === undefined ? 0 : options.parent.depth + 1
    this.ended = options.ended
  }

  /** Tool calls that have no `tool_result` yet. */
  get openCalls(): ReadonlySet<string> {
    return this.calls ?? none
  }

  /** Delegated jobs that have not ended. */
  get children(): ReadonlySet<Running> {
    return this.unfinished ?? none
  }

  /** Its record is in the log's queue, or stored already. */
  enterLog(): void {
    this.queued = true
  }

  /** Its handler is about to be started. */
  begin(): void {
    this.begun = true
  }

  /** The fiber of its handler. */
  runIn(fiber: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.fiber = fiber
  }

  /** Interrupts its handler; without effect while there is none. */
  interrupt(): void {
    if (this.fiber !== undefined) this.fiber.unsafeInterruptAsFork(this.fiber.id())
  }

  /** Whether nothing has ended or stopped it yet. */
  get undecided(): boolean {
    return !this.finished && this.stop === undefined && this.outcome === undefined
  }

  /** Stops it for a reason; false where it has one already, or has finished. */
  stopFor(reason: Stop): boolean {
    if (this.stop !== undefined || this.finished) return false
    this.stop = reason
    return true
  }

  /** Its handler has ended; false where that is known already. */
  concludeWith(outcome: Outcome): boolean {
    if (this.finished || this.outcome !== undefined) return false
    this.outcome = outcome
    return true
  }

  /** It ends here: nothing is done for it any more. False where it has finished already. */
  finish(): boolean {
    if (this.finished) return false
    this.finished = true
    this.cancelDeadlines()
    return true
  }

  /** Its end is durable. */
  settle(outcome: Outcome): void {
    if (this.ended !== undefined) Deferred.unsafeDone(this.ended, Effect.succeed(outcome))
  }

  /** Keeps a deadline until the job finishes. */
  watch(deadline: Deadline): void {
    ;(this.deadlines ??= []).push(deadline)
  }

  cancelDeadlines(): void {
    if (this.deadlines !== undefined) for (const deadline of this.deadlines) deadline.cancel()
  }

  openCall(callId: string): void {
    ;(this.calls ??= new Set()).add(callId)
  }

  /** Whether the call was open. */
  closeCall(callId: string): boolean {
    return this.calls?.delete(callId) === true
  }

  closeCalls(): void {
    this.calls?.clear()
  }

  /** The result begins to stream. */
  beginStream(resultId: string, summary: string | undefined): void {
    this.stream = { resultId, complete: false, size: 0, summary, inline: undefined }
  }

  /** The last chunk of the result has been queued. */
  completeStream(stream: Omit<ResultStream, "complete">): void {
    this.stream = { ...stream, complete: true }
  }

  /** Counts a delegation. */
  countDelegation(): void {
    this.delegated++
  }

  /** A delegated job is known to its parent from here on: what ends the parent ends it. */
  adopt(child: Running): void {
    ;(this.unfinished ??= new Set()).add(child)
  }

  /** A delegated job has ended. */
  dropChild(child: Running): void {
    this.unfinished?.delete(child)
  }

  /** Lets another agent take over once the handler has unwound; false where one does already, or the job is ending. The first counts. */
  handOverTo(next: Successor): boolean {
    if (!this.undecided || this.next !== undefined) return false
    this.next = next
    this.handoffs++
    return true
  }

  /** The handler has unwound: the next agent is the job's now. */
  takeOver({ agent, input }: Successor): void {
    this.next = undefined
    this.agent = agent
    this.input = input
  }

  /** Whether its sessions negotiated credentials, as far as is known after a restart. */
  setProvisioned(provisioned: boolean): void {
    this.provisioned = provisioned
  }

  /** New credentials have been issued for it after a restart. */
  reissue(): void {
    this.reissued = true
  }

  /** Whether its owners take no `result_chunk`, as they are after a restart. */
  setInlineStream(inline: boolean): void {
    this.inlineStream = inline
  }
}

/**
 * The slots of one runtime: how many submitted jobs run, and how many may. Of the bounds in all and of each agent's, anonymous principals have
 * a part together.
 */
class Slots {
  /** The agent that each job has taken its slot for. */
  private readonly takenFor = new Map<Running, AgentRegistration>()
  private readonly byPrincipal = new Map<string, number>()
  private readonly byAgent = new Map<string, number>()
  private readonly guestsByAgent = new Map<string, number>()
  private guests = 0
  private readonly limits: LimitsShape
  private readonly meter: MeterShape

  constructor(limits: LimitsShape, meter: MeterShape) {
    this.limits = limits
    this.meter = meter
  }

  /** Slots that are taken. */
  get taken(): number {
    return this.takenFor.size
  }

  /** Whether a job of this principal and agent would get one. */
  has(principalId: string, agent: AgentRegistration): boolean {
    return (
      (this.byPrincipal.get(principalId) ?? 0) < this.limits.runningJobsPerPrincipal &&
      this.hasFor(agent, isAnonymous(principalId))
    )
  }

  /** Whether one is free for an agent, for an anonymous principal or for another, which has not too many itself. */
  hasFor(agent: AgentRegistration, isGuest: boolean): boolean {
    const { limits } = this
    const name = nameOf(agent)
    const most = agent.maxRunning ?? limits.runningJobsPerAgent
    return (
      this.taken < limits.runningJobs &&
      (this.byAgent.get(name) ?? 0) < most &&
      (!isGuest ||
        (this.guests < anonymousShare(limits, limits.runningJobs) &&
          (this.guestsByAgent.get(name) ?? 0) < anonymousShare(limits, most)))
    )
  }

  /** Takes one for a job, if there is one. */
  take(running: Running): boolean {
    const { principalId } = running.live.record
    if (!this.has(principalId, running.agent)) return false
    this.takenFor.set(running, running.agent)
    this.change(running, running.agent, 1)
    return true
  }

  /** Returns the one that a job has, if it has one. */
  free(running: Running): void {
    const agent = this.takenFor.get(running)
    if (agent === undefined) return
    this.takenFor.delete(running)
    this.change(running, agent, -1)
  }

  private change(running: Running, agent: AgentRegistration, by: 1 | -1): void {
    this.meter.show(runningJobs, this.taken)
    const name = nameOf(agent)
    count(this.byPrincipal, running.live.record.principalId, by)
    count(this.byAgent, name, by)
    if (!isAnonymous(running.live.record.principalId)) return
    this.guests += by
    count(this.guestsByAgent, name, by)
  }
}

/** The jobs that have not ended. */
export class Jobs {
  private readonly byId = new Map<string, Running>()
  private readonly submittedBy = new Map<string, number>()
  /** Made when one has to wait. */
  private waiting: Waiting<Running> | undefined
  private readonly slots: Slots
  private readonly meter: MeterShape

  constructor(limits: LimitsShape, meter: MeterShape) {
    this.slots = new Slots(limits, meter)
    this.meter = meter
  }

  get(jobId: string): Running | undefined {
    return this.byId.get(jobId)
  }

  all(): Iterable<Running> {
    return this.byId.values()
  }

  get size(): number {
    return this.byId.size
  }

  /** Jobs that wait for a slot. */
  get pending(): number {
    return this.waiting?.size ?? 0
  }

  /** Jobs of anonymous principals that wait for a slot. */
  get pendingGuests(): number {
    return this.waiting?.guestCount ?? 0
  }

  /** Jobs that have a slot. */
  get running(): number {
    return this.slots.taken
  }

  /** Submitted jobs of a principal that run or wait. */
  submitted(principalId: string): number {
    return this.submittedBy.get(principalId) ?? 0
  }

  /** Whether a job of this principal and agent would start at once. */
  hasSlot(principalId: string, agent: AgentRegistration): boolean {
    return this.slots.has(principalId, agent)
  }

  /** Takes a job in that neither runs nor waits yet. */
  register(running: Running): void {
    const { jobId, record } = running.live
    if (running.parent === undefined && !this.byId.has(jobId)) count(this.submittedBy, record.principalId, 1)
    this.byId.set(jobId, running)
  }

  /** Takes a job in; returns whether it starts at once. Otherwise it waits. A delegated job always starts. */
  add(running: Running): boolean {
    this.register(running)
    // Jobs that wait cannot start now, so that this one overtakes none of them; and its start belongs to its own change.
    if (running.parent !== undefined || this.slots.take(running)) return true
    this.waiting ??= new Waiting()
    this.waiting.add(running)
    this.showPending()
    return false
  }

  /** Takes a job out, with its slot. */
  remove(running: Running): void {
    const { jobId, record } = running.live
    if (this.byId.delete(jobId) && running.parent === undefined) count(this.submittedBy, record.principalId, -1)
    this.waiting?.delete(running)
    this.showPending()
    this.slots.free(running)
  }

  /** Gives slots to the jobs that wait, as far as there are any; returns those that got one, in the order of submission. */
  takeWaiting(): ReadonlyArray<Running> {
    const { slots, waiting } = this
    if (waiting === undefined || waiting.size === 0) return []
    const taken: Array<Running> = []
    waiting.offer(slots, (running) => {
      if (running.finished) return true
      if (!slots.take(running)) return false
      taken.push(running)
      return true
    })
    this.showPending()
    return taken
  }

  private showPending(): void {
    this.meter.show(pendingJobs, this.pending)
  }
}

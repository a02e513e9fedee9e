/**
 * The jobs of this process that have not ended: which there are, which of them wait for a slot, how many each principal has submitted.
 *
 * Order: jobs that wait get their slots in the order of submission; one that cannot start yet, since its principal or agent has too many
 * that run, is passed over and keeps its place.
 */
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import { count } from "../../kernel/Counts.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import { type MeterShape, pendingJobs } from "../../kernel/Metrics.js"
import type { Running } from "../Running.js"
import { Slots } from "../Slots.js"

/** The jobs that have not ended. */
export class Jobs {
  private readonly byId = new Map<string, Running>()
  private readonly submittedBy = new Map<string, number>()
  private waiting: Array<Running> = []
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
    return this.waiting.length
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
    this.waiting.push(running)
    this.showPending()
    return false
  }

  /** Takes a job out, with its slot. */
  remove(running: Running): void {
    const { jobId, record } = running.live
    if (this.byId.delete(jobId) && running.parent === undefined) count(this.submittedBy, record.principalId, -1)
    this.waiting = this.waiting.filter((other) => other !== running)
    this.showPending()
    this.slots.free(running)
  }

  /** Gives slots to the jobs that wait, as far as there are any; returns those that got one, in the order of submission. */
  takeWaiting(): ReadonlyArray<Running> {
    if (this.waiting.length === 0) return []
    const taken: Array<Running> = []
    const left: Array<Running> = []
    for (const running of this.waiting) {
      if (running.finished) continue
      if (this.slots.anyFree && this.slots.take(running)) taken.push(running)
      else left.push(running)
    }
    this.waiting = left
    this.showPending()
    return taken
  }

  private showPending(): void {
    this.meter.show(pendingJobs, this.waiting.length)
  }
}

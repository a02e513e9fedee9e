/**
 * Slots: how many submitted jobs run, in all, of each principal and of each agent, and how many may (ARCP 1.1 §7.3, §14).
 *
 * Of the bounds in all and of each agent's, anonymous principals have a part together (`Limits.anonymousShare`): each of their sessions is a
 * principal of its own, so that the bound per principal does not keep them from having every slot.
 *
 * Race closed: a slot counts against the agent that took it, also when another agent has taken the job over since.
 */
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import { isAnonymous } from "../../../protocol/AnonymousIds.js"
import { anonymousShare } from "../../kernel/AnonymousShare.js"
import { count } from "../../kernel/Counts.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import { type MeterShape, runningJobs } from "../../kernel/Metrics.js"

/** An agent as it is named on the wire: `name@version`. */
export const nameOf = ({ name, version }: AgentRegistration): string => `${name}@${version}`

/** A job, as far as slots depend on it. */
export interface Slotted {
  readonly live: { readonly record: { readonly principalId: string } }
  readonly agent: AgentRegistration
}

/** Whether a job is of an anonymous principal. */
export const isGuests = ({ live }: Slotted): boolean => isAnonymous(live.record.principalId)

/** The slots of one runtime. */
export class Slots {
  /** The agent that each job has taken its slot for. */
  private readonly takenFor = new Map<Slotted, AgentRegistration>()
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
  take(running: Slotted): boolean {
    const { principalId } = running.live.record
    if (!this.has(principalId, running.agent)) return false
    this.takenFor.set(running, running.agent)
    this.change(running, running.agent, 1)
    return true
  }

  /** Returns the one that a job has, if it has one. */
  free(running: Slotted): void {
    const agent = this.takenFor.get(running)
    if (agent === undefined) return
    this.takenFor.delete(running)
    this.change(running, agent, -1)
  }

  private change(running: Slotted, agent: AgentRegistration, by: 1 | -1): void {
    this.meter.show(runningJobs, this.taken)
    const name = nameOf(agent)
    count(this.byPrincipal, running.live.record.principalId, by)
    count(this.byAgent, name, by)
    if (!isGuests(running)) return
    this.guests += by
    count(this.guestsByAgent, name, by)
  }
}

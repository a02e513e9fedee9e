/**
 * The limits on running jobs: in all, per principal, per agent (ARCP 1.1 §7.3 pending and running).
 *
 * Responsibility: a submitted job that runs has one slot, from the step that queues its start until it is removed. A delegated job has
 * none: its parent, which may wait for it, has one.
 *
 * Race closed here: a slot counts against the agent that took it, also when another agent has taken the job over since.
 */
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import { count } from "../kernel/Counts.js"
import type { LimitsShape } from "../kernel/Limits.js"
import { type MeterShape, runningJobs } from "../kernel/Metrics.js"
import type { Running } from "./Running.js"

/** An agent as it is named on the wire: `name@version`. */
export const nameOf = ({ name, version }: AgentRegistration): string => `${name}@${version}`

/** Counts the jobs that run. */
export class Slots {
  /** The agent that each job has taken its slot for. */
  private readonly takenFor = new Map<Running, AgentRegistration>()
  private readonly byPrincipal = new Map<string, number>()
  private readonly byAgent = new Map<string, number>()
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

  /** Whether one is free of those that all jobs share. */
  get anyFree(): boolean {
    return this.taken < this.limits.runningJobs
  }

  /** Whether a job of this principal and agent would get one. */
  has(principalId: string, agent: AgentRegistration): boolean {
    const { runningJobsPerAgent, runningJobsPerPrincipal } = this.limits
    return (
      this.anyFree &&
      (this.byPrincipal.get(principalId) ?? 0) < runningJobsPerPrincipal &&
      (this.byAgent.get(nameOf(agent)) ?? 0) < (agent.maxRunning ?? runningJobsPerAgent)
    )
  }

  /** Takes one for a job, if there is one. */
  take(running: Running): boolean {
    const { principalId } = running.live.record
    if (!this.has(principalId, running.agent)) return false
    this.takenFor.set(running, running.agent)
    this.meter.show(runningJobs, this.taken)
    count(this.byPrincipal, principalId, 1)
    count(this.byAgent, nameOf(running.agent), 1)
    return true
  }

  /** Returns the one that a job has, if it has one. */
  free(running: Running): void {
    const agent = this.takenFor.get(running)
    if (agent === undefined) return
    this.takenFor.delete(running)
    this.meter.show(runningJobs, this.taken)
    count(this.byPrincipal, running.live.record.principalId, -1)
    count(this.byAgent, nameOf(agent), -1)
  }
}

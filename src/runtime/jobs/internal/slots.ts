/** The limits on running jobs: in all, per principal, per agent (ARCP 1.1 §7.3 pending and running). */
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import { type MeterShape, runningJobs } from "../../kernel/Metrics.js"
import type { Running } from "../Running.js"

/** An agent as people know it. */
export const nameOf = ({ name, version }: AgentRegistration): string => `${name}@${version}`

const count = (map: Map<string, number>, key: string, by: number) => {
  const next = (map.get(key) ?? 0) + by
  if (next === 0) map.delete(key)
  else map.set(key, next)
}

/** Counts the jobs that run. */
export class Slots {
  /** Slots that are taken. */
  taken = 0
  private readonly byPrincipal = new Map<string, number>()
  private readonly byAgent = new Map<string, number>()
  private readonly limits: LimitsShape
  private readonly meter: MeterShape

  constructor(limits: LimitsShape, meter: MeterShape) {
    this.limits = limits
    this.meter = meter
  }

  /** Whether a job of this principal and agent would get one. */
  has(principalId: string, agent: AgentRegistration): boolean {
    const { runningJobs, runningJobsPerAgent, runningJobsPerPrincipal } = this.limits
    return (
      this.taken < runningJobs &&
      (this.byPrincipal.get(principalId) ?? 0) < runningJobsPerPrincipal &&
      (this.byAgent.get(nameOf(agent)) ?? 0) < (agent.maxRunning ?? runningJobsPerAgent)
    )
  }

  /** Takes one for a job, if there is one. */
  take(running: Running): boolean {
    const { principalId } = running.live.record
    if (!this.has(principalId, running.agent)) return false
    this.meter.show(runningJobs, ++this.taken)
    count(this.byPrincipal, principalId, 1)
    count(this.byAgent, nameOf(running.agent), 1)
    running.slot = running.agent
    return true
  }

  /** Gives back the one that a job has, if it has one. */
  free(running: Running): void {
    const { slot } = running
    if (slot === undefined) return
    running.slot = undefined
    this.meter.show(runningJobs, --this.taken)
    count(this.byPrincipal, running.live.record.principalId, -1)
    count(this.byAgent, nameOf(slot), -1)
  }
}

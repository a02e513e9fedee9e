/** Which jobs have a slot and which wait, against a plain model (ARCP 1.1 §7.3, §14). */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { AgentRegistration } from "../../src/agent/AgentRegistry.js"
import { defaults } from "../../src/runtime/kernel/Limits.js"
import { Metrics } from "../../src/runtime/index.js"
import { Jobs, Running } from "../../src/runtime/jobs/Running.js"
import { emptyLease } from "../../src/authority/Lease.js"
import { JobLog } from "../../src/runtime/log/JobLog.js"
import { jobRecord, jobState } from "../../src/testing/internal/rows.js"
import { runs } from "../support/properties.js"

const limits = { ...defaults, runningJobs: 5, runningJobsPerPrincipal: 2, runningJobsPerAgent: 4, anonymousShare: 50 }

/** The parts of the bounds of 5 and 4, and of an agent's own of 3; of one of 1 nothing is reserved. */
const shares = { all: 2, one: 2, own: 1, single: 1 }

const agentOf = (name: string, maxRunning: number | undefined): AgentRegistration => ({
  name,
  version: "1.0.0",
  isDefault: true,
  maxRunning,
  onRestart: "fail",
  unguarded: [],
  decode: () => {
    throw new Error("not asked")
  },
  run: () => {
    throw new Error("not started")
  }
})

const agents = [
  { agent: agentOf("one", undefined), most: 4, share: shares.one },
  { agent: agentOf("own", 3), most: 3, share: shares.own },
  { agent: agentOf("single", 1), most: 1, share: shares.single }
] as const

const principals = ["alice", "bob", "carol", "anonymous:1", "anonymous:2", "anonymous:3"] as const

interface Job {
  readonly running: Running
  readonly principal: string
  readonly agent: (typeof agents)[number]
}

const isGuest = ({ principal }: Job): boolean => principal.startsWith("anonymous:")

/** Whether a job may start beside those that run. */
const mayStart = (job: Job, running: ReadonlyArray<Job>): boolean => {
  const ofAgent = running.filter((other) => other.agent === job.agent)
  return (
    running.length < limits.runningJobs &&
    running.filter((other) => other.principal === job.principal).length < limits.runningJobsPerPrincipal &&
    ofAgent.length < job.agent.most &&
    (!isGuest(job) || (running.filter(isGuest).length < shares.all && ofAgent.filter(isGuest).length < job.agent.share))
  )
}

let made = 0

const newJob = (principal: string, agent: (typeof agents)[number]): Job => {
  const jobId = `job_${++made}`
  const live = new JobLog(jobRecord(jobId, { principalId: principal }), jobState(jobId), {
    lease: {},
    leaseConstraints: undefined,
    traceContext: undefined,
    accepted: { job_id: jobId, agent: "a@1.0.0", lease: {}, accepted_at: "2026-01-01T00:00:00Z", trace_id: "t" }
  })
  const running = new Running({
    live,
    agent: agent.agent,
    input: null,
    lease: emptyLease,
    inlineStream: false,
    provisioned: false,
    parent: undefined
  })
  return { running, principal, agent }
}

const acts = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ principal: fc.constantFrom(...principals), agent: fc.constantFrom(...agents) })
    },
    { weight: 2, arbitrary: fc.record({ ends: fc.nat() }) }
  ),
  { maxLength: 60 }
)

describe("§7.3 slots", () => {
  it("each job starts as soon as its bounds allow, in the order of submission, and no bound is passed", () => {
    fc.assert(
      fc.property(acts, (steps) => {
        const jobs = new Jobs(limits, Metrics.makeMeter("slots"))
        let running: ReadonlyArray<Job> = []
        let waiting: ReadonlyArray<Job> = []
        for (const step of steps) {
          if ("principal" in step) {
            const job = newJob(step.principal, step.agent)
            const expected = mayStart(job, running)
            expect(jobs.hasSlot(job.principal, job.agent.agent)).toBe(expected)
            expect(jobs.add(job.running)).toBe(expected)
            if (expected) running = [...running, job]
            else waiting = [...waiting, job]
          } else {
            const all = [...running, ...waiting]
            const gone = all[step.ends % Math.max(1, all.length)]
            if (gone === undefined) continue
            running = running.filter((job) => job !== gone)
            waiting = waiting.filter((job) => job !== gone)
            gone.running.finish()
            jobs.remove(gone.running)
            const started: Array<Running> = []
            for (const job of waiting) {
              if (!mayStart(job, running)) continue
              running = [...running, job]
              started.push(job.running)
            }
            waiting = waiting.filter((job) => !running.includes(job))
            expect(jobs.takeWaiting()).toEqual(started)
          }
          expect([jobs.running, jobs.pending, jobs.pendingGuests]).toEqual([
            running.length,
            waiting.length,
            waiting.filter(isGuest).length
          ])
        }
      }),
      { numRuns: runs(300) }
    )
  })
})

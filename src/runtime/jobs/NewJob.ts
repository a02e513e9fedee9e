/** A new job, submitted or delegated: what is stored of it, what runs of it, and how it is announced (ARCP 1.1 §7.1, §10). */
import type * as Deferred from "effect/Deferred"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import * as Lease from "../../authority/Lease.js"
import * as Amount from "../../authority/Amount.js"
import type { Priority } from "../../protocol/Envelope.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import type { TraceContext } from "../../protocol/Trace.js"
import type { KeptAccepted } from "../../store/Rows.js"
import type { JobRecord } from "../../store/Store.js"
import { toText } from "./BudgetText.js"
import { JobLog } from "../log/JobLog.js"
import { type Outcome, Running } from "./Running.js"

/** What a new job is made of. */
export interface NewJob {
  readonly jobId: string
  readonly principalId: string
  readonly ownerSessionId: string
  readonly agent: AgentRegistration
  /** Decoded, for the handler. */
  readonly input: unknown
  /** As it came over the wire. */
  readonly wireInput: unknown
  readonly lease: Lease.Lease
  readonly maxRuntimeSec: number | undefined
  readonly idempotencyKey: string | undefined
  readonly traceId: string
  readonly trace: TraceContext | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly inlineStream: boolean
  /** Of the submit's envelope; kept with the reply. */
  readonly priority?: Priority | undefined
  readonly provisioned: boolean
  readonly parent:
    | { readonly running: Running; readonly delegateId: string; readonly ended: Deferred.Deferred<Outcome> }
    | undefined
}

/** A job that has been made. */
export interface Made {
  readonly record: JobRecord
  readonly live: JobLog
  readonly running: Running
  /** What its counters begin with (§9.6). */
  readonly budget: Amount.Amounts
}

const acceptedOf = (job: NewJob, budget: Amount.Amounts): KeptAccepted => {
  const { agent, jobId, lease, now, parent, traceId } = job
  return {
    ...(job.priority === undefined ? {} : { priority: job.priority }),
    job_id: jobId,
    agent: `${agent.name}@${agent.version}`,
    ...Lease.toWire(lease),
    ...(budget.size === 0 ? {} : { budget: Amount.toWire(budget) }),
    accepted_at: formatTimestamp(now),
    trace_id: traceId,
    ...(parent === undefined ? {} : { parent_job_id: parent.running.live.jobId, delegate_id: parent.delegateId })
  }
}

const recordOf = (job: NewJob, accepted: KeptAccepted): JobRecord => {
  const { agent, jobId, lease, now, parent, traceId } = job
  return {
    jobId,
    principalId: job.principalId,
    agent: agent.name,
    version: agent.version,
    input: JSON.stringify(job.wireInput ?? null),
    lease: JSON.stringify(lease.wire),
    leaseConstraints: lease.constraints === undefined ? undefined : JSON.stringify(lease.constraints),
    idempotencyKey: job.idempotencyKey,
    maxRuntimeSec: job.maxRuntimeSec,
    traceId,
    traceContext: job.trace === undefined ? undefined : JSON.stringify(job.trace),
    parentJobId: parent?.running.live.jobId,
    delegateId: parent?.delegateId,
    createdAt: now,
    accepted: JSON.stringify(accepted)
  }
}

/** Makes it; nothing of it is anywhere yet. */
export const newJob = (job: NewJob): Made => {
  const { agent, lease, parent } = job
  const budget = Lease.budgetOf(lease)
  const accepted = acceptedOf(job, budget)
  const record = recordOf(job, accepted)
  const live = new JobLog(
    record,
    {
      status: "pending",
      ownerSessionId: job.ownerSessionId,
      startedAt: undefined,
      lastJobSeq: 0,
      lastOwnerSeq: 0,
      attempt: 1,
      budget: toText(budget),
      cancelled: undefined
    },
    { lease: lease.wire, leaseConstraints: lease.constraints, traceContext: job.trace, accepted }
  )
  const running = new Running({
    live,
    agent,
    input: job.input,
    lease,
    inlineStream: job.inlineStream,
    provisioned: job.provisioned,
    parent: parent?.running,
    ended: parent?.ended
  })
  return { record, live, running, budget }
}

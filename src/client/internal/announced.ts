/** Delegated jobs that are known by their `delegate` event alone (ARCP 1.1 §10). */
import type * as Event from "../../protocol/Event.js"
import * as EventGuards from "../../protocol/EventGuards.js"
import type { Accepted } from "../../protocol/Job.js"

/** Of which nothing has come yet, at most this many. */
const maxAnnounced = 1_024

/** A delegated job's `job.accepted` is no event and is not replayed; the `delegate` event, which names the child, is. */
export class Announced {
  private readonly children = new Map<string, Accepted>()

  add(parentJobId: string, told: unknown, known: ReadonlyMap<string, unknown>): void {
    const body = EventGuards.delegateBody(told)
    if (!EventGuards.isBody.delegate(body)) return
    const { agent, child_job_id: jobId, delegate_id, lease_request } = body as Event.Bodies["delegate"]
    if (jobId === undefined || known.has(jobId)) return
    if (this.children.size >= maxAnnounced) this.children.delete(this.children.keys().next().value ?? "")
    this.children.set(jobId, {
      job_id: jobId,
      agent,
      ...(lease_request === undefined ? {} : { lease: lease_request }),
      parent_job_id: parentJobId,
      delegate_id
    })
  }

  has(jobId: string): boolean {
    return this.children.has(jobId)
  }

  /** What the `job.accepted` of a child said, or would have said. */
  take(jobId: string): Accepted | undefined {
    const accepted = this.children.get(jobId)
    if (accepted !== undefined) this.children.delete(jobId)
    return accepted
  }
}

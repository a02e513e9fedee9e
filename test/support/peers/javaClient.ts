/**
 * The Java SDK's client, by its observed behaviour: bare ULIDs, features in ascending order, a flat resume without a session id. A submit is
 * answered first in, first out, and refused by a `job.error` under the request's id without `job_id` alone: `session.error` is dropped.
 * A subscription does not wait for its answer. Results are read from `result`.
 */
import { Deferred, Effect, Schema } from "effect"
import {
  demand,
  errorOf,
  type Facts,
  features11,
  SdkClient,
  SdkJob,
  type SubmitOptions,
  ulid,
  type Wire
} from "./sdkClient.js"

const Welcome = Schema.Struct({
  resume_token: Schema.String,
  // flat names cannot be decoded
  capabilities: Schema.Struct({
    features: Schema.Array(Schema.String),
    agents: Schema.optional(Schema.Array(Schema.Struct({ name: Schema.String })))
  })
})
const numbers = Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number }))
const Accepted = Schema.Struct({ job_id: Schema.String, agent: Schema.String, budget: numbers })

export class JavaClient extends SdkClient {
  readonly name = "Java"
  private pending: Array<{ readonly id: string; readonly job: SdkJob }> = []
  private readonly subscriptions = new Map<string, SdkJob>()
  private acked = 0

  protected id = ulid

  protected pendingSubmits() {
    return this.pending.map(({ job }) => job)
  }

  protected hello(token: string, resume: Facts | undefined): Wire {
    return {
      client: { name: "arcp-client-java", version: "1.0.0" },
      auth: { scheme: "bearer", token },
      capabilities: { encodings: ["json"], features: features11.toSorted() },
      ...(resume === undefined ? {} : { resume_token: resume.resumeToken, last_event_seq: resume.lastSeq })
    }
  }

  submit(agent: string, input?: unknown, options: SubmitOptions = {}) {
    return Effect.suspend(() => {
      const job = new SdkJob()
      const id = this.id()
      this.pending.push({ id, job })
      const { expiresAt } = options
      return Effect.zipRight(
        this.send(
          "job.submit",
          {
            agent,
            input: input ?? null,
            idempotency_key: options.idempotencyKey,
            lease_request: options.lease,
            max_runtime_sec: options.maxRuntimeSec,
            ...(expiresAt === undefined ? {} : { lease_constraints: { expires_at: expiresAt, expiresAt } })
          },
          {},
          id
        ),
        Deferred.await(job.acceptance)
      )
    })
  }

  subscribe(jobId: string, history: boolean) {
    return Effect.suspend(() => {
      const job = new SdkJob()
      job.jobId = jobId
      this.subscriptions.set(jobId, job)
      return Effect.as(this.send("job.subscribe", { job_id: jobId, history }, { job_id: jobId }), job)
    })
  }

  cancel(jobId: string) {
    return this.send("job.cancel", { reason: "client cancel" }, { job_id: jobId })
  }

  close = Effect.suspend(() =>
    Effect.zipRight(this.send("session.bye", { reason: "client close" }), this.connection.close(1000, ""))
  )

  protected onFrame(frame: Wire): void {
    try {
      this.dispatch(frame)
    } catch {
      // It drops what it cannot decode.
    }
    if (typeof frame.event_seq === "number" && frame.event_seq - this.acked >= 32) {
      this.acked = frame.event_seq
      Effect.runFork(this.send("session.ack", { last_processed_seq: frame.event_seq }))
    }
  }

  private dispatch(frame: Wire): void {
    const { job_id: jobId, payload, type } = frame
    switch (type) {
      case "session.welcome": {
        const welcome = demand(Welcome, payload)
        this.sessionId = frame.session_id
        this.resumeToken = welcome.resume_token
        this.features = welcome.capabilities.features
        Deferred.unsafeDone(this.welcomed, Effect.succeed(payload))
        return
      }
      case "session.ping":
        return this.answerPing(frame)
      case "session.jobs":
        return this.listed(frame)
      case "job.accepted": {
        demand(Accepted, payload)
        const job = this.pending.shift()?.job
        if (job === undefined) return
        job.jobId = payload.job_id
        job.accepted = payload
        this.jobs.set(payload.job_id, job)
        Deferred.unsafeDone(job.acceptance, Effect.succeed(job))
        return
      }
      case "job.event":
        return [this.jobs, this.subscriptions].forEach((jobs) => this.event(jobs.get(jobId), frame))
      case "job.result":
        for (const jobs of [this.jobs, this.subscriptions]) {
          const job = jobs.get(jobId)
          if (job === undefined) continue
          jobs.delete(jobId)
          const { result } = payload
          Deferred.unsafeDone(job.completion, Effect.succeed(payload.result_id === undefined ? result : job.streamed))
        }
        return
      case "job.error":
        return this.failed(frame)
    }
  }

  private failed({ id, job_id: jobId, payload }: Wire): void {
    const error = errorOf(payload)
    if (jobId !== undefined) {
      for (const jobs of [this.jobs, this.subscriptions]) {
        jobs.get(jobId)?.fail(error)
        jobs.delete(jobId)
      }
      return
    }
    const list = this.lists.get(id)
    const submit = this.pending.find((one) => one.id === id)
    if (list !== undefined) Deferred.unsafeDone(list, Effect.fail(error))
    if (submit === undefined) return
    this.pending = this.pending.filter((one) => one !== submit)
    submit.job.fail(error)
  }
}

/**
 * The Go SDK's client, by its observed behaviour: envelope ids are UUIDv7, a submit is answered first in, first out, a refusal by
 * `session.error {request_id}`, an inline result is read from `output` alone, and a frame of more than 1 MiB ends the connection. What it
 * cannot decode it drops.
 */
import { Deferred, Effect, Schema } from "effect"
import {
  demand,
  errorOf,
  type Facts,
  features11,
  SdkClient,
  SdkError,
  SdkJob,
  type SubmitOptions,
  uuid7,
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
const Accepted = Schema.Struct({ job_id: Schema.String, budget: numbers })

export class GoClient extends SdkClient {
  readonly name = "Go"
  override readonly maxFrame = 1_048_576
  private pending: Array<{ readonly id: string; readonly job: SdkJob }> = []
  private readonly subscriptions = new Map<string, { readonly id: string; readonly job: SdkJob }>()
  private acked = 0

  protected id = uuid7

  protected pendingSubmits() {
    return this.pending.map(({ job }) => job)
  }

  protected hello(token: string, resume: Facts | undefined): Wire {
    return {
      client: { name: "arcp-go-client", version: "1.1.0" },
      auth: { scheme: "bearer", token },
      capabilities: { encodings: ["json"], features: features11 },
      ...(resume === undefined
        ? {}
        : {
            resume: {
              session_id: resume.sessionId,
              resume_token: resume.resumeToken,
              last_event_seq: resume.lastSeq
            }
          })
    }
  }

  submit(agent: string, input?: unknown, options: SubmitOptions = {}) {
    return Effect.suspend(() => {
      const job = new SdkJob()
      const id = this.id()
      this.pending.push({ id, job })
      return Effect.zipRight(
        this.send(
          "job.submit",
          {
            agent,
            input,
            idempotency_key: options.idempotencyKey,
            lease_request: options.lease,
            max_runtime_sec: options.maxRuntimeSec,
            ...(options.expiresAt === undefined ? {} : { lease_constraints: { expires_at: options.expiresAt } })
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
      const id = this.id()
      this.subscriptions.set(jobId, { id, job })
      return Effect.zipRight(
        this.send("job.subscribe", { job_id: jobId, history }, { job_id: jobId }, id),
        Deferred.await(job.acceptance)
      )
    })
  }

  cancel(jobId: string) {
    return this.send("job.cancel", { reason: "client cancel" }, { job_id: jobId })
  }

  close = Effect.suspend(() =>
    Effect.zipRight(this.send("session.close", { reason: "client close" }), this.connection.close(1000, ""))
  )

  protected onFrame(frame: Wire): void {
    const { job_id: jobId, payload, type } = frame
    try {
      switch (type) {
        case "session.welcome": {
          const welcome = demand(Welcome, payload)
          this.sessionId = frame.session_id
          this.resumeToken = welcome.resume_token
          this.features = welcome.capabilities.features
          Deferred.unsafeDone(this.welcomed, Effect.succeed(payload))
          break
        }
        case "session.ping":
          this.answerPing(frame)
          break
        case "session.error":
          this.refused(frame)
          break
        case "session.jobs":
          this.listed(frame)
          break
        case "job.accepted": {
          demand(Accepted, payload)
          const job = this.jobs.get(payload.job_id) ?? this.pending.shift()?.job
          if (job === undefined) break
          job.jobId = payload.job_id
          job.accepted = payload
          this.jobs.set(payload.job_id, job)
          Deferred.unsafeDone(job.acceptance, Effect.succeed(job))
          break
        }
        case "job.subscribed": {
          const found = this.subscriptions.get(payload.job_id)
          if (found === undefined) break
          found.job.accepted = payload
          Deferred.unsafeDone(found.job.acceptance, Effect.succeed(found.job))
          break
        }
        case "job.event":
          for (const job of this.observers(jobId)) this.event(job, frame)
          break
        case "job.result":
          for (const job of this.observers(jobId)) {
            const { output } = payload
            Deferred.unsafeDone(job.completion, Effect.succeed(payload.result_id === undefined ? output : job.streamed))
          }
          break
        case "job.error":
          for (const job of this.observers(jobId)) job.fail(errorOf(payload))
      }
    } catch (error) {
      // The first answer must be a welcome; any other frame that cannot be decoded is dropped.
      if (type !== "session.welcome") return
      Deferred.unsafeDone(
        this.welcomed,
        Effect.fail(new SdkError({ code: "CLIENT", message: `the welcome: ${String(error)}` }))
      )
    }
    if (typeof frame.event_seq === "number" && frame.event_seq - this.acked >= 32) {
      this.acked = frame.event_seq
      Effect.runFork(this.send("session.ack", { last_processed_seq: frame.event_seq }))
    }
  }

  private observers(jobId: string): ReadonlyArray<SdkJob> {
    return [this.jobs.get(jobId), this.subscriptions.get(jobId)?.job].filter((job) => job !== undefined)
  }

  private refused({ job_id, payload }: Wire): void {
    const error = errorOf(payload)
    Deferred.unsafeDone(this.welcomed, Effect.fail(error))
    const id = payload.request_id
    const submit = this.pending.find((one) => one.id === id)
    const list = this.lists.get(id)
    const subscription = [...this.subscriptions.values()].find((one) => one.id === id)
    const jobId = payload.job_id ?? job_id
    if (submit !== undefined) {
      this.pending = this.pending.filter((one) => one !== submit)
      submit.job.fail(error)
    } else if (list !== undefined) Deferred.unsafeDone(list, Effect.fail(error))
    else if (subscription !== undefined) subscription.job.fail(error)
    else if (this.jobs.has(jobId)) this.jobs.get(jobId)!.fail(error)
    else if (error.code === "UNAUTHENTICATED" || error.code === "HEARTBEAT_LOST") this.failAll(error)
  }
}

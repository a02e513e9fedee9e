/**
 * The Python SDK's client (1.1.3), by its observed behaviour: bare ULIDs, a nested resume, answers by `request_id`. Its reader dies of a frame
 * that lacks a field that it demands, of a budget that is a number, and of a `job.error` whose `final_status` is not `error`. A
 * `session.error` fails everything that waits. A frame of more than 1 MiB ends the connection.
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

const nullish = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))
const Envelope = Schema.Struct({
  arcp: Schema.Literal("1.1"),
  id: Schema.String.pipe(Schema.pattern(/^([a-z]+_)?[0-9A-HJKMNP-TV-Z]{26}$/)),
  type: Schema.String,
  trace_id: nullish(Schema.String.pipe(Schema.pattern(/^(?!0+$)[0-9a-f]{32}$/))),
  event_seq: nullish(Schema.Int.pipe(Schema.positive())),
  payload: Schema.Object
})
const Welcome = Schema.Struct({
  runtime: Schema.Struct({ name: Schema.String, version: Schema.String }),
  session_id: Schema.String,
  resume_token: Schema.String,
  resume_window_sec: nullish(Schema.Int),
  heartbeat_interval_sec: nullish(Schema.Int),
  accepted_at: Schema.String
})
const Accepted = Schema.Struct({
  job_id: Schema.String,
  agent: Schema.String,
  accepted_at: Schema.String,
  lease: nullish(Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) })),
  budget: nullish(Schema.Record({ key: Schema.String, value: Schema.String })),
  request_id: nullish(Schema.String)
})
const Result = Schema.Struct({
  final_status: Schema.Literal("success", "cancelled", "timed_out"),
  completed_at: Schema.String
})
const JobError = Schema.Struct({
  final_status: Schema.Literal("error"),
  code: Schema.String,
  message: Schema.String,
  completed_at: Schema.String
})
const Subscribed = Schema.Struct({
  request_id: Schema.String,
  job_id: Schema.String,
  current_status: Schema.String,
  agent: Schema.String,
  subscribed_from: nullish(Schema.Int)
})
const Jobs = Schema.Struct({
  request_id: Schema.String,
  jobs: Schema.Array(
    Schema.Struct({ job_id: Schema.String, agent: Schema.String, status: Schema.String, submitted_at: Schema.String })
  )
})

export class PythonClient extends SdkClient {
  readonly name = "Python"
  override readonly maxFrame = 1_048_576
  private readonly pending = new Map<string, SdkJob>()
  private readonly subscribing = new Map<string, SdkJob>()

  protected id = ulid

  protected pendingSubmits() {
    return [...this.pending.values(), ...this.subscribing.values()]
  }

  protected hello(token: string, resume: Facts | undefined): Wire {
    return {
      client: { name: "python", version: "1.1.3" },
      auth: { scheme: "bearer", token },
      capabilities: {
        encodings: ["json"],
        features: features11.filter((name) => name !== "model.use" && name !== "provisioned_credentials"),
        agents: []
      },
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
      this.pending.set(id, job)
      const { expiresAt } = options
      return Effect.zipRight(
        this.send(
          "job.submit",
          {
            agent,
            ...(input === undefined ? {} : { input }),
            lease_request: options.lease ?? {},
            idempotency_key: options.idempotencyKey,
            max_runtime_sec: options.maxRuntimeSec,
            ...(expiresAt === undefined ? {} : { lease_constraints: { expires_at: expiresAt } })
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
      const id = this.id()
      this.subscribing.set(id, job)
      return Effect.zipRight(
        this.send("job.subscribe", { job_id: jobId, history }, { job_id: jobId }, id),
        Deferred.await(job.acceptance)
      )
    })
  }

  cancel(jobId: string) {
    return this.send("job.cancel", { reason: "client.cancel" }, { job_id: jobId })
  }

  close = Effect.suspend(() =>
    Effect.zipRight(this.send("session.bye", { reason: "client.close" }), this.connection.close(1000, ""))
  )

  protected onFrame(frame: Wire): void {
    demand(Envelope, frame)
    const { job_id: jobId, payload, type } = frame
    switch (type) {
      case "session.welcome": {
        const welcome = demand(Welcome, payload)
        this.sessionId = welcome.session_id
        this.resumeToken = welcome.resume_token
        this.features = payload.capabilities.features
        Deferred.unsafeDone(this.welcomed, Effect.succeed(payload))
        return
      }
      case "session.ping":
        return this.answerPing(frame)
      case "session.error":
        this.failAll(errorOf(payload))
        this.pending.clear()
        this.subscribing.clear()
        this.jobs.clear()
        return
      case "session.jobs":
        demand(Jobs, payload)
        return this.listed(frame)
      case "job.accepted": {
        if (this.pending.size === 0) return
        const accepted = demand(Accepted, payload)
        const id =
          accepted.request_id != null && this.pending.has(accepted.request_id)
            ? accepted.request_id
            : this.pending.keys().next().value!
        this.opened(this.pending, id, payload)
        return
      }
      case "job.subscribed":
        this.opened(this.subscribing, demand(Subscribed, payload).request_id, payload)
        return
      case "job.event":
        return this.event(this.jobs.get(jobId), frame)
      case "job.result":
      case "job.error": {
        // It has one handle of a job, which it lets go of before it looks at the payload: where the reader dies of that, nothing ends it.
        const job = this.jobs.get(jobId)
        if (job === undefined) return
        this.jobs.delete(jobId)
        if (type === "job.result") demand(Result, payload)
        else demand(JobError, payload)
        if (type === "job.error") job.fail(errorOf(payload))
        else {
          const { result, result_id } = payload
          Deferred.unsafeDone(job.completion, Effect.succeed(result_id === undefined ? result : job.streamed))
        }
      }
    }
  }

  private opened(waiting: Map<string, SdkJob>, id: string, payload: Wire): void {
    const job = waiting.get(id)
    if (job === undefined) return
    waiting.delete(id)
    job.jobId = payload.job_id
    job.accepted = payload
    this.jobs.set(job.jobId, job)
    Deferred.unsafeDone(job.acceptance, Effect.succeed(job))
  }
}

/**
 * The TypeScript SDK's client, by its observed behaviour: ids are `msg_` and a ULID, a nested resume, an acceptance is matched by `trace_id`, else
 * first in, first out. A
 * `session.error` without a `session_id` is dropped, and any other fails everything that waits. A `job.error` whose code is unknown, or
 * whose `INTERNAL_ERROR` is not retryable, is dropped.
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
  traceId,
  ulid,
  type Wire
} from "./sdkClient.js"
import { errorCodes } from "../../../src/protocol/Errors.js"

const Welcome = Schema.Struct({
  runtime: Schema.Struct({ name: Schema.String, version: Schema.String }),
  resume_token: Schema.String,
  resume_window_sec: Schema.Number,
  capabilities: Schema.Struct({ features: Schema.optional(Schema.Array(Schema.String)) })
})
const Accepted = Schema.Struct({
  job_id: Schema.String,
  agent: Schema.String,
  lease: Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) }),
  budget: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number })),
  accepted_at: Schema.String,
  trace_id: Schema.optional(Schema.String)
})
const JobError = Schema.Struct({
  final_status: Schema.Literal("error", "cancelled", "timed_out"),
  code: Schema.Literal(...errorCodes),
  message: Schema.String,
  retryable: Schema.Boolean
}).pipe(Schema.filter(({ code, retryable }) => code !== "INTERNAL_ERROR" || retryable))
const Result = Schema.Struct({ final_status: Schema.Literal("success") })

export class TypeScriptClient extends SdkClient {
  readonly name = "TypeScript"
  override readonly maxFrame = 104_857_600
  private readonly pending = new Map<string, SdkJob>()
  private readonly subscribing = new Map<string, SdkJob>()

  protected id = () => `msg_${ulid()}`

  protected pendingSubmits() {
    return [...this.pending.values(), ...this.subscribing.values()]
  }

  protected hello(token: string, resume: Facts | undefined): Wire {
    return {
      client: { name: "typescript", version: "1.1.0" },
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
      const trace = traceId()
      this.pending.set(trace, job)
      const { expiresAt } = options
      return Effect.zipRight(
        this.send(
          "job.submit",
          {
            agent,
            input,
            lease_request: options.lease,
            idempotency_key: options.idempotencyKey,
            max_runtime_sec: options.maxRuntimeSec,
            ...(expiresAt === undefined ? {} : { lease_constraints: { expires_at: expiresAt } })
          },
          { trace_id: trace }
        ),
        Deferred.await(job.acceptance)
      )
    })
  }

  subscribe(jobId: string, history: boolean) {
    return Effect.suspend(() => {
      const job = new SdkJob()
      this.subscribing.set(jobId, job)
      return Effect.zipRight(
        this.send("job.subscribe", { job_id: jobId, history }, { job_id: jobId }),
        Deferred.await(job.acceptance)
      )
    })
  }

  cancel(jobId: string) {
    return this.send("job.cancel", { reason: "cancelled" }, { job_id: jobId })
  }

  close = Effect.suspend(() =>
    Effect.zipRight(this.send("session.close", { reason: "done" }), this.connection.close(1000, ""))
  )

  protected onFrame(frame: Wire): void {
    try {
      this.dispatch(frame)
    } catch {
      // It drops what it cannot decode.
    }
    if (typeof frame.event_seq === "number" && frame.event_seq % 32 === 0) {
      Effect.runFork(this.send("session.ack", { last_processed_seq: frame.event_seq }))
    }
  }

  private dispatch(frame: Wire): void {
    const { job_id: jobId, payload, type } = frame
    switch (type) {
      case "session.welcome": {
        const welcome = demand(Welcome, payload)
        this.sessionId = demand(Schema.NonEmptyString, frame.session_id)
        this.resumeToken = welcome.resume_token
        this.features = welcome.capabilities.features ?? []
        Deferred.unsafeDone(this.welcomed, Effect.succeed(payload))
        return
      }
      case "session.error":
        demand(Schema.NonEmptyString, frame.session_id)
        this.failAll(errorOf(payload))
        this.pending.clear()
        this.subscribing.clear()
        return
      case "session.ping":
        return this.answerPing(frame)
      case "session.jobs":
        return this.listed(frame)
      case "job.accepted": {
        const accepted = demand(Accepted, payload)
        const trace: string = accepted.trace_id ?? frame.trace_id
        // Of a repeat it is the first submit's.
        this.opened(this.pending, this.pending.has(trace) ? trace : (this.pending.keys().next().value ?? ""), payload)
        return
      }
      case "job.subscribed":
        return this.opened(this.subscribing, payload.job_id, payload)
      case "job.event":
        return this.event(this.jobs.get(jobId), frame)
      case "job.result": {
        const job = this.jobs.get(jobId)
        if (job === undefined) return
        demand(Result, payload)
        const { result, result_id } = payload
        Deferred.unsafeDone(job.completion, Effect.succeed(result_id === undefined ? result : job.streamed))
        return
      }
      case "job.error":
        demand(JobError, payload)
        this.jobs.get(demand(Schema.NonEmptyString, jobId))?.fail(errorOf(payload))
    }
  }

  private opened(waiting: Map<string, SdkJob>, key: string, payload: Wire): void {
    const job = waiting.get(key)
    if (job === undefined) return
    waiting.delete(key)
    job.jobId = payload.job_id
    job.accepted = payload
    this.jobs.set(job.jobId, job)
    Deferred.unsafeDone(job.acceptance, Effect.succeed(job))
  }
}

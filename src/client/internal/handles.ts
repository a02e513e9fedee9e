/**
 * Handles of jobs: submitted, observed, attached.
 *
 * Responsibility: what a program is given for a job, and the calls that make a job known without a submit (ARCP 1.1 §7.6).
 *
 * Order: a handle is made in the step that reads the answer, so that no event of the job is read before the client knows it.
 * Where the answer says that a history follows, what had come of the job before is in it again, and is not taken twice.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { AgentEvent, AgentTypes } from "../../protocol/AgentSpec.js"
import { type ArcpError, InvalidRequest } from "../../protocol/Errors.js"
import type { WireLease } from "../../protocol/Fields.js"
import type { Accepted } from "../../protocol/Job.js"
import type { ArcpClientService } from "../ArcpClientService.js"
import { ClientClosed, type ClientError } from "../ClientError.js"
import type { AttachOptions, SubscribeOptions } from "../ClientOptions.js"
import { type Credential, type EventsOptions, type JobHandle, type ObservedJob, resultOf } from "../JobHandle.js"
import { type Call, notNegotiated } from "./call.js"
import * as checks from "./checks.js"
import type { Core } from "./core.js"
import * as encode from "./encode.js"
import { startsAt, subscribedOf } from "./history.js"
import type { ClientJob, Missed, Recovery } from "./job.js"
import type { Supervisor } from "./supervisor.js"
import { typedEvents } from "./typedEvents.js"
import { bytesOf, chunksOf, eventsOf, missedError, type ReaderHooks } from "./jobStreams.js"

/** What is said of a job with `job.accepted` and `job.subscribed`. */
interface JobDescription {
  readonly agent?: string | undefined
  readonly lease?: WireLease | undefined
  readonly lease_constraints?: ObservedJob<unknown>["leaseConstraints"]
  readonly budget?: ObservedJob<unknown>["budget"]
  readonly credentials?: Accepted["credentials"]
  readonly trace_id?: string | undefined
  readonly parent_job_id?: string | null | undefined
}

const credentialsOf = ({ credentials }: JobDescription): ReadonlyArray<Credential> =>
  (credentials ?? []).map(({ endpoint, id, profile, scheme, value }) => ({
    id,
    scheme,
    value: Redacted.make(value),
    endpoint,
    profile
  }))

/** The longest id that is sent, in UTF-16 code units; runtimes' are far shorter. */
const maxJobId = 4_096

const checkJobId = (jobId: unknown): Effect.Effect<void, InvalidRequest> =>
  typeof jobId === "string" && jobId.length <= maxJobId
    ? Effect.void
    : new InvalidRequest({ message: `payload.job_id: must be a string of at most ${maxJobId} characters` })

/** A pull hands out at least one event. */
const chunkSize = (size: unknown): number | undefined =>
  typeof size === "number" && size >= 1 ? Math.floor(size) : undefined

/** The Schemas of a job, where its caller gave any. */
export type Types<Out, OutWire, Err, ErrWire, Events> = Partial<AgentTypes<Out, OutWire, Err, ErrWire, Events>>

/** Reads the Schemas of a call's options once: they may be getters. */
const typesOf = <Out, OutWire, Err, ErrWire, Events>({
  agent,
  output
}: Pick<AttachOptions<Out, OutWire, Err, ErrWire, Events>, "agent" | "output">): Types<
  Out,
  OutWire,
  Err,
  ErrWire,
  Events
> => {
  const decodes = output ?? agent?.output
  return { ...(decodes === undefined ? {} : { output: decodes }), error: agent?.error, events: agent?.events }
}

/** The functions that make the handles of one client. */
export type Handles = ReturnType<typeof handles>

export const handles = (
  core: Core,
  call: Call,
  session: Pick<Supervisor, "connected" | "flush">,
  hooks: ReaderHooks
) => {
  const eventsWith = (job: ClientJob, { chunkSize: size, onGap }: EventsOptions) => {
    const { jobId } = job
    return eventsOf(
      job,
      hooks,
      ({ from, missed, to }: Missed) =>
        onGap === "mark"
          ? Effect.succeed({ _tag: "gap" as const, jobId, from, to, missed })
          : Effect.fail(missedError(jobId, { from, missed, to })),
      chunkSize(size)
    )
  }

  const observed = <Out, OutWire, Err, ErrWire, Events>(
    job: ClientJob,
    said: JobDescription,
    types: Types<Out, OutWire, Err, ErrWire, Events>
  ): ObservedJob<Out, Err, AgentEvent<Events>> => ({
    jobId: job.jobId,
    agent: said.agent ?? "",
    lease: said.lease ?? {},
    leaseConstraints: said.lease_constraints,
    budget: said.budget,
    traceId: said.trace_id,
    parentJobId: said.parent_job_id ?? undefined,
    // Made when it is run: most handles are asked for their result alone.
    events: Stream.suspend(() =>
      typedEvents(types.events)(eventsOf(job, hooks, (missed) => Effect.fail(missedError(job.jobId, missed))))
    ),
    eventsWith: ((options: EventsOptions) =>
      Stream.unwrap(
        Effect.map(
          encode.reading("options", () => ({ chunkSize: options.chunkSize, onGap: options.onGap })),
          (read) => typedEvents(types.events)(eventsWith(job, read))
        )
      )) as ObservedJob<Out, Err, AgentEvent<Events>>["eventsWith"],
    result: resultOf(job, types),
    chunks: chunksOf(job, hooks),
    bytes: bytesOf(job, hooks)
  })

  const handle = <Out, OutWire, Err, ErrWire, Events>(
    job: ClientJob,
    said: JobDescription,
    types: Types<Out, OutWire, Err, ErrWire, Events>,
    idempotencyKey: string
  ): JobHandle<Out, Err, AgentEvent<Events>> => ({
    ...observed(job, said, types),
    idempotencyKey,
    credentials: credentialsOf(said),
    cancel: (reason) =>
      Effect.asVoid(
        // Some runtimes fail on a cancel without a reason.
        call("job.cancel", { job_id: job.jobId, reason: reason ?? "cancelled by the client" }, () => undefined, {
          jobId: job.jobId
        })
      )
  })

  const subscribe = <Out = unknown, OutWire = unknown, Err = never, ErrWire = never, Events = {}>(
    jobId: string,
    options: SubscribeOptions<Out, OutWire, Err, ErrWire, Events> = {}
  ): Effect.Effect<ObservedJob<Out, Err, AgentEvent<Events>>, ArcpError | ClientError> =>
    Effect.gen(function* () {
      yield* checkJobId(jobId)
      const { from, history, types, ...given } = yield* encode.reading("options", () => ({
        history: options.history ?? false,
        from: options.fromEventSeq ?? 0,
        priority: options.priority,
        types: typesOf(options)
      }))
      yield* checks.fromEventSeq(from)
      const priority = yield* checks.priority(given.priority)
      // A job that this client has already is not asked for its history: that would come twice.
      const asks = history && !core.jobs.has(jobId)
      return yield* call(
        "job.subscribe",
        { job_id: jobId, ...(asks ? { history, from_event_seq: from } : {}) },
        (message) => {
          const said = subscribedOf(message)
          const follows = asks && said.replayed === true
          const known = core.jobs.has(jobId)
          const recovery: Recovery = { _tag: "observer", from: history ? from : (said.subscribed_from ?? 0) }
          const job = core.adopt(jobId, recovery, { history: follows })
          if (asks && !known) startsAt(job, said, from)
          return observed(job, said, types)
        },
        { jobId, features: ["subscribe"], priority }
      )
    })

  const attach = <Out = unknown, OutWire = unknown, Err = never, ErrWire = never, Events = {}>(
    jobId: string,
    options: AttachOptions<Out, OutWire, Err, ErrWire, Events> = {}
  ): Effect.Effect<JobHandle<Out, Err, AgentEvent<Events>>, ArcpError | ClientError> =>
    Effect.gen(function* () {
      yield* checkJobId(jobId)
      const { all, types } = yield* encode.reading("options", () => ({
        all: options.history === true,
        types: typesOf(options)
      }))
      const known = core.jobs.has(jobId)
      const before = all ? undefined : core.registry.cursor.inherited(jobId)
      const from = before?.historyFrom ?? 0
      return yield* call(
        "job.subscribe",
        { job_id: jobId, ...(known ? {} : { history: true, from_event_seq: from }) },
        (message) => {
          const said = subscribedOf(message)
          const history = !known && said.replayed === true
          const isNew = !core.jobs.has(jobId)
          const recovery: Recovery = { _tag: "observer", from: history ? from : before?.lastEventSeq || from }
          const job = core.adopt(jobId, recovery, { before, history })
          if (isNew && history) startsAt(job, said, from)
          return handle(job, said, types, "")
        },
        { jobId, features: ["subscribe"] }
      )
    })

  /** Ends the observation here at once; no text says how a runtime answers. */
  const unsubscribe = (jobId: string): Effect.Effect<void, ArcpError | ClientError> =>
    Effect.gen(function* () {
      yield* checkJobId(jobId)
      yield* session.connected
      const missing = notNegotiated("job.unsubscribe", ["subscribe"], core.features)
      if (missing !== undefined) return yield* missing
      const job = core.jobs.get(jobId)
      if (job?.recovery._tag === "owner") return
      core.unobserve(jobId)
      session.flush()
      if (job === undefined) return
      core.lose(job, new ClientClosed({ message: `the observation of ${jobId} was ended` }))
      // A slow stream of it must stop holding up the connection.
      hooks.taken()
    })

  return { attach: attach as ArcpClientService["attach"], observed, submitted: handle, subscribe, unsubscribe }
}

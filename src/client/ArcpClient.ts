/**
 * A client of a runtime: one session that outlives its connections (ARCP 1.1 §6).
 *
 * Responsibility: connecting, resuming and replacing the session by itself, and the calls that a program makes on it.
 * Handles, streams and calls survive a drop; a call fails when it was refused or when the client has ended for good.
 *
 * Order: one supervisor fiber owns the connection; frames are handled in the order of their arrival, each in one step.
 *
 * Races closed here: a reply that is faster than its waiter (requests are registered before they are sent); events before
 * their handle (kept); a submit in flight during a drop (repeated under its idempotency key, so it is one job).
 *
 * @example
 * const program = Effect.gen(function*() {
 *   const client = yield* ArcpClient
 *   const job = yield* client.submit(Summarize, { path: "/data/a.txt" }, { lease: { "fs.read": ["/data/**"] } })
 *   return yield* job.result
 * }).pipe(Effect.provide(ArcpClient.layer({ auth: { token: Redacted.make("secret") } })))
 */
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as ParseResult from "effect/ParseResult"
import * as PubSub from "effect/PubSub"
import * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Priority } from "../protocol/Envelope.js"
import type { AgentSpec } from "../protocol/AgentSpec.js"
import * as AgentName from "../protocol/AgentName.js"
import { type ArcpError, InternalError, InvalidRequest, oneLine } from "../protocol/Errors.js"
import { defaultMaxBytes } from "../protocol/Artifact.js"
import { coreFeatures, extendedFeatures } from "../protocol/Features.js"
import { formatTimestamp, type WireLease } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import type { JobFilter, JobInfo } from "../protocol/Session.js"
import type { Accepted } from "../protocol/Job.js"
import * as Message from "../protocol/Message.js"
import { packageName, packageVersion } from "../protocol/Package.js"
import * as Trace from "../protocol/Trace.js"
import { Connector, type TransportError } from "../transport/Connection.js"
import type { ClientArtifacts } from "./Artifacts.js"
import * as Artifacts from "./Artifacts.js"
import { ClientClosed, type ClientError, NotNegotiated, type SessionEnded } from "./ClientError.js"
import type { ClientStatus, LostConnection } from "./ClientStatus.js"
import type { Call } from "./internal/call.js"
import { Core, type Pending } from "./internal/core.js"
import * as checks from "./internal/checks.js"
import * as encode from "./internal/encode.js"
import type { ClientJob } from "./internal/job.js"
import { supervise } from "./internal/supervisor.js"
import { textOf } from "./internal/text.js"
import { chunksOf, eventsOf, type Credential, type JobHandle, type ObservedJob, resultOf } from "./JobHandle.js"

/** How a client behaves. Every option has a default. */
export interface ClientOptions {
  /** Name and version in the hello. Default `effect-arcp` and the version of this package. */
  readonly client?: { readonly name: string; readonly version: string } | undefined
  /**
   * What to authenticate with (§6.1). `token` may be an Effect: it is run for every connection, so that a token can be
   * refreshed. Absent for a runtime that admits anonymous clients.
   */
  readonly auth?:
    | {
        readonly scheme?: string | undefined
        readonly token: Redacted.Redacted<string> | Effect.Effect<Redacted.Redacted<string>>
      }
    | undefined
  /** Features to offer (§6.2). Default: all that ARCP 1.1 defines, and `artifacts`. */
  readonly features?: ReadonlyArray<string> | undefined
  /** Time for a connection to open. Default 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Time for the welcome after that. Default 10 seconds. */
  readonly handshakeTimeout?: Duration.DurationInput | undefined
  /** Time for `session.closed` when closing. Default 2 seconds. */
  readonly closeTimeout?: Duration.DurationInput | undefined
  /** The wait before the first reconnect. Doubles up to {@link maxBackoff}; each is drawn from its upper half. Default 100 ms. */
  readonly backoff?: Duration.DurationInput | undefined
  /** The longest wait between reconnects. Default 10 seconds. */
  readonly maxBackoff?: Duration.DurationInput | undefined
  /**
   * Connections in a row that bring nothing before the client ends for good: that fail, or end after their welcome without an event,
   * an answer, or ten seconds of life. Default: no limit.
   */
  readonly maxAttempts?: number | undefined
  /**
   * The waits between reconnects, instead of {@link backoff} and {@link maxBackoff}: its delays count, and the client ends for good
   * when it is done. It starts again after a connection that brought something. Its input says why the last one ended.
   */
  readonly retry?: Schedule.Schedule<unknown, LostConnection> | undefined
  /**
   * How long a call may lie unanswered on a live session before it fails with `RequestTimeout`. It counts from the writing of the
   * request, anew after each resume, and not while there is no session. The token's Effect has as long. Default 30 seconds.
   */
  readonly requestTimeout?: Duration.DurationInput | undefined
  /** Events after which an acknowledgement is sent at once (§6.5). Default 256. */
  readonly ackEvery?: number | undefined
  /**
   * Bytes of messages (UTF-16 code units) after which one is sent at once, so that a stream of large events is not slowed down to
   * one window for each {@link ackInterval}. Default 1,048,576.
   */
  readonly ackBytes?: number | undefined
  /** Time after which an acknowledgement is sent otherwise. Default 250 ms. */
  readonly ackInterval?: Duration.DurationInput | undefined
  /**
   * Events of one job that are kept for somebody to consume. Beyond it, unconsumed ones are dropped (the oldest first) and
   * a consumer that is this far behind holds up the connection. Default 16,384.
   */
  readonly eventBuffer?: number | undefined
  /**
   * Bytes of the largest artifact that is sent; a larger one would break the peer's frame limit and end the connection.
   * Default 3,000,000, which fits the transports' 4 MiB as base64.
   */
  readonly maxArtifactBytes?: number | undefined
  /**
   * Encoded bytes of the largest frame that is sent. A call whose request is larger fails with `InvalidRequest` and is not sent.
   * Default 4,194,304, which the transports' servers accept, or more where {@link maxArtifactBytes} needs it.
   */
  readonly maxFrameBytes?: number | undefined
  /** A session to go on with, as {@link ArcpClientService.session} told it before. */
  readonly resume?: SessionFacts | undefined
}

/** What identifies a session; enough to go on with it in another process. The token is a secret. */
export interface SessionFacts {
  readonly sessionId: string
  readonly resumeToken: Redacted.Redacted<string>
  readonly lastEventSeq: number
}

/** Options of a submit (§7.1). */
export interface SubmitOptions {
  /** The capabilities that the job asks for (§9.2). */
  readonly lease?: WireLease | undefined
  /** When the lease ends (§9.5): milliseconds since the epoch, or an ISO 8601 time in UTC. */
  readonly expiresAt?: number | string | undefined
  /** Default: a generated one, so that a submit in flight during a drop is one job (§7.2). */
  readonly idempotencyKey?: string | undefined
  /** Seconds, at least 1. */
  readonly maxRuntimeSec?: number | undefined
  /** Default: the current span's trace. */
  readonly trace?: Trace.TraceContext | undefined
  /** How long the submit may lie unanswered, where that is more than the client's `requestTimeout`: for a runtime that takes long to accept. */
  readonly requestTimeout?: Duration.DurationInput | undefined
  /** The priority of the submit's envelope: a hint, which the runtime keeps with the job. Default: none. */
  readonly priority?: Priority | undefined
}

/** Options of a subscription (§7.6). */
export interface SubscribeOptions<Out, OutWire> {
  /** Whether to see what came before. Default false. */
  readonly history?: boolean | undefined
  /** Only what came after this number of the owner's session; with `history`. Default 0. */
  readonly fromEventSeq?: number | undefined
  /** The priority of the request's envelope: a hint. Default: none. */
  readonly priority?: Priority | undefined
  /** Decodes the result. */
  readonly output?: Schema.Schema<Out, OutWire> | undefined
}

/** The calls of a client. */
export interface ArcpClientService {
  /** Submits a job to an agent that both sides know, with typed input and output, and returns once it is accepted. */
  readonly submit: {
    <In, InWire, Out, OutWire>(
      agent: AgentSpec<In, InWire, Out, OutWire>,
      input: In,
      options?: SubmitOptions
    ): Effect.Effect<JobHandle<Out>, ArcpError | ClientError>
    (
      agent: string,
      input?: unknown,
      options?: SubmitOptions
    ): Effect.Effect<JobHandle<unknown>, ArcpError | ClientError>
  }
  /** The jobs that this principal may observe, page after page (§6.6). */
  readonly listJobs: (
    filter?: JobFilter & { readonly pageSize?: number | undefined }
  ) => Stream.Stream<JobInfo, ArcpError | ClientError>
  /** Observes a job that was submitted elsewhere, or earlier (§7.6). */
  readonly subscribe: <Out = unknown, OutWire = unknown>(
    jobId: string,
    options?: SubscribeOptions<Out, OutWire>
  ) => Effect.Effect<ObservedJob<Out>, ArcpError | ClientError>
  /** Ends an observation; its events end. */
  readonly unsubscribe: (jobId: string) => Effect.Effect<void, ArcpError | ClientError>
  /** Bytes that the runtime keeps for this principal; beyond the specification, where the runtime offers it. */
  readonly artifacts: ClientArtifacts
  /** Asks the runtime for a sign of life; answers the round trip. */
  readonly ping: Effect.Effect<Duration.Duration, ArcpError | ClientError>
  /** What the connection is doing, current state first. */
  readonly status: Stream.Stream<ClientStatus>
  /** Waits for a session; fails when there will be none. */
  readonly connected: Effect.Effect<void, ArcpError | ClientError>
  /** The runtime's agents, as of the last welcome. */
  readonly agents: Effect.Effect<
    ReadonlyArray<{
      readonly name: string
      readonly versions: ReadonlyArray<string>
      readonly default?: string | undefined
    }>,
    ArcpError | ClientError
  >
  /** The features that both sides have. */
  readonly features: Effect.Effect<ReadonlySet<string>, ArcpError | ClientError>
  /** Jobs that this session's jobs delegated (§10), as they are announced. */
  readonly children: Stream.Stream<ObservedJob<unknown>>
  /** What identifies the session; undefined before the first welcome. */
  readonly session: Effect.Effect<SessionFacts | undefined>
  /** Closes the session politely and ends the client; harmless when it has ended. Jobs go on (§6.7). */
  readonly close: Effect.Effect<void>
}

/** A client of one runtime. */
export class ArcpClient extends Context.Tag("effect-arcp/client/ArcpClient")<ArcpClient, ArcpClientService>() {
  /** Connects in the background; calls wait for the session. Closing the scope closes the session. */
  static readonly layerWith = (options: ClientOptions): Layer.Layer<ArcpClient, never, Connector | Ids> =>
    Layer.scoped(ArcpClient, make(options))

  /** As {@link layerWith}, with ids from the platform. */
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<ArcpClient, never, Connector> =>
    Layer.provide(ArcpClient.layerWith(options), Ids.layer)
}

const make = (given: ClientOptions) =>
  Effect.gen(function* () {
    const wrong = checks.optionsProblem(given)
    // Such a client ends at once, and every call on it fails with what is wrong.
    const options = wrong === undefined ? given : checks.withoutNumbers(given)
    const ids = yield* Ids
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const features = options.features ?? [...coreFeatures, ...extendedFeatures]
    const maxArtifactBytes = options.maxArtifactBytes ?? defaultMaxBytes
    const maxFrameBytes = options.maxFrameBytes ?? Math.max(4_194_304, Math.ceil((maxArtifactBytes * 4) / 3) + 65_536)
    const core = new Core({
      features,
      eventBuffer: options.eventBuffer ?? 16_384,
      newId: () => ids.unsafeUlid(now()),
      newTraceId: ids.unsafeTraceId,
      now
    })
    const connector = yield* Connector
    const session = yield* supervise(core, wrong === undefined ? connector : refusing(wrong), {
      client: options.client ?? { name: packageName, version: packageVersion },
      auth: options.auth,
      features,
      connectTimeout: Duration.toMillis(options.connectTimeout ?? "10 seconds"),
      handshakeTimeout: Duration.toMillis(options.handshakeTimeout ?? "10 seconds"),
      closeTimeout: Duration.toMillis(options.closeTimeout ?? "2 seconds"),
      backoff: Duration.toMillis(options.backoff ?? 100),
      maxBackoff: Duration.toMillis(options.maxBackoff ?? "10 seconds"),
      maxAttempts: options.maxAttempts ?? Number.POSITIVE_INFINITY,
      retry: options.retry,
      requestTimeout: Duration.toMillis(options.requestTimeout ?? "30 seconds"),
      ackEvery: options.ackEvery ?? 256,
      ackBytes: options.ackBytes ?? 1_048_576,
      ackInterval: Duration.toMillis(options.ackInterval ?? 250),
      eventBuffer: options.eventBuffer ?? 16_384,
      resume: options.resume,
      newId: () => ids.unsafeUlid(now()),
      now,
      random: Random.next
    })

    /**
     * Sends a request and waits for its answer. The payload is encoded before anything is waited for; `answered` runs
     * before any later frame is read.
     */
    const call: Call = (type, payload, answered, more = {}) =>
      Effect.suspend(() => {
        const { features = [], jobId, nonce, priority, timeout, trace } = more
        const request = Either.flatMap(
          encode.request(payload, {
            job_id: jobId,
            trace_id: trace?.traceId,
            priority,
            extensions: trace === undefined ? undefined : Trace.toExtensions(trace)
          }),
          (text) => encode.bounded(text, maxFrameBytes)
        )
        return Either.isLeft(request)
          ? Effect.fail(request.left)
          : send({ type, request: request.right, jobId, traceId: trace?.traceId, nonce, timeout }, answered, features)
      })

    const send = <A>(
      request: Omit<Pending, "answered" | "failed">,
      answered: (message: Message.RuntimeMessage, request: string) => A,
      features: ReadonlyArray<string>
    ): Effect.Effect<A, ArcpError | ClientError> =>
      Effect.zipRight(
        session.connected,
        Effect.async<A, ArcpError | ClientError>((resume) => {
          const ended = session.ended()
          if (ended !== undefined) return resume(Effect.fail(ended))
          const missing = features.find((feature) => !core.features.has(feature))
          if (missing !== undefined) {
            return resume(
              Effect.fail(
                new NotNegotiated({
                  feature: missing,
                  message: `${request.type} needs the feature ${missing}, which this session does not have`
                })
              )
            )
          }
          const refusal = session.refusal(request.request)
          if (refusal !== undefined) return resume(Effect.fail(refusal))
          const pending: Pending = {
            ...request,
            // The reader calls it, and must outlive it.
            answered: (message) => {
              // A pong shows that the runtime is there, and nothing more.
              if (message.type !== "session.pong") core.progress++
              resume(taking(message, () => answered(message, request.request)))
            },
            failed: (error) => resume(Effect.fail(error))
          }
          core.request(pending)
          session.flush()
          return Effect.sync(() => {
            for (const [id, other] of core.pending) if (other === pending) core.pending.delete(id)
          })
        })
      )

    const observed = <Out, OutWire>(
      job: ClientJob,
      facts: {
        readonly agent?: string | undefined
        readonly lease?: WireLease | undefined
        readonly lease_constraints?: ObservedJob<Out>["leaseConstraints"]
        readonly budget?: ObservedJob<Out>["budget"]
        readonly trace_id?: string | undefined
        readonly parent_job_id?: string | null | undefined
      },
      output: Schema.Schema<Out, OutWire> | undefined
    ): ObservedJob<Out> => ({
      jobId: job.jobId,
      agent: facts.agent ?? "",
      lease: facts.lease ?? {},
      leaseConstraints: facts.lease_constraints,
      budget: facts.budget,
      traceId: facts.trace_id,
      parentJobId: facts.parent_job_id ?? undefined,
      events: eventsOf(job, session.consumed),
      result: resultOf(job, output),
      chunks: chunksOf(job)
    })

    const currentTrace: Effect.Effect<Trace.TraceContext | undefined> = Effect.map(
      Effect.option(Effect.currentSpan),
      Option.match({
        onNone: () => undefined,
        onSome: (span) =>
          /^[0-9a-f]{32}$/.test(span.traceId) && /^[0-9a-f]{16}$/.test(span.spanId)
            ? { traceId: span.traceId, parentSpanId: span.spanId }
            : undefined
      })
    )

    const submit = (
      agent: string | AgentSpec<unknown, unknown, unknown, unknown>,
      input?: unknown,
      submitOptions: SubmitOptions = {}
    ): Effect.Effect<JobHandle<unknown>, ArcpError | ClientError> =>
      Effect.gen(function* () {
        const asked = yield* encode.reading("options", () => readSubmit(agent, submitOptions))
        const options = yield* checks.encodeSubmit(asked)
        const timeout = yield* checks.timeout(asked.requestTimeout)
        const { output, spec } = asked
        const wire = spec === undefined ? input : yield* encodeInput(spec.input, input)
        const encoded = wire === undefined ? undefined : yield* encode.json("payload.input", wire)
        // Whether a version may be named is known once there has been a welcome.
        if (spec !== undefined && core.sessionId === undefined) yield* session.connected
        // Without agent_versions a version must not be named (§6.2); the default is what the peer has.
        const name = spec !== undefined && core.features.has("agent_versions") ? asked.versioned : asked.name
        const priority = yield* checks.priority(asked.priority)
        const key = asked.idempotencyKey ?? `auto_${yield* ids.secret}`
        const trace = asked.trace ?? (yield* currentTrace) ?? { traceId: ids.unsafeTraceId() }
        return yield* call(
          "job.submit",
          { agent: name, input: encoded ?? null, ...options, idempotency_key: key },
          (message, request) => {
            const accepted = (message as Extract<Message.RuntimeMessage, { readonly type: "job.accepted" }>).payload
            const job = core.adopt(accepted.job_id, { _tag: "owner", submit: request })
            job.accepted ??= accepted
            const handle: JobHandle<unknown> = {
              ...observed(job, accepted, output),
              idempotencyKey: key,
              credentials: credentialsOf(accepted),
              cancel: (reason) =>
                Effect.asVoid(
                  call(
                    "job.cancel",
                    { job_id: job.jobId, reason: reason ?? "cancelled by the client" },
                    () => undefined,
                    {
                      jobId: job.jobId
                    }
                  )
                ) as Effect.Effect<void, ArcpError | ClientClosed | SessionEnded>
            }
            return handle
          },
          { trace, priority, features: checks.neededFeatures(name, options), timeout }
        )
      })

    const listJobs = (
      filter: JobFilter & { readonly pageSize?: number | undefined } = {}
    ): Stream.Stream<JobInfo, ArcpError | ClientError> =>
      Stream.unwrap(
        Effect.gen(function* () {
          const { pageSize = 100, ...rest } = yield* encode.reading("filter", () => ({ ...filter }))
          // Encoded once: every page is of the same listing.
          const asked = yield* encode.object("payload.filter", rest)
          const limit = yield* checks.pageSize(pageSize)
          return Stream.paginateChunkEffect(undefined as string | undefined, (cursor) =>
            call(
              "session.list_jobs",
              { filter: asked, limit, cursor },
              (message) => (message as Extract<Message.RuntimeMessage, { readonly type: "session.jobs" }>).payload,
              { features: ["list_jobs"] }
            ).pipe(
              Effect.filterOrFail(
                (page) => page.next_cursor === null || page.next_cursor !== cursor,
                () => new InternalError({ message: "session.jobs: the cursor does not advance", retryable: false })
              ),
              Effect.map((page) => [
                Chunk.fromIterable(page.jobs),
                page.next_cursor === null ? Option.none() : Option.some(page.next_cursor as string | undefined)
              ])
            )
          )
        })
      )

    const subscribe = <Out = unknown, OutWire = unknown>(
      jobId: string,
      subscribeOptions: SubscribeOptions<Out, OutWire> = {}
    ): Effect.Effect<ObservedJob<Out>, ArcpError | ClientError> =>
      Effect.gen(function* () {
        yield* checkJobId(jobId)
        const { from, history, output, priority } = yield* encode.reading("options", () => ({
          history: subscribeOptions.history ?? false,
          from: subscribeOptions.fromEventSeq ?? 0,
          priority: subscribeOptions.priority,
          output: subscribeOptions.output
        }))
        yield* checks.fromEventSeq(from)
        const urgency = yield* checks.priority(priority)
        return yield* call(
          "job.subscribe",
          { job_id: jobId, ...(history ? { history, from_event_seq: from } : {}) },
          (message) => {
            const facts = (message as Extract<Message.RuntimeMessage, { readonly type: "job.subscribed" }>).payload
            const job = core.adopt(jobId, { _tag: "observer", from: history ? from : (facts.subscribed_from ?? 0) })
            return observed(job, facts, output)
          },
          { jobId, features: ["subscribe"], priority: urgency }
        )
      })

    /** Ends the observation here at once; no text says how a runtime answers. */
    const unsubscribe = (jobId: string): Effect.Effect<void, ArcpError | ClientError> =>
      Effect.gen(function* () {
        yield* checkJobId(jobId)
        yield* session.connected
        const ended = session.ended()
        if (ended !== undefined) return yield* Effect.fail(ended)
        if (!core.features.has("subscribe")) {
          return yield* new NotNegotiated({
            feature: "subscribe",
            message: "job.unsubscribe needs the feature subscribe, which this session does not have"
          })
        }
        const job = core.jobs.get(jobId)
        if (job?.recovery._tag === "owner") return
        core.unobserve(jobId)
        session.flush()
        if (job === undefined) return
        job.finish({ _tag: "lost", error: new ClientClosed({ message: `the observation of ${jobId} was ended` }) })
        core.jobs.delete(jobId)
        job.notify()
      })

    const ping = Effect.suspend(() => {
      const start = now()
      const nonce = `p_${ids.unsafeUlid(start)}`
      return call("session.ping", { nonce, sent_at: formatTimestamp(start) }, () => Duration.millis(now() - start), {
        nonce,
        features: ["heartbeat"]
      })
    })

    const children = yield* PubSub.sliding<ObservedJob<unknown>>(1024)
    core.onChild = (accepted) => {
      const job = core.adopt(accepted.job_id, { _tag: "observer", from: 0 })
      children.unsafeOffer(observed(job, accepted, undefined))
    }

    const service: ArcpClientService = {
      submit: submit as ArcpClientService["submit"],
      listJobs,
      subscribe,
      unsubscribe,
      artifacts: Artifacts.make(call, maxArtifactBytes),
      ping,
      status: session.status,
      connected: session.connected,
      agents: Effect.map(session.connected, () =>
        core.agents.map((agent) => ({ name: agent.name, versions: agent.versions ?? [], default: agent.default }))
      ),
      features: Effect.map(session.connected, () => core.features),
      children: Stream.fromPubSub(children),
      session: Effect.sync(() =>
        core.sessionId === undefined || core.resumeToken === undefined
          ? undefined
          : {
              sessionId: core.sessionId,
              resumeToken: Redacted.make(core.resumeToken),
              lastEventSeq: core.lastSeq
            }
      ),
      close: session.close
    }
    return service
  })

/** In the place of the transport where the options are wrong: the supervisor takes what is wrong with a request of its own for final. */
const refusing = (wrong: InvalidRequest): Context.Tag.Service<Connector> => ({
  connect: Effect.fail(wrong as unknown as TransportError),
  address: "nowhere"
})

/** The result of a call, of its answer. */
const taking = <A>(message: Message.RuntimeMessage, take: () => A): Effect.Effect<A, InternalError> =>
  Either.try({
    try: take,
    catch: (cause) =>
      new InternalError({
        message: oneLine(`the answer ${message.type} cannot be used: ${textOf(cause)}`),
        retryable: false
      })
  })

const checkJobId = (jobId: unknown): Effect.Effect<void, InvalidRequest> =>
  typeof jobId === "string" ? Effect.void : new InvalidRequest({ message: "payload.job_id: must be a string" })

/** What is asked for with a submit, read once: the caller's objects may change, and may throw. */
const readSubmit = (agent: string | AgentSpec<unknown, unknown, unknown, unknown>, options: SubmitOptions) => {
  const spec = typeof agent === "string" ? undefined : { input: agent.input, output: agent.output }
  const name = typeof agent === "string" ? agent : agent.agentName
  const { expiresAt, idempotencyKey, lease, maxRuntimeSec, priority, requestTimeout, trace } = options
  return {
    spec,
    output: spec?.output,
    name,
    versioned: typeof agent === "string" ? agent : AgentName.format({ name, version: agent.version }),
    expiresAt,
    idempotencyKey,
    lease,
    maxRuntimeSec,
    requestTimeout,
    priority,
    trace:
      trace === undefined
        ? undefined
        : { traceId: trace.traceId, parentSpanId: trace.parentSpanId, traceState: trace.traceState }
  }
}

/** Input that does not fit its Schema is refused here, as the runtime would; so is one on which the Schema's code fails. */
const encodeInput = (
  schema: Schema.Schema<unknown, unknown>,
  input: unknown
): Effect.Effect<unknown, InvalidRequest> => {
  const failed = (cause: unknown) =>
    Effect.fail(new InvalidRequest({ message: oneLine(`payload.input: cannot be encoded: ${textOf(cause)}`) }))
  const encoding = (): Effect.Effect<unknown, InvalidRequest | ParseResult.ParseError> => {
    // Not left to Effect, which cannot catch a revoked proxy.
    try {
      return Schema.encodeUnknown(schema)(input)
    } catch (cause) {
      return failed(cause)
    }
  }
  return Effect.suspend(encoding).pipe(
    Effect.mapError((error) =>
      error instanceof InvalidRequest ? error : new InvalidRequest({ message: Message.describe(error, "input") })
    ),
    Effect.catchAllDefect(failed)
  )
}

const credentialsOf = (accepted: Accepted): ReadonlyArray<Credential> =>
  (accepted.credentials ?? []).map(({ endpoint, id, profile, scheme, value }) => ({
    id,
    scheme,
    value: Redacted.make(value),
    endpoint,
    profile
  }))

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
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Priority } from "../protocol/Envelope.js"
import type { AgentSpec } from "../protocol/AgentSpec.js"
import { type ArcpError, InternalError, type InvalidRequest, oneLine } from "../protocol/Errors.js"
import { defaultMaxBytes } from "../protocol/Artifact.js"
import { coreFeatures, extendedFeatures } from "../protocol/Features.js"
import { formatTimestamp, type WireLease } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import type { JobFilter, JobInfo } from "../protocol/Session.js"
import type * as Message from "../protocol/Message.js"
import { packageName, packageVersion } from "../protocol/Package.js"
import * as Trace from "../protocol/Trace.js"
import { Connector, type TransportError } from "../transport/Connection.js"
import type { ClientArtifacts } from "./Artifacts.js"
import * as Artifacts from "./Artifacts.js"
import type { ClientError } from "./ClientError.js"
import type { ClientStatus, LostConnection } from "./ClientStatus.js"
import { type Call, notNegotiated } from "./internal/call.js"
import { Core, type Pending } from "./internal/core.js"
import * as checks from "./internal/checks.js"
import * as encode from "./internal/encode.js"
import { changesOf, factsOfSession } from "./internal/facts.js"
import { handles } from "./internal/handles.js"
import { encodeInput, readSubmit } from "./internal/submit.js"
import { supervise } from "./internal/supervisor.js"
import { textOf } from "./internal/text.js"
import type { JobHandle, ObservedJob } from "./JobHandle.js"
import type { SessionFacts } from "./SessionFacts.js"

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
   * Events of one job that are kept for a consumer. Beyond it, unconsumed ones are dropped (the oldest first; a stream that opens
   * then fails with `EventsMissed`), and a consumer that is this far behind holds up the connection. Default 16,384.
   */
  readonly eventBuffer?: number | undefined
  /**
   * As {@link eventBuffer}, in encoded bytes (UTF-16 code units); also of chunks for a stream that owns the result. Default
   * 67,108,864. Frames that come unencoded, as in memory by reference, do not count.
   */
  readonly eventBufferBytes?: number | undefined
  /**
   * Encoded bytes (UTF-16 code units) of a streamed result that are kept for `result`; beyond it they are released, and `result`
   * fails with `ResultTooLarge`. Default 536,870,912.
   */
  readonly maxResultBytes?: number | undefined
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

/** Options of {@link ArcpClientService.attach}. */
export interface AttachOptions<Out, OutWire> {
  /**
   * Whether to see all of the job's history. Default false: what the facts of {@link ClientOptions.resume} tell to be processed is
   * left out; a job of which they tell nothing is shown from its beginning.
   */
  readonly history?: boolean | undefined
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
  /**
   * Takes up a job that an earlier process submitted (§6.3, §7.6), without submitting it again: a full handle, with the events that
   * were not processed. In a session that resumes the submitter's, the job can be cancelled too; elsewhere that is
   * `PERMISSION_DENIED`. Where events are gone, its streams fail with `EventsMissed`. Needs the feature `subscribe`.
   */
  readonly attach: <Out = unknown, OutWire = unknown>(
    jobId: string,
    options?: AttachOptions<Out, OutWire>
  ) => Effect.Effect<JobHandle<Out>, ArcpError | ClientError>
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
  /** Jobs that this session's jobs delegated (§10), as they are announced. Ends with the client. */
  readonly children: Stream.Stream<ObservedJob<unknown>>
  /** What identifies the session; undefined before the first welcome. */
  readonly session: Effect.Effect<SessionFacts | undefined>
  /**
   * {@link session}, now and whenever it has changed: the token with every connection, the mark with what is processed. At most
   * ten a second, the newest each; ends with the client.
   */
  readonly sessionChanges: Stream.Stream<SessionFacts>
  /** Closes the session politely and ends the client; harmless when it has ended. Jobs go on (§6.7). */
  readonly close: Effect.Effect<void>
}

/** A client of one runtime. */
export class ArcpClient extends Context.Tag("effect-arcp/client/ArcpClient")<ArcpClient, ArcpClientService>() {
  /** Connects in the background; calls wait for the session. Closing the scope closes the session. */
  static readonly layerWith = (options: ClientOptions): Layer.Layer<ArcpClient, never, Connector | Ids> =>
    Layer.scoped(ArcpClient, start(options))

  /** As {@link layerWith}, with ids from the platform. */
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<ArcpClient, never, Connector> =>
    Layer.provide(ArcpClient.layerWith(options), Ids.layer)

  /**
   * A client as a value: several of them live in one program, each with its own connector and options. Connects in the background;
   * the scope's end closes the session. Ids come from the platform.
   *
   * @example
   * const east = yield* ArcpClient.make({ auth }).pipe(Effect.provide(WebSocketClient.layer({ url: eastUrl })))
   * const west = yield* ArcpClient.make({ auth }).pipe(Effect.provide(WebSocketClient.layer({ url: westUrl })))
   */
  static readonly make = (
    options: ClientOptions = {}
  ): Effect.Effect<ArcpClientService, never, Scope.Scope | Connector> => Effect.provide(start(options), Ids.layer)

  /**
   * A tag of its own for one of several clients. `name` tells them apart, so it must be unique in the program.
   *
   * @example
   * class East extends ArcpClient.Tag("East")<East>() {}
   * const EastLive = East.layer({ auth }).pipe(Layer.provide(WebSocketClient.layer({ url: eastUrl })))
   */
  static readonly Tag =
    <const Name extends string>(name: Name) =>
    <Self>(): ClientTag<Self, `effect-arcp/client/${Name}`> => {
      const key: `effect-arcp/client/${Name}` = `effect-arcp/client/${name}`
      const tag = Context.Tag(key)<Self, ArcpClientService>()
      const layerWith = (options: ClientOptions): Layer.Layer<Self, never, Connector | Ids> =>
        Layer.scoped(tag, start(options))
      const layer = (options: ClientOptions = {}): Layer.Layer<Self, never, Connector> =>
        Layer.provide(layerWith(options), Ids.layer)
      return Object.assign(tag, { layer, layerWith })
    }
}

/** The tag of one of several clients; see {@link ArcpClient.Tag}. */
export interface ClientTag<Self, Key extends string> extends Context.TagClass<Self, Key, ArcpClientService> {
  /** As {@link ArcpClient.layer}, for this client. */
  readonly layer: (options?: ClientOptions) => Layer.Layer<Self, never, Connector>
  /** As {@link ArcpClient.layerWith}, for this client. */
  readonly layerWith: (options: ClientOptions) => Layer.Layer<Self, never, Connector | Ids>
}

const start = (given: ClientOptions): Effect.Effect<ArcpClientService, never, Scope.Scope | Connector | Ids> =>
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
      eventBufferBytes: options.eventBufferBytes,
      maxResultBytes: options.maxResultBytes,
      newId: () => ids.unsafeUlid(now()),
      newTraceId: ids.unsafeTraceId,
      now
    })
    core.cursor.inherit(options.resume)
    const connector = yield* Connector
    /** Ends the streams of children. */
    let noChildren = (): void => {}
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
      random: Random.next,
      onEnd: () => noChildren()
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
          : send({ type, request: request.right, jobId, traceId: trace?.traceId, nonce, timeout, features }, answered)
      })

    const send = <A>(
      request: Omit<Pending, "answered" | "failed">,
      answered: (message: Message.RuntimeMessage, request: string) => A
    ): Effect.Effect<A, ArcpError | ClientError> =>
      Effect.zipRight(
        session.connected,
        Effect.async<A, ArcpError | ClientError>((resume) => {
          const ended = session.ended()
          if (ended !== undefined) return resume(Effect.fail(ended))
          const missing = request.features?.find((feature) => !core.features.has(feature))
          if (missing !== undefined) return resume(Effect.fail(notNegotiated(request.type, missing)))
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
          return Effect.sync(() => core.abandon(pending))
        })
      )

    const { attach, observed, submitted, subscribe, unsubscribe } = handles(core, call, session, {
      opened: (job) => core.cursor.opened(job),
      taken: () => {
        session.consumed()
        core.cursor.touch()
      }
    })
    const facts = () => factsOfSession(core)

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
            return submitted(core.adopt(accepted.job_id, { _tag: "owner", submit: request }), accepted, output, key)
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

    const ping = Effect.suspend(() => {
      const start = now()
      const nonce = `p_${ids.unsafeUlid(start)}`
      return call("session.ping", { nonce, sent_at: formatTimestamp(start) }, () => Duration.millis(now() - start), {
        nonce,
        features: ["heartbeat"]
      })
    })

    const children = yield* PubSub.sliding<ObservedJob<unknown> | undefined>(1024)
    noChildren = () => void children.unsafeOffer(undefined)
    core.onChild = (accepted) => {
      const job = core.adopt(accepted.job_id, { _tag: "observer", from: 0 })
      children.unsafeOffer(observed(job, accepted, undefined))
    }

    const service: ArcpClientService = {
      submit: submit as ArcpClientService["submit"],
      listJobs,
      subscribe,
      attach,
      unsubscribe,
      artifacts: Artifacts.make(call, maxArtifactBytes),
      ping,
      status: session.status,
      connected: session.connected,
      agents: Effect.map(session.connected, () =>
        core.terms.agents.map((agent) => ({ name: agent.name, versions: agent.versions ?? [], default: agent.default }))
      ),
      features: Effect.map(session.connected, () => core.features),
      children: Stream.unwrapScoped(
        Effect.map(PubSub.subscribe(children), (queue) =>
          session.ended() === undefined
            ? Stream.takeWhile(Stream.fromQueue(queue), (child) => child !== undefined)
            : Stream.empty
        )
      ),
      session: Effect.sync(facts),
      sessionChanges: changesOf(core.cursor, facts, () => session.ended() !== undefined),
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

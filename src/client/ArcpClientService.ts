/**
 * The calls that a program makes on a client (ARCP 1.1 §6, §7).
 *
 * Responsibility: the type of the service, with what each call promises and how it fails. The implementations are in
 * `internal`; the tag and its layers are in `ArcpClient`. Both import this file, and it imports neither.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { AgentEvent, AgentSpec } from "../protocol/AgentSpec.js"
import type { ArcpError } from "../protocol/Errors.js"
import type { JobFilter, JobInfo } from "../protocol/Session.js"
import type { ClientArtifacts } from "./Artifacts.js"
import type { ClientError } from "./ClientError.js"
import type { AttachOptions, SubmitOptions, SubscribeOptions } from "./ClientOptions.js"
import type { ClientStatus } from "./ClientStatus.js"
import type { JobHandle, ObservedJob } from "./JobHandle.js"
import type { SessionFacts } from "./SessionFacts.js"

/**
 * The calls of a client.
 *
 * @since 0.1.0
 * @category services
 */
export interface ArcpClientService {
  /**
   * Submits a job to an agent that both sides know, with typed input, output, errors and events, and returns once it is accepted.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Agent } from "effect-arcp/agent"
   * import { ArcpClient } from "effect-arcp/client"
   *
   * class Summarize extends Agent.make("summarize", {
   *   input: Schema.Struct({ path: Schema.String }),
   *   output: Schema.Struct({ summary: Schema.String })
   * }) {}
   *
   * const program = Effect.gen(function* () {
   *   const client = yield* ArcpClient
   *   const job = yield* client.submit(
   *     Summarize,
   *     { path: "/data/a.txt" },
   *     { lease: { "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] }, maxRuntimeSec: 60 }
   *   )
   *   const { summary } = yield* job.result
   *   return summary
   * })
   * ```
   */
  readonly submit: {
    <In, InWire, Out, OutWire, Err = never, ErrWire = never, Events = {}>(
      agent: AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, Events>,
      input: In,
      options?: SubmitOptions
    ): Effect.Effect<JobHandle<Out, Err, AgentEvent<Events>>, ArcpError | ClientError>
    (
      agent: string,
      input?: unknown,
      options?: SubmitOptions
    ): Effect.Effect<JobHandle<unknown>, ArcpError | ClientError>
  }
  /**
   * The jobs that this principal may observe, page after page (§6.6).
   *
   * @example
   * ```ts
   * import { Console, Effect, Stream } from "effect"
   * import { ArcpClient } from "effect-arcp/client"
   *
   * const program = Effect.gen(function* () {
   *   const client = yield* ArcpClient
   *   const running = client.listJobs({ status: ["running"], pageSize: 50 })
   *   yield* Stream.runForEach(running, (job) => Console.log(job.job_id, job.agent))
   * })
   * ```
   */
  readonly listJobs: (
    filter?: JobFilter & { readonly pageSize?: number | undefined }
  ) => Stream.Stream<JobInfo, ArcpError | ClientError>
  /**
   * Observes a job that was submitted elsewhere, or earlier (§7.6).
   *
   * @example
   * ```ts
   * import { Console, Effect, Stream } from "effect"
   * import { ArcpClient } from "effect-arcp/client"
   *
   * const observe = (jobId: string) =>
   *   Effect.gen(function* () {
   *     const client = yield* ArcpClient
   *     const job = yield* client.subscribe(jobId, { history: true })
   *     yield* Stream.runForEach(job.events, (event) => Console.log(event.kind))
   *   })
   * ```
   */
  readonly subscribe: <Out = unknown, OutWire = unknown, Err = never, ErrWire = never, Events = {}>(
    jobId: string,
    options?: SubscribeOptions<Out, OutWire, Err, ErrWire, Events>
  ) => Effect.Effect<ObservedJob<Out, Err, AgentEvent<Events>>, ArcpError | ClientError>
  /**
   * Recovers a job that an earlier process submitted (§6.3, §7.6), without submitting it again: a full handle, with the events that
   * were not processed. In a session that resumes the submitter's, the job can be cancelled too; elsewhere that is
   * `PERMISSION_DENIED`. Where events are gone, its streams fail with `EventsMissed`. Needs the feature `subscribe`.
   */
  readonly attach: <Out = unknown, OutWire = unknown, Err = never, ErrWire = never, Events = {}>(
    jobId: string,
    options?: AttachOptions<Out, OutWire, Err, ErrWire, Events>
  ) => Effect.Effect<JobHandle<Out, Err, AgentEvent<Events>>, ArcpError | ClientError>
  /** Ends an observation; its events end. */
  readonly unsubscribe: (jobId: string) => Effect.Effect<void, ArcpError | ClientError>
  /**
   * Bytes that the runtime keeps for this principal; beyond the specification, where the runtime offers it.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { ArcpClient } from "effect-arcp/client"
   *
   * const program = Effect.gen(function* () {
   *   const { artifacts } = yield* ArcpClient
   *   const { uri } = yield* artifacts.put(new TextEncoder().encode("a,b\n1,2\n"), { contentType: "text/csv" })
   *   return yield* artifacts.fetch(uri)
   * })
   * ```
   */
  readonly artifacts: ClientArtifacts
  /** Pings the runtime; returns the round-trip time (§6.4). */
  readonly ping: Effect.Effect<Duration.Duration, ArcpError | ClientError>
  /**
   * What the connection is doing, current state first.
   *
   * @example
   * ```ts
   * import { Console, Effect, Stream } from "effect"
   * import { ArcpClient } from "effect-arcp/client"
   *
   * const watch = Effect.flatMap(ArcpClient, (client) =>
   *   Stream.runForEach(client.status, (status) =>
   *     status._tag === "Reconnecting" ? Console.log(`attempt ${status.attempt}`) : Console.log(status._tag)
   *   )
   * )
   * ```
   */
  readonly status: Stream.Stream<ClientStatus>
  /** Waits for a session; fails when there will be none. */
  readonly connected: Effect.Effect<void, ArcpError | ClientError>
  /** What the runtime calls itself, as of the last welcome (§6.2). It is not proven: only TLS says which host answers. */
  readonly runtime: Effect.Effect<
    { readonly name?: string | undefined; readonly version?: string | undefined },
    ArcpError | ClientError
  >
  /** The runtime's agents, as of the last welcome. */
  readonly agents: Effect.Effect<
    ReadonlyArray<{
      /** The agent's name. */
      readonly name: string
      /** The versions that the runtime names; empty where it names none. */
      readonly versions: ReadonlyArray<string>
      /** The version that a bare name means; absent where the runtime does not say. */
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
   * {@link session}, now and after each change: every connection changes the token, and processed events the mark. Emits at most
   * ten times a second, each time the newest facts; ends with the client.
   */
  readonly sessionChanges: Stream.Stream<SessionFacts>
  /** Closes the session politely and ends the client; harmless when it has ended. Jobs go on (§6.7). */
  readonly close: Effect.Effect<void>
}

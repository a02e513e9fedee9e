/**
 * The options of a client and of its calls, each with its unit and default (ARCP 1.1 §6, §7).
 *
 * Responsibility: the types alone. Values are checked where they are used (`internal/checks`), and defaults are filled in by
 * `internal/defaults`. Imports no part of a client, so that each part can use these types.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { AgentTypes } from "../protocol/AgentSpec.js"
import type { Priority } from "../protocol/Envelope.js"
import type { LeaseRequest } from "../protocol/LeaseRequest.js"
import type * as Trace from "../protocol/Trace.js"
import type { LostConnection } from "./ClientStatus.js"
import type { SessionFacts } from "./SessionFacts.js"

/**
 * How a client behaves. Every option has a default.
 *
 * @since 0.1.0
 * @category options
 */
export interface ClientOptions {
  /** Name and version in the hello. Default `effect-arcp` and the version of this package. */
  readonly client?: { readonly name: string; readonly version: string } | undefined
  /**
   * What to authenticate with (§6.1). `token` may be an Effect: it is run for every connection, so that a token can be
   * refreshed. Absent for a runtime that admits anonymous clients.
   */
  readonly auth?:
    | {
        /** How the token is presented. Default `bearer`. */
        readonly scheme?: string | undefined
        /** The token, or an Effect that gets one for each connection. */
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
   * How often in a row it connects again before it ends for good, where a connection brings nothing: it fails, or ends after its welcome
   * without an event, an answer, or ten seconds of life. 0: it does not connect again. Default: no limit.
   */
  readonly maxAttempts?: number | undefined
  /**
   * The waits between reconnects, instead of {@link backoff} and {@link maxBackoff}: its delays count, and the client ends for good
   * when it is done. It starts again after a connection that brought something. Its input says why the last one ended.
   */
  readonly retry?: Schedule.Schedule<unknown, LostConnection> | undefined
  /**
   * How long a call may lie unanswered on a live session before it fails with `RequestTimeout`. It counts from the writing of the
   * request, anew after each resume, and not while there is no session. The same limit applies to the token's Effect. Default 30 seconds.
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
  /** A session to go on with, as `ArcpClientService.session` returned it before. */
  readonly resume?: SessionFacts | undefined
}

/**
 * Options of a submit (§7.1).
 *
 * @since 0.1.0
 * @category options
 */
export interface SubmitOptions {
  /** The capabilities that the job asks for (§9.2). */
  readonly lease?: LeaseRequest | undefined
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

/**
 * Options of a subscription (§7.6).
 *
 * @since 0.1.0
 * @category options
 */
export interface SubscribeOptions<Out, OutWire, Err = never, ErrWire = never, Events = {}> {
  /** Whether to see what came before. Default false. */
  readonly history?: boolean | undefined
  /** Only what came after this number of the owner's session; with `history`. Default 0. */
  readonly fromEventSeq?: number | undefined
  /** The priority of the request's envelope: a hint. Default: none. */
  readonly priority?: Priority | undefined
  /** Decodes the result; in the place of {@link agent}'s output, where both are given. */
  readonly output?: Schema.Schema<Out, OutWire> | undefined
  /** Decodes the result, the error and the events: the agent's class, or its Schemas. The runtime is not asked whether it is the job's. */
  readonly agent?: AgentTypes<Out, OutWire, Err, ErrWire, Events> | undefined
}

/**
 * Options of `ArcpClientService.attach`.
 *
 * @since 0.1.0
 * @category options
 */
export interface AttachOptions<Out, OutWire, Err = never, ErrWire = never, Events = {}> {
  /**
   * Whether to see all of the job's history. Default false: events that the facts of {@link ClientOptions.resume} list as processed
   * are left out; a job that is not in the facts is shown from its beginning.
   */
  readonly history?: boolean | undefined
  /** Decodes the result; in the place of {@link agent}'s output, where both are given. */
  readonly output?: Schema.Schema<Out, OutWire> | undefined
  /** Decodes the result, the error and the events: the agent's class, or its Schemas. The runtime is not asked whether it is the job's. */
  readonly agent?: AgentTypes<Out, OutWire, Err, ErrWire, Events> | undefined
}

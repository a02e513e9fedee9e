/**
 * A job as a program holds it: events, result, chunks, bytes, cancel. Survives reconnects of its client.
 *
 * Responsibility: the types of handles, and the result: waited for, assembled from its chunks, decoded. The streams are in
 * `internal/jobStreams`, the making of handles in `internal/handles`.
 *
 * Order: the result is assembled once the job has ended. Races: a stream opens after the first chunk while `result` waits: the
 * chunks stay kept for `result`, however far the stream is behind (see `internal/resultChunks`).
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { type AgentTypes, decodeError } from "../protocol/AgentSpec.js"
import { type ArcpError, oneLine } from "../protocol/Errors.js"
import type { JobEvent } from "../protocol/Event.js"
import type { JobId } from "../protocol/Ids.js"
import type { WireBudget, WireLease, WireLeaseConstraints } from "../protocol/Fields.js"
import * as Decoding from "../protocol/Decoding.js"
import {
  type ClientError,
  type EventsMissed,
  ResultInvalid,
  type ResultStreamed,
  ResultTooLarge
} from "./ClientError.js"
import type { ClientJob } from "./internal/job.js"
import {
  brokenChunks,
  decodePart,
  ended,
  incomplete,
  notBase64,
  otherStream,
  releasedChunks,
  wrongSize
} from "./internal/jobStreams.js"
import { textOf } from "./internal/text.js"
import { utf8Length } from "./internal/utf8.js"

/**
 * A provisioned credential (ARCP 1.1 §9.8); its value is never printed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Credential {
  /** Its id; the same before and after a rotation. */
  readonly id: string
  /** How it is presented, such as `bearer`. */
  readonly scheme: string
  /** The secret. */
  readonly value: Redacted.Redacted<string>
  /** The base URL at which it is valid. */
  readonly endpoint: string
  /** Which API is spoken there, such as `openai`; advisory. */
  readonly profile: string | undefined
}

/**
 * What an observer sees of a job (ARCP 1.1 §7.6). `Err` is what its agent declares to fail with, `Event` what it emits: both are known
 * where the agent is.
 *
 * @since 0.1.0
 * @category models
 */
export interface ObservedJob<Out, Err = never, Event = JobEvent> {
  /** The job's id. */
  readonly jobId: JobId
  /** `name@version`, as resolved. */
  readonly agent: string
  /** The effective lease (§9): what was granted. */
  readonly lease: WireLease
  /** The effective constraints (§9.5); undefined where there are none. */
  readonly leaseConstraints: WireLeaseConstraints | undefined
  /** Counters as they were when the job was accepted or subscribed to. */
  readonly budget: WireBudget | undefined
  /** Its trace (§11); undefined where the runtime does not say. */
  readonly traceId: string | undefined
  /** The job that delegated it (§10); undefined where a client submitted it. */
  readonly parentJobId: string | undefined
  /**
   * Every event once, in order, from the first that this client received, however often the connection drops; ends with
   * the job. Can be run more than once. While it is more than half of `eventBuffer` or `eventBufferBytes` behind, what it has
   * not yet taken is not acknowledged, so that a slow consumer slows the agent (§6.5). An event of kind `result_chunk` has its
   * place and an empty `data`: read {@link chunks} or {@link bytes}. An event of a kind that the agent declares has its body decoded and
   * its kind as `_tag`; where the body does not fit, it comes as it is, with `_tag: "other"` and `malformed: true`.
   *
   * Fails with `EventsMissed` where events are gone: the buffer ran over before they were consumed, the session could not be
   * resumed and the runtime's history starts later (§6.3), or a late observer's history does (§7.6). Fails when the job is lost
   * to this client.
   */
  readonly events: Stream.Stream<Event, ArcpError | ClientError>
  /** As {@link events}, where events that are gone are a mark in their place instead of a failure. */
  readonly eventsWith: {
    (options: EventsOptions & { readonly onGap: "mark" }): Stream.Stream<Event | EventsGap, ArcpError | ClientError>
    (options: EventsOptions): Stream.Stream<Event, ArcpError | ClientError>
  }
  /**
   * The result, decoded. A job that failed, was cancelled or timed out fails with its error: the agent's own, where it is of the type
   * that the agent declares (1.0 §12); one that does not fit that type comes undecoded, as `AgentFailure` or `VendorError`.
   *
   * A streamed result (§8.4) is assembled first. Text is offered to the output Schema as a string, then as the JSON that
   * it holds; bytes as a `Uint8Array`, then as the text that they are, in the same way. Without a Schema it is the string
   * or the `Uint8Array`.
   *
   * Fails with `ResultStreamed` where a stream owned the result (see {@link bytes}), with `ResultTooLarge` where more than
   * `maxResultBytes` came or a text is longer than a string can be, with `EventsMissed` where its first chunks are gone, and with
   * `ResultInvalid` where it does not fit its Schema or is not complete. An inline result is available after any gap.
   */
  readonly result: Effect.Effect<Out, Err | ArcpError | ClientError>
  /** As {@link bytes}, chunk by chunk as the agent wrote them: strings, or byte arrays. */
  readonly chunks: Stream.Stream<string | Uint8Array, ArcpError | ClientError>
  /**
   * A streamed result (§8.4) as it arrives, text as UTF-8. Fails with the job, also half-way. Empty for an inline result.
   *
   * A stream (this or {@link chunks}) that is run before the first chunk arrives owns the result: what it has taken is released,
   * a slow one slows the agent (§6.5), and {@link result} fails with `ResultStreamed` in the end. So a result of any size passes
   * in constant memory. A stream that is run later reads from the first chunk as long as that is kept; beyond
   * `eventBufferBytes` it owns the result too, unless {@link result} is waited for.
   */
  readonly bytes: Stream.Stream<Uint8Array, ArcpError | ClientError>
}

/**
 * How a stream of events behaves.
 *
 * @since 0.1.0
 * @category options
 */
export interface EventsOptions {
  /** What happens where events are gone: `fail` with `EventsMissed` (default), or `mark` with an {@link EventsGap} and go on. */
  readonly onGap?: "fail" | "mark" | undefined
  /**
   * Events that are handed out at one pull, at most; default 4,096. A pull says that what was handed out before is processed: with
   * 1, `SessionFacts` tell exactly which events were (§6.3).
   */
  readonly chunkSize?: number | undefined
}

/**
 * Stands where events are gone, in a stream with `onGap: "mark"`; the fields are those of `EventsMissed`.
 *
 * @since 0.1.0
 * @category models
 */
export interface EventsGap {
  readonly _tag: "gap"
  /** The job. */
  readonly jobId: JobId
  /** The first number that is gone. */
  readonly from: number
  /** The last number that is gone. */
  readonly to: number
  /** How many events are gone, at most. */
  readonly missed: number
}

/**
 * A job that this client submitted, or attached to.
 *
 * @example
 * ```ts
 * import { Console, Effect, Stream } from "effect"
 * import type { JobHandle } from "effect-arcp/client"
 *
 * const follow = (job: JobHandle<string>) =>
 *   Effect.gen(function* () {
 *     yield* Effect.fork(Stream.runForEach(job.events, (event) => Console.log(event.seq, event.kind)))
 *     return yield* job.result.pipe(
 *       Effect.timeout("1 minute"),
 *       Effect.tapErrorTag("TimeoutException", () => job.cancel("took too long")),
 *       Effect.catchTag("BudgetExhausted", (error) => Effect.succeed(`no money left: ${error.message}`))
 *     )
 *   })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface JobHandle<Out, Err = never, Event = JobEvent> extends ObservedJob<Out, Err, Event> {
  /** The key under which it was submitted: given, or generated (§7.2). Empty for an attached job. */
  readonly idempotencyKey: string
  /** The credentials that were provisioned for the job (§9.8), as it was accepted; empty where there are none. */
  readonly credentials: ReadonlyArray<Credential>
  /** Cancels the job (§7.4) and returns when that is acknowledged; `result` fails with `CANCELLED` once it has unwound. */
  readonly cancel: (reason?: string) => Effect.Effect<void, ArcpError | ClientError>
}

const assemble = (
  job: ClientJob,
  size: number | undefined
): Either.Either<string | Uint8Array, ResultInvalid | ResultStreamed | ResultTooLarge | EventsMissed> => {
  const { chunks, jobId } = job
  const invalid = (message: string) => Either.left(new ResultInvalid({ jobId, message }))
  if (chunks.broken || (chunks.id === undefined && job.gaps.length > 0)) return Either.left(brokenChunks(job))
  const released = releasedChunks(job)
  if (released !== undefined) return Either.left(released)
  if (!chunks.complete) return invalid(incomplete)
  let length = 0
  try {
    if (chunks.parts.every((part) => part.encoding === "utf8")) {
      for (const { data } of chunks.parts) length += utf8Length(data)
      if (size !== undefined && size !== length) return invalid(wrongSize(length, size))
      return Either.right(chunks.parts.map(({ data }) => data).join(""))
    }
    const encoder = new TextEncoder()
    const pieces: Array<Uint8Array> = []
    for (const part of chunks.parts) {
      const decoded = decodePart(part)
      if (decoded === undefined) return invalid(notBase64)
      const bytes = typeof decoded === "string" ? encoder.encode(decoded) : decoded
      length += bytes.length
      pieces.push(bytes)
    }
    if (size !== undefined && size !== length) return invalid(wrongSize(length, size))
    const whole = new Uint8Array(length)
    let at = 0
    for (const piece of pieces) {
      whole.set(piece, at)
      at += piece.length
    }
    return Either.right(whole)
  } catch {
    // The longest string or array of the engine.
    return Either.left(
      new ResultTooLarge({
        jobId,
        size: length,
        message: `the streamed result of ${jobId} has ${length} bytes, more than one value can hold: read bytes from the start of the job`
      })
    )
  }
}

/** How the job ended, for a caller who wants the result: what is needed for it is kept meanwhile. */
const awaited = (job: ClientJob) =>
  Effect.acquireUseRelease(
    Effect.sync(() => job.chunks.want()),
    () => ended(job),
    () => Effect.sync(() => job.chunks.unwant())
  )

/** The readings of a streamed value that the output Schema is offered, in order. */
const readings = (value: string | Uint8Array): ReadonlyArray<unknown> => {
  const text =
    typeof value === "string"
      ? value
      : Either.getOrUndefined(Either.try(() => new TextDecoder("utf-8", { fatal: true }).decode(value)))
  if (text === undefined) return [value]
  const json = Either.try(() => JSON.parse(text) as unknown)
  return [value, ...(typeof value === "string" ? [] : [text]), ...(Either.isRight(json) ? [json.right] : [])]
}

/** The Schema's code is the program's own: where it throws, this result fails. */
const decode = <Out, OutWire>(output: Schema.Schema<Out, OutWire>, candidate: unknown): Either.Either<Out, string> => {
  try {
    return Either.mapLeft(Schema.decodeUnknownEither(output)(candidate), (error) => Decoding.describe(error, "result"))
  } catch (cause) {
    return Either.left(oneLine(`the result cannot be decoded: ${textOf(cause)}`))
  }
}

/** The job's result through the Schemas of output and error. */
export const resultOf = <Out, OutWire, Err, ErrWire>(
  job: ClientJob,
  { error, output }: Partial<AgentTypes<Out, OutWire, Err, ErrWire, unknown>>
): Effect.Effect<Out, Err | ArcpError | ClientError> => {
  return Effect.flatMap(awaited(job), (end): Effect.Effect<Out, Err | ArcpError | ClientError> => {
    if (end._tag === "error") return Effect.fail(decodeError(error, end.error))
    if (end._tag === "lost") return Effect.fail(end.error)
    const { payload } = end
    const invalid = (message: string) => Effect.fail(new ResultInvalid({ jobId: job.jobId, message }))
    let candidates: ReadonlyArray<unknown>
    if (payload.result_id === undefined) {
      candidates = ["result" in payload ? payload.result : "output" in payload ? payload.output : undefined]
    } else {
      const { id } = job.chunks
      if (id !== undefined && id !== payload.result_id) return invalid(otherStream)
      const assembled = assemble(job, payload.result_size)
      if (Either.isLeft(assembled)) return Effect.fail(assembled.left)
      candidates = output === undefined ? [assembled.right] : readings(assembled.right)
    }
    if (output === undefined) return Effect.succeed(candidates[0] as Out)
    let first: string | undefined
    for (const candidate of candidates) {
      const decoded = decode(output, candidate)
      if (Either.isRight(decoded)) return Effect.succeed(decoded.right)
      first ??= decoded.left
    }
    return invalid(first ?? "the result does not fit the agent's output")
  })
}

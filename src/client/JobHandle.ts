/** A job as a program holds it: events, result, chunks, cancel. Survives reconnects of its client. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type ArcpError, fromJobError, oneLine } from "../protocol/Errors.js"
import type { JobEvent } from "../protocol/Event.js"
import type { WireBudget, WireLease, WireLeaseConstraints } from "../protocol/Fields.js"
import * as Message from "../protocol/Message.js"
import { type ClientClosed, type ClientError, EventsMissed, ResultInvalid, type SessionEnded } from "./ClientError.js"
import { decodeBase64 } from "./internal/base64.js"
import type { ClientJob, Consumer } from "./internal/job.js"
import { textOf } from "./internal/text.js"

/** A provisioned credential (ARCP 1.1 §9.8); its value is never printed. */
export interface Credential {
  readonly id: string
  readonly scheme: string
  readonly value: Redacted.Redacted<string>
  readonly endpoint: string
  readonly profile: string | undefined
}

/** What an observer sees of a job (ARCP 1.1 §7.6). */
export interface ObservedJob<Out> {
  readonly jobId: string
  /** `name@version`, as resolved. */
  readonly agent: string
  readonly lease: WireLease
  readonly leaseConstraints: WireLeaseConstraints | undefined
  /** Counters as they were when the job was accepted or subscribed to. */
  readonly budget: WireBudget | undefined
  readonly traceId: string | undefined
  readonly parentJobId: string | undefined
  /**
   * Every event once, in order, from the first that this client received, however often the connection drops; ends with
   * the job. Can be run more than once. While it is more than half of `eventBuffer` behind, what it has not yet taken is
   * not acknowledged, so that a slow consumer slows the agent (§6.5). Fails with `EventsMissed` where nobody consumed and the buffer ran over, and when the
   * job is lost to this client.
   */
  readonly events: Stream.Stream<JobEvent, ArcpError | ClientError>
  /**
   * The result, decoded. A job that failed, was cancelled or timed out fails with its error.
   *
   * A streamed result (§8.4) is assembled first. Text is offered to the output Schema as a string, then as the JSON that
   * it holds; bytes as a `Uint8Array`, then as the text that they are, in the same way. Without a Schema it is the string
   * or the `Uint8Array`.
   */
  readonly result: Effect.Effect<Out, ArcpError | ClientError>
  /** A streamed result as it arrives: strings, or byte arrays. Fails with the job, also half-way. Empty for an inline result. */
  readonly chunks: Stream.Stream<string | Uint8Array, ArcpError | ClientError>
}

/** A job that this client submitted. */
export interface JobHandle<Out> extends ObservedJob<Out> {
  /** The key under which it was submitted: given, or generated (§7.2). */
  readonly idempotencyKey: string
  readonly credentials: ReadonlyArray<Credential>
  /** Cancels the job (§7.4) and returns when that is acknowledged; `result` fails with `CANCELLED` once it has unwound. */
  readonly cancel: (reason?: string) => Effect.Effect<void, ArcpError | ClientClosed | SessionEnded>
}

/** Waits until the job has changed since it was `seen`: a fiber may give way between its look at the job and its waiting. */
const wait = (job: ClientJob, seen: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (job.changes !== seen) return resume(Effect.void)
    const stop = job.wait(() => resume(Effect.void))
    return Effect.sync(stop)
  })

const failure = (job: ClientJob): ArcpError | ClientError | undefined =>
  job.end?._tag === "lost" ? job.end.error : undefined

/** The job's events for one consumer. `taken` is called when it has taken some. */
export const eventsOf = (job: ClientJob, taken: () => void): Stream.Stream<JobEvent, ArcpError | ClientError> =>
  Stream.unwrapScoped(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync((): Consumer => {
          const consumer = { at: 0 }
          job.consumers.add(consumer)
          return consumer
        }),
        (consumer) =>
          Effect.sync(() => {
            job.consumers.delete(consumer)
            taken()
          })
      ),
      (consumer) =>
        Stream.repeatEffectChunkOption(
          Effect.suspend(function next(): Effect.Effect<Chunk.Chunk<JobEvent>, Option.Option<ArcpError | ClientError>> {
            if (consumer.at < job.dropped) {
              return Effect.fail(
                Option.some(
                  new EventsMissed({
                    jobId: job.jobId,
                    missed: job.dropped - consumer.at,
                    message: `${job.dropped - consumer.at} events of ${job.jobId} arrived before anybody consumed them and are gone: consume events earlier, or raise eventBuffer`
                  })
                )
              )
            }
            const from = consumer.at - job.dropped
            if (from < job.events.length) {
              const chunk = Chunk.unsafeFromArray(from === 0 ? job.events.slice() : job.events.slice(from))
              consumer.at += chunk.length
              taken()
              return Effect.succeed(chunk)
            }
            if (job.end !== undefined) {
              const error = failure(job)
              return Effect.fail(error === undefined ? Option.none() : Option.some(error))
            }
            return Effect.zipRight(wait(job, job.changes), Effect.suspend(next))
          })
        )
    )
  )

/** Undefined where it is not what it says. */
const decodeChunk = (chunk: {
  readonly data: string
  readonly encoding: "utf8" | "base64"
}): string | Uint8Array | undefined => (chunk.encoding === "utf8" ? chunk.data : decodeBase64(chunk.data))

const ended = (job: ClientJob): Effect.Effect<NonNullable<ClientJob["end"]>> =>
  Effect.suspend(() =>
    job.end === undefined ? Effect.zipRight(wait(job, job.changes), ended(job)) : Effect.succeed(job.end)
  )

/** The chunks of a streamed result as they arrive. */
export const chunksOf = (job: ClientJob): Stream.Stream<string | Uint8Array, ArcpError | ClientError> =>
  Stream.suspend(() => {
    let at = 0
    let { restarts } = job
    const invalid = (message: string) => Effect.fail(Option.some(new ResultInvalid({ jobId: job.jobId, message })))
    return Stream.repeatEffectChunkOption(
      Effect.suspend(function next(): Effect.Effect<
        Chunk.Chunk<string | Uint8Array>,
        Option.Option<ArcpError | ClientError>
      > {
        if (job.chunksBroken) return invalid("the chunks of the result came out of order")
        if (job.restarts !== restarts) {
          // What has been handed out cannot be taken back.
          if (at > 0) return invalid("the result began anew, since the runtime was restarted: read it again")
          restarts = job.restarts
        }
        if (at < job.chunks.length) {
          const out: Array<string | Uint8Array> = []
          for (; at < job.chunks.length; at++) {
            const decoded = decodeChunk(job.chunks[at]!)
            if (decoded === undefined) return invalid("a chunk of the result is not valid base64")
            out.push(decoded)
          }
          return Effect.succeed(Chunk.unsafeFromArray(out))
        }
        if (job.end === undefined) return Effect.zipRight(wait(job, job.changes), Effect.suspend(next))
        if (job.end._tag !== "result") return Effect.fail(Option.some(job.end.error))
        return job.end.payload.result_id === undefined || job.complete
          ? Effect.fail(Option.none())
          : invalid(incomplete)
      })
    )
  })

const incomplete = "the last chunk of the streamed result never came"

const assemble = (job: ClientJob, size: number | undefined): Either.Either<string | Uint8Array, string> => {
  if (job.chunksBroken) return Either.left("the chunks of the result came out of order")
  if (!job.complete) return Either.left(incomplete)
  if (job.chunks.every((chunk) => chunk.encoding === "utf8")) {
    const text = job.chunks.map((chunk) => chunk.data).join("")
    return size === undefined || new TextEncoder().encode(text).length === size
      ? Either.right(text)
      : Either.left(`the streamed result is not the ${size} bytes that were announced`)
  }
  const parts: Array<Uint8Array> = []
  let length = 0
  for (const chunk of job.chunks) {
    const decoded = decodeChunk(chunk)
    if (decoded === undefined) return Either.left("a chunk of the result is not valid base64")
    const bytes = typeof decoded === "string" ? new TextEncoder().encode(decoded) : decoded
    parts.push(bytes)
    length += bytes.length
  }
  if (size !== undefined && size !== length) {
    return Either.left(`the streamed result is ${length} bytes long, ${size} were announced`)
  }
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return Either.right(whole)
}

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
    return Either.mapLeft(Schema.decodeUnknownEither(output)(candidate), (error) => Message.describe(error, "result"))
  } catch (cause) {
    return Either.left(oneLine(`the result cannot be decoded: ${textOf(cause)}`))
  }
}

/** The job's result through the output Schema. */
export const resultOf = <Out, OutWire>(
  job: ClientJob,
  output: Schema.Schema<Out, OutWire> | undefined
): Effect.Effect<Out, ArcpError | ClientError> => {
  return Effect.flatMap(ended(job), (end): Effect.Effect<Out, ArcpError | ClientError> => {
    if (end._tag !== "result") return Effect.fail(end.error)
    const { payload } = end
    const invalid = (message: string) => Effect.fail(new ResultInvalid({ jobId: job.jobId, message }))
    let candidates: ReadonlyArray<unknown>
    if (payload.result_id === undefined) {
      candidates = ["result" in payload ? payload.result : "output" in payload ? payload.output : undefined]
    } else {
      if (job.resultId !== undefined && job.resultId !== payload.result_id) {
        return invalid("the result refers to another stream than the one that came")
      }
      const assembled = assemble(job, payload.result_size)
      if (Either.isLeft(assembled)) return invalid(assembled.left)
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

/** The error that a `job.error` stands for. */
export const jobError = fromJobError

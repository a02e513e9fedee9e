/**
 * A job's events and the chunks of its result as streams.
 *
 * Order: a pull first marks what was handed out before as processed, then looks for a gap, then for what has arrived, then for
 * the end, and waits otherwise.
 */
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobEvent } from "../../protocol/Event.js"
import { type ClientError, EventsMissed, ResultInvalid, ResultStreamed, ResultTooLarge } from "../ClientError.js"
import { decodeBase64 } from "./base64.js"
import type { ClientJob, Missed } from "./job.js"
import { handed, pulled, type Reader } from "./reader.js"
import type { Part, ResultChunks } from "./resultChunks.js"
import { utf8Length } from "./utf8.js"

/** What the streams of a job tell the client. */
export interface ReaderHooks {
  /** A stream was opened. */
  readonly opened: (job: ClientJob) => void
  /** A stream has taken something, or was closed. */
  readonly taken: () => void
}

type Failure = ArcpError | ClientError

/** Events at one pull, at most. */
const mostEvents = 4_096

/** Waits until the job has changed since it was `seen`: a fiber may give way between its look at the job and its waiting. */
const wait = (job: ClientJob, seen: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (job.changes !== seen) return resume(Effect.void)
    const stop = job.wait(() => resume(Effect.void))
    return Effect.sync(stop)
  })

/** How the job ended, once it has. */
export const ended = (job: ClientJob): Effect.Effect<NonNullable<ClientJob["end"]>> =>
  Effect.suspend(() =>
    job.end === undefined ? Effect.zipRight(wait(job, job.changes), ended(job)) : Effect.succeed(job.end)
  )

/** The error that says what is gone. */
export const missedError = (jobId: string, { from, missed, to }: Omit<Missed, "at">): EventsMissed =>
  new EventsMissed({
    jobId,
    from,
    to,
    missed,
    message: `events ${from} to ${to} of ${jobId} are gone: consume events earlier, raise eventBuffer or eventBufferBytes, or read them with onGap: "mark"`
  })

/** The end of a stream. */
const done: Effect.Effect<undefined> = Effect.sync(() => undefined)

/** What a pull gives: a chunk, or undefined at the end. */
type Pull<A> = Effect.Effect<Chunk.Chunk<A> | undefined, Failure>

/**
 * A stream over a reader that is open as long as the stream. By hand: a program may read thousands of streams that each bring an event at a
 * time, and most of such an event's cost would be the stream's machinery.
 */
const reading = <A>(
  job: ClientJob,
  hooks: ReaderHooks,
  open: () => Reader,
  close: (reader: Reader) => void,
  next: (reader: Reader) => Pull<A> | undefined
): Stream.Stream<A, Failure> =>
  Stream.suspend(() => {
    const reader = open()
    hooks.opened(job)
    // It is left waiting where its pull is interrupted, and then wakes nothing.
    let stop: (() => void) | undefined
    const waiting = (seen: number): Pull<A> =>
      Effect.async((resume) => {
        if (job.changes !== seen) return resume(pull)
        stop?.()
        stop = job.wait(() => resume(pull))
      })
    const pull: Pull<A> = Effect.suspend(() => next(reader) ?? waiting(job.changes))
    const chunks: Channel.Channel<Chunk.Chunk<A>, unknown, Failure, unknown, void, unknown> = Channel.flatMap(
      Channel.fromEffect(
        Effect.suspend(() => {
          pulled(reader)
          hooks.taken()
          return pull
        })
      ),
      (chunk) => (chunk === undefined ? Channel.void : Channel.flatMap(Channel.write(chunk), () => chunks))
    )
    return Stream.fromChannel(
      Channel.ensuring(
        chunks,
        Effect.sync(() => {
          stop?.()
          close(reader)
          hooks.taken()
        })
      )
    )
  })

/** The job's events for one consumer; `gap` is what it gets instead of events that are gone. */
export const eventsOf = <G>(
  job: ClientJob,
  hooks: ReaderHooks,
  gap: (missed: Missed) => Effect.Effect<G, Failure>,
  most: number = mostEvents
): Stream.Stream<JobEvent | G, Failure> =>
  reading<JobEvent | G>(
    job,
    hooks,
    () => job.read(),
    (reader) => job.stop(reader),
    (reader) => {
      const missed = job.missedBy(reader)
      if (missed !== undefined) return Effect.map(gap(missed), Chunk.of)
      const events = job.take(reader, most)
      if (events.length > 0) return Effect.succeed(Chunk.unsafeFromArray(events))
      if (job.end === undefined) return undefined
      return job.end._tag === "lost" ? Effect.fail(job.end.error) : done
    }
  )

/** Undefined where it is not what it says. */
export const decodePart = (part: Pick<Part, "data" | "encoding">): string | Uint8Array | undefined =>
  part.encoding === "utf8" ? part.data : decodeBase64(part.data)

export const notBase64 = "a chunk of the result is not valid base64"
export const incomplete = "the last chunk of the streamed result never came"

/** Why chunks came out of order: with a gap before them, they are gone. */
export const brokenChunks = (job: ClientJob): EventsMissed | ResultInvalid => {
  const gap = job.gaps[0]
  return gap === undefined
    ? new ResultInvalid({ jobId: job.jobId, message: "the chunks of the result came out of order" })
    : missedError(job.jobId, gap)
}

/** Why the chunks cannot be read from the start; undefined where they can. */
export const releasedChunks = (job: ClientJob): ResultStreamed | ResultTooLarge | undefined => {
  const { bytes, owned, released, start } = job.chunks
  if (owned === "large") {
    return new ResultTooLarge({
      jobId: job.jobId,
      size: bytes,
      message: `the streamed result of ${job.jobId} has over ${job.bounds.result} encoded bytes: read bytes from the start of the job, or raise maxResultBytes`
    })
  }
  return owned === "stream" || start > 0 || released > start
    ? new ResultStreamed({
        jobId: job.jobId,
        message: `the streamed result of ${job.jobId} was read as a stream, and what was read is released: use what the stream gave`
      })
    : undefined
}

/** Hands out what has come, decoded; or what is wrong with it. */
const takeChunks = (
  job: ClientJob,
  chunks: ResultChunks,
  reader: Reader,
  most: number
): { readonly out: Array<string | Uint8Array>; readonly bytes: number } | ResultInvalid => {
  const out: Array<string | Uint8Array> = []
  const from = reader.at - chunks.released
  let size = 0
  let bytes = 0
  let to = from
  for (; to < chunks.parts.length && (to === from || size < most); to++) {
    const part = chunks.parts[to]!
    const decoded = decodePart(part)
    if (decoded === undefined) {
      return new ResultInvalid({ jobId: job.jobId, message: notBase64 })
    }
    out.push(decoded)
    size += part.data.length
    bytes += typeof decoded === "string" ? utf8Length(decoded) : decoded.length
  }
  reader.place = chunks.parts[from]!.index
  handed(reader, reader.at + to - from, reader.bytes + size, chunks.parts[from]!.seq, chunks.parts[to - 1]!.seq)
  chunks.release()
  return { out, bytes }
}

/** Encoded bytes of chunks at one pull: a slow reader holds no more than these and the buffer. */
const mostBytes = 4_194_304

/** The chunks of a streamed result as they arrive. */
export const chunksOf = (job: ClientJob, hooks: ReaderHooks): Stream.Stream<string | Uint8Array, Failure> =>
  Stream.suspend(() => {
    const { chunks } = job
    const before = chunks.released > chunks.start ? releasedChunks(job) : undefined
    if (before !== undefined) return Stream.fail(before)
    let { restarts } = chunks
    const goesOn = chunks.expected !== undefined || chunks.start > 0
    let size = 0
    const invalid = (message: string) => Effect.fail(new ResultInvalid({ jobId: job.jobId, message }))
    return reading(
      job,
      hooks,
      () => chunks.read(),
      (reader) => chunks.stop(reader),
      (reader) => {
        if (chunks.broken) return Effect.fail(brokenChunks(job))
        if (chunks.restarts !== restarts) {
          // What has been handed out cannot be taken back.
          if (reader.lastOut > 0 || goesOn)
            return invalid("the result began anew, since the runtime was restarted: read it again")
          restarts = chunks.restarts
        }
        if (reader.at < chunks.released + chunks.parts.length) {
          const taken = takeChunks(job, chunks, reader, mostBytes)
          if (taken instanceof ResultInvalid) return Effect.fail(taken)
          size += taken.bytes
          hooks.taken()
          return Effect.succeed(Chunk.unsafeFromArray(taken.out))
        }
        const { end } = job
        if (end === undefined) return undefined
        if (end._tag !== "result") return Effect.fail(end.error)
        const { result_id: id, result_size: announced } = end.payload
        if (id === undefined) return done
        if (chunks.id === undefined && job.gaps.length > 0) return Effect.fail(brokenChunks(job))
        if (!chunks.complete) return invalid(incomplete)
        if (chunks.id !== id) return invalid(otherStream)
        if (announced !== undefined && chunks.start === 0 && size !== announced)
          return invalid(wrongSize(size, announced))
        return done
      }
    )
  })

export const otherStream = "the result refers to another stream than the one that came"
export const wrongSize = (size: number, announced: number): string =>
  `the streamed result is ${size} bytes long, ${announced} were announced`

/** The streamed result as bytes: text as UTF-8. A pair of surrogates that two chunks share is one character. */
export const bytesOf = (job: ClientJob, hooks: ReaderHooks): Stream.Stream<Uint8Array, Failure> =>
  Stream.suspend(() => {
    const encoder = new TextEncoder()
    let rest = ""
    const flush = (): ReadonlyArray<Uint8Array> => {
      if (rest === "") return []
      const last = encoder.encode(rest)
      rest = ""
      return [last]
    }
    return chunksOf(job, hooks).pipe(
      Stream.mapChunks((chunk) => {
        const out: Array<Uint8Array> = []
        for (const piece of chunk) {
          if (typeof piece !== "string") {
            out.push(...flush(), piece)
            continue
          }
          let text = rest + piece
          const last = text.charCodeAt(text.length - 1)
          rest = last >= 0xd800 && last < 0xdc00 ? text.slice(-1) : ""
          if (rest !== "") text = text.slice(0, -1)
          if (text !== "") out.push(encoder.encode(text))
        }
        return Chunk.unsafeFromArray(out)
      }),
      Stream.concat(Stream.suspend(() => Stream.fromIterable(flush())))
    )
  })

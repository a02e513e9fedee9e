/**
 * A result that an agent streams: `result_chunk` events, or one inline result for a client that takes no chunks (ARCP 1.1 §8.4, §6.2).
 *
 * Order: chunks are numbered here, in one encoding. One is held back, so that the last one can say that it is the last; nothing follows it.
 *
 * A parent is handed the whole result where that fits inline; a client without `result_chunk` gets nothing else.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Streamed, type StreamResultOptions } from "../../../agent/Job.js"
import { type InternalError, InvalidRequest, oneLine, permanentError } from "../../../protocol/Errors.js"
import * as Text from "../../../protocol/Text.js"
import * as FrameSize from "../../kernel/FrameSize.js"
import { Chunker, type Encoding } from "./chunks.js"
import type { JobEvents } from "./jobEvents.js"

/** One streamed result on its way. */
class StreamedResult {
  readonly resultId: string
  private readonly events: JobEvents
  private readonly inline: boolean
  private readonly inlineRoom: number
  private readonly summary: string | undefined
  private readonly encoding: Encoding | undefined
  private readonly collected: Array<string> = []
  private chunker: Chunker | undefined = undefined
  private seq = 0
  private held: string | undefined = undefined
  private whole: boolean

  constructor(events: JobEvents, options: StreamResultOptions | undefined) {
    const { engine, running } = events
    const summary = options?.summary
    this.events = events
    this.resultId = events.newId("res")
    this.inline = running.inlineStream
    this.inlineRoom = FrameSize.resultRoom(engine.limits)
    this.summary = summary === undefined ? undefined : oneLine(Text.ofUnknown(summary))
    this.encoding = options?.encoding
    this.whole = running.inlineStream || running.parent !== undefined
    running.beginStream(this.resultId, this.summary)
  }

  push(element: string | Uint8Array): Effect.Effect<void, InvalidRequest | InternalError> {
    return Effect.suspend(() => {
      const chunker = this.chunkerFor(typeof element === "string" ? "utf8" : "base64")
      return Effect.flatMap(chunker.push(element), (chunks) => this.take(chunker, chunks))
    })
  }

  end(): Effect.Effect<Streamed, InvalidRequest | InternalError> {
    return Effect.suspend(() => {
      const chunker = this.chunkerFor("utf8")
      return Effect.flatMap(chunker.end(), (chunks) => this.take(chunker, chunks)).pipe(
        Effect.zipRight(Effect.suspend(() => this.emit(this.held ?? "", chunker.encoding, false))),
        Effect.map(() => this.complete(chunker))
      )
    })
  }

  private chunkerFor(encoding: Encoding): Chunker {
    const { limits } = this.events.engine
    return (this.chunker ??= new Chunker(this.encoding ?? encoding, limits.resultChunk, FrameSize.chunkRoom(limits)))
  }

  private take(chunker: Chunker, chunks: ReadonlyArray<string>): Effect.Effect<void, InternalError> {
    return Effect.zipRight(this.checkTotal(chunker.size), this.forward(chunks, chunker.encoding))
  }

  private forward(chunks: ReadonlyArray<string>, encoding: Encoding): Effect.Effect<void> {
    return Effect.forEach(
      chunks,
      (data) => {
        const previous = this.held
        this.held = data
        return previous === undefined ? Effect.void : this.emit(previous, encoding, true)
      },
      { discard: true }
    )
  }

  private emit(data: string, encoding: Encoding, more: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.whole) {
        if (this.inline || (this.chunker?.size ?? 0) <= this.inlineRoom) this.collected.push(data)
        else {
          this.whole = false
          this.collected.length = 0
        }
      }
      return this.inline
        ? Effect.void
        : this.events.pushChunk({ resultId: this.resultId, seq: this.seq++, data, encoding, more })
    })
  }

  private checkTotal(size: number): Effect.Effect<void, InternalError> {
    const { limits, meter } = this.events.engine
    const limit = this.inline ? this.inlineRoom : limits.resultTotal
    if (size <= limit) return Effect.void
    const message = this.inline
      ? `the result is over the limit of ${limit} bytes for a client without result_chunk`
      : `the streamed result is over the limit of ${limit} bytes`
    return Effect.fail(meter.reaching(this.inline ? "inlineResult" : "resultTotal", permanentError(message)))
  }

  private complete({ encoding, size }: Chunker): Streamed {
    const { collected, resultId, summary } = this
    const inline = !this.whole
      ? undefined
      : encoding === "utf8"
        ? collected.join("")
        : Buffer.concat(collected.map((data) => Buffer.from(data, "base64"))).toString("base64")
    this.events.running.completeStream({ resultId, size, summary, inline })
    return new Streamed(resultId, size, summary)
  }
}

/** Streams a job's result. */
export const run = <E, R>(
  events: JobEvents,
  stream: Stream.Stream<string | Uint8Array, E, R>,
  options: StreamResultOptions | undefined
): Effect.Effect<Streamed, E | InvalidRequest | InternalError, R> =>
  Effect.suspend((): Effect.Effect<Streamed, E | InvalidRequest | InternalError, R> => {
    if (events.running.stream !== undefined) {
      return Effect.fail(new InvalidRequest({ message: "result_chunk: a job has one streamed result" }))
    }
    const result = new StreamedResult(events, options)
    return Effect.zipRight(
      Stream.runForEach(stream, (element) => result.push(element)),
      Effect.suspend(() => result.end())
    )
  })

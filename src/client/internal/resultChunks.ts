/**
 * The chunks of a streamed result (ARCP 1.1 §8.4): their order, which are kept, and for which reader.
 *
 * Responsibility: memory. Without a reader the chunks are kept for `result`, up to a bound. A stream that reads before the
 * first chunk arrives owns the result: what it has been handed is released, and so is everything once it has closed. A later
 * reader finds what is kept; beyond the bound of waiting events it becomes an owner too, unless `result` is waited for.
 *
 * Race closed here: a program that opens its stream directly after the submit is an owner even where the first chunk came
 * together with `job.accepted`. The result is undecided until {@link ResultChunks.decide}.
 */
import type { Bodies } from "../../protocol/Event.js"
import type { Bounds } from "./bounds.js"
import { makeReader, type Reader } from "./reader.js"

/** One chunk as it waits for its readers. */
export interface Part {
  readonly data: string
  readonly encoding: "utf8" | "base64"
  /** Its number in the session. */
  readonly seq: number
  /** Its place among the job's events. */
  readonly index: number
}

export class ResultChunks {
  id: string | undefined = undefined
  /** The chunks from number `released` on. */
  parts: Array<Part> = []
  released = 0
  /** The number of the next chunk. */
  next = 0
  /** The number of the first chunk: greater than 0 where an earlier process has read those before. */
  start = 0
  /** Where an earlier process has stopped to read; those before are passed over. */
  expected: { readonly resultId: string; readonly seq: number } | undefined = undefined
  /** The place of the first chunk. */
  first: { readonly index: number; readonly seq: number } | undefined = undefined
  /** The first chunk of the current session. */
  epochPart = 0
  /** How often the result began anew, as it does when the job is started again after a restart of the runtime. */
  restarts = 0
  broken = false
  /** The lowest number that may come again; undefined while none may. */
  private again: number | undefined = undefined
  /** Whether the chunk has come that says that it is the last. */
  complete = false
  /** Encoded bytes that have come. */
  bytes = 0
  /** Encoded bytes of {@link parts}. */
  kept = 0
  readonly readers = new Set<Reader>()
  /** Of the streams that have ended, the one that took least. */
  closed: Reader | undefined = undefined
  /** `result` Effects that wait. */
  wanted = 0
  /** Whether what was handed out is released. `large`: because more came than is kept for `result`. */
  owned: false | "stream" | "large" = false
  /** Whether a reader that opens now comes in time to be the owner. */
  private open = true
  private readonly bounds: Bounds

  constructor(bounds: Bounds) {
    this.bounds = bounds
  }

  /** Whether the first chunks have come and it is not decided who owns them. */
  get undecided(): boolean {
    return this.open && this.id !== undefined
  }

  /** From now on a reader comes too late to own the result. */
  decide(): void {
    this.open = false
  }

  /** Sets the chunk from which on this process reads; undefined where an earlier process has read none. */
  goOn(expected: ResultChunks["expected"]): void {
    this.expected = expected
  }

  /** A new session begins with the next chunk. */
  newSession(): void {
    this.epochPart = this.next
  }

  /** A `result` Effect waits; what is needed for it is kept until `unwant`. */
  want(): void {
    this.wanted++
  }

  /** A `result` Effect has stopped waiting. */
  unwant(): void {
    this.wanted--
  }

  /** The runtime may send the chunks of a running job once more, from the first on (§7.2). */
  mayRepeat(): void {
    this.again = this.next > this.start ? 0 : undefined
  }

  /** Whether a chunk has arrived before, and is sent again. */
  isRepeat({ chunk_seq: seq, result_id: id }: Bodies["result_chunk"]): boolean {
    if (this.again === undefined || id !== this.id || seq >= this.next || seq < this.again) return false
    this.again = seq + 1
    return true
  }

  /** Takes a chunk in. */
  push(body: Bodies["result_chunk"], seq: number, index: number): void {
    if (body.result_id !== this.id) {
      const { expected } = this
      const goesOn = expected !== undefined && expected.resultId === body.result_id
      if (goesOn && body.chunk_seq < expected.seq) {
        if (!body.more) this.complete = true
        return
      }
      if (body.chunk_seq === (goesOn ? expected.seq : 0)) this.begin(body.result_id, body.chunk_seq, seq, index)
    }
    if (body.result_id !== this.id || body.chunk_seq !== this.next || this.complete) {
      this.broken = true
      return
    }
    if (this.closed !== undefined && this.closed.held === 0 && this.closed.done === this.next) this.closed.held = seq
    this.next++
    this.complete = !body.more
    this.bytes += body.data.length
    if (this.owned !== false && this.readers.size === 0) {
      this.released = this.next
      return
    }
    this.kept += body.data.length
    this.parts.push({ data: body.data, encoding: body.encoding, seq, index })
    if (this.owned === false) this.bound()
  }

  private begin(id: string, first: number, seq: number, index: number): void {
    if (this.id !== undefined || (this.expected !== undefined && first === 0)) {
      this.restarts++
      this.open = true
    }
    this.id = id
    this.again = undefined
    this.expected = undefined
    this.first = { index, seq }
    this.epochPart = 0
    this.parts = []
    this.start = first
    this.released = first
    this.next = first
    this.bytes = 0
    this.kept = 0
    this.complete = false
    this.closed = undefined
    // A reader that has been handed chunks of the result before fails.
    this.owned = false
    for (const reader of this.readers) {
      if (reader.lastOut > 0) continue
      reader.at = first
      reader.done = first
      this.owned = "stream"
    }
  }

  /** The place of the first chunk that a reader has not processed; undefined where it has all. */
  placeOf(reader: Reader): { readonly index: number; readonly seq: number } | undefined {
    if (reader.done >= this.next) return undefined
    return reader.held > 0 ? { index: reader.place, seq: reader.held } : this.parts[reader.done - this.released]
  }

  /** A stream begins to read. */
  read(): Reader {
    const reader = makeReader(this.released, this.bytes - this.kept)
    this.readers.add(reader)
    if (this.id !== undefined && this.open && this.owned === false) this.owned = "stream"
    else if (this.owned === false) this.bound()
    return reader
  }

  /** A stream has ended. */
  stop(reader: Reader): void {
    this.readers.delete(reader)
    if (this.closed === undefined || this.closed.done > reader.done) {
      if (reader.held === 0) reader.held = this.parts[reader.done - this.released]?.seq ?? 0
      this.closed = reader
    }
    this.release()
  }

  /** A stream has been handed chunks, or has ended. */
  release(): void {
    if (this.owned === false) return
    let lowest = this.next
    for (const { at } of this.readers) lowest = Math.min(lowest, at)
    const drop = lowest - this.released
    if (drop <= 0) return
    for (let i = 0; i < drop; i++) this.kept -= this.parts[i]!.data.length
    this.parts.splice(0, drop)
    this.released = lowest
  }

  /** Releases what may not be kept any longer. */
  private bound(): void {
    if (this.kept > this.bounds.result) this.owned = "large"
    else if (this.kept > this.bounds.bytes && this.readers.size > 0 && this.wanted === 0) this.owned = "stream"
    this.release()
  }
}

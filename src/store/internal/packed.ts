/**
 * Segments as the store in memory keeps them: the texts of many events are one text, so that the garbage collector neither goes through nor
 * copies them one by one, for as long as the history of their job is kept.
 */
import type { LoadedSegment } from "../Payload.js"
import type { SegmentHead } from "../Store.js"

/** From so many payloads on they are packed: fewer cost the collector little. */
const many = 32

/** A segment whose payloads are one text. */
class Packed {
  readonly head: SegmentHead
  private readonly text: string
  private readonly ends: Uint32Array

  constructor({ class: cls, firstSeq, jobId, lastSeq }: SegmentHead, payloads: ReadonlyArray<string>) {
    this.head = { jobId, firstSeq, lastSeq, class: cls }
    this.text = payloads.join("")
    this.ends = new Uint32Array(payloads.length)
    let end = 0
    for (let i = 0; i < payloads.length; i++) this.ends[i] = end += payloads[i]!.length
  }

  get firstSeq(): number {
    return this.head.firstSeq
  }

  get lastSeq(): number {
    return this.head.lastSeq
  }

  unpacked(): LoadedSegment {
    let start = 0
    const payloads = Array.from(this.ends, (end) => {
      const payload = this.text.slice(start, end)
      start = end
      return payload
    })
    return { ...this.head, payloads }
  }
}

/** A segment as it is kept. */
export type Kept = LoadedSegment | Packed

const areTexts = (payloads: LoadedSegment["payloads"]): payloads is ReadonlyArray<string> =>
  payloads.every((payload) => typeof payload === "string")

/** The segment as it is to be kept. */
export const pack = (segment: LoadedSegment): Kept =>
  segment.payloads.length >= many && areTexts(segment.payloads) ? new Packed(segment, segment.payloads) : segment

/** The segment as it was. */
export const unpack = (kept: Kept): LoadedSegment => (kept instanceof Packed ? kept.unpacked() : kept)

/** The segment without its payloads. */
export const headOf = (kept: Kept): SegmentHead => {
  const { class: cls, firstSeq, jobId, lastSeq } = kept instanceof Packed ? kept.head : kept
  return { jobId, firstSeq, lastSeq, class: cls }
}

/**
 * The payload of a `result_chunk` (ARCP 1.1 §8.4). A large one is made as the bytes of its JSON: text is written where it ends up, and looked
 * through there.
 *
 * Equal, to the byte, to `JSON.stringify`, which a property test holds.
 */
import { Buffer } from "node:buffer"
import { formatTimestamp } from "../../../protocol/Fields.js"
import type { Payload } from "../../../store/Payload.js"
import type { Encoding } from "./chunks.js"

/** A chunk. */
export interface ResultChunk {
  readonly resultId: string
  readonly seq: number
  /** Well-formed text, or base64. */
  readonly data: string
  readonly encoding: Encoding
  readonly more: boolean
}

/** Data of fewer characters than this goes as text: bytes cost a buffer each. */
const fewestChars = 4_096

const high = 0x80_80_80_80 | 0
const quotes = 0x02_02_02_02
const controls = 0x21_21_21_21
const backslashes = 0x5c_5c_5c_5c
const ones = 0x01_01_01_01

/** Whether JSON escapes a byte: a quote, a backslash or a control character. */
const isEscaped = (byte: number): boolean => byte < 0x20 || byte === 0x22 || byte === 0x5c

/**
 * Not 0 where one of four bytes is escaped. With its second bit turned a quote is 0x20, and control characters stay below: both are less
 * than 0x21. A borrow of the subtraction falsifies only bytes above one that was found. Bytes over 0x7f are none.
 */
const found = (word: number): number => (((word ^ quotes) - controls) | ((word ^ backslashes) - ones)) & ~word & high

/** Whether JSON escapes anything between two places: four bytes at a time. */
const needsEscapes = (bytes: Buffer, from: number, to: number): boolean => {
  let at = from
  while (at < to && ((bytes.byteOffset + at) & 3) !== 0) if (isEscaped(bytes[at++]!)) return true
  const count = (to - at) >> 2
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, count)
  let i = 0
  for (; i + 8 <= count; i += 8) {
    const any =
      found(words[i]!) |
      found(words[i + 1]!) |
      found(words[i + 2]!) |
      found(words[i + 3]!) |
      found(words[i + 4]!) |
      found(words[i + 5]!) |
      found(words[i + 6]!) |
      found(words[i + 7]!)
    if (any !== 0) return true
  }
  for (; i < count; i++) if (found(words[i]!) !== 0) return true
  for (at += count * 4; at < to; at++) if (isEscaped(bytes[at]!)) return true
  return false
}

/** `head`, the data in quotes, and `end`, as bytes. The text is well-formed, or base64. */
const around = (head: string, data: string, end: string, encoding: "utf8" | "latin1"): Buffer => {
  const length = Buffer.byteLength(data, encoding)
  const at = head.length + 1
  const bytes = Buffer.allocUnsafeSlow(at + length + 1 + end.length)
  bytes.write(head, 0, "latin1")
  bytes[at - 1] = 0x22
  bytes.write(data, at, length, encoding)
  bytes[at + length] = 0x22
  bytes.write(end, at + length + 1, "latin1")
  return bytes
}

/** The payload with `data` as JSON between `head` and `end`, which are ASCII. */
const bytesOf = (head: string, { data, encoding }: ResultChunk, end: string): Uint8Array => {
  if (encoding === "base64") return around(head, data, end, "latin1")
  const plain = around(head, data, end, "utf8")
  const from = head.length + 1
  return needsEscapes(plain, from, plain.length - end.length - 1)
    ? Buffer.from(`${head}${JSON.stringify(data)}${end}`)
    : plain
}

/** The payload of a chunk, emitted at a time in milliseconds since the epoch: its text, or the bytes of that where it is large. */
export const chunkPayload = (millis: number, chunk: ResultChunk): Payload => {
  const { data, encoding, more, resultId, seq } = chunk
  const head = `{"kind":"result_chunk","ts":"${formatTimestamp(millis)}","body":{"result_id":"${resultId}","chunk_seq":${seq},"data":`
  const end = `,"encoding":"${encoding}","more":${more}}}`
  if (data.length >= fewestChars) return bytesOf(head, chunk, end)
  // Base64 needs no escapes.
  return `${head}${encoding === "base64" ? `"${data}"` : JSON.stringify(data)}${end}`
}

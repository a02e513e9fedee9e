/** Cutting a streamed result into the data of `result_chunk` events (ARCP 1.1 §8.4). */
import { Buffer } from "node:buffer"
import * as Either from "effect/Either"
import { InvalidRequest } from "../../../protocol/Errors.js"
import { wellFormed } from "../../../protocol/Text.js"

/** How chunks are encoded. */
export type Encoding = "utf8" | "base64"

/** Bytes of a well-formed string in UTF-8. */
export const utf8Length = (text: string): number => Buffer.byteLength(text, "utf8")

/** Bytes that JSON makes of a code unit or code point in UTF-8. */
const jsonWidth = (code: number, width: number): number =>
  code >= 0x20
    ? code === 0x22 || code === 0x5c
      ? 2
      : width
    : code === 0x08 || code === 0x09 || code === 0x0a || code === 0x0c || code === 0x0d
      ? 2
      : 6

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff

/**
 * Turns strings and byte arrays into chunk data, in order. Text is never cut inside a code point, not even one that
 * arrives in two pieces. A chunk has at most `maxBytes` decoded, and at most `maxEncoded` as the content of a JSON string: escapes
 * make a byte six, base64 makes three bytes four.
 */
export class Chunker {
  readonly encoding: Encoding
  /** Decoded bytes so far. */
  size = 0
  private readonly maxBytes: number
  private readonly maxEncoded: number
  private carry = ""
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

  constructor(encoding: Encoding, maxBytes: number, maxEncoded: number) {
    this.encoding = encoding
    this.maxBytes = encoding === "utf8" ? maxBytes : Math.max(1, Math.min(maxBytes, Math.floor(maxEncoded / 4) * 3))
    this.maxEncoded = maxEncoded
  }

  /** The chunks that an element makes; bytes that are not UTF-8 are refused in a `utf8` stream. */
  push(element: string | Uint8Array): Either.Either<ReadonlyArray<string>, InvalidRequest> {
    if (this.encoding === "base64") {
      return Either.right(this.bytes(typeof element === "string" ? Buffer.from(element, "utf8") : element))
    }
    if (typeof element === "string") return Either.right(this.text(element))
    try {
      return Either.right(this.text(this.decoder.decode(element, { stream: true })))
    } catch {
      return Either.left(new InvalidRequest({ message: "result_chunk: bytes of a utf8 stream are not valid UTF-8" }))
    }
  }

  /** What was kept back for its other half. */
  end(): Either.Either<ReadonlyArray<string>, InvalidRequest> {
    const { carry } = this
    this.carry = ""
    try {
      return Either.right(this.cut(wellFormed(carry + this.decoder.decode())))
    } catch {
      return Either.left(new InvalidRequest({ message: "result_chunk: a utf8 stream ends inside a character" }))
    }
  }

  private text(piece: string): ReadonlyArray<string> {
    const whole = this.carry + piece
    if (whole.length > 0 && isHighSurrogate(whole.charCodeAt(whole.length - 1))) {
      this.carry = whole.slice(-1)
      return this.cut(wellFormed(whole.slice(0, -1)))
    }
    this.carry = ""
    return this.cut(wellFormed(whole))
  }

  private cut(text: string): ReadonlyArray<string> {
    if (text.length === 0) return []
    const length = utf8Length(text)
    this.size += length
    if (length <= this.maxBytes && this.isShort(text, length)) return [text]
    const out: Array<string> = []
    let from = 0
    let bytes = 0
    let encoded = 0
    for (let i = 0; i < text.length; ) {
      const code = text.codePointAt(i)!
      const width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
      const json = jsonWidth(code, width)
      if (i > from && (bytes + width > this.maxBytes || encoded + json > this.maxEncoded)) {
        out.push(text.slice(from, i))
        from = i
        bytes = 0
        encoded = 0
      }
      bytes += width
      encoded += json
      i += code > 0xffff ? 2 : 1
    }
    out.push(text.slice(from))
    return out
  }

  /** Whether the text is short enough once it is encoded; most are by their length. */
  private isShort(text: string, length: number): boolean {
    return length * 6 <= this.maxEncoded || utf8Length(JSON.stringify(text)) - 2 <= this.maxEncoded
  }

  private bytes(bytes: Uint8Array): ReadonlyArray<string> {
    const out: Array<string> = []
    this.size += bytes.length
    for (let i = 0; i < bytes.length; i += this.maxBytes) {
      const length = Math.min(this.maxBytes, bytes.length - i)
      out.push(Buffer.from(bytes.buffer, bytes.byteOffset + i, length).toString("base64"))
    }
    return out
  }
}

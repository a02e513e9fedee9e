/** Cutting a streamed result into the data of `result_chunk` events (ARCP 1.1 §8.4). */
import { Buffer } from "node:buffer"
import * as Either from "effect/Either"
import { InvalidRequest } from "../../protocol/Errors.js"

/** How chunks are encoded. */
export type Encoding = "utf8" | "base64"

/** Bytes of a well-formed string in UTF-8. */
export const utf8Length = (text: string): number => Buffer.byteLength(text, "utf8")

const surrogate = /[\ud800-\udfff]/
const lone = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** Half a code point has no UTF-8: it becomes U+FFFD, as in every encoder. */
const wellFormed = (text: string): string => (surrogate.test(text) ? text.replace(lone, "\ufffd") : text)

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff

/**
 * Turns strings and byte arrays into chunk data, in order. Text is never cut inside a code point, not even one that
 * arrives in two pieces.
 */
export class Chunker {
  readonly encoding: Encoding
  /** Decoded bytes so far. */
  size = 0
  private readonly maxBytes: number
  private carry = ""
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

  constructor(encoding: Encoding, maxBytes: number) {
    this.encoding = encoding
    this.maxBytes = maxBytes
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
    if (length <= this.maxBytes) return [text]
    const out: Array<string> = []
    let from = 0
    let bytes = 0
    for (let i = 0; i < text.length; ) {
      const code = text.codePointAt(i)!
      const width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
      if (bytes + width > this.maxBytes) {
        out.push(text.slice(from, i))
        from = i
        bytes = 0
      }
      bytes += width
      i += code > 0xffff ? 2 : 1
    }
    out.push(text.slice(from))
    return out
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

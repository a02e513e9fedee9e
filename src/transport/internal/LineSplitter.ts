/**
 * Bytes to lines (ARCP 1.0 §4.2): pure, and independent of how the bytes are cut into chunks.
 *
 * A line ends with LF; a CR before it does not count to the line; lines of white space are skipped; what stands behind the
 * last LF is a line when the input ends. The cut is made on bytes (no byte of a multi-byte character is an LF), so a
 * character is never torn and one line with invalid UTF-8 does not spoil the next.
 */

/** A line whose bytes are not UTF-8. */
export const invalid: unique symbol = Symbol("invalid UTF-8")
/** A line over the limit: the last thing that a splitter yields. */
export const tooLong: unique symbol = Symbol("line too long")

export type Line = string | typeof invalid | typeof tooLong

const LF = 10

/** A buffer over this size is let go once its line is complete. */
const maxIdleBytes = 65_536

export class LineSplitter {
  // `ignoreBOM: true` keeps a byte order mark, wherever it stands: lines must not depend on where decoding began
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  /** The longest line, without its LF. May be changed at any time; it holds for the bytes that are pushed next. */
  maxBytes: number
  /** The unfinished line, in a buffer that grows: tiny chunks cost no more than large ones. */
  private kept = new Uint8Array(0)
  private keptBytes = 0
  private dead = false

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** The lines that these bytes complete. */
  push(bytes: Uint8Array): Array<Line> {
    const lines: Array<Line> = []
    if (this.dead) return lines
    let start = 0
    if (this.keptBytes > 0) {
      const end = bytes.indexOf(LF)
      if (!this.keep(end < 0 ? bytes : bytes.subarray(0, end), lines) || end < 0) return lines
      this.finish(this.takeKept(), lines)
      start = end + 1
    }
    const last = bytes.lastIndexOf(LF)
    if (last >= start && !this.splitWhole(bytes.subarray(start, last), lines)) return lines
    this.keep(bytes.subarray(Math.max(start, last + 1)), lines)
    return lines
  }

  /** How many bytes the unfinished line has. */
  get unfinished(): number {
    return this.keptBytes
  }

  /** The beginning of the unfinished line, as text: at most this many bytes of it. */
  peek(maxBytes: number): string {
    return new TextDecoder().decode(this.kept.subarray(0, Math.min(this.keptBytes, maxBytes)))
  }

  /** The unfinished line, when nothing more comes. */
  end(): Array<Line> {
    const lines: Array<Line> = []
    if (!this.dead && this.keptBytes > 0) this.finish(this.takeKept(), lines)
    this.dead = true
    return lines
  }

  /** Several whole lines, without the last one's LF: decoded at once where all of it is plain. */
  private splitWhole(bytes: Uint8Array, lines: Array<Line>): boolean {
    // within the limit as a whole, each line is; else each is looked at
    if (bytes.length <= this.maxBytes) {
      const text = this.decode(bytes)
      if (text !== invalid) {
        for (const line of text.split("\n")) addText(line, lines)
        return true
      }
    }
    let start = 0
    while (start <= bytes.length) {
      const found = bytes.indexOf(LF, start)
      const end = found < 0 ? bytes.length : found
      if (!this.finish(bytes.subarray(start, end), lines)) return false
      start = end + 1
    }
    return true
  }

  private finish(line: Uint8Array, lines: Array<Line>): boolean {
    if (line.length > this.maxBytes) {
      this.giveUp(lines)
      return false
    }
    const text = this.decode(line)
    if (text === invalid) lines.push(invalid)
    else addText(text, lines)
    return true
  }

  /** Copies: the source may be a large buffer of which this is the tail, or be used again. */
  private keep(bytes: Uint8Array, lines: Array<Line>): boolean {
    const size = this.keptBytes + bytes.length
    if (size > this.maxBytes) {
      this.giveUp(lines)
      return false
    }
    if (size > this.kept.length) {
      const grown = new Uint8Array(Math.max(256, size, Math.min(2 * this.kept.length, this.maxBytes)))
      grown.set(this.kept.subarray(0, this.keptBytes))
      this.kept = grown
    }
    this.kept.set(bytes, this.keptBytes)
    this.keptBytes = size
    return true
  }

  private takeKept(): Uint8Array {
    const line = this.kept.subarray(0, this.keptBytes)
    this.keptBytes = 0
    if (this.kept.length > maxIdleBytes) this.kept = new Uint8Array(0)
    return line
  }

  private giveUp(lines: Array<Line>): void {
    lines.push(tooLong)
    this.dead = true
    this.kept = new Uint8Array(0)
    this.keptBytes = 0
  }

  private decode(bytes: Uint8Array): string | typeof invalid {
    try {
      return this.decoder.decode(bytes)
    } catch {
      return invalid
    }
  }
}

const addText = (text: string, lines: Array<Line>): void => {
  const line = text.endsWith("\r") ? text.slice(0, -1) : text
  if (line.trim() !== "") lines.push(line)
}

/** Texts as lines. Raw line breaks in a JSON text can only stand between its tokens, where a space says the same. */
export const joinLines = (texts: ReadonlyArray<string>): string => {
  let out = ""
  for (const text of texts) out += (/[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, " ") : text) + "\n"
  return out
}

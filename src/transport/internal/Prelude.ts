/**
 * What a child prints before its first frame.
 *
 * A child that is started through other programs may print lines of text first; they are passed on and do no harm. What breaks the
 * first frame does: a byte-order mark, text without a line end in front of it, or a frame whose line end is missing. The parent would
 * wait for a welcome that has come already. Such output is found here, so that the connection can end with a reason that quotes it.
 *
 * Pure: it sees lines and bytes, and says what is wrong.
 */
import { invalid, type Line, tooLong } from "./LineSplitter.js"
import { quote } from "./quote.js"

/** How many UTF-16 code units of the output are quoted. */
const quoted = 200

/** How many bytes of an unfinished line are looked at. */
export const peekBytes = 4_096

const marks: ReadonlyArray<readonly [bytes: ReadonlyArray<number>, name: string]> = [
  [[0xef, 0xbb, 0xbf], "UTF-8"],
  [[0xff, 0xfe], "UTF-16"],
  [[0xfe, 0xff], "UTF-16"]
]

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const isFrame = (text: string): boolean => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && "arcp" in value
  } catch {
    return false
  }
}

export class Prelude {
  private started = false
  private noise: string | undefined

  /** The first bytes, before they are split. What is wrong with them, if anything is. */
  bytes(data: Uint8Array): string | undefined {
    if (this.started || data.length === 0) return undefined
    this.started = true
    const mark = marks.find(([bytes]) => bytes.every((byte, at) => data[at] === byte))
    if (mark === undefined) return undefined
    const text = new TextDecoder(mark[0][0] === 0xfe ? "utf-16be" : mark[1]).decode(data.subarray(0, peekBytes))
    return `a byte-order mark (${mark[1]}) came before the first frame: ${quote(text.trim(), quoted)}; write UTF-8 without one`
  }

  /** A whole line: the first frame has come, or what is wrong; undefined where it is other text. */
  line(line: Line): "frame" | { readonly wrong: string } | undefined {
    if (line === tooLong || line === invalid) {
      this.noise ??= line === invalid ? "(a line that is not UTF-8)" : "(a line that is too long)"
      return undefined
    }
    const text = line.trimStart()
    if (text.startsWith("{") || (text.length <= peekBytes && isJson(text))) return "frame"
    const at = text.indexOf('{"')
    if (at > 0 && isFrame(text.slice(at))) {
      return {
        wrong: `text without a line end came before the first frame: ${quote(text.slice(0, at), quoted)}; end it with a line end, or write it to stderr`
      }
    }
    this.noise ??= quote(text, quoted)
    return undefined
  }

  /** What is wrong with a line that has no end yet, after long enough a silence. */
  unfinished(text: string): string {
    return isFrame(text)
      ? `the first frame has no line end: ${quote(text, quoted)}; write one after each frame`
      : `text without a line end came before the first frame: ${quote(text.trim(), quoted)}; end it with a line end, or write it to stderr`
  }

  /** What has come in place of a frame; undefined: nothing. */
  instead(unfinished: string): string | undefined {
    return this.noise ?? (unfinished.trim() === "" ? undefined : quote(unfinished.trim(), quoted))
  }
}

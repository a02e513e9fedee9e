/** The end of what a child writes to stderr: kept for the message of how it ended. */
import { quote } from "./quote.js"

/** Bytes that are kept, and UTF-16 code units of them that are quoted at most. */
const maxBytes = 4_096
const maxQuoted = 1_000

export class Tail {
  private chunks: Array<Uint8Array> = []
  private size = 0

  push(bytes: Uint8Array): void {
    // A copy of the end: the chunk may be a large buffer.
    const kept = bytes.length > maxBytes ? bytes.slice(bytes.length - maxBytes) : bytes
    this.chunks.push(kept)
    this.size += kept.length
    while (this.chunks.length > 1 && this.size - this.chunks[0]!.length >= maxBytes)
      this.size -= this.chunks.shift()!.length
    // Many tiny chunks are one.
    if (this.chunks.length > 64) this.chunks = [this.join()]
  }

  private join(): Uint8Array {
    const all = new Uint8Array(this.size)
    let at = 0
    for (const chunk of this.chunks) {
      all.set(chunk, at)
      at += chunk.length
    }
    return all
  }

  /** Quoted; undefined where nothing has been written. */
  get text(): string | undefined {
    const text = new TextDecoder()
      .decode(this.join())
      .replace(/^\ufffd+/, "")
      .trim()
    return text === "" ? undefined : quote(text, maxQuoted, "end")
  }
}

/**
 * Many texts as WebSocket text frames (RFC 6455 §5.2) in one buffer: one allocation and one write per batch.
 *
 * Why not `ws.send` for each: it makes two writes and several objects per frame, corked or not, and that is where a
 * stream of small events spends its time. Usable when no extension (compression) was negotiated and the socket's owner
 * sends no fragments of its own.
 */
import { randomFillSync } from "node:crypto"

const poolSize = 8192
/** Random bytes drawn ahead: a mask must be unpredictable to whoever chose the text (RFC 6455 §10.3). */
const pool = Buffer.allocUnsafeSlow(poolSize)
let poolUsed = poolSize

/** Writes the header of a text frame without a mask; returns where it ends, at most 10 bytes later. */
export const writeHeader = (target: Buffer, at: number, size: number): number => {
  target[at] = 0x81
  if (size < 126) {
    target[at + 1] = size
    return at + 2
  }
  if (size < 65_536) {
    target[at + 1] = 126
    target.writeUInt16BE(size, at + 2)
    return at + 4
  }
  target[at + 1] = 127
  target.writeUInt16BE(0, at + 2)
  target.writeUIntBE(size, at + 4, 6)
  return at + 10
}

/** Frames in one buffer, masked as a client must or plain as a server must. */
export const encode = (texts: ReadonlyArray<string>, mask: boolean): Buffer => {
  const count = texts.length
  const sizes: Array<number> = []
  const overhead = mask ? 4 : 0
  let total = 0
  for (let i = 0; i < count; i++) {
    const size = Buffer.byteLength(texts[i]!)
    sizes.push(size)
    total += size + overhead + (size < 126 ? 2 : size < 65_536 ? 4 : 10)
  }
  const target = Buffer.allocUnsafe(total)
  let at = 0
  for (let i = 0; i < count; i++) {
    const size = sizes[i]!
    const lengthAt = at + 1
    at = writeHeader(target, at, size)
    if (mask) {
      target[lengthAt]! |= 0x80
      at = writeMasked(target, at, texts[i]!, size)
    } else {
      target.write(texts[i]!, at, size, "utf8")
      at += size
    }
  }
  return target
}

/** Writes a mask and the masked text; returns where it ends. */
const writeMasked = (target: Buffer, start: number, text: string, size: number): number => {
  if (poolUsed === poolSize) {
    randomFillSync(pool)
    poolUsed = 0
  }
  const a = (target[start] = pool[poolUsed]!)
  const b = (target[start + 1] = pool[poolUsed + 1]!)
  const c = (target[start + 2] = pool[poolUsed + 2]!)
  const d = (target[start + 3] = pool[poolUsed + 3]!)
  poolUsed += 4
  let at = start + 4
  target.write(text, at, size, "utf8")
  const end = at + size
  for (; at + 4 <= end; at += 4) {
    target[at]! ^= a
    target[at + 1]! ^= b
    target[at + 2]! ^= c
    target[at + 3]! ^= d
  }
  if (at < end) target[at++]! ^= a
  if (at < end) target[at++]! ^= b
  if (at < end) target[at++]! ^= c
  return end
}

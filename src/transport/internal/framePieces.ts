/**
 * Frames as the pieces of one write to a WebSocket's socket: the bytes of large payloads are pieces of their own, and are not copied
 * between texts (see `textFrames` for those).
 */
import { Buffer } from "node:buffer"
import { FrameParts, partsEnd, type Sendable } from "../FrameParts.js"
import { frameText } from "./Endpoint.js"
import { encode, writeHeader } from "./textFrames.js"

const end = Buffer.from(partsEnd)

/** A frame's header (RFC 6455 §5.2) and its text up to the payload. */
const headOf = ({ head, payload }: FrameParts): Buffer => {
  const headBytes = Buffer.byteLength(head)
  const target = Buffer.allocUnsafe(headBytes + 10)
  const at = writeHeader(target, 0, headBytes + payload.length + end.length)
  return target.subarray(0, at + target.write(head, at, headBytes, "utf8"))
}

/** The pieces; at least one. A masked frame is one text, since a mask changes every byte. */
export const pieces = (frames: ReadonlyArray<Sendable>, mask: boolean): ReadonlyArray<Uint8Array> => {
  const out: Array<Uint8Array> = []
  let texts: Array<string> = []
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i]!
    if (mask || !(frame instanceof FrameParts)) {
      texts.push(frameText(frame))
      continue
    }
    if (texts.length > 0) out.push(encode(texts, mask))
    texts = []
    out.push(headOf(frame), frame.payload, end)
  }
  if (texts.length > 0) out.push(encode(texts, mask))
  return out
}

/**
 * Frames whose payload is bytes: the chunks of a streamed result (ARCP 1.1 §8.4).
 *
 * Responsibility: what a runtime hands to the transports of this package. The payload is not copied into a text, and a WebSocket writes it
 * from where it lies.
 *
 * Compatibility: {@link Connection.send} takes texts and envelopes. The `send` of this package's endpoints takes parts, and can send at once
 * (`internal/sends`); a connection that has another in its place (a decorator, the faults of a test) is given texts, which are the same to
 * the byte.
 */
import type * as Effect from "effect/Effect"
import type { Connection, ConnectionClosed, Frame } from "./Connection.js"
import { senderOf } from "./internal/sends.js"

/** A frame as a text and, behind it, the bytes of its payload and a brace. The bytes are JSON in UTF-8, and never change. */
export class FrameParts {
  readonly head: string
  readonly payload: Uint8Array

  constructor(head: string, payload: Uint8Array) {
    this.head = head
    this.payload = payload
  }

  /** The whole frame. */
  get text(): string {
    return `${this.head}${new TextDecoder().decode(this.payload)}}`
  }
}

/** What is behind the payload. */
export const partsEnd = "}"

/** What is sent. */
export type Sendable = Frame | FrameParts

/** A frame as every connection takes it. */
export const plainFrame = (frame: Sendable): Frame => (frame instanceof FrameParts ? frame.text : frame)

/** Sends frames over any connection: {@link Connection.send}. */
export const sendFrames = (
  connection: Connection,
  frames: ReadonlyArray<Sendable>
): Effect.Effect<void, ConnectionClosed> =>
  connection.send(senderOf(connection.send) === undefined ? frames.map(plainFrame) : (frames as ReadonlyArray<Frame>))

/** Sends frames, all or none, where they leave in this step; false: none has been sent, and {@link sendFrames} is to be asked. */
export const sendNow = ({ send }: Connection, frames: ReadonlyArray<Sendable>): boolean =>
  senderOf<(frames: ReadonlyArray<Sendable>) => unknown>(send)?.sendNow(frames) ?? false

/** The operations of this package's endpoints: they take parts of frames, and can send in the step in which they are asked. */
import type { Sendable } from "../FrameParts.js"

type Send = (frames: never) => unknown

/** Sends frames, all or none, where they leave in this step. */
export interface Sender {
  readonly sendNow: (frames: ReadonlyArray<Sendable>) => boolean
}

// Keyed by the operation, so that whoever puts another in its place (a test's faults, a trace) is not passed by.
const senders = new WeakMap<Send, Sender>()

/** Says who does at once what `send` does; `send` takes parts. Returns it. */
export const sendingNow = <S extends (frames: ReadonlyArray<Sendable>) => unknown>(send: S, sender: Sender): S => {
  senders.set(send, sender)
  return send
}

/** Who does at once what `send` does, where that is known. */
export const senderOf = (send: Send): Sender | undefined => senders.get(send)

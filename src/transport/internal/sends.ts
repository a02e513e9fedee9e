/** The operations of this package's endpoints: they take parts of frames (`FrameParts`), and can send in the step in which they are asked. */

type Send = (frames: never) => unknown

/** Sends frames, all or none, where they leave in this step. */
export interface Sender<S extends Send> {
  readonly sendNow: (...frames: Parameters<S>) => boolean
}

// Keyed by the function: a decorator (a test's faults, a trace) has a `send` of its own, which is not in here, so it is never bypassed.
const senders = new WeakMap<Send, Sender<never>>()

/** Says who does at once what `send` does; `send` takes parts. Returns it. */
export const sendingNow = <S extends Send>(send: S, sender: Sender<S>): S => {
  senders.set(send, sender as Sender<never>)
  return send
}

/** Who does at once what `send` does, where that is known. */
export const senderOf = <S extends Send>(send: Send): Sender<S> | undefined =>
  senders.get(send) as Sender<S> | undefined

/**
 * The jobs that a session's jobs delegated, as one stream for each consumer (ARCP 1.1 §10).
 *
 * Order: a child is announced in the step that reads its first message. Races: the client ends while a consumer waits: each
 * open stream ends, and one that is opened later is empty.
 */
import type * as Stream from "effect/Stream"
import type { ObservedJob } from "../JobHandle.js"
import { Broadcast } from "./broadcast.js"

/** Children that are kept for a slow consumer; beyond this the oldest are dropped. */
const kept = 1_024

/** The children of one client's jobs. */
export interface Children {
  readonly announce: (child: ObservedJob<unknown>) => void
  /** Ends the streams: the client has ended. */
  readonly end: () => void
  readonly stream: Stream.Stream<ObservedJob<unknown>>
}

export const makeChildren = (): Children => {
  const children = new Broadcast<ObservedJob<unknown>>(kept)
  return {
    announce: (child) => children.publish(child),
    end: () => children.end(),
    stream: children.stream(() => [])
  }
}

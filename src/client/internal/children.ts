/**
 * The jobs that a session's jobs delegated, as one stream for each consumer (ARCP 1.1 §10).
 *
 * Order: a child is announced in the step that reads its first message. Races: the client ends while a consumer waits: each
 * open stream ends, and one that is opened later is empty.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { ObservedJob } from "../JobHandle.js"

/** Children that are kept for a slow consumer; beyond this the oldest are dropped. */
const kept = 1_024

/** The children of one client's jobs. */
export interface Children {
  readonly announce: (child: ObservedJob<unknown>) => void
  /** Ends the streams: the client has ended. */
  readonly end: () => void
  readonly stream: Stream.Stream<ObservedJob<unknown>>
}

export const makeChildren: Effect.Effect<Children> = Effect.map(
  PubSub.sliding<ObservedJob<unknown> | undefined>(kept),
  (children) => {
    let ended = false
    return {
      announce: (child) => void children.unsafeOffer(child),
      end: () => {
        ended = true
        children.unsafeOffer(undefined)
      },
      stream: Stream.unwrapScoped(
        Effect.map(PubSub.subscribe(children), (queue) =>
          ended ? Stream.empty : Stream.takeWhile(Stream.fromQueue(queue), (child) => child !== undefined)
        )
      )
    }
  }
)

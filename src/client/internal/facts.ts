/**
 * The facts of a client's session, and a stream of their changes.
 *
 * Order: the newest facts, at most ten times a second. Races: facts that change while they are read are emitted the next time:
 * the change is counted (see `cursor`), so that it is not lost between the read and the wait.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { SessionFacts } from "../SessionFacts.js"
import type { Core } from "./core.js"
import type { Cursor } from "./cursor.js"

/** Milliseconds between two facts of a stream: each costs a look at every job that is read. */
const interval = 100

export const factsOfSession = (core: Core): SessionFacts | undefined => {
  const { resumeToken, sessionId } = core
  if (sessionId === undefined || resumeToken === undefined) return undefined
  const lastEventSeq = core.mark
  const jobs = core.registry.cursor.jobFacts()
  const facts = { sessionId, resumeToken: Redacted.make(resumeToken), lastEventSeq }
  return jobs.length === 0 ? facts : { ...facts, jobs }
}

const keyOf = ({ jobs, lastEventSeq, resumeToken, sessionId }: SessionFacts): string =>
  JSON.stringify([sessionId, Redacted.value(resumeToken), lastEventSeq, jobs])

/** Facts now and when they have changed, the newest each; ends when `ended` says so. */
export const changesOf = (
  cursor: Cursor,
  facts: () => SessionFacts | undefined,
  ended: () => boolean
): Stream.Stream<SessionFacts> =>
  Stream.suspend(() => {
    let last = ""
    let seen = 0
    // The fiber may yield after it has read the facts and before it listens.
    const changed = Effect.async<void>((resume) => {
      if (cursor.changes !== seen) return resume(Effect.void)
      const stop = cursor.listen(() => resume(Effect.void))
      return Effect.sync(stop)
    })
    const next: Effect.Effect<SessionFacts, Option.Option<never>> = Effect.suspend(() => {
      seen = cursor.changes
      const now = facts()
      const key = now === undefined ? "" : keyOf(now)
      if (now !== undefined && key !== last) {
        last = key
        return Effect.succeed(now)
      }
      return ended()
        ? Effect.fail(Option.none())
        : Effect.zipRight(changed, Effect.zipRight(Effect.sleep(interval), next))
    })
    return Stream.repeatEffectOption(next)
  })

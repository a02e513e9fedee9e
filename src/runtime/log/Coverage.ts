/** Whether a session can go on behind an event that its client has: what comes after it must still be there (ARCP 1.1 §6.3). */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Store, StoreError } from "../../store/Store.js"
import { isLive } from "./JobLog.js"
import type { SessionRun } from "./Run.js"
import type { SessionLog } from "./SessionLog.js"

/** Whether events of a run from `seq` on are gone, though the session remembers the run. */
const isTrimmed = (run: SessionRun, seq: number): boolean =>
  isLive(run.job) && run.lastSeq >= seq && run.firstJobSeq + Math.max(0, seq - run.firstSeq) <= run.job.trimmedTo

/** Whether everything behind `cursor` can still be sent (§6.3). */
export const covered = (
  session: SessionLog,
  cursor: number,
  store: Context.Tag.Service<Store>
): Effect.Effect<boolean, StoreError> =>
  Effect.gen(function* () {
    if (cursor < session.floorSeq) return false
    let at = cursor
    // Fixed now: what comes later is there by construction.
    const target = session.seq
    while (at < target) {
      const first = session.recent[0]
      if (first !== undefined && first.firstSeq <= at + 1) return !session.recent.some((run) => isTrimmed(run, at + 1))
      const deliveries = yield* store.deliveries(session.sessionId, at, 1000)
      if (deliveries.length === 0) return false
      for (const delivery of deliveries) {
        if (delivery.firstSeq > at + 1) return false
        at = Math.max(at, delivery.lastSeq)
      }
    }
    return true
  })

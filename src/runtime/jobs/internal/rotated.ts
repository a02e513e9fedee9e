/**
 * The event of a credential that has a new value (ARCP 1.1 §9.8.2, §14). It is stored without the value, as observers get it; the sessions
 * that own the job and may see secrets (`credentials/View`) get it with the value, which is kept in memory alone.
 */
import type * as Context from "effect/Context"
import * as Redacted from "effect/Redacted"
import type { JobCredential } from "../../credentials/Credentials.js"
import { maySee } from "../../credentials/View.js"
import type { EventLog } from "../../log/EventLog.js"
import type { JobLog } from "../../log/JobLog.js"
import { eventPayload } from "../../kernel/Payload.js"

/** Queues the event; `told` is called when it is durable. `now` is in milliseconds since the epoch. */
export const tellRotated = (
  eventLog: Context.Tag.Service<EventLog>,
  now: number,
  live: JobLog,
  credential: JobCredential,
  message: string,
  told?: () => void
): void => {
  const body = { phase: "credential_rotated", message, id: credential.id }
  eventLog.change({
    write: (batch) => {
      const at = batch.event(live, "event", eventPayload('"status"', now, JSON.stringify(body)))
      if (!live.owners.some(maySee)) return
      const value = Redacted.value(credential.value)
      // Twice: clients read it from the body, or from its details.
      const owned = { ...body, value, details: { id: credential.id, value } }
      batch.forOwners(live, at, eventPayload('"status"', now, JSON.stringify(owned)))
    },
    committed: () => told?.()
  })
}

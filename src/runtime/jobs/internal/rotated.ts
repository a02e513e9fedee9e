/**
 * The event of a credential that has a new value (ARCP 1.1 §9.8.2, §14). It is stored without the value, as observers get it; the sessions
 * that own the job and may see secrets (`credentials/View`) get it with the value, which is kept in memory alone.
 */
import type * as Context from "effect/Context"
import * as Redacted from "effect/Redacted"
import type { JobCredential } from "../../credentials/Credentials.js"
import { maySee } from "../../credentials/View.js"
import type { Journal } from "../../log/Journal.js"
import type { LiveJob } from "../../log/Model.js"
import { eventPayload } from "../../kernel/Payload.js"

/** Queues the event; `told` is called when it is durable. `now` is in milliseconds since the epoch. */
export const tellRotated = (
  journal: Context.Tag.Service<Journal>,
  now: number,
  live: LiveJob,
  credential: JobCredential,
  message: string,
  told?: () => void
): void => {
  const body = { phase: "credential_rotated", message, id: credential.id }
  journal.change({
    write: (builder) => {
      const at = builder.event(live, "event", eventPayload('"status"', now, JSON.stringify(body)))
      if (!live.owners.some(maySee)) return
      const value = Redacted.value(credential.value)
      // Twice: clients read it from the body, or from its details.
      const owned = { ...body, value, details: { id: credential.id, value } }
      builder.forOwners(live, at, eventPayload('"status"', now, JSON.stringify(owned)))
    },
    committed: () => told?.()
  })
}

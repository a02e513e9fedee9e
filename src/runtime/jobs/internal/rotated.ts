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
  let at: number | undefined
  journal.change({
    write: (builder) => {
      // A batch that failed has given this number to another event.
      if (at !== undefined) live.ownerPayloads?.delete(at)
      builder.event(live, "event", eventPayload('"status"', now, JSON.stringify(body)))
      at = live.assigned
      if (!live.owners.some(maySee)) return
      live.ownerPayloads ??= new Map()
      const value = Redacted.value(credential.value)
      // Twice: clients read it from the body, or from its details.
      const owned = { ...body, value, details: { id: credential.id, value } }
      live.ownerPayloads.set(at, eventPayload('"status"', now, JSON.stringify(owned)))
    },
    committed: () => told?.()
  })
}

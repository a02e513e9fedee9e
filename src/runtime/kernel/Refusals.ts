/** Refusals that several rooms of the runtime give in the same words. Their cause passes: the caller may try again. */
import { InternalError } from "../../protocol/Errors.js"
import type { StoreError } from "../../store/Store.js"

/** The store could not be read or written. */
export const storeFailure = (error: StoreError): InternalError =>
  new InternalError({ message: `the store is not available: ${error.operation} failed; try again` })

/** The runtime is draining: it begins nothing new. */
export const shuttingDown = new InternalError({
  message: "the runtime is shutting down; come back later",
  details: { reason: "runtime_shutdown" }
})

/** The session that asks has ended for good while its request was on its way. */
export const sessionEnded = new InternalError({ message: "the session has ended; open a new one" })

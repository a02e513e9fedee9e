/** What a call of a client may fail with. */
import { isArcpError } from "../../src/protocol/index.js"

const tags = new Set([
  "ClientClosed",
  "RequestTimeout",
  "SessionEnded",
  "NotNegotiated",
  "ResultInvalid",
  "EventsMissed",
  "ResultStreamed",
  "ResultTooLarge",
  "ArtifactInvalid"
])

/** Whether it is one of the errors that the client's types name. */
export const isTyped = (error: unknown): boolean =>
  isArcpError(error) || tags.has((error as { readonly _tag?: string } | undefined)?._tag ?? "")

/** What a frame asks the connection's owner to do. */
import type { SessionId } from "../../protocol/Ids.js"
import type { ArcpError } from "../../protocol/Errors.js"

export type Reaction =
  | { readonly _tag: "none" }
  /** `previous`: the session that was to be resumed, where another one was given instead. */
  | { readonly _tag: "welcomed"; readonly previous: SessionId | undefined }
  /** The runtime refused the session or ended it. */
  | { readonly _tag: "refused"; readonly error: ArcpError }
  /** The runtime said that something is wrong, and not with which request. */
  | { readonly _tag: "remarked"; readonly error: ArcpError }
  /** The numbers have a gap: drop the connection and resume. */
  | { readonly _tag: "gap"; readonly expected: number; readonly got: number }
  | { readonly _tag: "closed" }

export const none: Reaction = { _tag: "none" }

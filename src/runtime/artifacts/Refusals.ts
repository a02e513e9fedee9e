/** What a put is refused with. */
import { type InternalError, permanentError } from "../../protocol/Errors.js"
import type { LimitsShape } from "../kernel/Limits.js"

/** The refusal of one that is over the cap. */
export const tooLarge = (limits: LimitsShape): InternalError =>
  permanentError(`payload.data: an artifact has at most ${limits.artifactBytes} bytes here`, {
    reason: "artifact_too_large",
    max_bytes: limits.artifactBytes
  })

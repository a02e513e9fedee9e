/** An agent's or a tool's failure as an error of the protocol (ARCP 1.1 §12). */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import { deniedCause } from "../../../agent/Denied.js"
import type { Denial } from "../../../agent/Gate.js"
import {
  type ArcpError,
  Cancelled,
  InternalError,
  isArcpError,
  oneLine,
  plain,
  VendorError
} from "../../../protocol/Errors.js"
import * as Text from "../../../protocol/Text.js"

/** How much of a failure's text is looked at, in UTF-16 code units: more than the longest credential. */
const maxText = 131_072

const unsaid = "the agent failed"

/** A text whose URLs have neither user information nor query nor fragment: the errors of HTTP clients repeat whole URLs. */
const withoutSecrets = (text: string): string =>
  text.replace(/\bhttps?:\/\/[^\s"'<>()]+/gi, (url) =>
    url.replace(/[?#].*$/, "?…").replace(/^(https?:\/\/)[^/]*@/i, "$1…@")
  )

/** The denial that an agent died of rather than failed with, as after `Effect.orDie`. */
export const diedOfDenial = (cause: Cause.Cause<unknown>): Denial | undefined => {
  for (const defect of Cause.defects(cause)) {
    const denied = deniedCause(defect)
    if (denied !== undefined) return denied
  }
  return undefined
}

/** What a job's credentials have to do with its failures (§13.7, §14). */
export interface Upstream {
  /** The protocol's error that a failure of an upstream stands for. */
  readonly translate: (failure: unknown) => ArcpError | undefined
  /** A text without the values of the job's credentials: upstreams have been seen to quote keys. */
  readonly hide: (text: string) => string
}

/**
 * Its own code where it is one of §12, or was caused by one, or where an upstream means one; `AGENT_FAILURE` where it is a
 * failure of the agent's own. Total, and plain data: the failure comes from user code.
 */
export const toArcpError = (failure: unknown, upstream?: Upstream): ArcpError => {
  if (isArcpError(failure)) return plain(failure)
  const denied = deniedCause(failure) ?? Text.attempt(() => upstream?.translate(failure), undefined)
  if (denied !== undefined) return plain(denied)
  const tag = Text.textProperty(failure, "_tag", 128)
  const message =
    Text.textProperty(failure, "message", maxText) ??
    (typeof failure === "string" ? failure.slice(0, maxText) : (tag ?? unsaid))
  return new VendorError({
    code: "AGENT_FAILURE",
    message: withoutSecrets(
      oneLine(Text.attempt(() => (upstream === undefined ? message : upstream.hide(message)), unsaid))
    ),
    ...(tag === undefined ? {} : { details: { error: tag } })
  })
}

/** What a call ended with that has no result. A defect is reported without its text, which may hold anything. */
export const causeToArcpError = (cause: Cause.Cause<unknown>, upstream?: Upstream): ArcpError =>
  Option.match(Cause.failureOption(cause), {
    onSome: (failure) => toArcpError(failure, upstream),
    onNone: () =>
      Cause.isInterruptedOnly(cause)
        ? new Cancelled({ message: "the call was interrupted" })
        : (diedOfDenial(cause) ?? new InternalError({ message: "the call failed unexpectedly" }))
  })

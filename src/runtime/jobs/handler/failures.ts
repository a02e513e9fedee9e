/** An agent's or a tool's failure as an error of the protocol (ARCP 1.1 §12). */
import { Buffer } from "node:buffer"
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import { deniedCause } from "../../../agent/Denied.js"
import type { Denial } from "../../../agent/Gate.js"
import { Declared } from "../../../agent/Declared.js"
import { withoutQueries } from "../../../agent/HiddenSpan.js"
import { encodedField } from "../../../protocol/AgentSpec.js"
import {
  AgentFailure,
  type ArcpError,
  Cancelled,
  type ErrorDetails,
  fromWire,
  InternalError,
  isArcpError,
  oneLine,
  plain,
  toWire,
  VendorError
} from "../../../protocol/Errors.js"
import * as Text from "../../../protocol/Text.js"
import type { Upstream } from "../../credentials/UpstreamErrors.js"
import * as FrameSize from "../../kernel/FrameSize.js"

/** How much of a failure's text is looked at, in UTF-16 code units: more than the longest credential. */
const maxText = 131_072

const unsaid = "the agent failed"

/** The denial that an agent died of rather than failed with, as after `Effect.orDie`. */
export const diedOfDenial = (cause: Cause.Cause<unknown>): Denial | undefined => {
  for (const defect of Cause.defects(cause)) {
    const denied = deniedCause(defect)
    if (denied !== undefined) return denied
  }
  return undefined
}

/** Bytes of the fields of a failure that is not declared, as JSON; and how many are looked at. */
const maxFieldBytes = 4_096
const maxFields = 64

/** Names of fields that hold secrets in the errors of HTTP and model clients, which do not mark them as `Redacted`. */
const secretName = /^auth$|authori[sz]ation|cookie|credential|passw|private|secret|signature|token|api[-_]?key/i

/** What an error has beside its fields, or what is reported of it already. */
const notFields: ReadonlySet<string> = new Set(["_tag", "cause", "message", "name", "stack"])

/** A text of a failure as clients may read it. */
const shownText =
  (upstream: Upstream | undefined) =>
  (text: string): string =>
    withoutQueries(Text.attempt(() => (upstream === undefined ? text : upstream.hide(text)), unsaid))

/** The fields of a failure that are JSON, bounded; objects of classes are left out: clients and requests are among them. */
const fieldsOf = (failure: unknown, upstream: Upstream | undefined): ErrorDetails | undefined => {
  if (typeof failure !== "object" || failure === null) return undefined
  const shown = shownText(upstream)
  const own = Text.attempt(() => Object.keys(failure), [])
    .slice(0, maxFields)
    .filter((key) => !notFields.has(key))
  if (own.length === 0) return undefined
  const fields = Text.bounded(Object.fromEntries(own.map((key) => [key, Text.property(failure, key)])), {
    bytes: maxFieldBytes,
    depth: 4,
    instances: "omitted",
    text: shown,
    hidden: secretName
  })
  return fields === undefined || Object.keys(fields as object).length === 0 ? undefined : (fields as ErrorDetails)
}

/** JSON without the values of credentials, in texts and in names; undefined where it cannot be walked, as what is nested too deep. */
const hidden = (text: string, { hide }: Upstream): string | undefined =>
  Text.attempt(
    () =>
      JSON.stringify(
        JSON.parse(text, (_, value: unknown) =>
          typeof value === "string"
            ? hide(value)
            : typeof value === "object" && value !== null && !Array.isArray(value)
              ? Object.fromEntries(Object.entries(value).map(([name, field]): [string, unknown] => [hide(name), field]))
              : value
        )
      ),
    undefined
  )

/** The encoded failure without the values of credentials, where it has at most `room` bytes as JSON. Measured before it is walked. */
const encodedOf = (text: string, room: number, upstream: Upstream | undefined): ErrorDetails => {
  const omitted = (long: string): ErrorDetails => ({
    omitted: `the error has ${Buffer.byteLength(long)} bytes as JSON, at most ${room} are sent`
  })
  if (!FrameSize.fits(text, room)) return omitted(text)
  const shown = upstream === undefined ? text : hidden(text, upstream)
  if (shown === undefined) return { omitted: "the error is nested too deep" }
  return FrameSize.fits(shown, room) ? { [encodedField]: JSON.parse(shown) as unknown } : omitted(shown)
}

const lineOf = (failure: unknown, upstream: Upstream | undefined): string => {
  const message =
    Text.textProperty(failure, "message", maxText) ??
    (typeof failure === "string" ? failure.slice(0, maxText) : (Text.textProperty(failure, "_tag", 128) ?? unsaid))
  return oneLine(shownText(upstream)(message))
}

/** One of the protocol's errors, which may quote an upstream, as plain data without the values of credentials. */
const ofProtocol = (failure: ArcpError, upstream: Upstream | undefined): ArcpError => {
  if (upstream === undefined) return plain(failure)
  const { details, message, ...rest } = toWire(failure)
  // Before it is cut: half of a value would not be found.
  const whole = Text.textProperty(failure, "message", maxText) ?? message
  const error = { ...rest, message: Text.attempt(() => upstream.hide(whole), unsaid) }
  if (details === undefined) return fromWire(error)
  const shown = hidden(JSON.stringify(details), upstream)
  const omitted: ErrorDetails = { omitted: "the details are nested too deep" }
  return fromWire({ ...error, details: shown === undefined ? omitted : (JSON.parse(shown) as ErrorDetails) })
}

/** Bytes of a declared failure as JSON, whatever a frame may have. */
const maxEncoded = 32_768

/** A failure of the type that the agent declares: with its own code where it has one. */
const ofDeclared = (failure: Declared, upstream: Upstream | undefined, room: number): ArcpError => {
  const { code, retryable, tag, text } = failure
  const common = {
    message: lineOf(failure.message === undefined ? (tag ?? unsaid) : failure.message, upstream),
    retryable,
    details: {
      ...(tag === undefined ? {} : { error: tag }),
      ...encodedOf(text, Math.min(maxEncoded, room), upstream)
    }
  }
  return plain(code === undefined ? new AgentFailure(common) : new VendorError({ code, ...common }))
}

/**
 * Its own code where it is one of §12; what the agent declares, where it is that; the code of what it was caused by, or of what an upstream
 * means by it; `AGENT_FAILURE`, with its tag and its fields, where it is another failure of the agent's own. Total, and plain data: the failure comes
 * from user code. `room`: bytes of a declared failure as JSON.
 */
export const toArcpError = (failure: unknown, upstream?: Upstream, room = maxEncoded): ArcpError => {
  if (isArcpError(failure)) return ofProtocol(failure, upstream)
  if (Text.isInstance(failure, Declared)) return ofDeclared(failure, upstream, room)
  const denied = deniedCause(failure) ?? Text.attempt(() => upstream?.translate(failure), undefined)
  if (denied !== undefined) return plain(denied)
  const tag = Text.textProperty(failure, "_tag", 128)
  const fields = fieldsOf(failure, upstream)
  const details = { ...(tag === undefined ? {} : { error: tag }), ...(fields === undefined ? {} : { fields }) }
  return plain(
    new AgentFailure({
      message: lineOf(failure, upstream),
      ...(Object.keys(details).length === 0 ? {} : { details })
    })
  )
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

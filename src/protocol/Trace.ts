/** W3C Trace Context as ARCP carries it (ARCP 1.1 §11, 1.0 §11). */
import * as Either from "effect/Either"
import { InvalidRequest } from "./Errors.js"

/**
 * The key of `extensions` under which an incoming `tracestate` and parent span ride.
 *
 * @since 0.1.0
 * @category constants
 */
export const traceContextExtension = "x-vendor.opentelemetry.tracecontext"

/**
 * A trace: its id and, where the peer gave them, the calling span, the sampling flags and the `tracestate`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TraceContext {
  /** 32 lowercase hex digits, never all zero. */
  readonly traceId: string
  /** 16 lowercase hex digits. */
  readonly parentSpanId?: string | undefined
  /** Whether spans of this trace are recorded: the flag of a `traceparent` or of the extension. Absent where neither says so: they are. */
  readonly sampled?: boolean | undefined
  /** The W3C `tracestate`, at most 512 characters. */
  readonly traceState?: string | undefined
}

const traceId = /^(?!0{32})[0-9a-f]{32}$/
const traceParent = /^([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/**
 * Reads an envelope's `trace_id`: 32 hex digits, or a whole `traceparent`, with the `tracestate` out of `extensions`.
 * Anything else is `INVALID_REQUEST`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parse = (
  value: string,
  extensions?: Readonly<Record<string, unknown>> | undefined
): Either.Either<TraceContext, InvalidRequest> => {
  const text = value.toLowerCase()
  const state = stateOf(extensions)
  if (traceId.test(text)) return Either.right({ traceId: text, ...state })
  const match = traceParent.exec(text)
  // Version ff is forbidden, and version 00 has exactly four fields (W3C Trace Context §3.2.2).
  if (match === null || match[1] === "ff" || (match[1] === "00" && match[5] !== undefined)) {
    return Either.left(
      new InvalidRequest({ message: "trace_id: must be 32 hex digits, not all zero, or a W3C traceparent" })
    )
  }
  return Either.right({
    ...state,
    traceId: match[2]!,
    parentSpanId: match[3]!,
    sampled: (Number.parseInt(match[4]!, 16) & 1) === 1
  })
}

const stateOf = (
  extensions: Readonly<Record<string, unknown>> | undefined
): { readonly traceState?: string; readonly parentSpanId?: string; readonly sampled?: boolean } => {
  const raw =
    extensions !== undefined && Object.hasOwn(extensions, traceContextExtension)
      ? extensions[traceContextExtension]
      : undefined
  if (typeof raw !== "object" || raw === null) return {}
  const { parent_span_id, sampled, tracestate } = raw as { readonly [key: string]: unknown }
  return {
    ...(typeof tracestate === "string" && tracestate.length <= 512 ? { traceState: tracestate } : {}),
    ...(typeof parent_span_id === "string" && /^(?!0{16})[0-9a-f]{16}$/.test(parent_span_id)
      ? { parentSpanId: parent_span_id }
      : {}),
    ...(typeof sampled === "boolean" ? { sampled } : {})
  }
}

/**
 * The `extensions` that forward a trace's `tracestate`, its calling span, and that it is not sampled; undefined where there is nothing to
 * forward.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toExtensions = (trace: TraceContext): Readonly<Record<string, unknown>> | undefined =>
  trace.traceState === undefined && trace.parentSpanId === undefined && trace.sampled !== false
    ? undefined
    : {
        [traceContextExtension]: {
          ...(trace.traceState === undefined ? {} : { tracestate: trace.traceState }),
          ...(trace.parentSpanId === undefined ? {} : { parent_span_id: trace.parentSpanId }),
          ...(trace.sampled === false ? { sampled: false } : {})
        }
      }

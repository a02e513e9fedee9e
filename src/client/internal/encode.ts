/**
 * From a caller's values to the text of a frame.
 *
 * Responsibility: a value is read once, in the call that passes it. What JSON cannot hold (a bigint, a cycle, a throwing
 * getter, a revoked proxy) fails that call with `InvalidRequest`, which names the field. After that there is only text: it
 * is sent, and sent again after a reconnect, without running the caller's code and without seeing later changes.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Envelope from "../../protocol/Envelope.js"
import { InvalidRequest, oneLine } from "../../protocol/Errors.js"
import type { ClientMessageType } from "../../protocol/Message.js"
import { textOf } from "./text.js"

/** A complete JSON text. */
export class JsonText {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  get text(): string {
    return this.#text
  }
  /** A check by the private field: a proxy does not see it and cannot pass it. */
  static is(u: unknown): u is JsonText {
    return typeof u === "object" && u !== null && #text in u
  }
}

type Encoded = Either.Either<JsonText, InvalidRequest>

const invalid = (where: string, why: string): InvalidRequest =>
  new InvalidRequest({ message: oneLine(`${where}: ${why}`) })

/** Why JSON would write `null` for a value that is not null; undefined where the value means null. */
const lost = (value: unknown): string | undefined => {
  if (typeof value === "number") return String(value)
  return value instanceof Date ? "an invalid date" : undefined
}

/**
 * Encodes one value. `where` is its field, such as `payload.input`.
 *
 * As `JSON.stringify`: nested functions and undefined fields are left out, nested `NaN` becomes `null`. At the top, where
 * the whole value would be lost, they are refused.
 */
export const json = (where: string, value: unknown): Encoded => {
  if (JsonText.is(value)) return Either.right(value)
  try {
    const text: string | undefined = JSON.stringify(value)
    const why = text === undefined ? typeof value : text === "null" && value !== null ? lost(value) : undefined
    return text === undefined || why !== undefined
      ? Either.left(invalid(where, `is not JSON: ${why === "object" ? "its toJSON returns nothing" : why}`))
      : Either.right(new JsonText(text))
  } catch (cause) {
    return Either.left(invalid(where, `is not JSON: ${textOf(cause)}`))
  }
}

/** Fields of an object that this package makes; only the values come from a caller. Undefined ones are left out. */
export interface Fields {
  readonly [name: string]: unknown
}

/**
 * Encodes an object field by field, so that an error names the field: `where.name`, or `name` without `where`.
 */
export const object = (where: string | undefined, fields: Fields): Encoded => {
  let text = ""
  for (const name of Object.keys(fields)) {
    if (fields[name] === undefined) continue
    const value = json(where === undefined ? name : `${where}.${name}`, fields[name])
    if (Either.isLeft(value)) return value
    text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${value.right.text}`
  }
  return Either.right(new JsonText(`{${text}}`))
}

/** The head fields of a request that come from its caller. */
export interface RequestHead {
  readonly job_id?: string | undefined
  readonly trace_id?: string | undefined
  readonly priority?: Envelope.Priority | undefined
  readonly extensions?: Envelope.Json | undefined
}

/**
 * A request's frame but for its id and session, which change when it is sent again. All else stays the same bytes, so that
 * a repeat is identical (ARCP 1.1 §7.2).
 */
export const request = (payload: Fields, head: RequestHead = {}): Either.Either<string, InvalidRequest> =>
  Either.flatMap(object("payload", payload), (payload) =>
    Either.map(object(undefined, { ...head, payload }), ({ text }) => text.slice(1))
  )

/** What a frame has beside its request, at most: type, id and session. */
const headBytes = 1_024

const bytesOf = (text: string): number => new TextEncoder().encode(text).length

/**
 * A {@link request} whose frame has at most `maxBytes` encoded bytes. A larger one is refused by the peer's transport, which ends the
 * connection, and would be sent again after each resume: it fails its own call instead.
 */
export const bounded = (text: string, maxBytes: number): Either.Either<string, InvalidRequest> => {
  const most = maxBytes - headBytes
  // No code unit has more than three bytes.
  if (text.length * 3 <= most) return Either.right(text)
  const bytes = text.length > most ? text.length : bytesOf(text)
  return bytes <= most
    ? Either.right(text)
    : Either.left(invalid("payload", `the request has over ${most} encoded bytes, more than one frame may have`))
}

/** The encoded bytes of a {@link request}'s frame, at most. */
export const frameBytes = (request: string): number => bytesOf(request) + headBytes

/** The frame of a {@link request}. `type`, `id` and `sessionId` do not come from a caller. */
export const frame = (type: ClientMessageType, id: string, sessionId: string | undefined, request: string): string => {
  const session = sessionId === undefined ? "" : `"session_id":${JSON.stringify(sessionId)},`
  return `{"arcp":"${Envelope.version}","id":${JSON.stringify(id)},"type":"${type}",${session}${request}`
}

/** Reads what a caller passed. A getter or a proxy that throws fails the call: `where` is the argument. */
export const reading = <A>(where: string, read: () => A): Effect.Effect<A, InvalidRequest> =>
  Effect.try({ try: read, catch: (cause) => invalid(where, `cannot be read: ${textOf(cause)}`) })

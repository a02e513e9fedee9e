/**
 * A failure of the type that an agent declares, encoded by its Schema (ARCP 1.0 §12).
 *
 * Responsibility: from any failure of a handler to what its job's error says of it. User code runs here (the Schema, getters of the
 * failure), in the handler's fiber: whatever it does, the handler still fails, and a failure that cannot be encoded stays unchanged.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { isArcpError, isErrorCode } from "../protocol/Errors.js"
import * as Text from "../protocol/Text.js"
import { isDenied } from "./Denied.js"
import { called, logDefect } from "./internal/called.js"

/** How much of a failure's message is read, in UTF-16 code units: more than the longest credential. */
const maxText = 131_072

const codeName = /^[A-Za-z][A-Za-z0-9._-]{0,127}$/

/** A declared failure. */
export class Declared {
  readonly _tag = "Declared"
  /** The failure's own `code`, where it has one that is not the protocol's. */
  readonly code: string | undefined
  readonly tag: string | undefined
  readonly message: string | undefined
  readonly retryable: boolean
  /** The encoded failure as JSON. */
  readonly text: string

  constructor(failure: unknown, text: string) {
    const code = Text.textProperty(failure, "code", 128)
    this.code = code !== undefined && codeName.test(code) && !isErrorCode(code) ? code : undefined
    this.tag = Text.textProperty(failure, "_tag", 128)
    this.message = Text.textProperty(failure, "message", maxText)
    this.retryable = Text.property(failure, "retryable") === true
    this.text = text
  }
}

/**
 * The failure that the Schema is tried on. Undefined for an error of the protocol, for a denial of a guarded service, and for a failure
 * that comes with a defect: these stay as they are, also under a Schema as wide as `Schema.Unknown`.
 */
const declarable = (cause: Cause.Cause<unknown>): { readonly failure: unknown } | undefined => {
  const failure = Cause.failureOption(cause)
  if (failure._tag === "None" || Cause.defects(cause).length > 0) return undefined
  return isArcpError(failure.value) || isDenied(failure.value) ? undefined : { failure: failure.value }
}

/** Runs a handler, whose failures that fit the Schema become {@link Declared}; the others stay as they are. */
export const declaring = <Err, ErrWire>(
  schema: Schema.Schema<Err, ErrWire>
): (<A, E, R>(handler: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Declared, R>) => {
  const encode = Schema.encodeUnknown(schema)
  const declared = (failure: unknown): Effect.Effect<Declared | undefined> =>
    Effect.suspend(() => called(() => encode(failure))).pipe(
      // A failure of another type is allowed.
      Effect.option,
      Effect.catchAllDefect((defect) =>
        Effect.as(logDefect("the agent's error cannot be encoded: its schema throws", defect), Option.none())
      ),
      Effect.map((encoded) => {
        const json = Option.isSome(encoded) ? Text.toJson(encoded.value) : undefined
        return json?._tag === "Json" ? new Declared(failure, json.text) : undefined
      })
    )
  return <A, E, R>(handler: Effect.Effect<A, E, R>) =>
    Effect.catchAllCause(handler, (cause): Effect.Effect<never, E | Declared> => {
      const found = declarable(cause)
      return found === undefined
        ? Effect.failCause(cause)
        : Effect.flatMap(
            declared(found.failure),
            (made): Effect.Effect<never, E | Declared> =>
              made === undefined ? Effect.failCause(cause) : Effect.fail(made)
          )
    })
}

/** Field schemas that the message schemas share. Their `description` is what an error message says was expected. */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"

/** @internal An optional field; `null` from the wire counts as absent. */
export const optional = <A, I, R>(schema: Schema.Schema<A, I, R>) => Schema.optionalWith(schema, { nullable: true })

/**
 * The message of an error; one that is missing is empty.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Message = Schema.optionalWith(Schema.String, { nullable: true, default: () => "" })

const text = (maximum: number) =>
  Schema.String.pipe(Schema.maxLength(maximum, { description: `a string of at most ${maximum} characters` }))

/**
 * An identifier: one to 256 characters.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Id = Schema.String.pipe(
  Schema.filter((s) => s.length > 0 && s.length <= 256, { description: "a string of 1 to 256 characters" })
)

/**
 * A short text, such as a name or a version.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ShortText = text(256)

/**
 * A reason in the words of the client: it is stored, and comes back.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Reason = text(1024)

/**
 * A secret on the wire; its length is bounded, since it is hashed.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Token = text(16384)

/**
 * A sequence number: a whole number, 0 or greater.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Seq = Schema.Number.pipe(
  Schema.filter((n) => Number.isSafeInteger(n) && n >= 0, { description: "a whole number, 0 or greater" })
)

/**
 * A resume point: a whole number; -1 and 0 both mean "from the start".
 *
 * @since 0.1.0
 * @category schemas
 */
export const ResumePoint = Schema.Number.pipe(
  Schema.filter((n) => Number.isSafeInteger(n) && n >= -1, { description: "a whole number, -1 or greater" })
)

/**
 * A whole number, 1 or greater.
 *
 * @since 0.1.0
 * @category schemas
 */
export const PositiveInt = Schema.Number.pipe(
  Schema.filter((n) => Number.isSafeInteger(n) && n >= 1, { description: "a whole number, 1 or greater" })
)

/**
 * A number that is neither NaN nor infinite.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Finite = Schema.Number.pipe(Schema.filter((n) => Number.isFinite(n), { description: "a finite number" }))

/**
 * A number, 0 or greater.
 *
 * @since 0.1.0
 * @category schemas
 */
export const NonNegative = Schema.Number.pipe(
  Schema.filter((n) => Number.isFinite(n) && n >= 0, { description: "a number, 0 or greater" })
)

const iso = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/

/**
 * Milliseconds since the epoch of an ISO 8601 time with a zone, or undefined where it is no such time.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parseTimestamp = (text: string): number | undefined => {
  if (!iso.test(text)) return undefined
  const millis = Date.parse(text)
  return Number.isNaN(millis) ? undefined : millis
}

let lastMillis = Number.NaN
let lastIso = ""

/**
 * ISO 8601 in UTC with milliseconds. The last answer is kept: a busy runtime formats the same millisecond many times.
 *
 * @since 0.1.0
 * @category encoding
 */
export const formatTimestamp = (millis: number): string => {
  if (millis !== lastMillis) {
    // edge: formatting a given time, not reading the clock
    lastIso = new Date(millis).toISOString()
    lastMillis = millis
  }
  return lastIso
}

/**
 * An ISO 8601 time with a zone.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Timestamp = Schema.String.pipe(
  Schema.filter((s) => parseTimestamp(s) !== undefined, {
    description: "an ISO 8601 time with a time zone",
    // Random text is never one, so that a sample of it would be looked for without end.
    arbitrary: () => (fc) => fc.integer({ min: 0, max: 4_102_444_800_000 }).map(formatTimestamp)
  })
)

const isObject = (u: unknown): u is { readonly [key: string]: unknown } =>
  typeof u === "object" && u !== null && !Array.isArray(u)

/**
 * Names to values. `Schema.Record` assigns what it has decoded, so that a key `__proto__` from the wire would become the
 * prototype of the object and nobody would see it again; here it stays a key like any other, to be refused where it means
 * nothing.
 */
const record = <A>(value: Schema.Schema<A>): Schema.Schema<{ readonly [key: string]: A }> => {
  const read =
    (decode: (u: unknown) => Either.Either<A, ParseResult.ParseIssue>) =>
    (
      input: unknown,
      _: unknown,
      ast: AST.Declaration
    ): Either.Either<{ readonly [key: string]: A }, ParseResult.ParseIssue> => {
      if (!isObject(input)) return Either.left(new ParseResult.Type(ast, input))
      const entries: Array<readonly [string, A]> = []
      for (const [key, inner] of Object.entries(input)) {
        const decoded = decode(inner)
        if (Either.isLeft(decoded)) return Either.left(new ParseResult.Pointer(key, input, decoded.left))
        entries.push([key, decoded.right])
      }
      return Either.right(Object.fromEntries(entries))
    }
  return Schema.declare(
    [value],
    {
      decode: (value) => read(ParseResult.decodeUnknownEither(value)),
      encode: (value) => read(ParseResult.encodeUnknownEither(value))
    },
    { description: "an object", arbitrary: (value) => (fc) => fc.dictionary(fc.string(), value(fc)) }
  )
}

/**
 * Names to values of any kind.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JsonObject = record(Schema.Unknown)

/**
 * A lease on the wire: capability to patterns (ARCP 1.1 §9.2). Its grammar is the concern of `effect-arcp/authority`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const WireLease = record(Schema.Array(Schema.String))

/**
 * A lease on the wire: capability to patterns (ARCP 1.1 §9.2). Its grammar is the concern of `effect-arcp/authority`.
 *
 * @since 0.1.0
 * @category models
 */
export type WireLease = typeof WireLease.Type

/**
 * A lease's constraints on the wire (ARCP 1.1 §9.5). `expiresAt` is read as `expires_at`; of both, the earlier counts. What is unknown is kept and not dropped, so that a lease is refused that
 * is to be bounded in a way that nobody here understands.
 *
 * @since 0.1.0
 * @category models
 */
export type WireLeaseConstraints = { readonly expires_at?: string | undefined; readonly [key: string]: unknown }

const spellings = ["expires_at", "expiresAt"] as const

/** The earlier of two times; one that cannot be read counts, so that it is refused and not passed over. */
const earlier = (a: string, b: string): string => {
  const [left, right] = [parseTimestamp(a), parseTimestamp(b)]
  return left === undefined || (right !== undefined && left <= right) ? a : b
}

const readConstraints = (
  input: unknown,
  _: unknown,
  ast: AST.Declaration
): Either.Either<WireLeaseConstraints, ParseResult.ParseIssue> => {
  if (!isObject(input)) return Either.left(new ParseResult.Type(ast, input))
  let expiresAt: string | undefined
  for (const spelling of spellings) {
    const text = input[spelling]
    if (text === undefined || text === null) continue
    if (typeof text !== "string") {
      const issue = new ParseResult.Type(Schema.String.ast, text)
      return Either.left(new ParseResult.Pointer(spelling, input, issue))
    }
    expiresAt = expiresAt === undefined ? text : earlier(expiresAt, text)
  }
  const others = Object.entries(input).filter(([key]) => !(spellings as ReadonlyArray<string>).includes(key))
  return Either.right(Object.fromEntries(expiresAt === undefined ? others : [["expires_at", expiresAt], ...others]))
}

/**
 * A lease's constraints on the wire (ARCP 1.1 §9.5): the Schema of the type of that name.
 *
 * @since 0.1.0
 * @category schemas
 */
export const WireLeaseConstraints: Schema.Schema<WireLeaseConstraints> = Schema.declare(
  [],
  { decode: () => readConstraints, encode: () => readConstraints },
  {
    description: "an object",
    arbitrary: () => (fc) =>
      fc
        .tuple(fc.option(fc.string(), { nil: undefined }), fc.dictionary(fc.string(), fc.anything()))
        .map(([expires_at, others]) => ({ ...others, expires_at }))
  }
)

/** An amount of a budget: a number, or `"1.00"` or `"USD:1.00"` as some runtimes write it. */
const counter = (currency: string, value: unknown): readonly [string, number] | undefined => {
  if (typeof value === "number") return Number.isFinite(value) ? [currency, value] : undefined
  const match = typeof value === "string" ? amount.exec(value) : null
  if (match === null) return undefined
  const number = Number(match[2])
  return Number.isFinite(number) ? [match[1] ?? currency, number] : undefined
}
const amount = /^(?:([A-Za-z][A-Za-z0-9_.-]{0,63}):)?(-?\d{1,32}(?:\.\d{1,64})?)$/

/** As some runtimes write them, too: `"USD:1.00"` alone, or a list of such. */
const readBudget = (
  input: unknown,
  _: unknown,
  ast: AST.Declaration
): Either.Either<{ readonly [currency: string]: number }, ParseResult.ParseIssue> => {
  const list =
    typeof input === "string" ? [input] : Array.isArray(input) ? (input as ReadonlyArray<unknown>) : undefined
  if (list === undefined && !isObject(input)) return Either.left(new ParseResult.Type(ast, input))
  const entries: Array<readonly [string, number]> = []
  const values: ReadonlyArray<readonly [string, unknown]> =
    list === undefined ? Object.entries(input as object) : list.map((value) => ["", value])
  for (const [key, value] of values) {
    const read = counter(key, value)
    if (read === undefined || read[0] === "") {
      const issue = new ParseResult.Type(Finite.ast, value)
      return Either.left(
        list === undefined ? new ParseResult.Pointer(key, input, issue) : new ParseResult.Type(ast, input)
      )
    }
    entries.push(read)
  }
  return Either.right(Object.fromEntries(entries))
}

/**
 * Budget counters on the wire: currency to amount (ARCP 1.1 §9.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const WireBudget: Schema.Schema<{ readonly [currency: string]: number }> = Schema.declare(
  [],
  { decode: () => readBudget, encode: () => readBudget },
  {
    description: "an object",
    arbitrary: () => (fc) =>
      fc.dictionary(fc.string({ minLength: 1 }), fc.double({ noNaN: true, noDefaultInfinity: true }))
  }
)

/**
 * Budget counters on the wire: currency to amount (ARCP 1.1 §9.6).
 *
 * @since 0.1.0
 * @category models
 */
export type WireBudget = typeof WireBudget.Type

/**
 * A provisioned credential on the wire (ARCP 1.1 §9.8.1). `value` is a secret.
 *
 * @since 0.1.0
 * @category schemas
 */
export const WireCredential = Schema.Struct({
  /** Its id; the same before and after a rotation. */
  id: Id,
  /** How it is presented, such as `bearer`. */
  scheme: Schema.String,
  /** The secret. */
  value: Schema.String,
  /** The base URL at which it is valid. */
  endpoint: Schema.String,
  /** Which API is spoken there; advisory. */
  profile: optional(Schema.String),
  /** What the upstream itself enforces of the lease. */
  constraints: optional(JsonObject)
})

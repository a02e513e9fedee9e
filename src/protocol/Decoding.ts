/**
 * From a raw envelope to a typed message, by a table of Schemas. The tables are apart, one for each direction, so that a client's program
 * holds none of what only a runtime decodes.
 */
import * as Either from "effect/Either"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import * as SchemaAST from "effect/SchemaAST"
import type * as Envelope from "./Envelope.js"
import { InvalidRequest, oneLine } from "./Errors.js"

/**
 * A decoded message of each type of a table, with its envelope's fields.
 *
 * @since 0.1.0
 * @category types
 */
export type Messages<Table extends Record<string, Schema.Schema.Any>> = {
  readonly [K in keyof Table]: {
    /** The message's type, such as `job.submit`. */
    readonly type: K
    /** The envelope that it came in. */
    readonly envelope: Envelope.RawEnvelope
    /** The payload, decoded. */
    readonly payload: Schema.Schema.Type<Table[K]>
  }
}[keyof Table]

/** Decodes a payload of one type. */
export type Decoder = (u: unknown) => Either.Either<unknown, ParseResult.ParseError>

/** The decoders of a table, by message type. */
export const compile = (table: Record<string, Schema.Schema.Any>): ReadonlyMap<string, Decoder> =>
  new Map(
    Object.entries(table).map(([type, schema]) => [
      type,
      Schema.decodeUnknownEither(schema as Schema.Schema<unknown, unknown>)
    ])
  )

/** A typed message; an unknown type or a payload that breaks its schema is `INVALID_REQUEST` naming the field. */
export const decodeWith = (
  decoders: ReadonlyMap<string, Decoder>,
  envelope: Envelope.RawEnvelope
): Either.Either<unknown, InvalidRequest> => {
  const decoder = decoders.get(envelope.type)
  if (decoder === undefined) {
    return Either.left(
      new InvalidRequest({ message: `type: ${oneLine(envelope.type.slice(0, 64))} is not known here` })
    )
  }
  const decoded = decoder(envelope.payload)
  return Either.isRight(decoded)
    ? Either.right({ type: envelope.type, envelope, payload: decoded.right })
    : Either.left(new InvalidRequest({ message: describe(decoded.left, "payload") }))
}

/** What a schema expects, in words: never the schema itself. */
const expected = (ast: AST.AST): string => {
  const description = SchemaAST.getDescriptionAnnotation(ast)
  if (ast._tag !== "StringKeyword" && ast._tag !== "NumberKeyword" && description._tag === "Some") {
    return description.value
  }
  switch (ast._tag) {
    case "StringKeyword":
      return "a string"
    case "NumberKeyword":
      return "a number"
    case "BooleanKeyword":
      return "true or false"
    case "TupleType":
      return "an array"
    case "TypeLiteral":
      return "an object"
    case "Literal":
      return typeof ast.literal === "bigint" ? `${ast.literal}n` : JSON.stringify(ast.literal)
    case "Union": {
      const members = [...new Set(ast.types.filter((t) => t._tag !== "UndefinedKeyword").map(expected))]
      return members.length === 1 ? members[0]! : `one of ${members.join(", ")}`
    }
    case "Refinement":
      return expected(ast.from)
    case "Transformation":
      return expected(ast.to)
    default:
      return "another value"
  }
}

const isNull = (issue: ParseResult.ParseIssue): boolean =>
  issue._tag === "Type" &&
  (issue.ast._tag === "UndefinedKeyword" || (issue.ast._tag === "Literal" && issue.ast.literal === null))

const leaf = (
  issue: ParseResult.ParseIssue,
  path: ReadonlyArray<PropertyKey>
): { readonly path: ReadonlyArray<PropertyKey>; readonly text: string } => {
  switch (issue._tag) {
    case "Pointer":
      return leaf(issue.issue, [...path, ...(Array.isArray(issue.path) ? issue.path : [issue.path as PropertyKey])])
    case "Composite": {
      const issues = issue.issues
      if (issue.ast._tag === "Union") {
        // Of a field that may be null, what is wrong inside it is told.
        const inner = (Array.isArray(issues) ? issues : [issues]).filter((inner) => !isNull(inner))
        return inner.length === 1 && inner[0]._tag !== "Type"
          ? leaf(inner[0], path)
          : { path, text: `must be ${expected(issue.ast)}` }
      }
      return leaf((Array.isArray(issues) ? issues[0] : issues) as ParseResult.ParseIssue, path)
    }
    case "Refinement":
      return issue.kind === "From" ? leaf(issue.issue, path) : { path, text: `must be ${expected(issue.ast)}` }
    case "Transformation":
      return leaf(issue.issue, path)
    case "Missing":
      return { path, text: "is missing" }
    case "Unexpected":
      return { path, text: "is not allowed" }
    default:
      return { path, text: `must be ${expected(issue.ast)}` }
  }
}

/** @internal One line that names the field and what it should be; no value and no schema is printed. */
export const describe = (error: ParseResult.ParseError, root: string): string => {
  const { path, text } = leaf(error.issue, [])
  const where = [root, ...path.map((key) => String(key).slice(0, 64))].join(".")
  return oneLine(`${where}: ${text}`)
}

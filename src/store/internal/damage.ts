/**
 * Rows that are not what was written: a disk, another program or a person changed them, or a backend has a fault.
 *
 * Responsibility: one way to decode a row by its Schema. A row that does not decode is a `StoreError` that names its table, its key and
 * the field, before anything is built on it; what the row says is not repeated, since it may hold what only its owner may see.
 *
 * Reading is total: a row of a backend that throws when it is looked at is damaged, too.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { StoreError } from "../Store.js"

/** What is wrong with the row. */
export const damaged = (table: string, key: string, field: string): StoreError =>
  new StoreError({
    operation: "read",
    message: `the row ${key} of ${table} is damaged in its field ${field}: restore the database from a backup, or delete the row`
  })

/** The field that is wrong. What lies below it may be named in the words of a client, and is not repeated. */
const fieldOf = (error: ParseResult.ParseError): string =>
  String(ParseResult.ArrayFormatter.formatErrorSync(error)[0]?.path[0] ?? "data")

/** Decodes the rows of a table; `keyOf` names a row that may lack anything. */
export const decoder = <A, I>(
  table: string,
  schema: Schema.Schema<A, I>,
  keyOf: (row: { readonly [field: string]: unknown }) => unknown
): ((row: unknown) => Either.Either<A, StoreError>) => {
  const decode = Schema.decodeUnknownEither(schema)
  return (row) => {
    let key = "without a key"
    try {
      const given = keyOf(row as { readonly [field: string]: unknown })
      if (typeof given === "string") key = given
      const decoded = decode(row)
      return Either.isRight(decoded)
        ? Either.right(decoded.right)
        : Either.left(damaged(table, key, fieldOf(decoded.left)))
    } catch {
      return Either.left(damaged(table, key, "data"))
    }
  }
}

/** The payloads of a segment. Their heads and ends are looked at; to parse each would cost every replay. */
export const payloads = (
  key: string,
  data: string,
  count: number
): Either.Either<ReadonlyArray<string>, StoreError> => {
  const texts = data.split("\n")
  return texts.length === count && texts.every((text) => text.startsWith("{") && text.endsWith("}"))
    ? Either.right(texts)
    : Either.left(damaged("arcp_segments", key, "data"))
}

/** A payload that is kept as bytes. Its head and its end are looked at, as of those that are texts. */
export const payloadBytes = (key: string, data: Uint8Array): Either.Either<Uint8Array, StoreError> =>
  data[0] === 0x7b && data[data.length - 1] === 0x7d
    ? Either.right(data)
    : Either.left(damaged("arcp_segments", key, "data"))

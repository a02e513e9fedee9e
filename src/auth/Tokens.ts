/** Tables of bearer tokens as text: entries of the form `TOKEN=PRINCIPAL`. No message contains a token. */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as PrincipalIds from "./PrincipalIds.js"

/** One entry of a text. */
export interface Entry {
  /** Where it stands, for messages. */
  readonly from: string
  readonly text: string
}

/** A token and whose it is, where they were given apart: either may hold any sign. */
export interface Pair {
  /** Where they stand, for messages. */
  readonly from: string
  readonly token: string
  readonly principal: string
}

const pairOf = (entry: Entry | Pair): Pair => {
  if ("token" in entry) return entry
  const { from, text } = entry
  // The last one: a token may end with the padding of base64.
  const at = Math.max(0, text.lastIndexOf("="))
  return { from, token: text.slice(0, at), principal: text.slice(at + 1) }
}

/** The entries of a text, without blank lines and comments. */
export const entriesOf = (
  text: Redacted.Redacted,
  separator: RegExp,
  from: (n: number) => string
): ReadonlyArray<Entry> =>
  Redacted.value(text)
    .replace(/^\uFEFF/, "")
    .split(separator)
    .map((line, i) => ({ from: from(i + 1), text: line.trim() }))
    .filter((entry) => entry.text !== "" && !entry.text.startsWith("#"))

/** Why an entry is not valid, as the text that follows its place in a message; undefined if it is valid. */
const problemOf = (token: string, principal: string): string | undefined => {
  if (token === "" || principal === "") return "is not of the form TOKEN=PRINCIPAL"
  if (/\s/.test(token)) return "has white space in its token: give one TOKEN=PRINCIPAL a line"
  const problem = PrincipalIds.problemOf(principal, false)
  return problem === undefined ? undefined : `names a principal whose id ${problem}`
}

/** Principals by token; or why an entry is not valid, without its token. */
export const tableOf = (entries: ReadonlyArray<Entry | Pair>): Either.Either<ReadonlyMap<string, string>, string> => {
  const table = new Map<string, string>()
  for (const { from, principal, token } of entries.map(pairOf)) {
    const problem = problemOf(token, principal)
    if (problem !== undefined) return Either.left(`${from} ${problem}`)
    const known = table.get(token)
    if (known !== undefined && known !== principal) {
      return Either.left(`${from} gives a token to ${principal} that is already given to ${known}`)
    }
    table.set(token, principal)
  }
  return Either.right(table)
}

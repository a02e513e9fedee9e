/**
 * The key of an encrypted database, tried before anything is read with it.
 *
 * Responsibility: a row that only the right key opens. A wrong key, a missing key, and a key for a database that is not encrypted are
 * rejected at the start, with what to do.
 */
import * as Effect from "effect/Effect"
import type { Sealer } from "../Sealer.js"
import type { StoreError } from "../Store.js"
import { type Access, fail } from "./sql.js"

const phrase = "effect-arcp"
const clear = "clear"

/** What the row holds for a key. */
export const phraseOf = (sealer: Sealer): string => (sealer.encrypts ? sealer.seal(phrase, "canary") : clear)

/** How a database and a key fit: `new` has no row for a key yet, `clear` is not encrypted, `sealed` is, and no key was given. */
export type Fit = "new" | "fits" | "clear" | "sealed" | "another"

/** Tries a key, and changes nothing. */
export const fitOf = ({ query }: Access, sealer: Sealer): Effect.Effect<Fit, StoreError> =>
  Effect.map(query("start", "SELECT value FROM arcp_meta WHERE name = ?", ["canary"]), ([found]) => {
    if (found === undefined) return "new"
    const stored = String(found.value)
    if (!sealer.encrypts) return stored === clear ? "fits" : "sealed"
    if (stored === clear) return "clear"
    return sealer.open(stored, "canary") === phrase ? "fits" : "another"
  })

const refusals: Readonly<Record<Exclude<Fit, "new" | "fits">, string>> = {
  clear: "the database is not encrypted: start without an encryption key, or with a new file",
  sealed: "the database is encrypted: start with its encryption key",
  another: "the encryption key is not the one that this database was written with"
}

/** Writes the row into a new database, and fails where the key does not fit an old one. */
export const tryKey = (access: Access, sealer: Sealer): Effect.Effect<void, StoreError> =>
  Effect.flatMap(fitOf(access, sealer), (fit) => {
    if (fit === "fits") return Effect.void
    if (fit !== "new") return Effect.fail(fail("start", undefined, refusals[fit]))
    return Effect.asVoid(
      access.query("start", "INSERT INTO arcp_meta (name, value) VALUES (?, ?)", ["canary", phraseOf(sealer)])
    )
  })

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

/** Writes the row into a new database, and fails where the key does not fit an old one. */
export const tryKey = ({ query }: Access, sealer: Sealer): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    const found = yield* query("start", "SELECT value FROM arcp_meta WHERE name = ?", ["canary"])
    if (found[0] === undefined) {
      yield* query("start", "INSERT INTO arcp_meta (name, value) VALUES (?, ?)", [
        "canary",
        phraseOf(sealer)
      ])
      return
    }
    const stored = String(found[0].value)
    if (sealer.encrypts ? stored === clear : stored !== clear) {
      return yield* fail(
        "start",
        undefined,
        sealer.encrypts
          ? "the database is not encrypted: start without an encryption key, or with a new file"
          : "the database is encrypted: start with its encryption key"
      )
    }
    if (sealer.encrypts && sealer.open(stored, "canary") !== phrase) {
      return yield* fail("start", undefined, "the encryption key is not the one that this database was written with")
    }
  })

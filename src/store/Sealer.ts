/**
 * What lies in the store in clear and what does not: payloads, inputs and claims can be encrypted with a key from the
 * configuration (ARCP 1.0 §14, buffered events at rest).
 */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { aesGcmOf } from "./internal/aesGcm.js"
import { keyProblem } from "./internal/storeKey.js"
import { StoreError } from "./Store.js"

/**
 * Seals and opens texts. `about` binds a text to its row: a sealed text that was moved to another row does not open.
 *
 * @since 0.1.0
 * @category services
 */
export interface Sealer {
  /** Whether sealed texts cannot be read without a key. */
  readonly encrypts: boolean
  /** The sealed text; what {@link Sealer.open} turns back. */
  readonly seal: (text: string, about: string) => string
  /** Undefined where the text was not sealed with this key for this row. */
  readonly open: (sealed: string, about: string) => string | undefined
  /**
   * What stands for a text that rows are found by: the same for the same text and `about`, and not to be turned back without the
   * key.
   */
  readonly name: (text: string, about: string) => string
  /** As {@link seal}, for bytes. */
  readonly sealBytes: (bytes: Uint8Array, about: string) => Uint8Array
  /** As {@link open}, for bytes. */
  readonly openBytes: (sealed: Uint8Array, about: string) => Uint8Array | undefined
}

/**
 * Keeps texts as they are.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Sealer = {
  encrypts: false,
  seal: (text) => text,
  open: (sealed) => sealed,
  name: (text) => text,
  sealBytes: (bytes) => bytes,
  openBytes: (sealed) => sealed
}

/** @internal What becomes of a file with a key that is refused. */
export const replaceIt = ". A file that has this key gets another one by `arcp store rekey`, or SqliteStore.rekey"

/**
 * AES-256-GCM with a random nonce per text. The key is derived from the secret by SHA-256, so it must be at least 32 random bytes (in any
 * spelling), not a password. Throws a `RangeError` for a text that cannot hold so many, that repeats itself, or that follows a pattern.
 *
 * @since 0.1.0
 * @category constructors
 */
export const aesGcm = (secret: Redacted.Redacted<string>): Sealer => {
  const problem = keyProblem(Redacted.value(secret))
  // edge: a layer that is made from a wrong key is a mistake of its program, not a failure of the running one
  if (problem !== undefined) throw new RangeError(`Sealer: ${problem}${replaceIt}`)
  return aesGcmOf(secret)
}

/** @internal The sealer of a key from the configuration; the failure says why it cannot be one, and what becomes of what has it. */
export const ofKey = (
  secret: Redacted.Redacted<string> | undefined,
  operation: string,
  instead = ""
): Either.Either<Sealer, StoreError> => {
  if (secret === undefined) return Either.right(none)
  const problem = keyProblem(Redacted.value(secret))
  return problem === undefined
    ? Either.right(aesGcmOf(secret))
    : Either.left(new StoreError({ operation, message: `${problem}${instead}` }))
}

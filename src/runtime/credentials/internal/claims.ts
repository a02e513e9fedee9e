/**
 * Which key of this process a handle or a value belongs to (ARCP 1.1 §9.8.2: no value serves two jobs).
 *
 * Responsibility: the one map from handles and digests of values to the ledger's reference of the key that has them, from the moment
 * that the upstream returns the key until it is revoked. Values are held as digests alone.
 *
 * Race closed: asking whether a handle or a value is free and taking it are one synchronous step. A key that was rotated in place has
 * its predecessor's handle, and takes the claim over: when the predecessor is revoked, the claim stays.
 */
import * as Redacted from "effect/Redacted"
import { sha256 } from "../../kernel/Hash.js"
import type { Issued } from "../CredentialProvisioner.js"
import type { Held } from "./revocations.js"

/** What of a key belongs to another key already. */
export interface Conflict {
  /** Its handle does. */
  readonly foreign: boolean
  /** Its value does. */
  readonly reused: boolean
}

export interface Claims {
  /** Claims what is free of a key's handle and value. `prior` is the handle that a rotation in place may return with. */
  readonly take: (reference: string, issued: Issued, prior: string | undefined) => Conflict
  /** Frees the handle and the value of a key that is revoked, where they are still its own. */
  readonly release: (held: Held) => void
}

const handleKey = (handle: string): string => `handle ${handle}`
const valueKey = (value: Redacted.Redacted<string>): string => `value ${sha256(Redacted.value(value))}`

export const makeClaims = (): Claims => {
  const claims = new Map<string, string>()

  const take = (reference: string, { handle, value }: Issued, prior: string | undefined): Conflict => {
    const digest = valueKey(value)
    const foreign = handle !== "" && claims.has(handleKey(handle)) && handle !== prior
    const reused = claims.has(digest)
    if (handle !== "" && !foreign) claims.set(handleKey(handle), reference)
    if (!reused) claims.set(digest, reference)
    return { foreign, reused }
  }

  const release = ({ handle, record, secret }: Held): void => {
    for (const key of [
      ...(handle === undefined ? [] : [handleKey(handle)]),
      ...(secret === undefined ? [] : [valueKey(secret)])
    ]) {
      if (claims.get(key) === record.reference) claims.delete(key)
    }
  }

  return { take, release }
}

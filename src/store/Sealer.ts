/**
 * What lies in the store in clear and what does not: payloads, inputs and claims can be encrypted with a key from the
 * configuration (ARCP 1.0 §14, buffered events at rest).
 */
import { Buffer } from "node:buffer"
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from "node:crypto"
import * as Redacted from "effect/Redacted"

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

/**
 * AES-256-GCM with a random nonce per text. The key is derived from the secret by SHA-256, so give a secret of at least
 * 32 random bytes (in any spelling), not a password.
 *
 * @since 0.1.0
 * @category constructors
 */
export const aesGcm = (secret: Redacted.Redacted<string>): Sealer => {
  const key = createHash("sha256").update(Redacted.value(secret), "utf8").digest()
  const namesKey = createHmac("sha256", key).update("names").digest()
  const sealBytes = (bytes: Uint8Array, about: string): Buffer => {
    const nonce = randomBytes(12)
    const cipher = createCipheriv("aes-256-gcm", key, nonce)
    cipher.setAAD(Buffer.from(about, "utf8"))
    const body = [cipher.update(bytes), cipher.final()]
    return Buffer.concat([nonce, cipher.getAuthTag(), ...body])
  }
  const openBytes = (sealed: Uint8Array, about: string): Buffer | undefined => {
    if (sealed.length < 28) return undefined
    const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, 12))
    decipher.setAAD(Buffer.from(about, "utf8"))
    decipher.setAuthTag(sealed.subarray(12, 28))
    try {
      return Buffer.concat([decipher.update(sealed.subarray(28)), decipher.final()])
    } catch {
      return undefined
    }
  }
  return {
    encrypts: true,
    sealBytes,
    openBytes,
    name: (text, about) =>
      createHmac("sha256", namesKey)
        .update(JSON.stringify([about, text]), "utf8")
        .digest("base64url"),
    seal: (text, about) => sealBytes(Buffer.from(text, "utf8"), about).toString("base64"),
    open: (sealed, about) => openBytes(Buffer.from(sealed, "base64"), about)?.toString("utf8")
  }
}

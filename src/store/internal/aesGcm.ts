/**
 * AES-256-GCM with a random nonce for each text, under a key that is derived from a secret. The secret is not judged here (`storeKey`): what
 * an earlier version wrote under a weak one is still to be read, to be given a better one.
 */
import { Buffer } from "node:buffer"
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from "node:crypto"
import * as Redacted from "effect/Redacted"

/** What a `Sealer` is, under any secret. */
export const aesGcmOf = (secret: Redacted.Redacted<string>) => {
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
    name: (text: string, about: string): string =>
      createHmac("sha256", namesKey)
        .update(JSON.stringify([about, text]), "utf8")
        .digest("base64url"),
    seal: (text: string, about: string): string => sealBytes(Buffer.from(text, "utf8"), about).toString("base64"),
    open: (sealed: string, about: string): string | undefined =>
      openBytes(Buffer.from(sealed, "base64"), about)?.toString("utf8")
  }
}

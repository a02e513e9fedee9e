/** Digests of secrets and of parameters. */
import { createHash, timingSafeEqual } from "node:crypto"
import { Buffer } from "node:buffer"

/** SHA-256 in hex. */
export const sha256 = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex")

/** SHA-256 of bytes, in hex. */
export const sha256Bytes = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Whether `token` is the one whose digest is `digest`; takes the same time whatever the answer. */
export const matches = (token: string, digest: string | undefined): boolean => {
  const actual = Buffer.from(sha256(token), "utf8")
  const expected = Buffer.from((digest ?? "").padEnd(actual.length, "0").slice(0, actual.length), "utf8")
  return timingSafeEqual(actual, expected) && digest !== undefined
}

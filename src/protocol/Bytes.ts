/** Bytes as text. */

const digits = "0123456789abcdef"

/** Two lower-case hex digits for each byte. */
export const toHex = (bytes: Uint8Array): string => {
  let out = ""
  for (let i = 0; i < bytes.length; i++) out += digits[bytes[i]! >> 4]! + digits[bytes[i]! & 15]!
  return out
}

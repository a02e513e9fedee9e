/** Bytes as text. */

const digits = "0123456789abcdef"

/** Two lower-case hex digits for each byte, of some thousand at most. */
export const toHex = (bytes: Uint8Array): string => {
  // At once: a text that grows by its digits is made anew for each.
  const codes = new Array<number>(bytes.length * 2)
  for (let i = 0; i < bytes.length; i++) {
    codes[2 * i] = digits.charCodeAt(bytes[i]! >> 4)
    codes[2 * i + 1] = digits.charCodeAt(bytes[i]! & 15)
  }
  return String.fromCharCode(...codes)
}

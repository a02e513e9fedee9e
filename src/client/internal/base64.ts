/** Decoding base64 as it comes in chunks and artifacts: strictly, and with the platform's decoder where there is one. */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"

interface NativeBytes extends Uint8Array<ArrayBuffer> {}

// edge: Node's and Bun's decoder, several times as fast as any in JavaScript; elsewhere it is not there
const native = (
  globalThis as { readonly Buffer?: { readonly from: (text: string, encoding: "base64") => NativeBytes } }
).Buffer

/**
 * Strictly: the alphabet of RFC 4648 §4 with its padding, or nothing. The native decoder passes over what it does not know, and
 * then answers fewer bytes than the text has room for; it knows `-` and `_` too.
 */
const decodeNative = (text: string, from: NonNullable<typeof native>["from"]): Uint8Array | undefined => {
  if (text.length % 4 !== 0 || text.includes("-") || text.includes("_")) return undefined
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  const bytes = from(text, "base64")
  if (bytes.length !== (text.length / 4) * 3 - padding) return undefined
  // Small ones lie in a buffer that others share.
  return bytes.buffer.byteLength === bytes.length ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)
}

/** The bytes, or undefined where the text is not base64. */
export const decodeBase64 = (text: string): Uint8Array | undefined =>
  native === undefined
    ? Either.getOrUndefined(Encoding.decodeBase64(text))
    : decodeNative(text, (value, encoding) => native.from(value, encoding))

/** Base64 as chunks and artifacts carry it: read strictly, and by the platform's own functions. */

interface NativeBytes extends Uint8Array<ArrayBuffer> {}

// edge: Node's and Bun's decoder, several times as fast as `atob`; elsewhere it is not there
const native = (
  globalThis as { readonly Buffer?: { readonly from: (text: string, encoding: "base64") => NativeBytes } }
).Buffer

const decodeNative = (text: string, from: NonNullable<typeof native>["from"]): Uint8Array => {
  const bytes = from(text, "base64")
  // Small ones lie in a buffer that others share.
  return bytes.buffer.byteLength === bytes.length ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)
}

const decodeText = (text: string): Uint8Array | undefined => {
  try {
    const units = atob(text)
    const bytes = new Uint8Array(units.length)
    for (let i = 0; i < units.length; i++) bytes[i] = units.charCodeAt(i)
    return bytes
  } catch {
    return undefined
  }
}

/**
 * The bytes, or undefined where the text is not base64: the alphabet of RFC 4648 §4 with its padding. The platform's decoders pass over
 * more or less of what they do not know, and then return fewer bytes than the text has room for; the native one knows `-` and `_` too.
 */
export const decodeBase64 = (text: string): Uint8Array | undefined => {
  if (text.length % 4 !== 0 || text.includes("-") || text.includes("_")) return undefined
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  const bytes =
    native === undefined ? decodeText(text) : decodeNative(text, (value, encoding) => native.from(value, encoding))
  return bytes?.length === (text.length / 4) * 3 - padding ? bytes : undefined
}

/** Bytes at a time: a function takes so many arguments on every platform. */
const most = 8_192

/** The bytes in base64, with padding. */
export const encodeBase64 = (bytes: Uint8Array): string => {
  let units = ""
  for (let i = 0; i < bytes.length; i += most) units += String.fromCharCode(...bytes.subarray(i, i + most))
  return btoa(units)
}

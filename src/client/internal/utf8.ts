/** How long a text is in UTF-8, by the platform's encoder: to look at each character takes as long as everything else about a chunk. */

const half = /[\ud800-\udfff]/

/** Where the encoder writes; made with the first text, and let be overwritten by the next. */
let scratch: { readonly encoder: TextEncoder; readonly bytes: Uint8Array } | undefined

const scratchBytes = 65_536

/** As the runtime counts pairs of surrogates: together, also where they are cut. */
const unitByUnit = (text: string): number => {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    length += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2
  }
  return length
}

/** Bytes of a text in UTF-8; a surrogate pair that is cut counts as the runtime counts it, together. */
export const utf8Length = (text: string): number => {
  if (half.test(text)) return unitByUnit(text)
  scratch ??= { encoder: new TextEncoder(), bytes: new Uint8Array(scratchBytes) }
  const { bytes, encoder } = scratch
  let length = 0
  for (let at = 0; at < text.length; ) {
    const { read, written } = encoder.encodeInto(at === 0 ? text : text.slice(at), bytes)
    at += read
    length += written
  }
  return length
}

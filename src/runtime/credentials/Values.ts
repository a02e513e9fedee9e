/**
 * Taking the values of credentials out of texts (ARCP 1.1 §14), in the forms in which errors, URLs and headers quote them: as they are,
 * percent-encoded, in JSON, in base64 at any offset (as in `Basic` authentication), and in hexadecimal.
 *
 * A value that is cut or split cannot be found, nor one that is hashed, encrypted, compressed or otherwise encoded.
 */
import { Buffer } from "node:buffer"
import * as Redacted from "effect/Redacted"

/** What a text shows in the place of a value. */
const mark = "<redacted>"

/** How much of a text is looked at, in UTF-16 code units. */
const maxText = 131_072

/** A shorter piece of base64 or hexadecimal is found in texts that have nothing to do with the value. */
const leastEncoded = 8

/** The forms of one value. */
interface Forms {
  /** Longest first: one may be a part of another. */
  readonly texts: ReadonlyArray<string>
  /** Pieces of base64, whose surroundings are a part of what was encoded. */
  readonly base64: ReadonlyArray<string>
}

const lowerEscapes = (text: string): string => text.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase())

const percentEncoded = (value: string): ReadonlyArray<string> => {
  const once = encodeURIComponent(value)
  const form = once.replace(/%20/g, "+").replace(/[!'()~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return [once, form, encodeURI(value), encodeURIComponent(once)].flatMap((text) => [text, lowerEscapes(text)])
}

/** What of the base64 of a value does not depend on what is before and behind it, for each offset. */
const base64Of = (bytes: Buffer): ReadonlyArray<string> =>
  [0, 1, 2]
    .map((before) => {
      const whole = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64")
      return whole.slice(before === 0 ? 0 : before + 1, Math.floor(((before + bytes.length) * 8) / 6))
    })
    .filter((piece) => piece.length >= leastEncoded)
    .flatMap((piece) => [
      piece,
      piece.replace(/\+/g, "-").replace(/\//g, "_"),
      encodeURIComponent(piece),
      lowerEscapes(encodeURIComponent(piece))
    ])

const formsOf = (value: string): Forms => {
  const bytes = Buffer.from(value, "utf8")
  const json = JSON.stringify(value).slice(1, -1)
  const hex = bytes.toString("hex")
  // Half a character has no percent-encoding.
  const texts = [value, json, JSON.stringify(json).slice(1, -1), ...percentEncoded(bytes.toString("utf8"))]
  return {
    texts: distinct(hex.length < leastEncoded ? texts : [...texts, hex, hex.toUpperCase()]),
    base64: distinct(base64Of(bytes))
  }
}

const distinct = (texts: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...new Set(texts)].filter((text) => text !== "").toSorted((a, b) => b.length - a.length)

const known = new WeakMap<Redacted.Redacted<string>, Forms>()

const formsOfSecret = (secret: Redacted.Redacted<string>): Forms => {
  const found = known.get(secret)
  if (found !== undefined) return found
  const made = formsOf(Redacted.value(secret))
  known.set(secret, made)
  return made
}

const inBase64 = /[A-Za-z0-9+/_=%-]/

/** The text without the runs of base64 that have this piece in them. */
const withoutRuns = (text: string, piece: string): string => {
  let shown = ""
  let from = 0
  for (let at = text.indexOf(piece); at >= 0; at = text.indexOf(piece, from)) {
    let begin = at
    while (begin > from && inBase64.test(text[begin - 1]!)) begin--
    let end = at + piece.length
    while (end < text.length && inBase64.test(text[end]!)) end++
    shown += text.slice(from, begin) + mark
    from = end
  }
  return from === 0 ? text : shown + text.slice(from)
}

/** What hides these values in a text; of a longer text than is looked at, the beginning is left. */
export const hiding = (secrets: ReadonlyArray<Redacted.Redacted<string>>): ((text: string) => string) => {
  const forms = secrets.map(formsOfSecret)
  const texts = distinct(forms.flatMap((form) => form.texts))
  const base64 = distinct(forms.flatMap((form) => form.base64))
  const longest = Math.max(0, ...texts.map(({ length }) => length), ...base64.map(({ length }) => length))
  return (text) => {
    let shown = texts.reduce((seen, form) => seen.replaceAll(form, mark), text.slice(0, maxText))
    shown = base64.reduce(withoutRuns, shown)
    // A value that was cut in two would not be found.
    return text.length > maxText ? shown.slice(0, Math.max(0, shown.length - longest)) : shown
  }
}

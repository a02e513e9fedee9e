/**
 * Whether a text can be the key of an encrypted store (ARCP 1.0 §14): at least 32 random bytes, in any spelling.
 *
 * A text does not say how random it is. What is counted is the most that its spelling can hold: hexadecimal 4 bits a character, one case of
 * letters and digits 5, base64 6, other characters 6.5, bytes as they are 8; of words of any language, 13 each. What repeats itself or follows a simple
 * pattern holds less than that, and is refused as well.
 */
import { Buffer } from "node:buffer"
import { deflateRawSync } from "node:zlib"

const neededBits = 256
const neededBytes = neededBits / 8

/** Fewer different bytes, or steps from one to the next, are among so many random ones less than once in 10^12 times. */
const leastDistinct = 16

/** The same for the characters of any spelling; hexadecimal has only sixteen. */
const leastSteps = 10

const advice = "give at least 32 random bytes, in any spelling, such as `openssl rand -base64 32` prints"

const distinct = (values: ReadonlyArray<unknown>): number => new Set(values).size

const stepsOf = (values: ReadonlyArray<number>): ReadonlyArray<number> =>
  values.slice(1).map((value, i) => value - values[i]!)

/** How many characters of a text are a repetition of those before them, at its end. */
const repeated = (text: string): number => {
  // Of each beginning, how long the longest is of which it begins and ends.
  const borders: Array<number> = [0]
  let length = 0
  for (let at = 1; at < text.length; at++) {
    while (length > 0 && text[at] !== text[length]) length = borders[length - 1]!
    if (text[at] === text[length]) length++
    borders.push(length)
  }
  // Some characters agree by chance.
  return length < 8 ? 0 : length
}

/** How a text is spelled: the bits that it can hold, and the values that it consists of. */
interface Spelling {
  readonly bits: number
  readonly values: ReadonlyArray<number>
}

/** Letters, digits and the punctuation of sentences, of any language: random bytes are never only these, and what people write is. */
const prose = /^[\p{L}\p{M}\p{N}\p{Zs}\s'"’“”«».,;:!?¿¡…·–—-]+$/u

/** What is not ASCII: bytes as they are, one in each character, or what a person has written. */
const beyondAscii = (secret: string): Spelling => {
  const values = Array.from(secret, (character) => character.charCodeAt(0))
  if (!prose.test(secret)) return { bits: 8 * secret.length, values }
  const words = secret
    .trim()
    .toLowerCase()
    .split(/[^\p{L}\p{M}\p{N}]+/u)
  return { bits: words.length > 1 ? 13 * distinct(words.filter((word) => word !== "")) : 5 * values.length, values }
}

const spellingOf = (secret: string): Spelling => {
  if (/[^\u0000-\u007f]/.test(secret)) return beyondAscii(secret)
  // Of a key on several lines each is long.
  const lines = secret.trim().split(/\s+/)
  const text = lines.some(({ length }) => length > 24) ? lines.join("") : secret.trim()
  // As tools print keys: in groups, or on several lines.
  const joined = text.replace(/[\s:-]/g, "")
  if (/^[0-9a-f]+$/i.test(joined)) return { bits: 4 * joined.length, values: [...Buffer.from(joined, "hex")] }
  const characters = Array.from(text, (character) => character.charCodeAt(0))
  const words = text.split(/[^A-Za-z0-9]+/).filter((word) => word !== "")
  if (
    /\s/.test(text) ||
    (words.length > 1 && words.every((word) => /^(?:[A-Z]?[a-z]{2,}|[A-Z]{2,})[0-9]?$/.test(word)))
  ) {
    return { bits: 13 * distinct(text.toLowerCase().split(/[^a-z0-9]+/)), values: characters }
  }
  if (/^(?:[A-Z0-9]+|[a-z0-9]+)=*$/.test(joined))
    return { bits: 5 * joined.replace(/=/g, "").length, values: characters }
  if (/^[A-Za-z0-9+/_-]+=*$/.test(text)) {
    return { bits: 6 * text.replace(/=/g, "").length, values: [...Buffer.from(text, "base64")] }
  }
  return { bits: 6.5 * characters.length, values: characters }
}

/** Why a text is no key for a store, as the end of a sentence and what to do; undefined where it may be one. The text is not repeated. */
export const keyProblem = (secret: string): string | undefined => {
  // Where a text is read from bytes that are none, such as those of an environment variable, each of them becomes this one character.
  if (secret.includes("\ufffd")) {
    return `the encryption key has bytes that are not text, of which nothing is left: ${advice}`
  }
  const { bits, values } = spellingOf(secret)
  const short = (held: number) =>
    `the encryption key holds at most ${Math.floor(held / 8)} random bytes, and ${neededBytes} are needed: ${advice}`
  if (bits < neededBits) return short(bits)
  const { length } = secret.trim()
  const again = repeated(secret.trim())
  const characters = Array.from(secret.trim(), (character) => character.charCodeAt(0))
  const repeats =
    again * 2 >= length ||
    distinct(values) < leastDistinct ||
    distinct(stepsOf(values)) < leastDistinct ||
    distinct(stepsOf(characters)) < leastSteps ||
    deflateRawSync(Buffer.from(secret, "utf8"), { level: 9 }).length < neededBytes
  if (repeats) return `the encryption key repeats itself or follows a pattern: ${advice}`
  const held = (bits * (length - again)) / length
  return held < neededBits ? short(held) : undefined
}

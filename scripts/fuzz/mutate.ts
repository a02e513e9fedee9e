/**
 * Spoils a message: at any field, in its order, its types and its size, as a tree and as a text. Everything is decided by the generator of
 * random numbers that is given.
 */
import type { Random } from "./random.js"

/** A tree of JSON that may be written to. */
export type Tree = { [key: string]: unknown }

/** Where something is in a tree: what holds it, and under which key. */
interface Place {
  readonly holder: Tree
  readonly key: string
}

const isHolder = (value: unknown): value is Tree => typeof value === "object" && value !== null

/** A place of the tree, any of them, those near the root more often. */
const placeIn = (tree: Tree, random: Random): Place | undefined => {
  let holder = tree
  for (;;) {
    const keys = Object.keys(holder)
    if (keys.length === 0) return undefined
    const key = random.pick(keys)
    const inner = Object.hasOwn(holder, key) ? holder[key] : undefined
    if (!isHolder(inner) || Object.keys(inner).length === 0 || random.chance(0.3)) return { holder, key }
    holder = inner
  }
}

/** Sets a key that may be called `__proto__`. */
export const put = (holder: Tree, key: string, value: unknown): void => {
  if (Array.isArray(holder) && !/^\d{1,6}$/.test(key)) holder.push(value)
  else if (key === "__proto__")
    Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
  else holder[key] = value
}

// What JSON.stringify does not write: a mark in the tree stands for a text, and is replaced when the tree is written.
const raws: ReadonlyArray<string> = [
  "1e400",
  "-1e400",
  "1E+0000000000000000000001",
  "0.1e-99999",
  "-0",
  "00",
  "0x1",
  "1.",
  ".5",
  "NaN",
  "Infinity",
  "undefined",
  "'text'",
  "9007199254740993",
  "123456789012345678901234567890",
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\ud800"',
  '"\\u0000"',
  '"\\x00"',
  '"a\tb"',
  '"unterminated',
  "[1,2,",
  "{",
  "}",
  "[]]",
  '{"a":1,"a":2}',
  '{"__proto__":{"a":1}}',
  "tru",
  "null,",
  ""
]

const mark = (at: number): string => `\uE000${at}\uE000`
const marks = /"\uE000(\d+)\uE000"/g
const again = "\uE001"
const repeats = /"\uE001((?:[^"\\]|\\.)*)":/g

/** The text of a tree, its marks replaced. */
export const written = (tree: unknown): string => {
  const text = JSON.stringify(tree) ?? "null"
  return text.includes("\uE000") || text.includes(again)
    ? text.replace(marks, (_, at) => raws[Number(at)]!).replace(repeats, '"$1":')
    : text
}

const nested = (depth: number, within: "array" | "object" | "both"): unknown => {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) {
    value = within === "array" || (within === "both" && level % 2 === 0) ? [value] : { a: value }
  }
  return value
}

const names: ReadonlyArray<string> = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "valueOf",
  "hasOwnProperty",
  "toJSON",
  "then",
  "length",
  "",
  "\u0000",
  "\ud800",
  "payload",
  "id",
  "type",
  "job_id",
  "session_id",
  "request_id",
  "x-1",
  "0",
  "-1"
]

const texts: ReadonlyArray<string> = [
  "",
  " ",
  "\u0000",
  "\ud800",
  "a\udfffb",
  "\u202e\u2028",
  "\r\nInjected: 1",
  "../../etc/passwd",
  "%00",
  "<script>",
  "'; DROP TABLE arcp_jobs; --",
  "\u{1F468}\u200D\u{1F469}\u200D\u{1F467}",
  "9".repeat(400),
  "null",
  "true",
  "1e309",
  "2099-01-01T00:00:00Z",
  "1970-01-01T00:00:00+99:99",
  "+275760-09-13T00:00:00Z"
]

const numbers: ReadonlyArray<number> = [
  0, -0, 1, -1, 0.5, -0.5, 1e-7, 5e-324, 1e21, 1e300, -1e300, 255, 256, 65_536, 2_147_483_647, 2_147_483_648,
  4_294_967_296, 9_007_199_254_740_991, 9_007_199_254_740_992, -9_007_199_254_740_991
]

/** A value of any type, hostile ones among them. */
export const oddValue = (random: Random): unknown => {
  switch (random.int(0, 11)) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
    case 3:
      return random.pick(numbers)
    case 4:
    case 5:
      return random.pick(texts)
    case 6:
      return random.pick(names)
    case 7:
      return random.chance(0.5) ? [] : {}
    case 8:
      return mark(random.int(0, raws.length - 1))
    case 9:
      return random.pick(["x", "é", "\u{1F600}", "\u0001"]).repeat(random.pick([1, 255, 256, 257, 1_025, 16_385]))
    case 10:
      return nested(random.pick([1, 3, 20, 63, 64, 65, 200]), random.pick(["array", "object", "both"]))
    default: {
      const holder: Tree = {}
      put(holder, random.pick(names), random.pick(texts))
      return random.chance(0.5) ? holder : [holder, 1, null]
    }
  }
}

/** The value as one of another type that says the same. */
const otherType = (value: unknown): unknown => {
  if (typeof value === "string") return value.length > 0 && Number.isFinite(Number(value)) ? Number(value) : [value]
  if (typeof value === "number") return String(value)
  if (typeof value === "boolean") return value ? 1 : "false"
  if (Array.isArray(value)) return { ...value }
  return isHolder(value) ? Object.values(value) : ""
}

type Change = (place: Place, random: Random, tree: Tree) => void

const reordered = (holder: Tree, random: Random): void => {
  const entries = Object.entries(holder)
  for (let i = entries.length - 1; i > 0; i--) {
    const j = random.int(0, i)
    const held = entries[i]!
    entries[i] = entries[j]!
    entries[j] = held
  }
  for (const [key] of entries) delete holder[key]
  for (const [key, value] of entries) put(holder, key, value)
}

const changes: ReadonlyArray<Change> = [
  ({ holder, key }) => void delete holder[key],
  ({ holder, key }, random) => put(holder, key, oddValue(random)),
  ({ holder, key }, random) => put(holder, key, oddValue(random)),
  ({ holder, key }) => put(holder, key, otherType(holder[key])),
  ({ holder, key }) => put(holder, key, null),
  // Under another name.
  ({ holder, key }, random) => {
    const value = holder[key]
    delete holder[key]
    put(holder, random.pick(names), value)
  },
  ({ holder, key }) => put(holder, key, [holder[key]]),
  ({ holder, key }) => put(holder, key, { [key]: holder[key] }),
  // A field more.
  ({ holder }, random) => put(holder, random.pick(names), oddValue(random)),
  // Twice, with another value: the last one counts.
  ({ holder, key }, random) => {
    if (!Array.isArray(holder)) put(holder, again + key, random.chance(0.5) ? holder[key] : oddValue(random))
  },
  ({ holder, key }, random) => {
    const value = holder[key]
    if (typeof value === "string") holder[key] = value.repeat(random.pick([2, 10, 300]))
    else if (Array.isArray(value))
      holder[key] = Array.from({ length: random.pick([2, 17, 257]) }, () => value[0] ?? null)
    else put(holder, key, oddValue(random))
  },
  // Something of another place of the message.
  ({ holder, key }, random, tree) => {
    const other = placeIn(tree, random)
    if (other !== undefined) put(holder, key, structuredClone(other.holder[other.key]))
  },
  ({ holder }, random) => reordered(holder, random)
]

/** Changes one to three places of a message. */
export const spoil = (tree: Tree, random: Random): void => {
  for (let count = random.pick([1, 1, 1, 2, 3]); count > 0; count--) {
    const place = placeIn(tree, random)
    if (place !== undefined) random.pick(changes)(place, random, tree)
  }
}

/** Spoils the text of a message. */
export const spoilText = (text: string, random: Random): string => {
  const at = random.int(0, text.length)
  switch (random.int(0, 8)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return text.slice(at)
    case 2:
      return `${text.slice(0, at)}${String.fromCharCode(random.int(0, 31))}${text.slice(at + 1)}`
    case 3:
      return `${text.slice(0, at)}${random.pick(['"', "{", "}", "[", "]", ",", ":", "\\"])}${text.slice(at)}`
    case 4:
      return text + text
    case 5:
      return `\uFEFF${text}`
    case 6:
      return `${" \n\t".repeat(random.int(1, 50))}${text}\n`
    case 7:
      return random.pick([
        "",
        "null",
        "[]",
        "{}",
        '"text"',
        "0",
        "[".repeat(10_000),
        '{"a":'.repeat(5_000),
        `[${text}]`
      ])
    default:
      return text.slice(0, at) + text.slice(Math.min(text.length, at + random.int(1, 20)))
  }
}

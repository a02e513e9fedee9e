/** Slow, plain readings of the glob language, written apart from the implementation, to hold it against. */
import type { Kind } from "../../src/authority/Glob.js"

const separators: Record<Kind, string> = { path: "/", url: "/", name: ".:/" }

interface Piece {
  readonly text: string
  /** The separator in front of it. */
  readonly before: string
}

const pieces = (kind: Kind, text: string): Array<Piece> => {
  const out: Array<Piece> = []
  let current = ""
  let before = ""
  for (const c of text) {
    if (separators[kind].includes(c)) {
      out.push({ text: current, before })
      current = ""
      before = c
    } else current += c
  }
  out.push({ text: current, before })
  return out
}

/** One segment against one: `*` is any run of characters, and at least one where it is all there is. */
const segment = (pattern: string, text: string): boolean => {
  if (pattern === "*") return text.length > 0
  const star = pattern.indexOf("*")
  if (star === -1) return pattern === text
  if (!text.startsWith(pattern.slice(0, star))) return false
  const rest = pattern.slice(star + 1)
  for (let i = star; i <= text.length; i++) {
    if (rest === "" ? i === text.length : segment(rest === "*" ? "**" : rest, text.slice(i))) return true
  }
  return rest === ""
}

/**
 * Segment by segment; for paths and patterns whose `**` are whole segments. `**` takes any number of segments.
 */
export const bySegments = (pattern: string, text: string): boolean => {
  if (pattern === "" || text === "") return false
  const walk = (ps: ReadonlyArray<string>, ts: ReadonlyArray<string>): boolean => {
    const [p, ...more] = ps
    if (p === undefined) return ts.length === 0
    if (p === "**") {
      for (let n = 0; n <= ts.length; n++) {
        if (walk(more, ts.slice(n))) return true
      }
      return false
    }
    return ts.length > 0 && segment(p, ts[0]!) && walk(more, ts.slice(1))
  }
  return walk(pattern.split("/"), text.split("/"))
}

const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")

/** As a regular expression, which is fine for short texts. All kinds, all patterns. */
export const byRegExp = (kind: Kind, pattern: string): ((text: string) => boolean) => {
  if (pattern === "") return () => false
  const mark = kind === "url" ? pattern.indexOf("?") : -1
  const hasQuery = mark !== -1
  const body = (hasQuery ? pattern.slice(0, mark) : pattern).replace(/\*{3,}/g, "**")
  const wide = kind === "url" ? "[^?]*" : "[^]*"
  const narrow = kind === "url" ? "[^/?]" : kind === "path" ? "[^/]" : "[^.:/]"
  const all = pieces(kind, body)
  // adjacent `**` segments are one, and the separator behind the first goes with it
  const list: Array<Piece> = []
  for (const piece of all) {
    const previous = list[list.length - 1]
    if (piece.text === "**" && previous?.text === "**") continue
    list.push(piece)
  }
  let source = ""
  list.forEach(({ before, text: part }, i) => {
    const last = i === list.length - 1
    const afterGroup = i > 0 && list[i - 1]!.text === "**"
    if (part === "**") {
      if (list.length === 1) source += hasQuery ? wide : "[^]*"
      else if (last) {
        source += hasQuery || kind !== "url" ? `(?:${escape(before)}${hasQuery ? wide : "[^]*"})?` : "(?:[/?][^]*)?"
      } else source += `${escape(before)}(?:${wide}${escape(list[i + 1]!.before)})?`
      return
    }
    if (!afterGroup) source += escape(before)
    if (part === "*") source += `${narrow}+`
    else {
      const stars = part.split(/(\*+)/)
      stars.forEach((chunk, n) => {
        if (!chunk.startsWith("*")) source += escape(chunk)
        else if (chunk === "*") source += `${narrow}*`
        else source += last && !hasQuery && stars.slice(n + 1).join("") === "" ? "[^]*" : wide
      })
    }
  })
  if (hasQuery) {
    source +=
      "\\?" +
      pattern
        .slice(mark + 1)
        .split(/(\*+)/)
        .map((chunk) => (chunk.startsWith("**") ? "[^]*" : chunk === "*" ? "[^/?&]*" : escape(chunk)))
        .join("")
  }
  const expression = new RegExp(`^${source}$`)
  return (text) => text !== "" && expression.test(text)
}

/** All texts over an alphabet up to a length, the empty one left out. */
export const texts = (alphabet: string, length: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  let front = [""]
  for (let n = 0; n < length; n++) {
    front = front.flatMap((text) => [...alphabet].map((c) => text + c))
    out.push(...front)
  }
  return out
}

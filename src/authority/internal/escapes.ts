/**
 * Percent-encoding, brought to one spelling in targets and in patterns alike: escapes of unreserved characters are
 * resolved, the others written in upper case, and what may not stand bare is escaped (RFC 3986 §6.2.2).
 */

/** Where a text stands in a URL. */
export type Part = "path" | "query"

// RFC 3986 pchar and "/", in a query "?" too; "'" is escaped in queries as WHATWG does.
const plainPath = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/
const plainQuery = /^[A-Za-z0-9\-._~!$&()*+,;=:@/?]*$/
const plainSegment = /^[A-Za-z0-9\-._~!$&'()*+,=:@]*$/
const barePath = /[A-Za-z0-9\-._~!$&'()*+,;=:@/]/
const bareQuery = /[A-Za-z0-9\-._~!$&()*+,;=:@/?]/
const unreserved = /[A-Za-z0-9\-._~]/
const escape = /^%[0-9a-fA-F]{2}$/

/** A `%` that no two hex digits follow. */
export const malformed = /%(?![0-9a-fA-F]{2})/

/** The one spelling of a part. A `%` that begins no escape is escaped; `*` stays bare. */
export const normalise = (text: string, part: Part): string => {
  if ((part === "path" ? plainPath : plainQuery).test(text)) return text
  const bare = part === "path" ? barePath : bareQuery
  let out = ""
  for (let i = 0; i < text.length; ) {
    if (text[i] === "%") {
      const three = text.slice(i, i + 3)
      if (escape.test(three)) {
        const plain = String.fromCharCode(Number.parseInt(three.slice(1), 16))
        out += unreserved.test(plain) ? plain : three.toUpperCase()
        i += 3
      } else {
        out += "%25"
        i++
      }
      continue
    }
    const character = String.fromCodePoint(text.codePointAt(i)!)
    // encodeURIComponent throws on lone surrogates, which callers have refused
    out += bare.test(character) ? character : encodeByte(character)
    i += character.length
  }
  return out
}

const encodeByte = (character: string): string => {
  const encoded = encodeURIComponent(character)
  return encoded === character ? `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}` : encoded
}

/** Escapes of dots, separators and NUL, however often the `%` itself is escaped. */
export const hidden = /%(?:25)*(?:2e|2f|5c|00)/i

const control = /[\u0000-\u001f\u007f]/

/** Whether a segment is `.` or `..` to somebody: as it stands, before its `;parameters`, or after compatibility folding. */
export const isDots = (segment: string): boolean => {
  const plain = segment.normalize("NFKC").split(";", 1)[0]!
  return plain === "." || plain === ".."
}

/**
 * What is wrong with a segment of a URL path, if anything: a server may decode it once more than we do, and must not find
 * separators or dot segments then. `*` is read as itself, so that patterns can be checked too.
 */
export const segmentProblem = (segment: string): string | undefined => {
  if (plainSegment.test(segment)) return isDots(segment) ? "a dot segment" : undefined
  if (malformed.test(segment)) return "a % that begins no escape"
  const decoded = decode(segment)
  if (decoded === undefined) return "an escape that is not UTF-8"
  if (control.test(decoded)) return "an escaped control character"
  if (/[/\\]/.test(decoded)) return "an escaped separator"
  if (hidden.test(decoded)) return "a dot or separator that is escaped twice"
  if (isDots(decoded)) return "a dot segment"
  return /[/\\]/.test(decoded.normalize("NFKC")) ? "a look-alike of a separator" : undefined
}

const decode = (segment: string): string | undefined => {
  try {
    return decodeURIComponent(segment)
  } catch {
    // the platform's only way to say that it is not UTF-8
    return undefined
  }
}

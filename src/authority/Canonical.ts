/**
 * Canonical forms: the one spelling of a path, URL or name that a lease is matched against (ARCP 1.0 §14).
 *
 * The rule that makes them safe: **what is matched is what is used**. Whoever checks an operation passes the canonical
 * form on, to the file system, to the HTTP client, to the registry, and never the text that it came from. What has no
 * single meaning is refused with a {@link CanonicalError} rather than guessed at. Every form is its own canonical form.
 *
 * Pure, no I/O: symbolic links are for the runtime to resolve, and what they lead to is matched again.
 */
import type * as Brand from "effect/Brand"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as AgentName from "../protocol/AgentName.js"
import type { Capability } from "./Capability.js"
import { hidden, isDots, normalise, segmentProblem } from "./internal/escapes.js"

/**
 * An absolute POSIX path in canonical form.
 *
 * @since 0.1.0
 * @category models
 */
export type CanonicalPath = string & Brand.Brand<"CanonicalPath">

/**
 * An http or https URL in canonical form.
 *
 * @since 0.1.0
 * @category models
 */
export type CanonicalUrl = string & Brand.Brand<"CanonicalUrl">

/**
 * The name of a tool, an agent or a model in canonical form.
 *
 * @since 0.1.0
 * @category models
 */
export type CanonicalName = string & Brand.Brand<"CanonicalName">

/**
 * What an operation acts on, ready to be matched.
 *
 * @since 0.1.0
 * @category models
 */
export type Canonical = CanonicalPath | CanonicalUrl | CanonicalName

/**
 * Paths are at most this many UTF-16 code units long (`PATH_MAX`).
 *
 * @since 0.1.0
 * @category constants
 */
export const maxPathLength = 4096

/**
 * URLs are at most this long, before and after.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxUrlLength = 8192

/**
 * Names are at most this long.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxNameLength = 256

/**
 * A text that has no canonical form. `message` says what is wrong and does not repeat the text, which may hold a secret.
 *
 * @since 0.1.0
 * @category errors
 */
export class CanonicalError extends Schema.TaggedError<CanonicalError>()("CanonicalError", {
  /** What kind of target it is. */
  resource: Schema.Literal("path", "url", "name"),
  message: Schema.String
}) {}

const refuse = (resource: "path" | "url" | "name", what: string) =>
  Either.left(new CanonicalError({ resource, message: `${resource} refused: ${what}` }))

/** @internal A UTF-16 surrogate without its other half: it cannot be encoded as UTF-8, and its replacement is a different text. */
export const loneSurrogate = /\p{Surrogate}/u

/**
 * The canonical form of a POSIX path: absolute, with `.`, `..`, repeated and trailing slashes resolved as text. A relative path is
 * taken from `base` where one is given (itself absolute), else refused.
 *
 * Refused: NUL; backslashes, which are separators elsewhere; escapes of dots, separators and NUL (`%2e`, `%252f`), which
 * some layer below may resolve; segments that fold to `.` or `..` (full-width dots); lone surrogates; more than
 * {@link maxPathLength}. Otherwise case and Unicode are kept as they are: a full-width slash is an ordinary character of a file name.
 *
 * `..` is resolved as text, before symbolic links: open the canonical path, not the original.
 *
 * @example
 * ```ts
 * import { Canonical } from "effect-arcp/authority"
 *
 * Canonical.path("/data/./a//b/../c/") // Right("/data/a/c")
 * Canonical.path("/data/../etc/passwd") // Right("/etc/passwd"), which `/data/**` does not match
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const path = (text: string, base?: string): Either.Either<CanonicalPath, CanonicalError> => {
  if (text === "") return refuse("path", "it is empty")
  if (text.length > maxPathLength) return refuse("path", `it is longer than ${maxPathLength} characters`)
  const whole = text.startsWith("/") || base === undefined ? text : `${base}/${text}`
  if (!whole.startsWith("/")) return refuse("path", "it is not absolute")
  if (whole.includes("\0")) return refuse("path", "it holds a NUL")
  if (whole.includes("\\")) return refuse("path", "it holds a backslash")
  if (loneSurrogate.test(whole)) return refuse("path", "it is not well-formed Unicode")
  if (hidden.test(whole)) return refuse("path", "it holds an escaped dot or separator")
  const kept: Array<string> = []
  for (const segment of whole.split("/")) {
    if (segment === "" || segment === ".") continue
    if (segment === "..") kept.pop()
    else if (isDots(segment)) return refuse("path", "it holds a look-alike of a dot segment")
    else kept.push(segment)
  }
  const canonical = `/${kept.join("/")}`
  if (canonical.length > maxPathLength) return refuse("path", `it is longer than ${maxPathLength} characters`)
  return Either.right(canonical as CanonicalPath)
}

// C0 and C1 controls, space and DEL: WHATWG strips or escapes some of them, which helps nobody but an attacker.
const blank = /[\u0000-\u0020\u007f-\u009f\\]/
const absolute = /^(https?):\/\/([^/?#]+)/i
const hostName = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/

/** @internal The canonical form of a host that WHATWG has parsed, or undefined: no trailing dot, no empty label, nothing odd. */
export const host = (parsed: string): string | undefined => {
  if (parsed.startsWith("[")) return parsed
  const bare = parsed.endsWith(".") ? parsed.slice(0, -1) : parsed
  return hostName.test(bare) ? bare : undefined
}

/**
 * The canonical form of an http or https URL: parsed as WHATWG says, so that the host is lower-case, in IDNA's ASCII and without a
 * trailing dot, addresses have one spelling, default ports and the fragment are gone and dot segments are resolved;
 * percent-encoding in its one spelling; an empty query dropped. The query is kept and matched.
 *
 * Refused: other schemes, user information (also empty), white space, control characters and backslashes anywhere,
 * escapes in the host; in the path escaped separators, control characters, double escapes, hidden dot segments (`..;x`, full-width
 * dots), escapes that are malformed or not UTF-8; more than {@link maxUrlLength}.
 *
 * @example
 * ```ts
 * import { Canonical } from "effect-arcp/authority"
 *
 * Canonical.url("HTTPS://API.Example.com:443/a/../b?x=%7e#top") // Right("https://api.example.com/b?x=~")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const url = (text: string): Either.Either<CanonicalUrl, CanonicalError> => {
  if (text.length > maxUrlLength) return refuse("url", `it is longer than ${maxUrlLength} characters`)
  if (blank.test(text)) return refuse("url", "it holds white space, a control character or a backslash")
  if (loneSurrogate.test(text)) return refuse("url", "it is not well-formed Unicode")
  const start = absolute.exec(text)
  if (start === null) return refuse("url", "it is not an absolute http or https URL")
  const authority = start[2]!
  if (authority.includes("@")) return refuse("url", "it holds user information")
  if (authority.includes("%")) return refuse("url", "its host holds an escape")
  const parsed = parse(text)
  if (parsed === undefined || parsed.username !== "" || parsed.password !== "") {
    return refuse("url", "its host or port is not valid")
  }
  const name = host(parsed.hostname)
  if (name === undefined) return refuse("url", "its host is not valid")
  for (const segment of parsed.pathname.split("/")) {
    const problem = segmentProblem(segment)
    if (problem !== undefined) return refuse("url", `its path holds ${problem}`)
  }
  const port = parsed.port === "" ? "" : `:${parsed.port}`
  const query = parsed.search.length > 1 ? `?${normalise(parsed.search.slice(1), "query")}` : ""
  const canonical = `${parsed.protocol}//${name}${port}${normalise(parsed.pathname, "path")}${query}`
  if (canonical.length > maxUrlLength) return refuse("url", `it is longer than ${maxUrlLength} characters`)
  return Either.right(canonical as CanonicalUrl)
}

/**
 * The canonical form of where a redirect leads: `location` taken relative to the URL that answered. To be matched like any
 * other URL, at every hop.
 *
 * @since 0.1.0
 * @category constructors
 */
export const redirect = (from: CanonicalUrl, location: string): Either.Either<CanonicalUrl, CanonicalError> => {
  if (location.length > maxUrlLength) return refuse("url", `it is longer than ${maxUrlLength} characters`)
  if (blank.test(location)) return refuse("url", "it holds white space, a control character or a backslash")
  const parsed = parse(location, from)
  return parsed === undefined ? refuse("url", "it is not a valid redirect") : url(parsed.href)
}

const parse = (text: string, base?: string): URL | undefined => {
  try {
    return new URL(text, base)
  } catch {
    // the constructor's only way to say no; URL.parse is too new
    return undefined
  }
}

const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\\]/

/** @internal Why a text cannot be a name or a pattern of names; undefined if it can. */
export const nameProblem = (text: string): string | undefined => {
  if (controls.test(text)) return "it holds a control character or a backslash"
  if (loneSurrogate.test(text)) return "it is not well-formed Unicode"
  if (text !== text.normalize("NFC")) return "it is not in Unicode normal form C"
  return text === text.trim() ? undefined : "it begins or ends with white space"
}

/**
 * The canonical form of a tool's or a model's name: itself, where it is well-formed, in normal form C and free of control
 * characters, backslashes and outer white space. Names are compared character by character: case matters, look-alikes differ.
 *
 * @since 0.1.0
 * @category constructors
 */
export const name = (text: string): Either.Either<CanonicalName, CanonicalError> => {
  if (text === "") return refuse("name", "it is empty")
  if (text.length > maxNameLength) return refuse("name", `it is longer than ${maxNameLength} characters`)
  const problem = nameProblem(text)
  return problem === undefined ? Either.right(text as CanonicalName) : refuse("name", problem)
}

/**
 * The canonical form of an agent's name, `name` or `name@version` (ARCP 1.1 §7.5).
 *
 * @since 0.1.0
 * @category constructors
 */
export const agent = (text: string): Either.Either<CanonicalName, CanonicalError> => {
  const parsed = AgentName.parse(text)
  return Either.isRight(parsed)
    ? Either.right(AgentName.format(parsed.right) as CanonicalName)
    : refuse("name", "it is not an agent's name, or name@version")
}

/**
 * The canonical form of what an operation under this capability acts on. `cost.budget` covers no operation: its targets are refused.
 *
 * @since 0.1.0
 * @category constructors
 */
export const target = (capability: Capability, text: string): Either.Either<Canonical, CanonicalError> => {
  switch (capability) {
    case "fs.read":
    case "fs.write":
      return path(text)
    case "net.fetch":
      return url(text)
    case "agent.delegate":
      return agent(text)
    case "cost.budget":
      return refuse("name", "cost.budget covers no operation")
    default:
      return name(text)
  }
}

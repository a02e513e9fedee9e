/**
 * Canonical forms of lease patterns, so that a pattern and what it is matched against are spelled alike (ARCP 1.1 §9.2).
 *
 * A pattern that could never match what its author meant is refused with the reason; where a spelling has one obvious
 * canonical form it gets that one. `?`, `[`, `]`, `{` and `}` are ordinary characters (in a URL `?` begins the query); a
 * backslash, which elsewhere escapes, and a leading `!`, which elsewhere negates, are refused.
 */
import * as Either from "effect/Either"
import { host, loneSurrogate, nameProblem } from "./Canonical.js"
import type { Kind } from "./Glob.js"
import { hidden, isDots, normalise, segmentProblem } from "./internal/escapes.js"

/** The canonical pattern, or why there is none: the end of a sentence that begins with the pattern. */
export type Result = Either.Either<string, string>

const two = (pattern: string): string => pattern.replace(/\*{3,}/g, "**")

/**
 * A pattern of paths: absolute, or beginning with `**`, which then stands for `/**`. `.` and repeated or trailing slashes
 * are resolved; `..`, NUL, backslashes, escapes of dots and separators are refused.
 */
export const path = (pattern: string): Result => {
  if (pattern === "") return Either.right("")
  if (pattern.includes("\0") || pattern.includes("\\")) return Either.left("holds a NUL or a backslash")
  if (loneSurrogate.test(pattern)) return Either.left("is not well-formed Unicode")
  if (hidden.test(pattern)) return Either.left("holds an escaped dot or separator")
  const stars = two(pattern)
  if (!stars.startsWith("/") && !stars.startsWith("**")) {
    return Either.left(
      stars === "*" ? 'is not absolute; did you mean "/**"?' : 'is not absolute: it must begin with "/"'
    )
  }
  const kept: Array<string> = []
  for (const segment of stars.split("/")) {
    if (segment === "" || segment === ".") continue
    if (isDots(segment)) return Either.left('holds a ".." segment')
    kept.push(segment)
  }
  return Either.right(`/${kept.join("/")}`)
}

const blank = /[\u0000-\u0020\u007f-\u009f\\]/
const shape = /^([a-z*][a-z0-9+.*-]*):\/\/([^/?]*)(\/[^?]*)?(?:\?(.*))?$/i
const starLabel = /^[a-z0-9_*-]+$/
const plainLabel = /^[a-z0-9_-]+$/i

/**
 * A pattern of URLs: `**`, or a scheme (`http`, `https`, `http*` or `*`), a host in which `*` also crosses dots, and a path
 * pattern; without a path it is that of `/`. A literal host is brought into its canonical form, a default port dropped,
 * percent-encoding given its one spelling.
 *
 * Refused: user information, escapes or `**` in the host (save `https://**`, any URL of that scheme), a port without a literal scheme,
 * dot segments, fragments, and what `Canonical.url` refuses in a path. A pattern of another scheme (`s3://bucket/**`) is
 * let through as it is and covers nothing, since only http and https URLs are ever matched.
 */
export const url = (pattern: string): Result => {
  if (pattern === "") return Either.right("")
  if (blank.test(pattern)) return Either.left("holds white space, a control character or a backslash")
  if (loneSurrogate.test(pattern)) return Either.left("is not well-formed Unicode")
  if (pattern.includes("#")) return Either.left("holds a fragment, which is never sent")
  const stars = two(pattern)
  if (stars === "**") return Either.right(stars)
  const parts = shape.exec(stars)
  if (parts === null) {
    return Either.left(
      stars === "*" ? 'is not a URL; did you mean "**"?' : 'is not a URL: it must begin with "https://" or "http://"'
    )
  }
  const scheme = parts[1]!.toLowerCase()
  const authority = parts[2]!
  const query = parts[4]
  if (scheme.includes("*") && scheme !== "*" && scheme !== "http*")
    return Either.left("has a scheme that is not understood")
  if (authority.includes("@")) return Either.left("holds user information")
  if (!scheme.includes("*") && scheme !== "http" && scheme !== "https") return Either.right(stars)
  if (authority.includes("**")) {
    return authority === "**" && query === undefined && /^(\/\*\*)*$/.test(parts[3] ?? "")
      ? Either.right(`${scheme}://**`)
      : Either.left('has "**" in its host; "*" is any host')
  }
  const place = hostPattern(scheme, authority)
  if (Either.isLeft(place)) return place
  const route = parts[3] ?? "/"
  for (const segment of route.split("/")) {
    const problem = segmentProblem(segment)
    if (problem !== undefined) return Either.left(`has a path that holds ${problem}`)
  }
  const search = query === undefined || query === "" ? "" : `?${normalise(query, "query")}`
  return Either.right(`${scheme}://${place.right}${normalise(route, "path")}${search}`)
}

const invalidHost = Either.left("has a host or port that is not valid")

/** Host and port. */
const hostPattern = (scheme: string, authority: string): Result => {
  if (authority === "" || authority.includes("%")) return invalidHost
  const bracket = authority.startsWith("[") ? authority.indexOf("]") : -1
  const colon = authority.indexOf(":", bracket + 1)
  const name = colon === -1 ? authority : authority.slice(0, colon)
  const port = colon === -1 ? "" : authority.slice(colon + 1)
  if (port !== "" && scheme.includes("*")) return Either.left("has a port but no literal scheme")
  const canonical = name.includes("*") ? starHost(name) : plainHost(name)
  if (canonical === undefined) return invalidHost
  if (port === "" || port === "*") return Either.right(port === "" ? canonical : `${canonical}:*`)
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535) return invalidHost
  const isDefault = Number(port) === (scheme === "https" ? 443 : 80)
  return Either.right(isDefault ? canonical : `${canonical}:${Number(port)}`)
}

const plainHost = (name: string): string | undefined => {
  try {
    return host(new URL(`http://${name}/`).hostname)
  } catch {
    // the constructor's only way to say no
    return undefined
  }
}

const starHost = (name: string): string | undefined => {
  const labels = (name.endsWith(".") ? name.slice(0, -1) : name).split(".")
  const out: Array<string> = []
  for (const label of labels) {
    if (label.includes("*")) {
      const lower = label.toLowerCase()
      if (!starLabel.test(lower)) return undefined
      out.push(lower)
      continue
    }
    if (plainLabel.test(label)) {
      out.push(label.toLowerCase())
      continue
    }
    // with a letter behind it a label is never taken for a part of an address
    const ascii = plainHost(`${label}.x`)
    if (ascii === undefined) return undefined
    out.push(ascii.slice(0, -2))
  }
  return out.join(".")
}

const literalHost = /^[a-z*]+:\/\/(\[[^\]]*\]|[^/:?*]+)(?=[:/?]|$)/

/**
 * Whether a canonical pattern of URLs names its host or address literally: no `*` in it. The scheme, the port and the path may hold
 * wildcards; `**` and `https://**` name no host.
 */
export const namesHost = (pattern: string): boolean => literalHost.test(pattern)

/** A pattern of names: what is left of control characters, backslashes, outer white space and other normal forms. */
export const name = (pattern: string): Result => {
  if (pattern === "") return Either.right("")
  const problem = nameProblem(pattern)
  if (problem !== undefined) return Either.left(problem.replace(/^it /, ""))
  return pattern.startsWith("!") ? Either.left('begins with "!": a lease only grants') : Either.right(two(pattern))
}

/** The canonical form of a pattern of this kind. */
export const canonical = (kind: Kind, pattern: string): Result =>
  kind === "path" ? path(pattern) : kind === "url" ? url(pattern) : name(pattern)

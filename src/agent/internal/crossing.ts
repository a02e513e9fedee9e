/**
 * Which headers of a request do not follow a redirect to another origin (1.0 §14): those that hold credentials, by their names.
 */
import * as Headers from "@effect/platform/Headers"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"

const secretNames: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "cookie2",
  "apikey",
  "token",
  "secret",
  "password"
])
const secretSuffix = /-(?:token|key|apikey|secret|password|authorization|auth|credentials?)$/

/** Names of headers that the program has marked as secret for its logs and spans. */
type Marked = ReadonlyArray<string | RegExp>

/** Whether a header holds a credential. Names of headers are in lower case in the platform's requests; any case is understood. */
export const isCredential = (header: string, marked: Marked = []): boolean => {
  const name = header.toLowerCase()
  if (secretNames.has(name) || secretSuffix.test(name)) return true
  // `search` has no state, as `test` of a global expression has.
  return marked.some((mark) => (typeof mark === "string" ? mark.toLowerCase() === name : name.search(mark) >= 0))
}

/** Names of headers, in lower case, that the fiber's requests keep. */
export const keptHeaders: FiberRef.FiberRef<ReadonlySet<string>> = globalValue(
  Symbol.for("effect-arcp/agent/keptHeaders"),
  () => FiberRef.unsafeMake<ReadonlySet<string>>(new Set())
)

/** The headers without credentials, but for those that are kept. */
export const crossing = (headers: Headers.Headers, kept: ReadonlySet<string>, marked: Marked): Headers.Headers =>
  Object.keys(headers)
    .filter((name) => isCredential(name, marked) && !kept.has(name.toLowerCase()))
    .reduce<Headers.Headers>((left, name) => Headers.remove(left, name), headers)

/** URLs as they may be shown: without user, password, query and fragment, where secrets live. */
import * as Either from "effect/Either"
import { TransportError } from "../Connection.js"

/** A URL that a client can dial, and its showable form. */
export interface Target {
  readonly url: string
  readonly address: string
  readonly secure: boolean
}

/** Reads a `ws:` or `wss:` URL. */
export const parse = (url: string): Either.Either<Target, TransportError> => {
  const refuse = (why: string): Either.Either<never, TransportError> =>
    Either.left(new TransportError({ operation: "connect", message: `could not connect: ${why}` }))
  if (!URL.canParse(url)) return refuse("the URL cannot be read; it should look like ws://127.0.0.1:7777/arcp")
  const parsed = new URL(url)
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    return refuse("the URL must begin with ws:// or wss://")
  }
  // WebSocket URLs have no fragment; constructors refuse one
  parsed.hash = ""
  return Either.right({
    url: parsed.href,
    address: `${parsed.protocol}//${parsed.host}${parsed.pathname}`,
    secure: parsed.protocol === "wss:"
  })
}

/** What to show of a URL that {@link parse} may refuse. */
export const shown = (url: string): string =>
  Either.match(parse(url), { onLeft: () => "(an unreadable URL)", onRight: (target) => target.address })

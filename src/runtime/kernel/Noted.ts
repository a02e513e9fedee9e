/**
 * What the runtime knows of an error beside what a client is told.
 *
 * Effect passes an error that fails within a span on as a proxy of it: neither its identity nor a map by identity finds it again. A property
 * does, and one under a symbol is on no wire.
 */
import * as Text from "../../protocol/Text.js"

const note: unique symbol = Symbol("effect-arcp/runtime/note")

/** Notes something on an error, in the place of what was noted before; returns the error. */
export const noted = <E extends object>(error: E, what: string): E =>
  Object.defineProperty(error, note, { value: what, configurable: true })

/** What is noted on it. */
export const noteOf = (error: object): string | undefined => {
  const found = Text.attempt(() => (error as { readonly [note]?: string })[note], undefined)
  return typeof found === "string" ? found : undefined
}

/**
 * A short text of any value, for error messages.
 *
 * What a caller's code throws may itself throw when it is read: an error with a throwing `message`, an object without a
 * prototype, a revoked proxy. {@link textOf} never throws.
 */
import { oneLine } from "../../protocol/Errors.js"

const unreadable = "a value that cannot be shown"

const messageOf = (value: object): string => {
  const { message, name } = value as { readonly message?: unknown; readonly name?: unknown }
  if (typeof message === "string" && message !== "") return message
  return typeof name === "string" && name !== "" ? name : unreadable
}

/** One line of at most 512 characters: an error's message, or a primitive value as it is written. */
export const textOf = (value: unknown): string => {
  try {
    if (typeof value === "string") return oneLine(value)
    return oneLine(
      (typeof value === "object" && value !== null) || typeof value === "function" ? messageOf(value) : String(value)
    )
  } catch {
    return unreadable
  }
}

/** A short text of any value, for error messages. */
import { oneLine } from "../../protocol/Errors.js"
import * as Text from "../../protocol/Text.js"

/** One line of at most 512 characters, by a total function: what a caller's code throws may throw again when it is read. */
export const textOf = (value: unknown): string => oneLine(Text.ofUnknown(value))

/** Text from elsewhere, made fit to be shown to a person. */

// C0, DEL, C1; line and paragraph separators; marks, embeddings, overrides and isolates of bidirectional text.
const special = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
const specialInLines = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

const escaped = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`

/**
 * One line in which every character that a terminal would obey, or that would reorder what a person reads, is spelled out as
 * `\u001b`. JSON stays the same JSON.
 */
export const visible = (text: string): string => text.replace(special, escaped)

/** As {@link visible}, for text of several lines: tabs and line feeds stay. */
export const visibleLines = (text: string): string => text.replace(specialInLines, escaped)

/** JSON to show; what is too deep to be written says so. */
export const json = (value: unknown, indent?: number): string => {
  try {
    return visibleLines(JSON.stringify(value, null, indent) ?? "null")
  } catch {
    return '"(too deep to be shown)"'
  }
}

/** What was given, as messages repeat it. */
export const quoted = (text: string): string => JSON.stringify(text.length <= 200 ? text : `${text.slice(0, 199)}…`)

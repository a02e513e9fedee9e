/** Text of a peer, for messages: one line, quoted, bounded, and without anything that a terminal would obey. */

// C0, DEL, C1; line and paragraph separators; marks, embeddings, overrides and isolates of bidirectional text; byte-order mark.
const special = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

const escaped = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`

/** A JSON string, which spells out control characters, of at most `max` UTF-16 code units of the text; `…` where it is cut. */
export const quote = (text: string, max: number, keep: "start" | "end" = "start"): string => {
  const cut =
    text.length <= max ? text : keep === "start" ? `${text.slice(0, max)}…` : `…${text.slice(text.length - max)}`
  return JSON.stringify(cut).replace(special, escaped)
}

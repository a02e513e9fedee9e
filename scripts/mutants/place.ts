/** Finds the one place of the text that a mutant replaces. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import type { Mutant } from "./list.js"

/** The files of a place: itself, or all below it. */
const filesOf = (place: string): ReadonlyArray<string> =>
  statSync(place).isDirectory()
    ? readdirSync(place, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .map((name) => join(place, name))
    : [place]

/** The file that has the text, or why the entry is of no use. */
export const place = (
  folder: string,
  { find, inside }: Mutant
): { readonly file: string } | { readonly fault: string } => {
  const found: Array<string> = []
  for (const file of filesOf(join(folder, inside))) {
    const times = readFileSync(file, "utf8").split(find).length - 1
    for (let i = 0; i < times; i++) found.push(file)
  }
  if (found.length === 1) return { file: found[0]! }
  return {
    fault:
      found.length === 0
        ? `the text to replace is not in ${inside}: find the line that keeps this rule now, and change the entry\n      ${find}`
        : `the text to replace is ${found.length} times in ${inside}: make it longer, or the place narrower\n      ${find}`
  }
}

/** The rules that `npm run mutants` breaks: each is still where the list says, so that a move of code does not silently drop it. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { mutants } from "../../scripts/mutants/list.js"
import { place } from "../../scripts/mutants/place.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

it.each(mutants.map((mutant) => [mutant.rule, mutant] as const))("%s: its line and its test are there", (_, mutant) => {
  expect(place(root, mutant)).not.toHaveProperty("fault")
  expect(mutant.replace).not.toBe(mutant.find)
  // Titles may be built from parts: one of their words must be in the file.
  const test = readFileSync(`${root}${mutant.test}`, "utf8")
  expect(mutant.title.split(" ").some((word) => word.length > 3 && test.includes(word))).toBe(true)
})

/**
 * The rules that `npm run examples:break` breaks: each is still where the list says, once, in what the compiler makes of the source. So a
 * move of code fails here, and not only in the copy of the build.
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { type Broken, rules } from "../../scripts/examples/rules.js"
import { misplaced } from "../../scripts/examples/sources.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

it.each(rules.map((broken) => [broken.example, broken] as const))("%s: its rule is in the sources", (_, broken) => {
  expect(misplaced(root, broken)).toBe(undefined)
})

describe("the place of a rule", () => {
  const own = "dist/runtime/jobs/Run.js"
  const at = (file: string, from: string): Broken => ({ example: "own", rule: "own", file, from, to: "" })

  it("is not found in a file that is gone, nor where the text is not, or is more than once", () => {
    expect(misplaced(root, at("dist/runtime/jobs/Gone.js", "class"))).toBe("there is no src/runtime/jobs/Gone.ts")
    expect(misplaced(root, at(own, "no such text"))).toBe(`${own} does not have this exactly once: no such text`)
    expect(misplaced(root, at(own, "const"))).toBe(`${own} does not have this exactly once: const`)
  })

  it("is looked for in JavaScript: types are not in the build", () => {
    const source = readFileSync(`${root}src/runtime/jobs/Run.ts`, "utf8")
    const typed = "export class Run implements Runs {"
    expect(source).toContain(typed)
    expect(misplaced(root, at(own, typed))).toContain("does not have this exactly once")
    expect(misplaced(root, at(own, "export class Run {"))).toBe(undefined)
  })
})

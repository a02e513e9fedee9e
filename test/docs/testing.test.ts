/** The guide on testing shows what its example runs: each block of code stands in it, word by word. */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")

/** The blocks of a page that are not part of a program. */
const strangers = (page: string, program: string): ReadonlyArray<string> =>
  [...page.matchAll(/^```ts\n([\s\S]*?)\n```$/gm)]
    .map(([, block = ""]) => block)
    .filter((block) => !program.includes(block))

describe("docs/testing.md", () => {
  const page = read("docs/testing.md")
  const example = read("examples/testing-with-mock-layers.ts")

  it("shows code of examples/testing-with-mock-layers.ts only", () => {
    expect(page.match(/^```ts$/gm)?.length ?? 0).toBeGreaterThan(5)
    expect(strangers(page, example)).toEqual([])
  })

  it("replaces each concern once", () => {
    for (const tag of ["Budgets", "Leases", "JobScheduler", "Subscriptions", "Sessions"]) {
      const layers = page.match(new RegExp(`Layer\\.(?:effect|sync|succeed)\\(\\s*${tag},`, "g")) ?? []
      expect([tag, layers.length]).toEqual([tag, 1])
    }
  })

  it("is read block by block", () => {
    expect(strangers("```ts\nconst a = 1\n```\n\n```ts\nconst b = 2\n```\n", "const a = 1\n")).toEqual(["const b = 2"])
  })
})

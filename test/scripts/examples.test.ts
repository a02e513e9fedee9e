/** The examples as programs: which there are, how they are found by name, and that one drives a runtime in another process. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { exampleNamed, examplesIn, firstSentence, run } from "../../scripts/examples/programs.js"
import { rules } from "../../scripts/examples/rules.js"
import { serve } from "../cli/processes.js"

const root = fileURLToPath(new URL("../../", import.meta.url))
const examples = examplesIn(root)

const names = [
  "artifacts",
  "browser-client",
  "cancel",
  "cost-budget",
  "custom-auth",
  "delegation",
  "durable-steps",
  "handoff",
  "http-server",
  "idempotent-retry",
  "job-subscribe",
  "jwt-auth",
  "lease-violation",
  "list-jobs",
  "provisioned-credentials",
  "quickstart",
  "resumability",
  "stdio",
  "submit-and-stream",
  "testing-with-mock-layers",
  "tools",
  "tracing",
  "two-runtimes",
  "typed-client",
  "vendor-extensions"
]

describe("the examples", () => {
  it.each(names)("%s is a program that says what it does", (name) => {
    const example = exampleNamed(examples, name)
    expect(example?.name).toBe(name)
    expect(existsSync(`${root}${example?.file}`)).toBe(true)
    // a sentence for the list of examples, and not a word or a paragraph
    expect(example?.about).toMatch(/^[A-Z].{20,200}\.$/)
  })

  it("there are no others", () => {
    expect(examples.map(({ name }) => name)).toEqual(names)
  })

  it.each(names)("%s names the one rule that it shows, and a file of the build that keeps it", (name) => {
    const own = rules.filter(({ example }) => example === name)
    expect(own).toHaveLength(1)
    expect(own[0]!.rule).not.toBe("")
    expect(own[0]!.from).not.toBe(own[0]!.to)
    const source = own[0]!.file.replace(/^dist\//, "src/").replace(/\.js$/, ".ts")
    expect(source).toMatch(/^src\/.*\.ts$/)
    expect(existsSync(`${root}${source}`)).toBe(true)
  })

  it("each rule is of an example, and they are sorted by its name", () => {
    const named = rules.map(({ example }) => example)
    expect(named.filter((name) => !names.includes(name))).toEqual([])
    expect(named).toEqual(named.toSorted())
  })

  it("is found by its name as a person may type it", () => {
    const spellings = (name: string, ...typed: ReadonlyArray<string>) =>
      typed.map((spelling) => exampleNamed(examples, spelling)?.name).filter((found) => found !== name)
    expect(
      spellings(
        "submit-and-stream",
        "submit-and-stream",
        "submit_and_stream",
        "submit-and-stream.ts",
        "submit_and_stream.ts",
        "examples/submit-and-stream.ts"
      )
    ).toEqual([])
    expect(
      spellings(
        "lease-violation",
        "lease-violation",
        "lease_violation",
        "lease-violation/main.ts",
        "examples/lease-violation/main.ts",
        "examples/lease-violation"
      )
    ).toEqual([])
  })

  it("is not found by a name that is none", () => {
    const typed = [
      "",
      "agents",
      "support",
      "support/claim",
      "submit",
      "lease-violation/ordinary.ts",
      "../src",
      "__proto__"
    ]
    expect(typed.filter((name) => exampleNamed(examples, name) !== undefined)).toEqual([])
  })

  it("says what it does by the first sentence of its head", () => {
    expect(firstSentence("/** Does a thing. Then more. */\nimport x")).toBe("Does a thing.")
    expect(firstSentence("#!/usr/bin/env node\n/**\n * Reads v1.2 of a file\n * to its end: and more.\n */")).toBe(
      "Reads v1.2 of a file to its end."
    )
    expect(firstSentence("const x = 1 /** not a head. */")).toBe("")
  })

  it.scopedLive("drives the runtime of `arcp serve` that ARCP_URL names, twice", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(["--bearer", "secret-token", "--principal", "alice@example.com"])
      const file = exampleNamed(examples, "submit-and-stream")!.file
      const env = (token: string) => ({ ...process.env, ARCP_URL: url, ARCP_TOKEN: token })
      for (let time = 0; time < 2; time++) {
        const { code, output } = yield* Effect.promise(() => run(root, file, env("secret-token")))
        expect(output).toContain(`the runtime at ${url}`)
        expect(output).toContain("✓ the events are numbered without a gap")
        expect(code).toBe(0)
      }
      // it is that runtime which decides: with another token it fails
      const refused = yield* Effect.promise(() => run(root, file, env("another-token")))
      expect(refused.output).toContain("Unauthenticated")
      expect(refused.code).not.toBe(0)
    })
  )
})

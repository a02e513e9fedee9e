/** The examples as programs: which there are, how they are found by name, and that one drives a runtime in another process. */
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Breaking, breaking } from "../../scripts/examples/breaking.js"
import { exampleNamed, examplesIn, firstSentence, run } from "../../scripts/examples/programs.js"
import { rules } from "../../scripts/examples/rules.js"
import { serve } from "../cli/processes.js"
import { scratch } from "../support/scratch.js"

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

/** A package and its examples, as small as they can be. */
const small: Readonly<Record<string, string>> = {
  "package.json": JSON.stringify({
    name: "small",
    type: "module",
    sideEffects: [],
    exports: { ".": "./dist/index.js" }
  }),
  "dist/index.js": `export { even, unused } from "./even.js"; export { whole } from "./whole.js"`,
  "dist/even.js": `import * as Effect from "effect/Effect"
export const even = (n) => Effect.succeed(n % 2 === 0)
export const unused = () => "no example calls it"`,
  "dist/whole.js": "export const whole = true",
  // The build has Effect by its modules, an example by its package: the two must be one.
  "examples/alone.ts": `import { Context, Effect } from "effect"
import * as Modules from "effect/Effect"
import { even } from "small"
const runMain = (main: Effect.Effect<boolean>) => process.exit(Effect.runSync(main) && Modules.map === Effect.map ? 0 : 1)
runMain(Effect.map(even(3), (is: boolean) => !is))`,
  "examples/parent/main.ts": `import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
const runMain = (args: Array<string>) => process.exit(spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1)
runMain([...process.execArgv, fileURLToPath(new URL("child.ts", import.meta.url))])`,
  "examples/parent/child.ts": `import { whole } from "small"
console.error("the child runs")
process.exit((whole satisfies boolean) ? 0 : 1)`,
  "examples/endless.ts": `import { whole } from "small"
const runMain = () => process.kill(process.pid, whole ? "SIGCONT" : "SIGKILL")
runMain()`,
  "examples/wrong.ts": `import { whole } from "small"
const runMain = () => process.exit(whole ? 1 : 1)
runMain()`
}

describe("the breaking of an example's rule", () => {
  let own: Breaking
  const folder = scratch("arcp-small-")
  beforeAll(async () => {
    for (const [path, text] of Object.entries(small)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    own = await breaking({ root: folder, modules: join(root, "node_modules"), examples: examplesIn(folder) })
  })
  afterAll(() => own.close())
  const broken = (example: string, file: string, from: string, to: string, alsoWhole = true) =>
    own.problemOf({ example, rule: "three is odd", file, from, to }, alsoWhole)

  it("finds nothing where the example passes with the rule and fails without", async () => {
    expect(await broken("alone", "dist/even.js", "n % 2 === 0", "true")).toBe(undefined)
  })

  it("breaks it also in a program that the example starts", async () => {
    expect(await broken("parent", "dist/whole.js", "true", "false")).toBe(undefined)
  })

  it("reports an example that passes without its rule", async () => {
    expect(await broken("alone", "dist/even.js", "n % 2 === 0", "(n & 1) === 0")).toBe(
      "PASSES without the rule: three is odd"
    )
  })

  it("reports a text that the file does not have, or has twice, and a file that is not there", async () => {
    expect(await broken("alone", "dist/even.js", "n % 3", "n")).toBe(
      "dist/even.js does not have this exactly once: n % 3"
    )
    expect(await broken("alone", "dist/even.js", "export const", "const")).toBe(
      "dist/even.js does not have this exactly once: export const"
    )
    expect(await broken("alone", "dist/odd.js", "n", "m")).toBe("dist/odd.js does not have this exactly once: n")
  })

  it("reports an example that there is not", async () => {
    expect(await broken("nowhere", "dist/even.js", "n % 2 === 0", "true")).toBe("there is no such example")
  })

  it("reports a rule in what the example does not load", async () => {
    const report = (file: string) => `does not have ${file} with the rule broken in its bundle`
    expect(await broken("alone", "dist/even.js", "no example", "nobody")).toBe(report("dist/even.js"))
    expect(await broken("alone", "dist/whole.js", "true", "false")).toBe(report("dist/whole.js"))
  })

  it("reports a build that is no program any more", async () => {
    const said = /^is no program any more:\n/
    expect(await broken("alone", "dist/even.js", "n % 2 === 0", "n % 2 === ", false)).toMatch(said)
    // a name that no module exports, a module that is not there, and a package
    expect(await broken("alone", "dist/index.js", "whole }", "whale }", false)).toMatch(said)
    expect(await broken("alone", "dist/index.js", "./whole.js", "./whale.js", false)).toMatch(said)
    expect(await broken("alone", "dist/even.js", 'from "effect/Effect"', 'from "no-such-package"', false)).toMatch(said)
    // what only a program that is started finds out
    expect(await broken("parent", "dist/whole.js", "true", 'await import("no-such-package")', false)).toMatch(said)
  })

  it("reports an example that fails with the rule, where that is asked", async () => {
    expect(await broken("wrong", "dist/whole.js", "true", "false")).toBe("fails before the rule is broken:\n")
    expect(await broken("wrong", "dist/whole.js", "true", "false", false)).toBe(undefined)
  })

  it("reports an example that has to be killed without the rule", async () => {
    expect(await broken("endless", "dist/whole.js", "true", "false")).toBe("does not end without the rule:\n")
  })

  it("leaves the build as it is, also between two breaks", async () => {
    await broken("alone", "dist/even.js", "n % 2 === 0", "true")
    expect(readFileSync(join(folder, "dist/even.js"), "utf8")).toBe(small["dist/even.js"])
    expect(await broken("alone", "dist/even.js", "n % 2 === 0", "true")).toBe(undefined)
  })
})

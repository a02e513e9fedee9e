/** The architecture page says which file decides each section that the conformance page lists. */
import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { errorTable } from "../../src/protocol/Errors.js"
import { names, problemsOf, raisedOf, rowsOf, sectionsListed, unraised } from "./decided.js"

const listed = sectionsListed(readFileSync("docs/conformance.md", "utf8"))
const rows = rowsOf(readFileSync("docs/architecture.md", "utf8"))

describe("docs/architecture.md", () => {
  it("names a file for each section of docs/conformance.md, and each file names its section", () => {
    const textOf = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : undefined)
    expect(listed.length).toBeGreaterThan(50)
    expect(problemsOf(listed, rows, textOf)).toEqual([])
  })

  it("has no row twice", () => {
    const seen = rows.map(({ path, rule, section }) => `${section} ${rule} ${path}`)
    expect(seen.filter((row, i) => seen.indexOf(row) !== i)).toEqual([])
  })
})

/** The sources of the runtime, and of what it hosts and stands on. */
const sources = new Map(
  readdirSync("src", { recursive: true, encoding: "utf8" })
    .map((path) => `src/${path}`)
    .filter(
      (path) => path.endsWith(".ts") && !/^src\/(client|testing|cli)\/|^src\/protocol\/Errors|RuntimeOptions/.test(path)
    )
    .map((path) => [path, readFileSync(path, "utf8")] as const)
)

describe("§12 the errors of docs/architecture.md", () => {
  it("has each code with the files that make it", () => {
    expect(sources.size).toBeGreaterThan(200)
    const rows = raisedOf(readFileSync("docs/architecture.md", "utf8"))
    expect(unraised(Object.keys(errorTable), rows, sources)).toEqual([])
  })

  it("finds a code without a row, a row without its error, and an error without a row", () => {
    const page = (row: string) =>
      `## Where each error comes from\n\n| code | when | file |\n| --- | --- | --- |\n${row}\n`
    const texts = new Map([
      ["src/a.ts", "new JobNotFound({"],
      ["src/b.ts", "new JobNotFoundToo("]
    ])
    const problems = (codes: ReadonlyArray<string>, row: string) => unraised(codes, raisedOf(page(row)), texts)
    expect(problems(["JOB_NOT_FOUND"], "| `JOB_NOT_FOUND` | x | `src/a.ts` |")).toEqual([])
    expect(problems(["JOB_NOT_FOUND", "TIMEOUT"], "| `JOB_NOT_FOUND` | x | `src/b.ts` |")).toEqual([
      "JOB_NOT_FOUND: src/b.ts does not make it",
      "JOB_NOT_FOUND: src/a.ts makes it, and no row says so",
      "TIMEOUT: no row says where it comes from"
    ])
    expect(problems([], "| `TIMEOUT` | x | `src/a.ts` |")).toEqual(["TIMEOUT: is no code of §12"])
    expect(() => raisedOf(page("| TIMEOUT | x | `src/a.ts` |"))).toThrow("no row of code")
  })
})

describe("the reader of the two pages", () => {
  it("lists the sections of headings and of rules, and not those of tests or of what is left open", () => {
    const page = [
      "# Conformance (§1)",
      "",
      "## §4 Transport",
      "| rule | shown by |",
      "| --- | --- |",
      '| §4.1, 1.0 §4.2 one (1.0 §4.3) | `test/a` "§9.9 other" |',
      "## Deferred",
      "| later (§1.2) | §1.3 |"
    ].join("\n")
    expect(sectionsListed(page)).toEqual(["§4", "§4.1", "1.0 §4.2", "1.0 §4.3"])
  })

  it("reads the rows of its table only, and rejects what is no row", () => {
    const page = (row: string) =>
      `# A\n| §1 | x | \`src/x.ts\` |\n## Where each rule is decided\n\n| section | rule | file |\n| --- | --- | --- |\n${row}\n\n## B\n| §2 | y | \`src/y.ts\` |\n`
    expect(rowsOf(page("| 1.0 §4.1 | TLS | `src/a/B.ts` |"))).toEqual([
      { section: "1.0 §4.1", rule: "TLS", path: "src/a/B.ts" }
    ])
    for (const wrong of [
      "| 4.1 | TLS | `src/a/B.ts` |",
      "| §4.1 | TLS | src/a/B.ts |",
      "| §4.1 | TLS | `test/a.ts` |"
    ]) {
      expect(() => rowsOf(page(wrong)), wrong).toThrow("no row of section, rule and file")
    }
    expect(rowsOf("# A\n")).toEqual([])
  })

  it("knows a section by its whole number, and a chapter by any section of it", () => {
    expect(names("see §9.4.", "§9.4")).toBe(true)
    expect(names("see §9.4, §9.5", "1.0 §9.4")).toBe(true)
    expect(names("§9.4–§9.6", "§9.4")).toBe(true)
    for (const other of ["§9.41", "§9.4.1", "§19.4", "9.4", "§9x4"]) expect(names(other, "§9.4"), other).toBe(false)
    expect(names("§9", "§9")).toBe(true)
    expect(names("§9.4", "§9")).toBe(true)
    expect(names("§91", "§9")).toBe(false)
  })

  it("finds a section without a row, a file that is not there, and one that does not name its section", () => {
    const texts: Readonly<Record<string, string>> = { "src/a.ts": "§4.1", "src/b.ts": "§4.2.1" }
    const of = (section: string, path: string) => ({ section, rule: "x", path })
    const textOf = (path: string) => texts[path]
    expect(problemsOf(["§4.1"], [of("§4.1", "src/a.ts")], textOf)).toEqual([])
    expect(problemsOf(["§4.1", "§4.2", "1.0 §4.1"], [of("§4.1", "src/c.ts"), of("§4.2", "src/b.ts")], textOf)).toEqual([
      "1.0 §4.1: no row says which file decides it",
      "§4.1: there is no src/c.ts",
      "§4.2: src/b.ts does not name it"
    ])
  })
})

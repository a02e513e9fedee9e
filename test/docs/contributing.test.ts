/** The pages for contributors name files, commands and code that are there; the changelog knows the version. */
import { existsSync, readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { mutants } from "../../scripts/mutants/list.js"

const read = (path: string): string => readFileSync(path, "utf8")
const page = read("CONTRIBUTING.md")
const manifest = JSON.parse(read("package.json")) as {
  readonly version: string
  readonly scripts: Readonly<Record<string, string>>
}

/** Without the indentation of a list, and without the space between words. */
const words = (text: string): string => text.replaceAll(/\s+/g, " ").trim()

const blocks = (language: string): ReadonlyArray<string> =>
  [...page.matchAll(new RegExp(`^ *\`\`\`${language}\\n(.*?)^ *\`\`\``, "gms"))].map((match) => words(match[1]!))

/** Files and folders that a page names, by links and in code. */
const named = (text: string): ReadonlyArray<string> => [
  ...[...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, path]) => path!).filter((path) => !path.includes("://")),
  ...[...text.matchAll(/\b(?:src|test|docs|scripts|bench|examples)\/[\w./-]*\w/g)].map(([path]) => path)
]

describe("CONTRIBUTING.md and SECURITY.md", () => {
  it.each(["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])("%s names files that exist", (path) => {
    // A build makes the profiler's reader.
    const missing = named(read(path)).filter((file) => !file.startsWith("bench/dist/") && !existsSync(file))
    expect(missing).toEqual([])
  })

  it("names files of the code and of its tests", () => {
    expect(named(page).filter((path) => path.startsWith("src/")).length).toBeGreaterThan(10)
    expect(named(page).filter((path) => path.startsWith("test/")).length).toBeGreaterThan(4)
    expect(named(read("SECURITY.md"))).toContain("docs/security.md")
  })

  it("its commands are scripts of package.json", () => {
    const commands = [...page.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!)
    expect(commands.length).toBeGreaterThan(10)
    expect(commands.filter((name) => manifest.scripts[name] === undefined)).toEqual([])
    for (const script of ["test:install", "lint:package", "coverage", "publish:dry"]) expect(commands).toContain(script)
  })

  it("the reader of profiles is built by npm run bench", () => {
    expect(manifest.scripts["bench"]).toContain("tsc -p bench/tsconfig.json")
    expect(existsSync("bench/top.ts")).toBe(true)
  })

  it("its worked example is a test and a broken rule of this repository", () => {
    const [test, mutant, ...more] = blocks("ts")
    expect(more).toEqual([])
    expect(words(read("test/runtime/sessions.test.ts"))).toContain(test)
    expect(words(read("scripts/mutants/list.ts"))).toContain(mutant)
    const [rule] = mutants.filter(({ title }) => title === "§6.7 close is answered with closed")
    expect(test).toContain(rule?.title)
  })
})

describe("CHANGELOG.md", () => {
  it("has the version of package.json first, with its date, and each version once", () => {
    const versions = [...read("CHANGELOG.md").matchAll(/^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$/gm)].map(
      ([, v]) => v
    )
    expect(versions[0]).toBe(manifest.version)
    expect(versions).toEqual([...new Set(versions)])
    const lock = JSON.parse(read("package-lock.json")) as {
      readonly version: string
      readonly packages: Readonly<Record<string, { readonly version?: string }>>
    }
    expect([lock.version, lock.packages[""]?.version]).toEqual([manifest.version, manifest.version])
  })
})

describe(".editorconfig", () => {
  it("says of code what biome.json says", () => {
    const settings = Object.fromEntries(
      [...read(".editorconfig").matchAll(/^(\w+) = (.+)$/gm)].map(([, key, value]) => [key, value]).reverse()
    ) as Readonly<Record<string, string>>
    const { formatter } = JSON.parse(read("biome.json")) as {
      readonly formatter: { readonly indentStyle: string; readonly indentWidth: number; readonly lineWidth: number }
    }
    expect(settings).toMatchObject({
      indent_style: formatter.indentStyle,
      indent_size: String(formatter.indentWidth),
      max_line_length: String(formatter.lineWidth)
    })
  })
})

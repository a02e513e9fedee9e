/** What is in the package: `npm run test:package` applies the same rules to what was built. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import type { Manifest } from "../../scripts/manifest.js"
import { belongs, problemsOf } from "../../scripts/packed.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

const output = (command: string, args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = spawnSync(command, args, { cwd: root, encoding: "utf8", timeout: 120_000 })
  expect([status, status === 0 ? "" : stderr]).toEqual([0, ""])
  return stdout
}

const manifest: Manifest = {
  name: "some",
  exports: {
    "./internal/*": null,
    "./a": { types: "./dist/a/index.d.ts", default: "./dist/a/index.js" }
  },
  bin: { some: "./dist/cli/bin.js" }
}
const repository = [
  "package.json",
  "README.md",
  "LICENSE-MIT",
  "docs/guides/one.md",
  "examples/agents.ts",
  "src/a/index.ts",
  "src/cli/bin.ts",
  "test/a.test.ts",
  "bench/main.ts",
  "biome.json"
]
const built = ["dist/a/index", "dist/cli/bin"].flatMap((base) =>
  [".js", ".js.map", ".d.ts", ".d.ts.map"].map((end) => base + end)
)
const demo = ["dist/examples/agents.js", "dist/examples/agents.js.map"]
const whole = [...repository.slice(0, 7), ...built, ...demo]

/** The source of a map, as the compiler writes it. */
const read = (path: string): string => {
  const base = path.replace(/^dist\//, "").replace(/(\.js|\.d\.ts)\.map$/, ".ts")
  const source = base.startsWith("examples/") ? `../../${base}` : `../../src/${base}`
  return JSON.stringify({ version: 3, sourceRoot: "", sources: [source] })
}

describe("the package's files", () => {
  it("what npm packs is all of docs and examples, the licences and the pages; no test, no benchmark, no tool", () => {
    const [{ files }] = JSON.parse(output("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"])) as [
      { readonly files: ReadonlyArray<{ readonly path: string }> }
    ]
    // The build may be old or absent here.
    const packed = files.map(({ path }) => path).filter((path) => !path.startsWith("dist/"))
    const tracked = output("git", ["ls-files", "--cached", "--others", "--exclude-standard"])
      .split("\n")
      .filter(belongs)
    expect(packed.toSorted()).toEqual(tracked.toSorted())
    for (const path of [
      "LICENSE-MIT",
      "LICENSE-APACHE",
      "CHANGELOG.md",
      "SECURITY.md",
      "docs/guides/leases.md",
      "examples/agents.ts"
    ]) {
      expect(packed).toContain(path)
    }
  })

  it("a whole package has no problem", () => {
    expect(problemsOf(manifest, whole, repository, read)).toEqual([])
  })

  for (const path of [
    "LICENSE-MIT",
    "docs/guides/one.md",
    "dist/a/index.js",
    "dist/a/index.d.ts.map",
    "dist/cli/bin.js"
  ]) {
    it(`a package without ${path} has one`, () => {
      const packed = whole.filter((name) => name !== path)
      expect(problemsOf(manifest, packed, repository, read)).toContain(`${path} is not in the package`)
    })
  }

  for (const path of [
    "test/a.test.ts",
    "src/a/a.test.ts",
    "bench/main.ts",
    "biome.json",
    ".npmrc",
    "docs/.hidden",
    "src/jobs.db"
  ]) {
    it(`a package with ${path} has one`, () => {
      expect(problemsOf(manifest, [...whole, path], repository, read)).toEqual([`${path} must not be in the package`])
    })
  }

  it("a module that has gone but is still built, and a source map whose source is not packed, are problems", () => {
    expect(problemsOf(manifest, [...whole, "dist/a/gone.js"], repository, read)).toEqual([
      "src/a/gone.ts is not in the package, but is built"
    ])
    const withoutExamples = whole.filter((path) => path !== "examples/agents.ts")
    expect(problemsOf(manifest, withoutExamples, repository, read)).toEqual([
      "examples/agents.ts is not in the package",
      "dist/examples/agents.js.map names examples/agents.ts, which is not in the package"
    ])
  })
})

/**
 * The page for beginners, as a reader follows it: its files in a folder of their own beside the packages, checked by its own
 * configuration; its host is started, its client and its test run, and they print what the page says. The package is its sources.
 */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"
import { problemsOfFiles } from "../support/compiling.js"
import { filesOf, freePort, installed, manifest, walked } from "./installed.js"
import { blocksOf } from "./pages.js"

const page = readFileSync("docs/getting-started.md", "utf8")
const files = filesOf(page)

/** What the page says that a program prints. */
const printedBy = (program: string): string | undefined =>
  blocksOf(page).find(({ language, words }) => language === "text" && words[0] === program && words[1] === "prints")
    ?.text

/** What the compiler says of the page's files under the page's own configuration. */
const problems = (folder: string): Promise<ReadonlyArray<string>> => {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(folder, "tsconfig.json"), ts.sys.readFile).config,
    ts.sys,
    folder
  )
  expect(config.errors).toEqual([])
  expect(config.fileNames.map((name) => name.slice(folder.length + 1)).toSorted()).toEqual(
    [...files.keys()].filter((name) => name.endsWith(".ts")).toSorted()
  )
  return problemsOfFiles(
    () => ts.createProgram(config.fileNames, config.options),
    config.fileNames,
    ({ messageText }, _, name) => `${name}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`
  )
}

/** The packages that a line of the page installs, with their ranges. */
const installs = new Map(
  [...page.matchAll(/(@?[a-z][a-z0-9/-]*)@(\^[0-9.]+)/g)].map(([, name = "", range = ""]) => [name, range])
)

describe("docs/getting-started.md", () => {
  it("names the ranges of package.json", () => {
    const named = Object.entries(manifest.peerDependencies ?? {})
    expect(named.length).toBeGreaterThan(5)
    for (const [name, range] of named) expect([name, installs.get(name)]).toEqual([name, range])
  })

  it("has files whose first line is their name", () => {
    const named = [...files].filter(([name]) => name.endsWith(".ts"))
    expect(named.map(([, text]) => text.split("\n")[0])).toEqual(named.map(([name]) => `// ${name}`))
  })

  it("its files compile; the host serves, the client and the test print what the page says", async () => {
    const port = await freePort()
    const folder = installed(files, port)
    expect(await problems(folder)).toEqual([])

    const { client, said, tested } = await walked(folder)
    expect(said.replace(String(port), "7777")).toBe(printedBy("host.ts"))
    expect(client).toEqual({ code: 0, out: printedBy("client.ts"), err: "" })
    expect(tested.out).toMatch(/Tests +2 passed/)
    expect(tested.code).toBe(0)
  }, 300_000)
})

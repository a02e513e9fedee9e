/** Pages name the tests that show what they promise: each file exists, and has each title that is quoted from it. */
import { describe, expect, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { version } from "../../src/protocol/Envelope.js"

const page = readFileSync("docs/conformance.md", "utf8")

interface Row {
  readonly rule: string
  readonly shown: string
}

const rows: ReadonlyArray<Row> = page.split("\n").flatMap((line) => {
  const cells = /^\| (.*) \| (.*) \|$/.exec(line)
  return cells === null || cells[1] === "rule" || cells[1] === "---" ? [] : [{ rule: cells[1]!, shown: cells[2]! }]
})

/** The text of a file that is named without its ending, or of all files of a folder. */
const textOf = (path: string): string | undefined => {
  const file = [`${path}.test.ts`, `${path}.ts`, path].find((name) => existsSync(name) && statSync(name).isFile())
  if (file !== undefined) return readFileSync(file, "utf8")
  if (!existsSync(path)) return undefined
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(`${path}/${name}`, "utf8"))
    .join("\n")
}

/** What is wrong with the tests that rows name, and how many titles were found. */
const checked = (rows: ReadonlyArray<Row>) => {
  const wrong: Array<string> = []
  let titles = 0
  for (const { rule, shown } of rows) {
    let path: string | undefined
    for (const [, named, title] of shown.matchAll(/`((?:test|src|docs|scripts)\/[^`]+)`|"([^"]+)"/g)) {
      if (named !== undefined) {
        path = named
        if (textOf(named) === undefined) wrong.push(`${rule}: there is no ${named}`)
      } else if (path === undefined) wrong.push(`${rule}: "${title}" is quoted from no file`)
      else if (!textOf(path)?.includes(title!)) wrong.push(`${rule}: ${path} has no "${title}"`)
      else titles++
    }
  }
  return { titles, wrong }
}

describe("docs/conformance.md", () => {
  it("has rows of two cells, each with a test or with what is so instead", () => {
    expect(rows.length).toBeGreaterThan(150)
    const tables = page.split("\n").filter((line) => line.startsWith("|"))
    // Two lines of each table are its head.
    expect(tables.length - rows.length).toBe(2 * page.split("| --- | --- |").length - 2)
    for (const { rule, shown } of rows) expect([rule, shown.length > 3]).toEqual([rule, true])
  })

  it("names files that exist, and quotes titles that are in them", () => {
    const { titles, wrong } = checked(rows)
    expect(wrong).toEqual([])
    expect(titles).toBeGreaterThan(150)
  })

  it("has no row twice", () => {
    const rules = rows.map(({ rule }) => rule)
    expect(rules.filter((rule, i) => rules.indexOf(rule) !== i)).toEqual([])
  })
})

describe("CONFORMANCE.md", () => {
  it("has the version of the protocol, and the sums of docs/conformance.md", () => {
    const sums = readFileSync("CONFORMANCE.md", "utf8")
    expect(sums).toContain(`**${version}**`)
    const rowsUnder = (heading: string) =>
      page
        .split(`\n## ${heading}\n`)[1]!
        .split("\n## ")[0]!
        .match(/^\| .* \|$/gm)!.length - 2
    const [deferred, beyond] = [rowsUnder("Deferred"), rowsUnder("Beyond the specification")]
    const last = rows.slice(-(deferred + beyond))
    const shown = rows.filter((row) => !last.includes(row) && /`(?:test|src|scripts)\//.test(row.shown)).length
    const rules = rows.length - last.length
    expect(Array.from(sums.matchAll(/^\| .* \| (\d+) \|$/gm), ([, sum]) => Number(sum))).toEqual([
      rules,
      shown,
      rules - shown,
      deferred,
      beyond
    ])
  })
})

describe("docs/reliability.md", () => {
  it("has a test for each promise: files that exist, and titles that are in them", () => {
    const lines = readFileSync("docs/reliability.md", "utf8")
      .split("\n")
      .filter((line) => line.startsWith("|"))
    // The last cell of a row has its tests.
    const promises = lines.flatMap((line) => {
      const cells = /^\| (.*) \| ([^|]*`test\/[^|]*) \|$/.exec(line)
      return cells === null ? [] : [{ rule: cells[1]!, shown: cells[2]! }]
    })
    // Two lines of each table are its head.
    expect(promises.length).toBe(lines.length - 2 * lines.filter((line) => line.startsWith("|---")).length)
    const { titles, wrong } = checked(promises)
    expect(wrong).toEqual([])
    expect(titles).toBeGreaterThan(20)
  })
})

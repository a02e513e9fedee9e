/** The tables of the guides name everything that there is: codes, features, kinds of events, options. */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { coreEventKinds } from "../../src/protocol/ExtensionName.js"
import { errorCodes, errorTable } from "../../src/protocol/Errors.js"
import { coreFeatures, extendedFeatures } from "../../src/protocol/Features.js"
import { AuditRecord } from "../../src/runtime/index.js"

const read = (path: string) => readFileSync(path, "utf8")

/** The rows of the table under a heading, as their cells, without its head. */
const rowsUnder = (page: string, heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const section = read(page).split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? ""
  return section
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\|\s*---/.test(line))
    .slice(1)
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim())
    )
}

/** The texts in code of the first cells. */
const namesUnder = (page: string, heading: string): ReadonlySet<string> =>
  new Set(
    rowsUnder(page, heading).flatMap(([cell = ""]) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, name = ""]) => name))
  )

/** The names of an interface's fields, as its file declares them. */
const fieldsOf = (file: string, name: string): ReadonlyArray<string> => {
  const body = read(file).split(`export interface ${name} {\n`)[1]!.split("\n}\n")[0]!
  return Array.from(body.matchAll(/^ {2}readonly (\w+)\?/gm), ([, field = ""]) => field)
}

describe("the guides", () => {
  it("§12 list every code, and whether it is retryable", () => {
    const rows = rowsUnder("docs/guides/errors.md", "The codes")
    expect(rows.map(([code, retryable]) => [code, retryable === "yes" || retryable === "always"])).toEqual(
      errorCodes.map((code) => [`\`${code}\``, errorTable[code].retryable])
    )
  })

  it("§6.2 list every feature", () => {
    expect(namesUnder("docs/guides/sessions.md", "Features")).toEqual(new Set([...coreFeatures, ...extendedFeatures]))
  })

  it("§14 list every type of audit record", () => {
    const types = AuditRecord.members.map(({ fields }) => fields.type.literals[0])
    expect(types.length).toBeGreaterThan(20)
    expect(namesUnder("docs/guides/audit.md", "Records")).toEqual(new Set<string>(types))
  })

  it("§8.2 list every kind of event", () => {
    const names = namesUnder("docs/guides/job-events.md", "Kinds")
    expect(coreEventKinds.filter((kind) => !names.has(kind))).toEqual([])
  })

  it.each([
    ["docs/guides/sessions.md", "Options", "src/client/ClientOptions.ts", "ClientOptions", 15],
    ["docs/guides/jobs.md", "Submitting", "src/client/ClientOptions.ts", "SubmitOptions", 7],
    ["docs/guides/jobs.md", "Defining and hosting", "src/agent/Agent.ts", "HostOptions", 5]
  ])("%s, under %s, lists every option of %s", (page, heading, file, name, least) => {
    const fields = fieldsOf(file, name)
    expect(fields.length).toBeGreaterThanOrEqual(least)
    expect(namesUnder(page, heading)).toEqual(new Set(fields))
  })
})

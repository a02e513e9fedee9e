/**
 * The short form of `npm run attack`: its quick attacks, each on programs in processes of their own, bundled from source. What
 * is tried, and what was observed, is in `scripts/attack`.
 */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { beforeAll, describe, expect, it } from "vitest"
import { type Check, runCheck } from "../../scripts/attack/check.js"
import { checks } from "../../scripts/attack/checks.js"
import { usePrograms } from "../../scripts/attack/child.js"
import { bundle } from "../bundle.js"

/** Those that measure time say something on an idle machine alone: they belong to `npm run attack`. */
const untimed = checks.filter(({ alone }) => alone !== true)
const quick = untimed.filter((check) => check.quick === true)
const sources = fileURLToPath(new URL("../../scripts/attack/programs/", import.meta.url))

beforeAll(() => {
  const programs = readdirSync(sources).map((name) => name.replace(/\.ts$/, ""))
  const folder = bundle({
    ...Object.fromEntries(programs.map((name) => [`programs/${name}`, `scripts/attack/programs/${name}.ts`])),
    "cli/bin": "src/cli/bin.ts",
    "examples/agents": "examples/agents.ts"
  })
  usePrograms({ programs: join(folder, "programs"), arcp: join(folder, "cli/bin.js") })
})

const attack = (check: Check) =>
  it(`${check.item}: ${check.name}`, { timeout: 90_000 }, async () => {
    const { held, observed } = await runCheck({ ...check, seconds: (check.seconds ?? 15) * 2 })
    expect(held, observed).toBe(true)
  })

describe("the short form of the attacks", () => {
  it("has an attack of every kind", () => {
    expect(new Set(quick.map(({ item }) => item))).toEqual(new Set(untimed.map(({ item }) => item)))
  })
})

describe.concurrent("attacks side by side", () => {
  for (const check of quick) attack(check)
})

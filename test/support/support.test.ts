/** What all tests share. */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { runs, times } from "./properties.js"
import { scratch } from "./scratch.js"

const files = readdirSync("test", { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.startsWith("support"))
  .map((name) => [name, readFileSync(`test/${name}`, "utf8")] as const)

describe("tests", () => {
  it("take the runs of every property from ARCP_FUZZ_RUNS", () => {
    const fixed = files.filter(([, text]) => /\bnumRuns: (?!runs\()/.test(text)).map(([name]) => name)
    expect(fixed).toEqual([])
    expect(fc.readConfigureGlobal()?.numRuns).toBe(runs(100))
    let ran = 0
    fc.assert(fc.property(fc.nat(), () => void ran++))
    expect(ran).toBe(100 * times)
  })

  it("add one listener for the end of the process, however many folders they make", () => {
    const before = scratch("arcp-support-")
    const listeners = process.listenerCount("exit")
    const folders = Array.from({ length: 20 }, () => scratch("arcp-support-"))
    expect(process.listenerCount("exit")).toBe(listeners)
    for (const folder of [before, ...folders]) expect(statSync(folder).isDirectory()).toBe(true)
    expect(files.filter(([, text]) => text.includes('process.on("exit"')).map(([name]) => name)).toEqual([])
  })
})

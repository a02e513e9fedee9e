/** How long the hot path takes, in units of plain work, and whether that is longer than it was. */
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { bundle } from "../bundle.js"

/** Each piece of the hot path, and how many times the plain work it takes. */
export type Ratios = { readonly [piece: string]: number }

export interface Measured {
  /** Of the plain work: says how fast the machine was, and is not compared. */
  readonly plainMillis: number
  readonly ratios: Ratios
}

/**
 * How many times what was recorded is too slow. Halved speed is 2; what differs between machines, and between two runs on
 * a busy one, stays below.
 */
export const tooSlow = 1.8

const file = fileURLToPath(new URL("./guard.json", import.meta.url))

export const recorded = (): Ratios => JSON.parse(readFileSync(file, "utf8")) as Ratios

export const record = (ratios: Ratios): void => {
  const rounded = Object.fromEntries(
    Object.entries(ratios).map(([name, ratio]) => [name, Math.round(ratio * 100) / 100])
  )
  writeFileSync(file, `${JSON.stringify(rounded, undefined, 2)}\n`)
}

/**
 * Nothing is collected or compiled beside the work, where the processor time of what waits for a core would count; and what a
 * round leaves behind fits, so that the least of the rounds is one without a collection.
 */
const flags = ["--single-threaded", "--min-semi-space-size=64", "--max-semi-space-size=64"]

let program: string | undefined

/** Runs the work in a new process. */
export const measure = async (): Promise<Measured> => {
  program ??= join(bundle({ hotPath: "test/bench/hotPath.ts" }), "hotPath.js")
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program])
  return JSON.parse(stdout) as Measured
}

/** Whatever disturbs a measurement makes it slower: the lesser is the truer. */
export const lesser = (a: Ratios, b: Ratios): Ratios =>
  Object.fromEntries(Object.keys(a).map((name) => [name, Math.min(a[name]!, b[name]!)]))

/** What is too slow, or not measured any more: a line for each. */
export const complaints = (now: Ratios, before: Ratios): ReadonlyArray<string> =>
  Object.keys({ ...before, ...now }).flatMap((name) => {
    const [ratio, was] = [now[name], before[name]]
    if (ratio === undefined || was === undefined) {
      return [`${name}: ${ratio === undefined ? "not measured" : "not recorded"}`]
    }
    const times = ratio / was
    return times <= tooSlow ? [] : [`${name}: ${times.toFixed(2)} times as slow as recorded`]
  })

/** What the hot path costs, in time (units of plain work) and in memory (bytes), and whether that is more than it was. */
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { bundle } from "../bundle.js"

/** Each piece of the hot path, and what it costs: times the plain work, or bytes. */
export type Costs = { readonly [piece: string]: number }

/** What is recorded, and compared. */
export interface Recorded {
  /** The major version of Node that the bytes were counted on: another engine makes other objects. */
  readonly node: number
  /** Times the plain work. */
  readonly ratios: Costs
  /** Bytes that are allocated. */
  readonly bytes: Costs
}

export interface Measured extends Recorded {
  /** Of the plain work: says how fast the machine was, and is not compared. */
  readonly plainMillis: number
}

/**
 * How many times what was recorded is too slow. Halved speed is 2; what differs between machines, and between two runs on
 * a busy one, stays below.
 */
export const tooSlow = 1.8

/**
 * How many times the bytes that were recorded are too many. Two runs differ by 1 %; 200 bytes more for an event are 8 % of what it
 * allocates.
 */
export const tooMuch = 1.04

const file = fileURLToPath(new URL("./guard.json", import.meta.url))

export const recorded = (): Recorded => JSON.parse(readFileSync(file, "utf8")) as Recorded

const rounded = (costs: Costs, to: number): Costs =>
  Object.fromEntries(Object.entries(costs).map(([name, cost]) => [name, Math.round(cost * to) / to]))

export const record = ({ bytes, node, ratios }: Recorded): void => {
  const text = JSON.stringify({ node, ratios: rounded(ratios, 100), bytes: rounded(bytes, 1) }, undefined, 2)
  writeFileSync(file, `${text}\n`)
}

/**
 * Nothing is collected or compiled beside the work, where the processor time of what waits for a core would count; and what a
 * round leaves behind fits, so that the least of the rounds is one without a collection.
 */
const timeFlags = ["--single-threaded", "--min-semi-space-size=64", "--max-semi-space-size=64"]

/** No collection comes between, and nothing is compiled at another moment than the last time. */
const byteFlags = ["--single-threaded", "--expose-gc", "--min-semi-space-size=512", "--max-semi-space-size=512"]

let programs: string | undefined

const run = async (program: string, flags: ReadonlyArray<string>): Promise<string> => {
  programs ??= bundle({ hotPath: "test/bench/hotPath.ts", allocations: "test/bench/allocations.ts" })
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, join(programs, `${program}.js`)])
  return stdout
}

/** Runs the work that is timed in a new process. */
export const timed = async (): Promise<Pick<Measured, "plainMillis" | "ratios">> =>
  JSON.parse(await run("hotPath", timeFlags)) as Pick<Measured, "plainMillis" | "ratios">

/** Counts what is allocated, in a new process. */
export const allocated = async (): Promise<Costs> =>
  (JSON.parse(await run("allocations", byteFlags)) as { readonly bytes: Costs }).bytes

/** Whatever disturbs a measurement makes it slower: the lesser is the truer. */
export const lesser = (a: Costs, b: Costs): Costs =>
  Object.fromEntries(Object.keys(a).map((name) => [name, Math.min(a[name]!, b[name]!)]))

/** All of it: the least of so many runs. */
export const measure = async (runs: number): Promise<Measured> => {
  const first = await timed()
  let { ratios } = first
  let bytes = await allocated()
  for (let run = 1; run < runs; run++) ratios = lesser(ratios, (await timed()).ratios)
  bytes = lesser(bytes, await allocated())
  return { plainMillis: first.plainMillis, node: Number(process.versions.node.split(".")[0]), ratios, bytes }
}

/** What is beyond a bound, or not measured any more: a line for each. */
const beyond = (now: Costs, before: Costs, bound: number, what: (times: string) => string): ReadonlyArray<string> =>
  Object.keys({ ...before, ...now }).flatMap((name) => {
    const [cost, was] = [now[name], before[name]]
    if (cost === undefined || was === undefined) {
      return [`${name}: ${cost === undefined ? "not measured" : "not recorded"}`]
    }
    const times = cost / was
    return times <= bound ? [] : [`${name}: ${what(times.toFixed(2))}`]
  })

/** What costs more than was recorded: a line for each. */
export const complaints = (now: Recorded, before: Recorded): ReadonlyArray<string> => [
  ...beyond(now.ratios, before.ratios, tooSlow, (times) => `${times} times as slow as recorded`),
  ...(now.node === before.node
    ? beyond(now.bytes, before.bytes, tooMuch, (times) => `allocates ${times} times what is recorded`)
    : [`bytes were recorded on Node ${before.node}, this is Node ${now.node}: run it with that one, or record first`])
]

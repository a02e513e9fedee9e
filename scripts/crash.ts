/**
 * Kills runtimes at random points, hundreds of times, and checks what their clients saw against an exact ledger.
 *
 * `npm run crash [-- --seeds 200] [--seed N] [--beside 2]`: that many seeds, from seed N on, so many at a time. Ctrl-C ends it behind the seeds that
 * it is at, and prints the figures so far; a second one ends it at once.
 */
import { parseArgs } from "node:util"
import { live, type Report } from "../test/crash/crash.js"
import { Runtimes } from "../test/crash/runtimes.js"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    beside: { type: "string", default: "2" }
  }
})
const first = Number(values.seed)
const count = Number(values.seeds)
const reports: Array<Report> = []
const started = performance.now()
let next = first

let stopped = false
process.once("SIGINT", () => {
  stopped = true
  console.error("ends behind the seeds that it is at")
})

const worker = async (): Promise<void> => {
  const runtimes = new Runtimes()
  while (!stopped && next < first + count) {
    const report = await live(next++, runtimes)
    reports.push(report)
    for (const problem of report.problems) console.error(`seed ${report.seed}: ${problem}`)
    if (reports.length % 10 === 0) console.error(`${reports.length} of ${count} seeds`)
  }
  await runtimes.end()
}
await Promise.all(Array.from({ length: Number(values.beside) }, worker))

const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0)
const problems = sum((report) => report.problems.length)
const rows: ReadonlyArray<readonly [string, number | string]> = [
  ["seeds", reports.length],
  ["kills", sum((report) => report.kills)],
  ["sessions", sum((report) => report.sessions)],
  ["resumes", sum((report) => report.resumes)],
  ["taken over", sum((report) => report.takeovers)],
  ["sockets cut", sum((report) => report.cuts)],
  ["jobs", sum((report) => report.jobs)],
  ["events checked", sum((report) => report.events)],
  ["events lost", sum((report) => report.lost)],
  ["events repeated", sum((report) => report.repeated)],
  ["other problems", problems],
  ["peak memory", `${Math.round(Math.max(...reports.map((report) => report.peakRss)) / 1_048_576)} MiB`],
  ["time", `${Math.round((performance.now() - started) / 1000)} s`]
]
for (const [name, value] of rows) console.log(`${name.padEnd(16)} ${value.toLocaleString("en").padStart(12)}`)
const struck = [...new Set(reports.flatMap(({ killedIn }) => Object.keys(killedIn)))].toSorted()
for (const act of struck) console.log(`killed in: ${act}: ${sum(({ killedIn }) => killedIn[act] ?? 0)}`)
const faults = [...new Set(reports.flatMap(({ failedCalls }) => Object.keys(failedCalls)))].toSorted()
for (const mode of faults)
  console.log(`failed calls, disk ${mode}: ${sum(({ failedCalls }) => failedCalls[mode] ?? 0)}`)
if (problems > 0)
  console.log(
    `failed: seeds ${reports
      .filter((r) => r.problems.length > 0)
      .map((r) => r.seed)
      .join(", ")}`
  )
process.exit(problems === 0 && reports.length === count ? 0 : 1)

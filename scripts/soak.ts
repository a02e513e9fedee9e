/**
 * A thousand sessions for minutes: nothing lost, nothing twice, memory flat.
 *
 * `npm run soak [-- --minutes 3] [--sessions 1000] [--seed 1]`
 */
import { parseArgs } from "node:util"
import { flood, isFlat, soak } from "../test/crash/soak.js"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "3" },
    sessions: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" }
  }
})
const mib = (bytes: number) => `${(bytes / 1_048_576).toFixed(1)} MiB`

const result = await soak({
  sessions: Number(values.sessions),
  millis: Number(values.minutes) * 60_000,
  seed: Number(values.seed),
  told: ({ at, heap, rss }, figures) =>
    console.error(
      `${at.toFixed(0).padStart(4)} s  heap ${mib(heap)}  process ${mib(rss)}  jobs ${figures.jobs}  events ${figures.events}`
    )
})
const deaf = await flood(10_000)
const flat = isFlat(result.samples)
const bounded = deaf.peak - deaf.before < 64 * 1_048_576
for (const problem of result.problems.slice(0, 100)) console.error(problem)
const rows: ReadonlyArray<readonly [string, number | string]> = [
  ["sessions", result.sessions],
  ["resumes", result.resumes],
  ["sockets cut", result.cuts],
  ["jobs", result.jobs],
  ["events checked", result.events],
  ["events lost", result.lost],
  ["events repeated", result.repeated],
  ["other problems", result.problems.length],
  ["heap at the end", mib(result.samples.at(-1)?.heap ?? 0)],
  ["peak memory", mib(result.peakRss)],
  ["memory", flat ? "flat" : "GROWS"],
  ["deaf reader", `${deaf.emitted} events, heap +${mib(deaf.peak - deaf.before)}${bounded ? "" : " TOO MUCH"}`]
]
for (const [name, value] of rows) console.log(`${name.padEnd(16)} ${value.toLocaleString("en").padStart(12)}`)
process.exit(result.problems.length === 0 && flat && bounded ? 0 : 1)

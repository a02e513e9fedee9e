/**
 * The guard of the hot path: `npm run bench:guard` measures what each event, job, chunk and frame costs in time and in memory, and
 * fails where that is more than recorded. The times depend on what else the machine does, so it is not part of the tests: run it
 * when you touch the hot path, on an idle machine. With `-- --record` the measurement becomes what is recorded: do that when the
 * hot path has become cheaper, or dearer for a reason.
 */
import { complaints, type Costs, measure, record, recorded } from "./measured.js"

const runs = 5

const now = await measure(runs)
const before = recorded()

const print = (costs: Costs, was: Costs, digits: number): void => {
  for (const [name, cost] of Object.entries(costs)) {
    const old = was[name]
    const beside = old === undefined ? "" : `, recorded ${old} (${(cost / old).toFixed(2)})`
    console.log(`  ${name}: ${cost.toFixed(digits)}${beside}`)
  }
}

console.log(`plain work: ${now.plainMillis.toFixed(1)} ms; the least of ${runs} runs, in units of it:`)
print(now.ratios, before.ratios ?? {}, 2)
console.log("bytes that are allocated for each:")
print(now.bytes, before.bytes ?? {}, 0)
if (process.argv.includes("--record")) record(now)
else {
  const lines = complaints(now, before)
  for (const line of lines) console.error(line)
  if (lines.length > 0) {
    console.error("if it has to cost more: npm run bench:guard -- --record")
    process.exitCode = 1
  }
}

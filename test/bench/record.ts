/**
 * The guard of the hot path: `npm run bench:guard` measures it, shows it beside what is recorded, and fails where it has become
 * too slow. With `-- --record` it becomes what is recorded: do that when the hot path has become faster, or slower for a reason.
 */
import { complaints, lesser, measure, record, recorded } from "./measured.js"

const runs = 5

const first = await measure()
let { ratios } = first
for (let run = 1; run < runs; run++) ratios = lesser(ratios, (await measure()).ratios)
const before = recorded()
console.log(`plain work: ${first.plainMillis.toFixed(1)} ms; the least of ${runs} runs, in units of it:`)
for (const [name, ratio] of Object.entries(ratios)) {
  const was = before[name]
  console.log(
    `${name}: ${ratio.toFixed(2)}${was === undefined ? "" : `, recorded ${was} (${(ratio / was).toFixed(2)})`}`
  )
}
if (process.argv.includes("--record")) record(ratios)
else {
  const wrong = complaints(ratios, before)
  for (const line of wrong) console.error(line)
  if (wrong.length > 0) {
    console.error("if it has to be slower: npm run bench:guard -- --record")
    process.exitCode = 1
  }
}

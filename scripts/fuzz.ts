/**
 * Sends frames by the million to built runtimes and built clients, in memory and over sockets, and checks that nothing dies, hangs, grows or
 * is answered wrongly. Prints its figures; exits 1 where something is wrong, and says how to repeat it.
 *
 * `npm run fuzz [-- --seconds 60] [--frames N] [--seed N] [--from K] [--lane name] [--workers 2]`. `--from` begins with the conversation that
 * has the frame K; `--trace` shows the frames of that one conversation; `--counts` what else was counted.
 */
import { parseArgs } from "node:util"
import { type Outcome, perConversation } from "./fuzz/lane.js"
import { type LaneName, laneNames, lanes } from "./fuzz/lanes.js"
import { runTask } from "./fuzz/thread.js"

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    frames: { type: "string", default: "Infinity" },
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "0" },
    lane: { type: "string" },
    workers: { type: "string", default: "2" },
    counts: { type: "boolean", default: false },
    trace: { type: "boolean", default: false }
  }
})

const number = (name: "seconds" | "frames" | "seed" | "from" | "workers"): number => {
  const value = Number(values[name])
  if (Number.isNaN(value) || value < 0)
    throw new Error(`--${name} must be a number, for example 60; it is ${values[name]}`)
  return value
}
const isLane = (name: string): name is LaneName => (laneNames as ReadonlyArray<string>).includes(name)
if (values.lane !== undefined && !isLane(values.lane)) {
  throw new Error(`--lane must be one of ${laneNames.join(", ")}; it is ${values.lane}`)
}

const chosen: ReadonlyArray<LaneName> = values.lane === undefined ? laneNames : [values.lane as LaneName]
const workers = values.trace ? 1 : Math.max(1, number("workers"))
const shares = chosen.reduce((sum, name) => sum + lanes[name].share, 0)
const shareOf = (name: LaneName): number => lanes[name].share / shares
const seed = number("seed")

/** Frames between two looks at what lives. */
const rest = 100_000

const base = { seed, step: workers, rest, beside: undefined, trace: false }

const run = (name: LaneName, worker: number): Promise<Outcome> =>
  runTask({
    ...base,
    lane: name,
    from: number("from") + worker * perConversation,
    frames: (number("frames") * shareOf(name)) / workers,
    millis: number("seconds") * 1_000 * shareOf(name)
  })

/** One conversation by itself, on a new runtime. */
const alone = (name: LaneName, conversation: number, trace: boolean): Promise<Outcome> =>
  runTask({
    ...base,
    lane: name,
    from: conversation * perConversation,
    frames: 1,
    millis: 60_000,
    beside: 1,
    trace
  })

if (values.trace) {
  if (values.lane === undefined) throw new Error("--trace needs --lane")
  const { problems } = await alone(values.lane as LaneName, Math.floor(number("from") / perConversation), true)
  for (const { what } of problems) console.log(`wrong: ${what}`)
  process.exit(problems.length > 0 ? 1 : 0)
}

const started = performance.now()
const usedBefore = process.cpuUsage()
const outcomes: Array<readonly [LaneName, Outcome]> = []

const worker = async (at: number): Promise<void> => {
  for (const name of chosen) {
    const outcome = await run(name, at)
    outcomes.push([name, outcome])
    const each = Math.round((outcome.frames / outcome.millis) * 1_000)
    console.error(
      `${name}, worker ${at + 1}: ${outcome.frames.toLocaleString("en")} frames, ${each.toLocaleString("en")} in a second`
    )
  }
}
await Promise.all(Array.from({ length: workers }, (_, at) => worker(at)))

const seconds = (performance.now() - started) / 1_000
const total = (of: (outcome: Outcome) => number, only?: LaneName): number =>
  outcomes.reduce((sum, [name, outcome]) => sum + (only === undefined || only === name ? of(outcome) : 0), 0)
const mebibytes = (bytes: number | undefined): number => Math.round((bytes ?? 0) / 1_048_576)

const columns = (cells: ReadonlyArray<string>): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(15) : cell.padStart(14))).join("")
console.log(columns(["lane", "frames", "a second", "answers", "connections", "slowest ping", "heap, MiB"]))
for (const name of chosen) {
  const own = outcomes.filter(([lane]) => lane === name).map(([, outcome]) => outcome)
  const heaps = own.map(({ heaps }) => `${mebibytes(heaps[0])}-${mebibytes(heaps.at(-1))}`)
  const rate = own.reduce((sum, { frames, millis }) => sum + (frames / millis) * 1_000, 0)
  console.log(
    columns([
      name,
      total(({ frames }) => frames, name).toLocaleString("en"),
      Math.round(rate).toLocaleString("en"),
      total(({ answers }) => answers, name).toLocaleString("en"),
      total(({ connections }) => connections, name).toLocaleString("en"),
      `${Math.round(Math.max(0, ...own.map(({ slowest }) => slowest)))} ms`,
      heaps.join(" ")
    ])
  )
  if (values.counts) {
    const names = [...new Set(own.flatMap(({ counts }) => Object.keys(counts)))].toSorted()
    console.log(`  ${names.map((count) => `${count} ${total(({ counts }) => counts[count] ?? 0, name)}`).join(", ")}`)
  }
  console.log(`  goes on with --lane ${name} --seed ${seed} --from ${Math.max(...own.map(({ next }) => next))}`)
}
const frames = total((outcome) => outcome.frames)
const used = process.cpuUsage(usedBefore)
const processor = (used.user + used.system) / 1_000_000
console.log(
  `${frames.toLocaleString("en")} frames in ${Math.round(seconds)} s, ${Math.round(frames / seconds).toLocaleString("en")} in a second, ` +
    `${Math.round(frames / processor).toLocaleString("en")} in a second of one processor`
)

/** How many problems are tried again by themselves. */
const retried = 5

const wrong = outcomes.flatMap(([name, { problems }]) => problems.map((problem) => [name, problem] as const))
for (const [at, [name, problem]] of wrong.entries()) {
  console.log(`WRONG ${name}, seed ${seed}, frame ${problem.frame}: ${problem.what}`)
  const { conversation } = problem
  console.log(`  npm run fuzz -- --lane ${name} --seed ${seed} --from ${conversation * perConversation} --trace`)
  if (at >= retried) continue
  const again = await alone(name, conversation, false)
  console.log(
    again.problems.length > 0
      ? "  it repeats by itself"
      : "  by itself its conversation is right: it needs what came before or beside it"
  )
}
process.exit(wrong.length === 0 && frames > 0 ? 0 : 1)

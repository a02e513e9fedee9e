/** What the figures should be: ratios within one invocation, where a slow machine slows both sides, and plain bounds. */
import { corkedName, observerCounts, observerTime, sqliteLoopName } from "./columns.js"
import type { Figure } from "./measure.js"
import { cpuOf } from "./rawColumns.js"
import { type Sample, sampleOf } from "./stats.js"
import { besideName, besides, tokenName, tokenStreams, waitingName } from "./waitColumns.js"

/** A target, and what was measured. */
export interface Verdict {
  readonly name: string
  /** Undefined for a value that is told for comparison only. */
  readonly bound: string | undefined
  /** A ratio, or the value in the unit of its name; undefined where a figure that it needs was not measured. */
  readonly value: number | undefined
  readonly met: boolean | undefined
}

/**
 * Runs that were taken in turns are compared turn by turn, and the median of the ratios counts: what else the machine does
 * meanwhile then weighs on both.
 */
const over = (a: Sample | undefined, b: Sample | undefined): number | undefined =>
  a === undefined || b === undefined
    ? undefined
    : a.runs.length === b.runs.length
      ? sampleOf(a.runs.map((value, i) => value / b.runs[i]!)).median
      : a.median / b.median

type Store = "memory" | "sqlite"

/** Of the raw client's figures, in the unit that the target's name says. */
const ofJobs: ReadonlyArray<{
  readonly name: string
  readonly figure: string
  readonly unit: string
  readonly sign: ">=" | "<="
  readonly bound: { readonly [store in Store]: number }
}> = [
  {
    name: "jobs/s, 64 at once",
    figure: "64 at once",
    unit: "jobs/s",
    sign: ">=",
    bound: { memory: 12_000, sqlite: 8_500 }
  },
  {
    name: "jobs/s, 64 sessions",
    figure: "64 sessions",
    unit: "jobs/s",
    sign: ">=",
    bound: { memory: 9_000, sqlite: 6_000 }
  },
  { name: "echo p50, ms", figure: "p50", unit: "ms", sign: "<=", bound: { memory: 0.25, sqlite: 0.4 } },
  { name: "echo p99, ms", figure: "p99", unit: "ms", sign: "<=", bound: { memory: 2, sqlite: 3 } },
  {
    name: "µs of a job, 64 at once",
    figure: cpuOf.at64,
    unit: "µs/job",
    sign: "<=",
    bound: { memory: 50, sqlite: 105 }
  },
  {
    name: "µs of a job, 64 sessions",
    figure: cpuOf.sessions,
    unit: "µs/job",
    sign: "<=",
    bound: { memory: 110, sqlite: 160 }
  },
  {
    name: "µs of a job, one at a time",
    figure: cpuOf.one,
    unit: "µs/job",
    sign: "<=",
    bound: { memory: 150, sqlite: 380 }
  }
]

/** Figures by their places, and the verdicts that are collected. */
class Judge {
  readonly found: Array<Verdict> = []
  readonly figures: ReadonlyArray<Figure>

  constructor(figures: ReadonlyArray<Figure>) {
    this.figures = figures
  }

  sample(column: string, name: string, backend: string, unit?: string): Sample | undefined {
    return this.figures.find(
      (figure) => figure.column === column && figure.name === name && (unit === undefined || figure.unit === unit)
    )?.samples[backend]
  }

  check(name: string, value: number | undefined, sign: ">=" | "<=", bound: number): void {
    const met = value === undefined ? undefined : sign === ">=" ? value >= bound : value <= bound
    this.found.push({ name, bound: `${sign} ${bound.toLocaleString("en")}`, value, met })
  }

  compare(name: string, value: number | undefined): void {
    this.found.push({ name, bound: undefined, value, met: undefined })
  }
}

const jobs = (judge: Judge, store: Store): void => {
  for (const { bound, figure, name, sign, unit } of ofJobs) {
    judge.check(`job, ${store}: ${name}`, judge.sample("job", figure, store, unit)?.median, sign, bound[store])
  }
  const traced = over(judge.sample("job", cpuOf.traced, store), judge.sample("job", cpuOf.at64, store))
  judge.check(`job, ${store}: µs of one that logs in a span, times echo`, traced, "<=", 2.5)
  judge.compare(
    `echo p50, ${store}: times the floor, own client`,
    over(judge.sample("echo", "p50", store), judge.sample("echo", "p50", "floor"))
  )
}

const floors = (judge: Judge, store: Store): void => {
  const corkedFloor = "of the floor with one write a turn"
  const raw = over(judge.sample("data", "events", store), judge.sample("data", "events", "floor"))
  judge.check(`events, ${store}, raw client: ${corkedFloor}`, raw, ">=", { memory: 0.7, sqlite: 0.55 }[store])
  const own = judge.sample("events", "one job", store)
  judge.compare(`events, ${store}, own client: ${corkedFloor}`, over(own, judge.sample("events", corkedName, "floor")))
  judge.compare(
    `events, ${store}, own client: of the floor with a write a frame`,
    over(own, judge.sample("events", "one job", "floor"))
  )
  const least = { utf8: { memory: 0.6, sqlite: 0.4 }, base64: { memory: 0.4, sqlite: 0.25 } } as const
  for (const encoding of ["utf8", "base64"] as const) {
    const [stream, floor] = [judge.sample("stream", encoding, store), judge.sample("stream", encoding, "floor")]
    judge.check(
      `stream ${encoding}, ${store}, own client: of the floor`,
      over(stream, floor),
      ">=",
      least[encoding][store]
    )
    const name = `stream ${encoding}, ${store}, raw client: of the floor`
    const ratio = over(
      judge.sample("data", `stream ${encoding}`, store),
      judge.sample("data", `stream ${encoding}`, "floor")
    )
    if (encoding === "utf8" && store === "memory") judge.check(name, ratio, ">=", 0.95)
    else judge.compare(name, ratio)
  }
  if (store === "sqlite") {
    const loop = judge.sample("stream", sqliteLoopName, "floor")
    judge.compare(
      "stream utf8, sqlite, own client: of a bare SQLite loop",
      over(judge.sample("stream", "utf8", store), loop)
    )
  }
}

const waits = (judge: Judge, store: Store): void => {
  for (const streams of tokenStreams) {
    for (const [quantile, bound] of [
      ["p50", 2],
      ["p99", 10]
    ] as const) {
      const value = judge.sample("tokens", tokenName(streams, quantile), store)?.median
      const name = `tokens, ${store}: ms of ${tokenName(streams, quantile)}`
      if (store === "sqlite" && streams === 1_000) judge.check(name, value, "<=", bound)
      else judge.compare(name, value)
    }
  }
  for (const beside of besides) {
    for (const [value, bound] of [
      ["p99", 50],
      ["longest", 100]
    ] as const) {
      const name = besideName(beside, value)
      judge.check(`fairness, ${store}: ms of ${name}`, judge.sample("fairness", name, store)?.median, "<=", bound)
    }
  }
  for (const name of Object.values(waitingName)) {
    judge.check(`waiting, ${store}: KB of ${name}`, judge.sample("waiting", name, store)?.median, "<=", 12)
  }
}

const others = (judge: Judge, store: Store): void => {
  judge.check(
    `replay, ${store}: of the live rate`,
    over(judge.sample("replay", "resumed", store), judge.sample("replay", "live", store)),
    ">=",
    1
  )
  const alone = judge.sample("observers", observerTime(0), store)?.median
  for (const observers of observerCounts.filter((n) => n > 1)) {
    const with_ = judge.sample("observers", observerTime(observers), store)?.median
    judge.check(
      `observers, ${store}: each of ${observers}, of the first`,
      alone === undefined || with_ === undefined ? undefined : (with_ - alone) / observers / alone,
      "<=",
      0.35
    )
  }
  for (const figure of judge.figures.filter(({ column, name }) => column === "idle" && name.endsWith("held"))) {
    judge.check(`idle, ${store}: KB of each of ${figure.name}`, figure.samples[store]?.median, "<=", 15)
  }
  // What is kept for history is let go of in steps, so that nothing at all is not to be seen.
  const slope = judge.sample("buffered", "sent and acknowledged", store)?.median
  judge.check(`memory, ${store}: bytes for each acknowledged event`, slope, "<=", 16)
  judge.check(
    `start, ${store}: ms until it listens`,
    judge.sample("start", "until it listens", store)?.median,
    "<=",
    500
  )
}

const log = (judge: Judge): void => {
  for (const unit of ["µs/event", "µs/job"]) {
    const lengths = judge.figures.filter((figure) => figure.column === "log" && figure.unit === unit)
    const [shortest, longest] = [lengths[0], lengths.at(-1)]
    const name = longest === undefined ? "the longest" : longest.name
    const ratio = over(longest?.samples["sqlite"], shortest?.samples["sqlite"])
    if (unit === "µs/event") judge.check(`log: an event at ${name}, of the shortest`, ratio, "<=", 1.2)
    else judge.compare(`log: a job at ${name}, of the shortest`, ratio)
  }
}

/** Every target, met or not, and what is told beside them. */
export const verdicts = (figures: ReadonlyArray<Figure>): ReadonlyArray<Verdict> => {
  const judge = new Judge(figures)
  for (const part of [jobs, floors, waits, others])
    for (const store of ["memory", "sqlite"] as const) part(judge, store)
  judge.check("job, memory: KB allocated", judge.sample("job", "allocated, echo", "memory")?.median, "<=", 32)
  log(judge)
  return judge.found
}

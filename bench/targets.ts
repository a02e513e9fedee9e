/** What the figures should be, as ratios within one invocation: a slow machine slows both sides. */
import { corkedName, type Figure, observerCounts, observerTime } from "./columns.js"
import type { BackendName } from "./processes.js"
import { type Sample, sampleOf } from "./stats.js"

/** A target, and what was measured. */
export interface Verdict {
  readonly name: string
  /** Undefined for a ratio that is told for comparison only. */
  readonly bound: string | undefined
  /** Undefined where a figure that it needs was not measured. */
  readonly ratio: number | undefined
  readonly met: boolean | undefined
}

/** The echo jobs a second that go with a floor of so many messages a second. */
const jobsPerFloor = { memory: 5_000 / 170_000, sqlite: 3_000 / 170_000 }

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

export const verdicts = (figures: ReadonlyArray<Figure>): ReadonlyArray<Verdict> => {
  const sample = (column: string, name: string, backend: BackendName): Sample | undefined =>
    figures.find((figure) => figure.column === column && figure.name === name)?.samples[backend]
  const found: Array<Verdict> = []
  const check = (name: string, ratio: number | undefined, sign: ">=" | "<=", bound: number): void => {
    const met = ratio === undefined ? undefined : sign === ">=" ? ratio >= bound : ratio <= bound
    found.push({ name, bound: `${sign} ${Number(bound.toPrecision(3))}`, ratio, met })
  }
  const stores = ["memory", "sqlite"] as const

  for (const store of stores) {
    const ours = sample("events", "one job", store)
    check(
      `events, ${store}: of the floor`,
      over(ours, sample("events", "one job", "floor")),
      ">=",
      {
        memory: 0.6,
        sqlite: 0.4
      }[store]
    )
    found.push({
      name: `events, ${store}: of the floor with corked writes`,
      bound: undefined,
      ratio: over(ours, sample("events", corkedName, "floor")),
      met: undefined
    })
  }
  for (const store of stores) {
    check(
      `echo p50, ${store}: times the floor`,
      over(sample("echo", "p50", store), sample("echo", "p50", "floor")),
      "<=",
      { memory: 4, sqlite: 6 }[store]
    )
  }
  for (const store of stores) {
    const ours = sample("jobs", "64 at once", store)?.median
    const floor = sample("events", "one job", "floor")?.median
    check(
      `jobs 64 at once, ${store}: of the floor's events`,
      ours === undefined || floor === undefined ? undefined : ours / floor,
      ">=",
      jobsPerFloor[store]
    )
  }
  for (const store of stores) {
    for (const encoding of ["utf8", "base64"]) {
      check(
        `stream ${encoding}, ${store}: of the floor`,
        over(sample("stream", encoding, store), sample("stream", encoding, "floor")),
        ">=",
        0.5
      )
    }
  }
  for (const store of stores) {
    check(
      `replay, ${store}: of the live rate`,
      over(sample("replay", "resumed", store), sample("replay", "live", store)),
      ">=",
      1
    )
  }
  for (const store of stores) {
    const alone = sample("observers", observerTime(0), store)?.median
    for (const observers of observerCounts.filter((n) => n > 1)) {
      const with_ = sample("observers", observerTime(observers), store)?.median
      check(
        `observers, ${store}: each of ${observers}, of the first`,
        alone === undefined || with_ === undefined ? undefined : (with_ - alone) / observers / alone,
        "<=",
        0.35
      )
    }
  }
  for (const store of stores) {
    for (const figure of figures.filter(({ column, name }) => column === "idle" && name.endsWith("held"))) {
      check(`idle, ${store}: KB of each of ${figure.name}`, figure.samples[store]?.median, "<=", 25)
    }
  }
  for (const store of stores) {
    const slope = sample("buffered", "sent and acknowledged", store)?.median
    // What is kept for history is let go of in steps, so that nothing at all is not to be seen.
    check(`memory, ${store}: bytes for each acknowledged event`, slope, "<=", 16)
  }
  for (const unit of ["µs/event", "µs/job"]) {
    const lengths = figures.filter((figure) => figure.column === "log" && figure.unit === unit)
    const [shortest, longest] = [lengths[0], lengths.at(-1)]
    const name = longest === undefined ? "the longest" : longest.name
    const ratio = over(longest?.samples.sqlite, shortest?.samples.sqlite)
    if (unit === "µs/event") check(`log: an event at ${name}, of the shortest`, ratio, "<=", 1.2)
    else found.push({ name: `log: a job at ${name}, of the shortest`, bound: undefined, ratio, met: undefined })
  }
  return found
}

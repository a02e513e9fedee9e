/** What the figures should be, as ratios within one invocation: a slow machine slows both sides. */
import type { Figure } from "./columns.js"
import type { BackendName } from "./processes.js"

/** A target, and what was measured. `ratio` is undefined where a figure that it needs was not measured. */
export interface Verdict {
  readonly name: string
  readonly bound: string
  readonly ratio: number | undefined
  readonly met: boolean | undefined
}

/** The echo jobs a second that go with a floor of so many messages a second. */
const jobsPerFloor = { memory: 5_000 / 170_000, sqlite: 3_000 / 170_000 }

export const verdicts = (figures: ReadonlyArray<Figure>): ReadonlyArray<Verdict> => {
  const value = (column: string, name: string, backend: BackendName): number | undefined =>
    figures.find((figure) => figure.column === column && figure.name === name)?.samples[backend]?.median
  const over = (a: number | undefined, b: number | undefined): number | undefined =>
    a === undefined || b === undefined ? undefined : a / b
  const found: Array<Verdict> = []
  const check = (name: string, ratio: number | undefined, sign: ">=" | "<=", bound: number): void => {
    const met = ratio === undefined ? undefined : sign === ">=" ? ratio >= bound : ratio <= bound
    found.push({ name, bound: `${sign} ${bound.toPrecision(3)}`, ratio, met })
  }
  const stores = ["memory", "sqlite"] as const
  const floor = (column: string, name: string) => value(column, name, "floor")

  for (const store of stores) {
    check(
      `events, ${store}: of the floor`,
      over(value("events", "one job", store), floor("events", "one job")),
      ">=",
      { memory: 0.6, sqlite: 0.4 }[store]
    )
  }
  for (const store of stores) {
    check(
      `echo p50, ${store}: times the floor`,
      over(value("echo", "p50", store), floor("echo", "p50")),
      "<=",
      {
        memory: 4,
        sqlite: 6
      }[store]
    )
  }
  for (const store of stores) {
    check(
      `jobs 64 at once, ${store}: of the floor's messages`,
      over(value("jobs", "64 at once", store), floor("events", "one job")),
      ">=",
      jobsPerFloor[store]
    )
  }
  for (const store of stores) {
    for (const encoding of ["utf8", "base64"]) {
      check(
        `stream ${encoding}, ${store}: of the floor`,
        over(value("stream", encoding, store), floor("stream", encoding)),
        ">=",
        0.5
      )
    }
  }
  return found
}

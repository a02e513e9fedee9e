/** What is measured. Each column starts processes of its own, so that what one leaves behind does not weigh on the next. */
import { type Backend, type BackendName, startBackend } from "./processes.js"
import { type Sample, sampleOf } from "./stats.js"

/** How much is done. */
export interface Size {
  readonly rounds: number
  readonly events: number
  readonly echoes: number
  readonly jobs: number
  readonly streamBytes: number
}

export const full: Size = { rounds: 5, events: 100_000, echoes: 3_000, jobs: 20_000, streamBytes: 134_217_728 }
export const quick: Size = { rounds: 3, events: 50_000, echoes: 500, jobs: 2_000, streamBytes: 33_554_432 }

/** What a column needs to know. */
export interface Setting {
  readonly size: Size
  readonly profile: string | undefined
  readonly progress: (text: string) => void
}

/** One measured value on each backend that has it. */
export interface Figure {
  readonly column: string
  readonly name: string
  readonly unit: string
  readonly samples: { readonly [backend in BackendName]?: Sample }
}

const all: ReadonlyArray<BackendName> = ["floor", "memory", "sqlite"]

/** One kind of run, and the figures that it answers. */
interface Spec {
  readonly figures: ReadonlyArray<{ readonly name: string; readonly unit: string }>
  /** Where it is run; default everywhere. */
  readonly on?: ReadonlyArray<BackendName>
  readonly run: (backend: Backend) => Promise<ReadonlyArray<number>>
}

/** Runs every spec on every backend, in turns, after one run of each that does not count. */
const measure = async (
  column: string,
  setting: Setting,
  specs: ReadonlyArray<Spec>,
  names: ReadonlyArray<BackendName> = all
): Promise<ReadonlyArray<Figure>> => {
  const { profile, progress, size } = setting
  const started = await Promise.allSettled(names.map((name) => startBackend(name, { column, profile })))
  const backends = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []))
  try {
    for (const result of started) if (result.status === "rejected") throw result.reason
    const figures: Array<Figure> = []
    for (const spec of specs) {
      const on = spec.on ?? names
      const runs = new Map<BackendName, Array<ReadonlyArray<number>>>(names.map((backend) => [backend, []]))
      for (let round = 0; round <= size.rounds; round++) {
        progress(`${column}, ${spec.figures[0]!.name}: ${round === 0 ? "warm-up" : `run ${round} of ${size.rounds}`}`)
        for (const backend of backends.filter(({ name }) => on.includes(name))) {
          const values = await spec.run(backend)
          if (round > 0) runs.get(backend.name)!.push(values)
        }
      }
      for (const [i, { name, unit }] of spec.figures.entries()) {
        const samples = Object.fromEntries(
          on.map((backend) => [backend, sampleOf(runs.get(backend)!.map((values) => values[i]!))])
        )
        figures.push({ column, name, unit, samples })
      }
    }
    return figures
  } finally {
    await Promise.all(backends.map((backend) => backend.stop()))
  }
}

/** A spec with one figure: how many a second. */
const rate = (name: string, unit: string, count: number, task: string, args: object): Spec => ({
  figures: [{ name, unit }],
  run: async ({ client }) => {
    const { ms } = await client.call<{ readonly ms: number }>("run", { task, args })
    return [count / (ms / 1000)]
  }
})

/** A whole number of events for each of the jobs. */
const events = (count: number, streams: number): Spec =>
  rate(streams === 1 ? "one job" : `${streams} jobs at once`, "events/s", count - (count % streams), "events", {
    count: count - (count % streams),
    streams
  })

export const corkedName = "one job, a turn's frames in one write"

/** The floor at its best. */
const corked = (count: number): Spec => ({
  ...rate(corkedName, "events/s", count, "events", { count, streams: 1, corked: true }),
  on: ["floor"]
})

/** Every column, by the name under which it can be asked for. */
export const columns: { readonly [name: string]: (setting: Setting) => Promise<ReadonlyArray<Figure>> } = {
  events: (setting) =>
    measure("events", setting, [
      events(setting.size.events, 1),
      corked(setting.size.events),
      events(setting.size.events, 16)
    ]),
  echo: (setting) =>
    measure("echo", setting, [
      {
        figures: [
          { name: "p50", unit: "µs" },
          { name: "p99", unit: "µs" }
        ],
        run: async ({ client }) => {
          const { p50, p99 } = await client.call<{ readonly p50: number; readonly p99: number }>("run", {
            task: "echo",
            args: { count: setting.size.echoes }
          })
          return [p50, p99]
        }
      }
    ]),
  jobs: (setting) => {
    const { jobs } = setting.size
    const few = jobs / 4
    return measure("jobs", setting, [
      rate("one after another", "jobs/s", few, "jobs", { count: few, atOnce: 1 }),
      rate("64 at once", "jobs/s", jobs, "jobs", { count: jobs, atOnce: 64 })
    ])
  },
  stream: (setting) => {
    const bytes = setting.size.streamBytes
    return measure(
      "stream",
      setting,
      (["utf8", "base64"] as const).map((encoding) =>
        rate(encoding, "MB/s", bytes / 1e6, "stream", { bytes, chunk: 65_536, encoding })
      )
    )
  }
}

/** What is measured. Each column starts processes of its own, so that what one leaves behind does not weigh on the next. */
import { type Backend, type BackendName, startBackend } from "./processes.js"
import { coldStart } from "./start.js"
import { type Sample, sampleOf } from "./stats.js"

/** How much is done. */
export interface Size {
  readonly rounds: number
  /** Rounds of what needs fresh processes for each run. */
  readonly freshRounds: number
  readonly events: number
  readonly echoes: number
  readonly jobs: number
  readonly streamBytes: number
  /** Events of a job with 0, 1, 10 and 100 observers. */
  readonly observed: readonly [number, number, number, number]
  readonly sessions: ReadonlyArray<number>
  /** Events that are acknowledged before the memory is looked at, and then again. */
  readonly acked: readonly [number, number]
  readonly logRows: ReadonlyArray<number>
}

export const full: Size = {
  rounds: 5,
  freshRounds: 3,
  events: 100_000,
  echoes: 3_000,
  jobs: 20_000,
  streamBytes: 134_217_728,
  observed: [100_000, 100_000, 20_000, 5_000],
  sessions: [1_000, 10_000],
  acked: [50_000, 400_000],
  logRows: [10_000, 100_000, 1_000_000]
}

export const quick: Size = {
  rounds: 3,
  freshRounds: 1,
  events: 40_000,
  echoes: 300,
  jobs: 1_000,
  streamBytes: 16_777_216,
  observed: [40_000, 20_000, 2_500, 400],
  sessions: [1_000],
  acked: [30_000, 80_000],
  logRows: [10_000, 100_000]
}

/** What a column needs to know. */
export interface Setting {
  readonly size: Size
  readonly profile: string | undefined
  readonly progress: (text: string) => void
}

/** One measured value on each backend that has it. */
export interface Figure {
  readonly column: string
  /** With the unit, what tells it from the column's others. */
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

/** Observers beside the owner. */
export const observerCounts = [0, 1, 10, 100] as const

export const observerTime = (observers: number): string => `${observers} observers, server time`

const observed = (observers: number, count: number): Spec => ({
  figures: [
    { name: `${observers} observers, to all of them`, unit: "events/s" },
    { name: observerTime(observers), unit: "µs/event" }
  ],
  run: async ({ client, server }) => {
    await client.call("run", { task: "observe", args: { observers, count } })
    const before = await server.call<number>("cpu")
    const { ms } = await client.call<{ readonly ms: number }>("run", { task: "observed", args: { count } })
    const after = await server.call<number>("cpu")
    return [(count * (observers + 1)) / (ms / 1000), (after - before) / count]
  }
})

/** Figures that need fresh processes for each of their runs, since what they measure stays. */
const measureFresh = async (
  column: string,
  setting: Setting,
  names: ReadonlyArray<BackendName>,
  rounds: number,
  figures: Spec["figures"],
  run: Spec["run"]
): Promise<ReadonlyArray<Figure>> => {
  const { profile, progress } = setting
  const runs = new Map<BackendName, Array<ReadonlyArray<number>>>(names.map((name) => [name, []]))
  for (let round = 1; round <= rounds; round++) {
    progress(`${column}, ${figures[0]!.name}: run ${round} of ${rounds}`)
    const once = async (name: BackendName) => {
      const backend = await startBackend(name, { column, profile })
      try {
        runs.get(name)!.push(await run(backend))
      } finally {
        await backend.stop()
      }
    }
    // Side by side, since what they measure is not time.
    const ended = await Promise.allSettled(names.map(once))
    for (const result of ended) if (result.status === "rejected") throw result.reason
  }
  return figures.map(({ name, unit }, i) => ({
    column,
    name,
    unit,
    samples: Object.fromEntries(names.map((backend) => [backend, sampleOf(runs.get(backend)!.map((v) => v[i]!))]))
  }))
}

interface Memory {
  readonly held: number
  readonly rss: number
}

/** Cold starts. The first of each is not counted: the files come from the disk then. */
const startFigure = async ({ progress, size }: Setting): Promise<Figure> => {
  const runs = new Map<BackendName, Array<number>>(all.map((name) => [name, []]))
  for (let round = 0; round <= size.rounds; round++) {
    progress(`start: run ${round} of ${size.rounds}`)
    for (const name of all) {
      const ms = await coldStart(name)
      if (round > 0) runs.get(name)!.push(ms)
    }
  }
  const samples = Object.fromEntries(all.map((name) => [name, sampleOf(runs.get(name)!)]))
  return { column: "start", name: "until it listens", unit: "ms", samples }
}

/** The same work on logs of several lengths, in turns. */
const logFigures = async ({ profile, progress, size }: Setting): Promise<ReadonlyArray<Figure>> => {
  const { events: count, logRows, rounds } = size
  const jobs = size.jobs / 10
  const backends: Array<Backend> = []
  try {
    for (const prefill of logRows) {
      progress(`log: writing ${prefill.toLocaleString("en")} rows`)
      backends.push(await startBackend("sqlite", { column: `log-${prefill}`, profile, prefill }))
    }
    const runs = backends.map((): Array<readonly [perEvent: number, perJob: number]> => [])
    for (let round = 0; round <= rounds; round++) {
      for (const [i, { client }] of backends.entries()) {
        progress(
          `log, ${logRows[i]!.toLocaleString("en")} rows: ${round === 0 ? "warm-up" : `run ${round} of ${rounds}`}`
        )
        const run = (task: string, args: object) => client.call<{ readonly ms: number }>("run", { task, args })
        const emitted = await run("events", { count, streams: 1 })
        const echoed = await run("jobs", { count: jobs, atOnce: 1 })
        if (round > 0) runs[i]!.push([(emitted.ms * 1000) / count, (echoed.ms * 1000) / jobs])
      }
    }
    return (["event", "job"] as const).flatMap((what, at) =>
      logRows.map((rows, i) => ({
        column: "log",
        name: `${rows.toLocaleString("en")} rows before`,
        unit: `µs/${what}`,
        samples: { sqlite: sampleOf(runs[i]!.map((values) => values[at]!)) }
      }))
    )
  } finally {
    await Promise.all(backends.map((backend) => backend.stop()))
  }
}

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
    const few = jobs / 5
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
  },
  observers: (setting) =>
    measure(
      "observers",
      setting,
      observerCounts.map((observers, i) => observed(observers, setting.size.observed[i]!))
    ),
  replay: (setting) => {
    const { events: count } = setting.size
    return measure(
      "replay",
      setting,
      [
        rate("live", "events/s", count, "events", { count, streams: 1 }),
        rate("resumed", "events/s", count, "replay", { count })
      ],
      ["memory", "sqlite"]
    )
  },
  idle: async (setting) => {
    const figures: Array<Figure> = []
    for (const count of setting.size.sessions) {
      const name = `${count.toLocaleString("en")} sessions`
      const found = await measureFresh(
        "idle",
        setting,
        all,
        // So many sessions are an average already.
        count > 1_000 ? 1 : setting.size.freshRounds,
        [
          { name: `${name}, held`, unit: "KB/session" },
          { name: `${name}, of the process`, unit: "KB/session" }
        ],
        async ({ client, server }) => {
          // What is made once is made by the first ones.
          await client.call("run", { task: "idle", args: { count: 100 } })
          const before = await server.call<Memory>("memory")
          await client.call("run", { task: "idle", args: { count } })
          const after = await server.call<Memory>("memory")
          return [(after.held - before.held) / count / 1000, (after.rss - before.rss) / count / 1000]
        }
      )
      figures.push(...found)
    }
    return figures
  },
  buffered: (setting) =>
    measureFresh(
      "buffered",
      setting,
      ["memory", "sqlite"],
      setting.size.freshRounds,
      [
        { name: "not yet sent", unit: "B/event" },
        { name: "sent and acknowledged", unit: "B/event" }
      ],
      async ({ client }) => {
        const { acked, buffered } = await client.call<{ readonly buffered: number; readonly acked: number }>("run", {
          task: "buffered",
          args: { count: setting.size.events, acked: setting.size.acked }
        })
        return [buffered, acked]
      }
    ),
  start: async (setting) => [await startFigure(setting)],
  log: (setting) => logFigures(setting)
}

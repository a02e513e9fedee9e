/** What is measured. Each column starts processes of its own, so that what one leaves behind does not weigh on the next. */
import {
  all,
  type Figure,
  measure,
  measureFresh,
  type Memory,
  rate,
  type Setting,
  type Spec,
  stores,
  withCpu
} from "./measure.js"
import { type Backend, startBackend } from "./processes.js"
import { rawColumns } from "./rawColumns.js"
import { coldStart } from "./start.js"
import { sampleOf } from "./stats.js"
import { waitColumns } from "./waitColumns.js"

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

/** The floor of SQLite alone. */
export const sqliteLoopName = "written by a bare SQLite loop"

/** Observers beside the owner. */
export const observerCounts = [0, 1, 10, 100] as const

export const observerTime = (observers: number): string => `${observers} observers, server time`

const observed = (observers: number, count: number): Spec => ({
  figures: [
    { name: `${observers} observers, to all of them`, unit: "events/s" },
    { name: observerTime(observers), unit: "µs/event" }
  ],
  run: async (backend) => {
    await backend.run("observe", { observers, count })
    return withCpu(count, async ({ run }) => {
      const { ms } = await run<{ readonly ms: number }>("observed", { count })
      return [(count * (observers + 1)) / (ms / 1000)]
    })(backend)
  }
})

/** Cold starts. The first of each is not counted: the files come from the disk then. */
const startFigure = async ({ progress, size }: Setting): Promise<Figure> => {
  const runs = new Map<string, Array<number>>(all.map((name) => [name, []]))
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
      for (const [i, backend] of backends.entries()) {
        progress(
          `log, ${logRows[i]!.toLocaleString("en")} rows: ${round === 0 ? "warm-up" : `run ${round} of ${rounds}`}`
        )
        const emitted = await backend.run<{ readonly ms: number }>("events", { count, streams: 1 })
        const echoed = await backend.run<{ readonly ms: number }>("jobs", { count: jobs, atOnce: 1 })
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
  ...rawColumns,
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
        run: async ({ run }) => {
          const { p50, p99 } = await run<{ readonly p50: number; readonly p99: number }>("echo", {
            count: setting.size.echoes
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
    return measure("stream", setting, [
      ...(["utf8", "base64"] as const).map((encoding) =>
        rate(encoding, "MB/s", bytes / 1e6, "stream", { bytes, chunk: 65_536, encoding })
      ),
      {
        figures: [{ name: sqliteLoopName, unit: "MB/s" }],
        on: ["floor"],
        run: async ({ server }) => {
          const { ms } = await server<{ readonly ms: number }>("sqliteLoop", { bytes, chunk: 65_536 })
          return [bytes / 1e6 / (ms / 1000)]
        }
      }
    ])
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
      stores
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
        async ({ run, server }) => {
          // What is made once is made by the first ones.
          await run("idle", { count: 100 })
          const before = await server<Memory>("memory")
          await run("idle", { count })
          const after = await server<Memory>("memory")
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
      stores,
      setting.size.freshRounds,
      [
        { name: "not yet sent", unit: "B/event" },
        { name: "sent and acknowledged", unit: "B/event" }
      ],
      async ({ run }) => {
        const { acked, buffered } = await run<{ readonly buffered: number; readonly acked: number }>("buffered", {
          count: setting.size.events,
          acked: setting.size.acked
        })
        return [buffered, acked]
      }
    ),
  start: async (setting) => [await startFigure(setting)],
  log: (setting) => logFigures(setting),
  ...waitColumns
}

/**
 * What the raw client measures: each runtime by the same frames, so that the client is no part of the difference. Processor
 * time is the server's, all of its threads; it is steadier than a rate on a machine that does other things too.
 */
import {
  all,
  type Figure,
  type Memory,
  measure,
  measureFresh,
  type Setting,
  type Spec,
  stores,
  withCpu
} from "./measure.js"
import type { Backend } from "./processes.js"

interface Took {
  readonly ms: number
}
interface Quantiles {
  readonly p50: number
  readonly p99: number
}

/** Sessions, or jobs of one session, that are at work at the same time. */
const many = 64
/** Observers of the fan-out. */
const observers = 10

export const cpuOf = {
  one: "one at a time, server time",
  at64: "64 at once, server time",
  sessions: "64 sessions, server time",
  traced: "64 at once that log in a span, server time"
} as const

/** Jobs a second, and what each costs the server. */
const jobsSpec = (name: string, cpu: string, count: number, args: object): Spec => ({
  figures: [
    { name, unit: "jobs/s" },
    { name: cpu, unit: "µs/job" }
  ],
  run: withCpu(count, async ({ run }) => {
    const { ms } = await run<Took>("jobs", { count, ...args }, "raw")
    return [count / (ms / 1000)]
  })
})

/** The floor answers requests; it has neither sessions nor agents. */
const runtimes = (peers: ReadonlyArray<Backend>): ReadonlyArray<string> => [...stores, ...peers.map(({ name }) => name)]

/** What the column `job` measures of each runtime. */
export const jobSpecs = ({ peers, size: { raw } }: Setting): ReadonlyArray<Spec> => [
  jobsSpec("64 at once", cpuOf.at64, raw.jobs, { atOnce: many }),
  {
    ...jobsSpec("64 sessions", cpuOf.sessions, raw.jobs, { atOnce: 1, sessions: many }),
    on: runtimes(peers)
  },
  // Behind the others: a few thousand jobs alone leave much of the runtime uncompiled.
  {
    figures: [
      { name: "p50", unit: "ms" },
      { name: "p99", unit: "ms" },
      { name: cpuOf.one, unit: "µs/job" }
    ],
    run: withCpu(raw.echoes, async ({ run }) => {
      const { p50, p99 } = await run<Quantiles>("echo", { count: raw.echoes }, "raw")
      return [p50 / 1000, p99 / 1000]
    })
  },
  {
    ...jobsSpec("64 at once that log in a span", cpuOf.traced, raw.jobs, { atOnce: many, agent: "traced" }),
    on: stores
  }
]

/** Bytes allocated, whether or not they were let go of: the young generation is large enough for no collection to come between. */
const allocationFlags = ["--min-semi-space-size=512", "--max-semi-space-size=512"]
const allocationJobs = 1_000

const allocated = (setting: Setting): Promise<ReadonlyArray<Figure>> =>
  measureFresh(
    "job",
    setting,
    ["memory"],
    1,
    [
      { name: "allocated, echo", unit: "KB/job" },
      { name: "allocated, logs in a span", unit: "KB/job" }
    ],
    async ({ run, server }) => {
      const of = async (agent: string) => {
        const work = (count: number) => run("jobs", { count, atOnce: many, agent }, "raw")
        // Until the engine has compiled what is hot.
        await work(4_000)
        await server<Memory>("memory")
        const before = await server<{ readonly bytes: number; readonly collections: number }>("allocated")
        await work(allocationJobs)
        const after = await server<{ readonly bytes: number; readonly collections: number }>("allocated")
        if (after.collections !== before.collections) throw new Error("a collection came between: nothing is known")
        return (after.bytes - before.bytes) / allocationJobs / 1000
      }
      return [await of("echo"), await of("traced")]
    },
    { clients: ["raw"], flags: allocationFlags }
  )

const took = (name: string, unit: string, count: number, task: string, args: object): Spec => ({
  figures: [{ name, unit }],
  run: async ({ run }) => [count / ((await run<Took>(task, args, "raw")).ms / 1000)]
})

/** What the column `data` measures of each runtime. */
export const dataSpecs = ({ peers, size: { raw } }: Setting): ReadonlyArray<Spec> => {
  const on = runtimes(peers)
  return [
    // First, while the process has no heap of earlier work that it gives back or fills.
    {
      figures: [{ name: "an idle session, of the process", unit: "KB/session" }],
      rounds: 1,
      run: async ({ rss, run }) => {
        const before = await rss()
        await run("idle", { count: raw.sessions }, "raw")
        const after = await rss()
        await run("leave", {}, "raw")
        return [before === undefined || after === undefined ? undefined : (after - before) / raw.sessions / 1000]
      }
    },
    // The floor's turn of frames is one write, as the runtime's is.
    took("events", "events/s", raw.events, "events", { count: raw.events, streams: 1, corked: true }),
    ...(["utf8", "base64"] as const).map((encoding) =>
      took(`stream ${encoding}`, "MB/s", raw.streamBytes / 1e6, "stream", {
        bytes: raw.streamBytes,
        chunk: 65_536,
        encoding
      })
    ),
    {
      ...took(
        `fan-out to ${observers} observers and the owner`,
        "deliveries/s",
        raw.fanOut * (observers + 1),
        "fanOut",
        {
          count: raw.fanOut,
          observers
        }
      ),
      on
    },
    { ...took("replay", "events/s", raw.replay, "replay", { count: raw.replay }), on },
    {
      figures: [
        { name: "ping p50", unit: "ms" },
        { name: "ping p99", unit: "ms" }
      ],
      on,
      run: async ({ run }) => {
        const { p50, p99 } = await run<Quantiles>("ping", { count: raw.pings }, "raw")
        return [p50 / 1000, p99 / 1000]
      }
    }
  ]
}

/** The columns `job` and `data`. */
export const rawColumns: { readonly [name: string]: (setting: Setting) => Promise<ReadonlyArray<Figure>> } = {
  job: async (setting) => [
    ...(await measure("job", setting, jobSpecs(setting), all, { clients: ["raw"] }, setting.peers)),
    ...(await allocated(setting))
  ],
  data: (setting) => measure("data", setting, dataSpecs(setting), all, { clients: ["raw"] }, setting.peers)
}

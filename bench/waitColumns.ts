/** How long things take beside others: tokens of many streams, pings beside a busy job; and what the server holds for what waits. */
import { type Figure, type Memory, measureFresh, measureOn, type Setting, type Spec, stores } from "./measure.js"
import { type Backend, startBackend } from "./processes.js"

interface Quantiles {
  readonly p50: number
  readonly p99: number
}

/** Jobs that emit at the same time. */
export const tokenStreams = [100, 1_000] as const
export const tokenName = (streams: number, quantile: "p50" | "p99", extra = ""): string =>
  `${streams.toLocaleString("en")} streams${extra}, ${quantile}`

const tokenSpec = (streams: number, millis: number, extra: string, client: "own" | "raw", warmUps: number): Spec => ({
  figures: (["p50", "p99"] as const).map((quantile) => ({ name: tokenName(streams, quantile, extra), unit: "ms" })),
  // A run holds thousands of events.
  rounds: 1,
  warmUps,
  run: async ({ run }) => {
    const { p50, p99 } = await run<Quantiles>("tokens", { streams, millis }, client)
    return [p50, p99]
  }
})

const tokens = async (setting: Setting): Promise<ReadonlyArray<Figure>> => {
  const { profile, size } = setting
  const clients = size.tokenClients
  /** One backend at a time: what another does meanwhile would be a wait of this one's. */
  const on = async (name: "memory" | "sqlite", extra: string, synchronous: "NORMAL" | "FULL") => {
    const backend = await startBackend(name, {
      column: `tokens${extra.replaceAll(" ", "-")}`,
      profile,
      clients,
      synchronous
    })
    const specs = tokenStreams.flatMap((streams) =>
      clients.map((client, j) =>
        tokenSpec(
          streams,
          size.tokenTime,
          client === "raw" ? `${extra} to the raw client` : extra,
          client,
          j === 0 ? 1 : 0
        )
      )
    )
    try {
      return await measureOn("tokens", setting, specs, [backend])
    } finally {
      await backend.stop()
    }
  }
  const [memory, sqlite] = [await on("memory", "", "NORMAL"), await on("sqlite", "", "NORMAL")]
  const both = memory.map((figure, i) => ({ ...figure, samples: { ...figure.samples, ...sqlite[i]!.samples } }))
  return [...both, ...(await on("sqlite", " with synchronous FULL", "FULL"))]
}

/** What others' pings are looked at beside. */
export const besides = ["nothing", "a busy agent", "a stream", "a replay", "a purge"] as const
export const besideName = (beside: string, value: "p99" | "longest"): string => `pings beside ${beside}, ${value}`

interface Beside {
  readonly name: string
  /** Done before the pings begin. */
  readonly first?: (backend: Backend) => Promise<unknown>
  readonly work: (backend: Backend) => Promise<unknown>
}

/** Others' pings while something is done. Without a warm-up: the longest wait is looked for, and the first run may have it. */
const pinged = ({ first, name, work }: Beside): Spec => ({
  figures: (["p99", "longest"] as const).map((value) => ({ name: besideName(name, value), unit: "ms" })),
  rounds: 1,
  warmUps: 0,
  run: async (backend) => {
    await first?.(backend)
    await backend.run("startPings", {}, "other")
    await work(backend)
    const { max, p99 } = await backend.run<Quantiles & { readonly max: number }>("stopPings", {}, "other")
    return [p99, max]
  }
})

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const streamed = (bytes: number) => (backend: Backend) =>
  backend.run("stream", { bytes, chunk: 65_536, encoding: "utf8" })

/** One backend after another: what one does would be a wait of the other's on two cores. */
const fairness = async (setting: Setting): Promise<ReadonlyArray<Figure>> => {
  const { profile, size } = setting
  const { busyItems, purgeBytes, purgeTime, replay, streamBytes } = size.beside
  const clients = ["own", "other"] as const
  const figures = new Map<string, Figure>()
  const on = async (name: "memory" | "sqlite", label: string, limits: object, specs: ReadonlyArray<Spec>) => {
    const backend = await startBackend(name, { column: `fairness-${label}`, profile, clients, limits })
    try {
      for (const figure of await measureOn("fairness", setting, specs, [backend])) {
        const samples = { ...figures.get(figure.name)?.samples, ...figure.samples }
        figures.set(figure.name, { ...figure, samples })
      }
    } finally {
      await backend.stop()
    }
  }
  for (const name of stores) {
    await on(name, "work", {}, [
      pinged({ name: "nothing", work: () => pause(2_000) }),
      pinged({ name: "a busy agent", work: ({ run }) => run("busy", { items: busyItems }) }),
      pinged({ name: "a stream", work: streamed(streamBytes) }),
      pinged({ name: "a replay", work: ({ run }) => run("replay", { count: replay }) })
    ])
    // The stream's job outlives its retention a moment after its end, and then goes.
    await on(name, "purge", { retainEndedFor: 1_000, sweepEvery: 1_000 }, [
      pinged({ name: "a purge", first: streamed(purgeBytes), work: () => pause(purgeTime) })
    ])
  }
  return [...figures.values()]
}

/** Jobs that run at all where others are to wait for them. */
const fewRunning = 10

export const waitingName = { sleeping: "a job that sleeps, held", pending: "a job that waits to run, held" } as const

/** What the server holds for a job that waits: for its handler, or for a place to run. */
const waiting = async (setting: Setting): Promise<ReadonlyArray<Figure>> => {
  const { size } = setting
  const bounds = { jobsPerPrincipal: 100_000, pendingJobs: 100_000 }
  const held = (name: string, runningJobs: number) =>
    measureFresh(
      "waiting",
      setting,
      stores,
      1,
      [{ name, unit: "KB/job" }],
      async ({ run, server }) => {
        // What is made once is made by the first ones.
        await run("waiting", { count: 100 })
        const before = await server<Memory>("memory")
        await run("waiting", { count: size.waiting })
        const after = await server<Memory>("memory")
        return [(after.held - before.held) / size.waiting / 1000]
      },
      {
        clients: ["raw"],
        limits: { ...bounds, runningJobs, runningJobsPerPrincipal: runningJobs, runningJobsPerAgent: runningJobs }
      }
    )
  return [...(await held(waitingName.sleeping, 100_000)), ...(await held(waitingName.pending, fewRunning))]
}

/** The columns `tokens`, `fairness` and `waiting`. */
export const waitColumns: { readonly [name: string]: (setting: Setting) => Promise<ReadonlyArray<Figure>> } = {
  tokens,
  fairness,
  waiting
}

/** Many sessions, mixed jobs, cut sockets and slow readers, for minutes: what must hold, and what the runtime's memory does. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { problemsOf } from "./checks.js"
import { type Figures, isTerminal, LedgerClient, newFigures } from "./ledger.js"
import { pause, randomOf, RuntimeProcess } from "./runtimes.js"

/** What the runtime held at a time. */
export interface Sample {
  /** Seconds since the start. */
  readonly at: number
  readonly heap: number
  readonly rss: number
}

/** What a soak came to. */
export interface Soak extends Figures {
  readonly samples: ReadonlyArray<Sample>
  readonly peakRss: number
  readonly problems: ReadonlyArray<string>
}

const agents = ["count", "count", "keyed", "steps", "spend", "stream", "parent", "tool"] as const

/** Ended jobs go soon, so that what the runtime holds does not depend on how long it has run; none that a slow reader awaits. */
const limits = {
  retainEndedFor: 20_000,
  sweepEvery: 1_000,
  sessions: 5_000,
  sessionsPerPrincipal: 5_000
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Whether the heap has stopped growing: the last third's median is at most a tenth, and 8 MiB, above the second third's. */
export const isFlat = (samples: ReadonlyArray<Sample>): boolean => {
  const third = Math.floor(samples.length / 3)
  const before = median(samples.slice(third, 2 * third).map(({ heap }) => heap))
  const after = median(samples.slice(2 * third).map(({ heap }) => heap))
  return third > 0 && after <= before * 1.1 + 8 * 1_048_576
}

/** Soaks a runtime. `told` is called with each sample. */
export const soak = async (options: {
  readonly sessions: number
  readonly millis: number
  readonly seed: number
  readonly told?: (sample: Sample, figures: Figures) => void
}): Promise<Soak> => {
  const random = randomOf(options.seed)
  const folder = mkdtempSync(join(tmpdir(), "arcp-soak-"))
  const figures = newFigures()
  const problems: Array<string> = []
  const process = new RuntimeProcess()
  await process.begin({ filename: join(folder, "arcp.db"), port: 0, limits })
  const url = await process.address()
  if (url === undefined) throw new Error(`the runtime does not start: ${process.complaints}`)
  const clients = Array.from(
    { length: options.sessions },
    (_, i) =>
      new LedgerClient({
        name: `client ${i}`,
        bearer: i % 2 === 0 ? "secret-of-alice" : "secret-of-bob",
        url: () => url,
        figures,
        wrong: (what) => problems.push(what)
      })
  )
  await Promise.all(clients.map((client) => client.ready()))

  const started = performance.now()
  const samples: Array<Sample> = []
  let working = true
  let keys = 0

  /** A job has ended: it is checked, and forgotten. */
  const settle = (client: LedgerClient): void => {
    for (const job of [...client.jobs.values()]) {
      // Before it is accepted its end may be sent once more.
      if (!job.accepted || !job.events.some(isTerminal)) continue
      problems.push(...problemsOf(job))
      client.jobs.delete(job.jobId)
    }
  }

  const worker = async (): Promise<void> => {
    while (working) {
      const client = random.pick(clients)
      const what = random.int(1, 100)
      if (what <= 6) client.cut()
      else if (what <= 9) {
        // A reader that pauses for a while; nobody else notices.
        client.read(false)
        await pause(random.int(20, 200))
        client.read(true)
      } else {
        const agent = random.pick(agents)
        const budget = agent === "parent" ? "USD:0.5" : "USD:1"
        await client.submit({
          agent,
          input: { n: random.int(1, 60), pause: random.int(1, 10) },
          // So that a socket that is cut loses no submit.
          idempotency_key: `soak-${++keys}`,
          lease_request: {
            "cost.budget": [budget],
            "agent.delegate": ["count"],
            "tool.call": ["work"]
          }
        })
      }
      for (let i = 0; i < 4; i++) settle(random.pick(clients))
    }
  }
  const sampling = (async () => {
    const every = Math.max(1_000, options.millis / 60)
    while (working) {
      await pause(every)
      const sample = { at: (performance.now() - started) / 1000, ...(await process.memory()) }
      samples.push(sample)
      options.told?.(sample, figures)
    }
  })()
  const workers = Array.from({ length: Math.min(64, options.sessions) }, worker)
  await pause(options.millis)
  working = false
  await Promise.all(workers)
  await sampling
  for (const client of clients) client.read(true)
  const until = performance.now() + 30_000
  const unfinished = () =>
    clients.filter((client) => [...client.jobs.values()].some((job) => !job.events.some(isTerminal)))
  while (unfinished().length > 0 && performance.now() < until) await pause(50)
  for (const client of unfinished()) problems.push(`${client.name}: a job has not ended`)
  for (const client of clients) {
    for (const job of client.jobs.values()) if (job.accepted) problems.push(...problemsOf(job))
    client.end()
  }
  const peakRss = process.peak
  await process.kill()
  rmSync(folder, { recursive: true, force: true })
  return { ...figures, samples, peakRss, problems }
}

/** The longest that a flood goes on, in milliseconds. */
const longest = 90_000

/**
 * A flood to a reader that never reads, for so many milliseconds and until so many events have been emitted: the largest heap of the
 * runtime meanwhile, in bytes.
 */
export const flood = async (
  millis: number,
  atLeast = 0
): Promise<{ readonly before: number; readonly peak: number; readonly emitted: number }> => {
  const folder = mkdtempSync(join(tmpdir(), "arcp-flood-"))
  const figures = newFigures()
  const process = new RuntimeProcess()
  await process.begin({ filename: join(folder, "arcp.db"), port: 0 })
  const url = (await process.address())!
  // Neither may slow the agent: it is to flood.
  const make = (name: string) =>
    new LedgerClient({
      name,
      bearer: "secret-of-alice",
      url: () => url,
      figures,
      wrong: () => undefined,
      acknowledges: false
    })
  const deaf = make("deaf")
  const other = make("other")
  await Promise.all([deaf.ready(), other.ready()])
  const before = (await process.memory()).heap
  const jobId = await deaf.submit({ agent: "count", input: { n: 1_000_000 } })
  deaf.read(false)
  let peak = before
  const emitted = async (): Promise<number> =>
    Number((await other.list()).find((job) => job["job_id"] === jobId)?.["last_event_seq"] ?? 0)
  const started = performance.now()
  let count = 0
  // As long as it takes on a busy machine, and not for ever.
  while (performance.now() - started < millis || (count < atLeast && performance.now() - started < longest)) {
    await pause(100)
    peak = Math.max(peak, (await process.memory()).heap)
    count = await emitted()
  }
  deaf.end()
  other.end()
  await process.kill()
  rmSync(folder, { recursive: true, force: true })
  return { before, peak, emitted: count }
}

/** How figures are taken: every backend in turns, and each value of a run a figure of its own. */
import { type Backend, type BackendName, type BackendOptions, startBackend } from "./processes.js"
import type { Size } from "./sizes.js"
import { type Sample, sampleOf } from "./stats.js"

/** What a column needs to know. */
export interface Setting {
  readonly size: Size
  readonly profile: string | undefined
  readonly progress: (text: string) => void
  /** Other runtimes, which the columns of the raw client measure too. */
  readonly peers: ReadonlyArray<Backend>
}

/** One measured value on each backend that has it. */
export interface Figure {
  readonly column: string
  /** With the unit, what tells it from the column's others. */
  readonly name: string
  readonly unit: string
  readonly samples: { readonly [backend: string]: Sample }
  /** Why a backend has no value, where that is not by design. */
  readonly missing?: { readonly [backend: string]: string } | undefined
}

export const all: ReadonlyArray<BackendName> = ["floor", "memory", "sqlite"]
export const stores: ReadonlyArray<"memory" | "sqlite"> = ["memory", "sqlite"]

/** One kind of run, and the figures that it answers. */
export interface Spec {
  readonly figures: ReadonlyArray<{ readonly name: string; readonly unit: string }>
  /** Where it is run; default everywhere. */
  readonly on?: ReadonlyArray<string>
  /** How often, where that is not as often as all. */
  readonly rounds?: number
  /** Runs before, which do not count; default one. */
  readonly warmUps?: number
  /** A value is undefined where the backend cannot tell it. */
  readonly run: (backend: Backend) => Promise<ReadonlyArray<number | undefined>>
}

const notSeen = "its process cannot be seen from here"

/** The runs of a spec on one backend: values, or why there are none. */
class Runs {
  readonly values: Array<ReadonlyArray<number | undefined>> = []
  failed: string | undefined

  figure(i: number): Sample | string {
    if (this.failed !== undefined) return this.failed
    const values = this.values.map((run) => run[i])
    return values.some((value) => value === undefined) ? notSeen : sampleOf(values as ReadonlyArray<number>)
  }
}

const figuresOf = (column: string, spec: Spec, runs: ReadonlyMap<string, Runs>): ReadonlyArray<Figure> =>
  spec.figures.map(({ name, unit }, i) => {
    const found = [...runs].map(([backend, run]) => [backend, run.figure(i)] as const)
    return {
      column,
      name,
      unit,
      samples: Object.fromEntries(
        found.flatMap(([backend, sample]) => (typeof sample === "string" ? [] : [[backend, sample]]))
      ),
      missing: Object.fromEntries(
        found.flatMap(([backend, sample]) => (typeof sample === "string" ? [[backend, sample] as const] : []))
      )
    }
  })

export const reasonOf = (error: unknown): string =>
  String((error as Error)?.message ?? error)
    .split("\n")[0]!
    .replace(/^Error: /, "")

/**
 * Runs every spec on every backend, in turns, after one run of each that does not count. What fails on one of ours fails the
 * benchmark; on a peer it is a figure that is missing.
 */
export const measureOn = async (
  column: string,
  { peers, progress, size }: Setting,
  specs: ReadonlyArray<Spec>,
  backends: ReadonlyArray<Backend>
): Promise<ReadonlyArray<Figure>> => {
  const figures: Array<Figure> = []
  for (const spec of specs) {
    const on = backends.filter(({ name }) => spec.on?.includes(name) ?? true)
    const runs = new Map(on.map(({ name }) => [name, new Runs()]))
    const rounds = spec.rounds ?? size.rounds
    for (let round = 1 - (spec.warmUps ?? 1); round <= rounds; round++) {
      progress(`${column}, ${spec.figures[0]!.name}: ${round <= 0 ? "warm-up" : `run ${round} of ${rounds}`}`)
      for (const backend of on) {
        const run = runs.get(backend.name)!
        if (run.failed !== undefined) continue
        try {
          const values = await spec.run(backend)
          if (round > 0) run.values.push(values)
        } catch (error) {
          if (!peers.includes(backend)) throw error
          run.failed = reasonOf(error)
        }
      }
    }
    figures.push(...figuresOf(column, spec, runs))
  }
  return figures
}

/** {@link measureOn} backends of its own. */
export const measure = async (
  column: string,
  setting: Setting,
  specs: ReadonlyArray<Spec>,
  names: ReadonlyArray<BackendName> = all,
  options: Partial<BackendOptions> = {},
  peers: ReadonlyArray<Backend> = []
): Promise<ReadonlyArray<Figure>> => {
  const { profile } = setting
  const started = await Promise.allSettled(names.map((name) => startBackend(name, { column, profile, ...options })))
  const backends = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []))
  try {
    for (const result of started) if (result.status === "rejected") throw result.reason
    return await measureOn(column, setting, specs, [...backends, ...peers])
  } finally {
    await Promise.all(backends.map((backend) => backend.stop()))
  }
}

/** Figures that need fresh processes for each of their runs, since what they measure stays. Backends run side by side. */
export const measureFresh = async (
  column: string,
  { profile, progress }: Setting,
  names: ReadonlyArray<BackendName>,
  rounds: number,
  figures: Spec["figures"],
  run: Spec["run"],
  options: Partial<BackendOptions> = {}
): Promise<ReadonlyArray<Figure>> => {
  const runs = new Map<string, Runs>(names.map((name) => [name, new Runs()]))
  for (let round = 1; round <= rounds; round++) {
    progress(`${column}, ${figures[0]!.name}: run ${round} of ${rounds}`)
    const once = async (name: BackendName) => {
      const backend = await startBackend(name, { column, profile, ...options })
      try {
        runs.get(name)!.values.push(await run(backend))
      } finally {
        await backend.stop()
      }
    }
    // Side by side, since what they measure is not time.
    const ended = await Promise.allSettled(names.map(once))
    for (const result of ended) if (result.status === "rejected") throw result.reason
  }
  return figuresOf(column, { figures, run }, runs)
}

/** A spec with one figure: how many a second. */
export const rate = (name: string, unit: string, count: number, task: string, args: object): Spec => ({
  figures: [{ name, unit }],
  run: async ({ run }) => {
    const { ms } = await run<{ readonly ms: number }>(task, args)
    return [count / (ms / 1000)]
  }
})

/** The processor time of the server for each of so many pieces of work, in microseconds, behind the values of a run. */
export const withCpu =
  (count: number, run: (backend: Backend) => Promise<ReadonlyArray<number>>): Spec["run"] =>
  async (backend) => {
    const before = await backend.cpu()
    const values = await run(backend)
    const after = await backend.cpu()
    return [...values, before === undefined || after === undefined ? undefined : (after - before) / count]
  }

/** What a server's `memory` answers: bytes that it holds after a collection, and of its process. */
export interface Memory {
  readonly held: number
  readonly rss: number
}

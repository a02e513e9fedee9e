/** One life of a store: runtimes that are killed at random points, clients that keep exact ledgers, and what must hold in the end. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cause, Effect, Exit, Layer, Logger, LogLevel, Redacted, Schedule, Stream } from "effect"
import { layer as reactivity } from "@effect/experimental/Reactivity"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { ArcpClient } from "../../src/client/index.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { type Act, acts, nextAct, type Stage } from "./acts.js"
import { differs, problemsOf, problemsOfOwners } from "./checks.js"
import { type Figures, isTerminal, LedgerClient, newFigures } from "./ledger.js"
import type { FaultMode } from "./fault.js"
import { pause, type Random, randomOf, type RuntimeProcess, type Runtimes } from "./runtimes.js"
import { StoreKeys } from "./sealed.js"
import { problemsOfTrail, trailOf } from "./trail.js"
import { placeEarlier } from "./upgrade.js"

/** What a run of a seed came to. */
export interface Report extends Figures {
  readonly seed: number
  readonly kills: number
  /** How often a kill struck in the middle of an act, by its name. */
  readonly killedIn: Readonly<Record<string, number>>
  /** How many calls failed, by the fault of the disk that they met. */
  readonly failedCalls: Readonly<Record<string, number>>
  readonly peakRss: number
  readonly problems: ReadonlyArray<string>
}

/** The share of kills that strike in the middle of an act, each of them as often. */
const aimed = 0.6

/** The share of seeds whose file is one of an earlier version. */
const upgrades = 0.25

/** How many calls that write the file an act and an upgrade may have: a kill strikes at one of them, where calls can be counted. */
const actCalls = 12
const upgradeCalls = 40

/** The share of deaths behind which the store gets another key, by a process that is killed. */
const rekeys = 0.3

/** The share of seeds whose commits wait for the disk: an fsync that fails is met there alone. */
const flushing = 0.3

/** The share of lives in which the disk fails for a while, where it can be made to. */
const faulty = 0.4
const faults: ReadonlyArray<FaultMode> = ["full", "readOnly", "noSync"]

/** How long jobs may take to end once nothing dies any more. */
const patience = 30_000

/** A typed client of its own, which is told nothing of what happens to the runtime. */
const typedClient = (url: string, random: Random, stop: () => boolean) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const problems: Array<string> = []
    let jobs = 0
    let events = 0
    while (!stop()) {
      const n = random.int(20, 150)
      const input = { n, pause: random.int(1, 10) }
      // Refused where the disk fails: it is for the program to ask again.
      const job = yield* Effect.retry(client.submit("recount", input), {
        while: (error) => error._tag === "InternalError" && error.retryable,
        schedule: Schedule.spaced(20)
      })
      const logs: Array<string> = []
      yield* Stream.runForEach(job.events, (event) =>
        Effect.sync(() => {
          events++
          if (event._tag === "log") logs.push(event.body.message)
        })
      )
      const result = (yield* job.result) as { readonly attempt: number }
      jobs++
      let expected = 1
      let attempt = 1
      for (const log of logs) {
        const at = Number(/^a(\d+) /.exec(log)?.[1])
        if (at !== attempt) {
          attempt = at
          expected = 1
        }
        if (log !== `a${attempt} c${expected++}`) problems.push(`typed client: ${job.jobId}: ${log} is not the next`)
      }
      if (expected !== n + 1 || result.attempt !== attempt) {
        problems.push(
          `typed client: ${job.jobId}: ${expected - 1} of ${n} events, attempt ${attempt} of ${result.attempt}`
        )
      }
    }
    return { events, jobs, problems }
  }).pipe(
    Effect.provide(
      ArcpClient.layer({ auth: { token: Redacted.make("secret-of-bob") }, backoff: 20, maxBackoff: 50 }).pipe(
        Layer.provide(WebSocketClient.layer({ url })),
        // That it cannot connect for a while is what is tried here.
        Layer.provideMerge(Logger.minimumLogLevel(LogLevel.Error))
      )
    )
  )

const integrity = (filename: string) =>
  Effect.gen(function* () {
    const sql = yield* SqliteClient.make({ filename })
    return yield* sql.unsafe<{ readonly integrity_check: string }>("PRAGMA integrity_check")
  }).pipe(Effect.scoped, Effect.provide(reactivity), Effect.runPromise)

/** Lives one seed. What a seed decides is the same in every run; when exactly a kill strikes is not. */
export const live = async (seed: number, runtimes: Runtimes): Promise<Report> => {
  const random = randomOf(seed)
  const folder = mkdtempSync(join(tmpdir(), "arcp-crash-"))
  const filename = join(folder, "arcp.db")
  const keys = new StoreKeys(filename)
  const flushes = random.chance(flushing)
  const begun = new Date().toISOString()
  const figures = newFigures()
  const problems: Array<string> = []
  const wrong = (what: string) => problems.push(what)
  const killedIn: Record<string, number> = {}
  const struckIn = (act: string): void => void (killedIn[act] = (killedIn[act] ?? 0) + 1)
  let port = 0
  let url = ""
  let kills = 0
  let peakRss = 0
  let process: RuntimeProcess | undefined
  const failedCalls: Record<string, number> = {}
  /** The fault that the disk of this life has had; what was refused meanwhile is answered late. */
  let disk: FaultMode | undefined

  const start = async (killWithin?: number): Promise<void> => {
    for (;;) {
      process = runtimes.next()
      await process.begin({ filename, port, key: keys.current, flushes })
      if (killWithin !== undefined) {
        // In the middle of its start.
        await pause(killWithin)
        killWithin = undefined
        kills++
        await process.kill()
        continue
      }
      const address = await process.address()
      if (address === undefined) throw new Error(`the runtime does not start: ${process.complaints}`)
      url = address
      port = Number(new URL(address).port)
      return
    }
  }

  if (random.chance(upgrades)) {
    const earlier = await placeEarlier(filename, random)
    for (let i = random.int(1, 3); i > 0; i--) {
      // Its process has loaded: what takes this long is the opening of the file.
      process = runtimes.next()
      await process.begin({ filename, port })
      kills++
      await process.killAt(random.int(0, upgradeCalls), random.int(0, 400))
      struckIn((await earlier.isEarlier()) ? "upgrade, before its end" : "upgrade, behind its end")
      const problem = await earlier.problemAfterKill()
      if (problem !== undefined) wrong(problem)
    }
  }
  await start()
  let working = true
  const client = (name: string) =>
    new LedgerClient({
      name,
      bearer: "secret-of-alice",
      url: () => url,
      figures,
      wrong,
      mayFail: () => disk !== undefined
    })
  const clients = [client("one"), client("two"), client("three")]
  const stage: Stage = {
    seed,
    random,
    clients,
    sleepers: [],
    watched: [],
    shared: [],
    keys: { keyed: 0, shared: 0 },
    wrong
  }
  const { sleepers, watched } = stage
  const done: Array<Promise<unknown>> = []
  const perform = (act: Act, owner: LedgerClient): void => {
    done.push(act.run(stage, owner, random.pick(clients.filter((candidate) => candidate !== owner))))
  }
  const typed = Effect.runPromiseExit(typedClient(url, randomOf(seed + 1_000_000), () => !working))
  const acting = (async () => {
    while (working) {
      const actor = random.pick(clients)
      // What is asked while nobody is there comes all at once later: a little of it.
      if (actor.connected || random.chance(0.1)) perform(nextAct(random), actor)
      await pause(random.int(5, 30))
    }
  })()

  const lives = random.int(2, 4)
  for (let i = 0; i < lives; i++) {
    await pause(random.int(20, 450))
    const isFaulty = random.chance(faulty)
    const mode = random.pick(faults)
    const { fault } = process!
    if (isFaulty && fault !== undefined) {
      disk = mode
      const before = fault.counts.failed
      fault.set(mode, random.int(0, 20))
      await pause(random.int(20, 400))
      failedCalls[mode] = (failedCalls[mode] ?? 0) + fault.counts.failed - before
      // Some die of it, others see it end.
      if (random.chance(0.6)) {
        fault.set("none")
        await pause(random.int(20, 300))
      }
    }
    const actor = random.pick(clients)
    if (random.chance(aimed)) {
      const act = random.pick(acts)
      await Promise.race([actor.ready(), pause(patience)])
      perform(act, actor)
      struckIn(act.name)
      await process!.killAt(random.int(0, actCalls), random.int(0, 60))
    }
    kills++
    await process!.kill()
    peakRss = Math.max(peakRss, process!.peak)
    disk = undefined
    if (random.chance(rekeys)) {
      const { problem, struck } = await keys.change(runtimes.next(), random)
      kills++
      struckIn(struck)
      if (problem !== undefined) wrong(problem)
    }
    await start(random.chance(0.2) ? random.int(0, 120) : undefined)
  }
  await pause(random.int(50, 200))
  working = false
  await acting
  /** A runtime that answers nobody any more is a finding, and not a run without an end. */
  const inTime = async (what: string, promise: Promise<unknown>): Promise<boolean> => {
    const outcome = await Promise.race([
      promise.then(
        () => undefined,
        (cause: unknown) => `${what} failed: ${String(cause)}`
      ),
      pause(patience).then(() => `${what} did not end in ${patience / 1_000} s`)
    ])
    if (outcome !== undefined) wrong(outcome)
    return outcome === undefined
  }
  /** A session of nobody's sees the whole history of what several own. */
  const compareOwners = async (): Promise<void> => {
    if (stage.shared.length === 0) return
    const judge = client("judge")
    for (const { input, jobId, owners } of stage.shared) {
      if (!(await judge.subscribe(jobId))) continue
      while (!judge.jobs.get(jobId)!.events.some(isTerminal)) await judge.change()
      const history = judge.jobs.get(jobId)!
      problems.push(...problemsOf({ ...history, agent: "shared", input }))
      problems.push(
        ...problemsOfOwners(
          history,
          owners.map((owner) => [owner.name, owner.jobs.get(jobId)])
        )
      )
    }
    judge.end()
  }
  const compare = async (): Promise<void> => {
    const exit = await typed
    if (Exit.isFailure(exit)) wrong(`the typed client failed: ${Cause.pretty(exit.cause)}`)
    else {
      figures.jobs += exit.value.jobs
      figures.events += exit.value.events
      problems.push(...exit.value.problems)
    }

    // Everything that was begun comes to its end.
    const until = performance.now() + patience
    const observing = new Set(watched.map(([, observer, jobId]) => `${observer.name} ${jobId}`))
    const unfinished = () =>
      clients.flatMap((c) =>
        [...c.jobs.values()].filter((job) => !job.events.some(isTerminal)).map((job) => [c, job] as const)
      )
    const woken = new Set<string>()
    const finish = async (): Promise<void> => {
      while (unfinished().length > 0 && performance.now() < until) {
        for (const [c, job] of unfinished()) {
          // Of a sleeper whose acceptance was lost its session knows only what it sees.
          const asleep = job.agent === undefined && job.events.at(-1)?.payload["body"]?.message === "a0 asleep"
          if (!asleep || woken.has(job.jobId) || observing.has(`${c.name} ${job.jobId}`)) continue
          woken.add(job.jobId)
          await c.request("job.cancel", { job_id: job.jobId })
        }
        await Promise.all(clients.map((c) => c.change()))
      }
    }
    await finish()
    // Whoever lost its socket last may not have heard of a job yet whose acceptance it lost with it.
    if (await inTime("the last events", Promise.all(clients.map((c) => c.drained())))) await finish()
    for (const [c, job] of unfinished()) {
      wrong(
        `${c.name}: ${job.jobId} (${job.agent ?? "unknown"}) has not ended; ${job.events.length} events, last ${JSON.stringify(job.events.at(-1))}`
      )
    }

    const isShared = new Set(stage.shared.map(({ jobId }) => jobId))
    const listed = new Map((await clients[0]!.list()).map((job) => [job["job_id"] as string, job]))
    for (const c of clients) {
      for (const job of c.jobs.values()) {
        if (observing.has(`${c.name} ${job.jobId}`) || isShared.has(job.jobId)) continue
        problems.push(...problemsOf(job))
        const row = listed.get(job.jobId)
        if (row === undefined) {
          wrong(`${job.jobId} is not listed`)
          continue
        }
        const end = job.events.find(isTerminal)
        if (end !== undefined && row["status"] !== end.payload["final_status"]) {
          wrong(`${job.jobId} is listed as ${row["status"]} and ended ${end.payload["final_status"]}`)
        }
        const own = job.seqs[job.events.findIndex(isTerminal)]
        if (row["last_event_seq"] !== own)
          wrong(`${job.jobId} is listed with ${row["last_event_seq"]}, its last is ${own}`)
      }
    }
    problems.push(...problemsOfTrail(readFileSync(trailOf(filename), "utf8"), (jobId) => listed.has(jobId)))
    for (const [owner, observer, jobId] of watched) {
      const difference = differs(owner.jobs.get(jobId)!, observer.jobs.get(jobId)!)
      if (difference !== undefined) wrong(difference)
    }
    await compareOwners()
    for (const [agent, keys] of Object.entries(stage.keys)) {
      // A file of an earlier version has jobs of its own.
      const jobs = [...listed.values()].filter(
        (job) => String(job["agent"]) === `${agent}@1.0.0` && String(job["created_at"]) >= begun
      ).length
      if (jobs !== keys) wrong(`${keys} keys of ${agent} are ${jobs} jobs`)
    }
  }
  const lastCancels = () =>
    sleepers.map(async ([owner, jobId]) => {
      // Cancelled before already, where the answer was lost: then it has ended, or is about to.
      while ((await owner.request("job.cancel", { job_id: jobId })) === undefined) await owner.ready()
    })
  const settled =
    (await inTime("what the clients asked for", Promise.all(done))) &&
    (await inTime("the last cancels", Promise.all(lastCancels()))) &&
    (await inTime("the typed client", typed))
  if (settled) await compare()

  peakRss = Math.max(peakRss, process!.peak)
  for (const c of clients) c.end()
  await process!.kill()
  const opened = await keys.problemAtEnd()
  if (opened !== undefined) wrong(opened)
  const [check] = await integrity(filename)
  if (check?.integrity_check !== "ok") wrong(`the file is damaged: ${JSON.stringify(check)}`)
  for (const suffix of ["", "-wal"]) {
    if (
      existsSync(filename + suffix) &&
      /secret-of-|(?<![0-9A-Za-z])rt_[0-9A-Za-z_-]{16}/.test(readFileSync(filename + suffix, "latin1"))
    ) {
      wrong(`a token lies in ${filename}${suffix} in clear`)
    }
  }
  if (problems.length === 0) rmSync(folder, { recursive: true, force: true })
  return { ...figures, seed, kills, killedIn, failedCalls, peakRss, problems }
}

/**
 * A disk that fails under a runtime: full, read-only, or one whose `fsync` fails. Nothing is told that is not kept (ARCP 1.1 §6.3), what cannot
 * be kept now is refused as retryable (§12) or waits, and all goes on once the disk takes writes again.
 */
import { afterEach, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { layer as reactivity } from "@effect/experimental/Reactivity"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { join } from "node:path"
import { scratch } from "../support/scratch.js"
import { problemsOf } from "./checks.js"
import { canFault, Fault, type FaultMode } from "./fault.js"
import { isTerminal, LedgerClient, newFigures } from "./ledger.js"
import { RuntimeProcess } from "./runtimes.js"

const integrity = (filename: string) =>
  Effect.gen(function* () {
    const sql = yield* SqliteClient.make({ filename })
    const [row] = yield* sql.unsafe<{ readonly integrity_check: string }>("PRAGMA integrity_check")
    return row?.integrity_check
  }).pipe(Effect.scoped, Effect.provide(reactivity), Effect.runPromise)

describe.skipIf(!canFault())("a disk that fails", () => {
  const ends: Array<() => unknown> = []
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
  })

  const makeStage = async () => {
    const filename = join(scratch("arcp-disk-"), "arcp.db")
    const problems: Array<string> = []
    const figures = newFigures()
    let url = ""
    let port = 0
    const start = async (): Promise<RuntimeProcess> => {
      const runtime = new RuntimeProcess(Fault.make())
      ends.push(() => runtime.kill())
      await runtime.begin({ filename, port })
      url = (await runtime.address()) ?? ""
      port = Number(new URL(url).port)
      return runtime
    }
    const runtime = await start()
    let mayFail = false
    const client = new LedgerClient({
      name: "one",
      bearer: "secret-of-alice",
      url: () => url,
      figures,
      wrong: (what) => void problems.push(what),
      mayFail: () => mayFail
    })
    ends.unshift(() => client.end())
    await client.ready()
    return { client, figures, filename, problems, runtime, start, allow: () => (mayFail = true) }
  }

  /** The runtime dies: another process has what was told, every job's success, and a whole file. */
  const isKept = async (
    { client, figures, filename, problems, runtime, start }: Awaited<ReturnType<typeof makeStage>>,
    jobs: ReadonlyArray<string>
  ): Promise<void> => {
    const told = client.lastSeq
    await runtime.kill()
    const next = await start()
    while (figures.resumes === 0) await client.change()
    await client.drained()
    expect(client.lastSeq).toBe(told)
    const listed = await client.list()
    expect(listed.map((row) => row["job_id"]).toSorted()).toEqual([...jobs].toSorted())
    expect(new Set(listed.map((row) => row["status"]))).toEqual(new Set(["success"]))
    client.end()
    await next.kill()
    expect(await integrity(filename)).toBe("ok")
    expect(problems).toEqual([])
    expect(figures).toMatchObject({ lost: 0, repeated: 0 })
  }

  const modes: ReadonlyArray<FaultMode> = ["full", "readOnly"]
  it.each(modes)("%s: what cannot be kept is not told, and all goes on afterwards", async (mode) => {
    const stage = await makeStage()
    const { allow, client, runtime } = stage
    const before = (await client.submit({ agent: "keyed", input: { n: 400, pause: 10 }, idempotency_key: "before" }))!
    const job = client.jobs.get(before)!
    while (job.events.length < 20) await client.change()

    allow()
    runtime.fault!.set(mode)
    while (runtime.fault!.counts.failed === 0) await client.change()
    // A request under a key is refused as retryable, and asked again until it is accepted.
    let isAccepted = false
    const during = client
      .submit({ agent: "keyed", input: { n: 5 }, idempotency_key: "during" })
      .then((jobId) => ((isAccepted = true), jobId!))
    const failuresBehind = async (count: number) => {
      const until = runtime.fault!.counts.failed + count
      while (runtime.fault!.counts.failed < until) await client.change()
    }
    // What had been committed before the fault has come by then; behind it nothing does.
    await failuresBehind(2)
    const seen = job.events.length
    await failuresBehind(3)
    expect(isAccepted).toBe(false)
    expect(job.events.length).toBe(seen)
    expect(runtime.running).toBe(true)

    runtime.fault!.set("none")
    const jobs = [before, await during]
    while (!jobs.every((jobId) => client.jobs.get(jobId)!.events.some(isTerminal))) await client.change()
    for (const jobId of jobs) expect(problemsOf(client.jobs.get(jobId)!)).toEqual([])

    await isKept(stage, jobs)
  })

  it("noSync: the log that cannot be written back stays, and nothing of it is lost", async () => {
    const stage = await makeStage()
    const { allow, client, runtime } = stage
    allow()
    runtime.fault!.set("noSync")
    // More than the log may hold before it is written back to the file.
    const jobs: Array<string> = []
    while (runtime.fault!.counts.failed === 0) {
      const jobId = (await client.submit({ agent: "keyed", input: { n: 2_000 }, idempotency_key: `k${jobs.length}` }))!
      jobs.push(jobId)
      while (!client.jobs.get(jobId)!.events.some(isTerminal)) await client.change()
    }
    for (const jobId of jobs) expect(problemsOf(client.jobs.get(jobId)!)).toEqual([])
    await isKept(stage, jobs)
  })

  it("a process that dies at any of its writes leaves what it has told", async () => {
    let died = 0
    for (let call = 0; call < 32; call += 4) {
      const { client, figures, problems, runtime, start } = await makeStage()
      runtime.fault!.set("die", call)
      const submitted = client.submit({ agent: "keyed", input: { n: 30 }, idempotency_key: "k" })
      await runtime.killAt(call, 2_000)
      died += runtime.fault!.counts.failed
      const next = await start()
      const jobId = (await submitted)!
      while (!client.jobs.get(jobId)!.events.some(isTerminal)) await client.change()
      expect(problemsOf(client.jobs.get(jobId)!)).toEqual([])
      expect(problems).toEqual([])
      expect(figures).toMatchObject({ lost: 0, repeated: 0 })
      client.end()
      await next.kill()
    }
    // Later calls may not come: by then all has been written.
    expect(died).toBeGreaterThan(4)
  })
})

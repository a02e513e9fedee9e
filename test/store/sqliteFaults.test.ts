/** Real faults of a real SQLite file: full, locked, damaged. */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { SqlClient } from "@effect/sql/SqlClient"
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Layer, Scope, TestClock } from "effect"
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { SqlStore } from "../../src/store/sql.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { emptyBatch, Store } from "../../src/store/index.js"
import { makeStore, start } from "../runtime/mortal.js"
import { barrier, hello, run, submit } from "../runtime/peer.js"
import { gate, resetGates, world } from "../runtime/world.js"
import { scratch } from "../support/scratch.js"

beforeEach(resetGates)

const folder = scratch("arcp-faults-")
let files = 0
const file = () => join(folder, `${files++}.db`)

/** The store, and the connection that it uses. */
const open = (filename: string) =>
  SqlStore.layer().pipe(
    Layer.provideMerge(Layer.scoped(SqlClient, SqliteClient.make({ filename }))),
    Layer.provide(reactivity)
  )

/** What makes the file refuse to be written, and what ends that. */
const refusals: ReadonlyArray<
  readonly [
    string,
    RegExp,
    (filename: string) => Effect.Effect<{ readonly heal: Effect.Effect<unknown> }, unknown, SqlClient | Scope.Scope>
  ]
> = [
  [
    "is full",
    /database or disk is full \(make room on the disk; nothing was written\)/,
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* sql.unsafe("PRAGMA max_page_count = 1")
        return { heal: Effect.orDie(sql.unsafe("PRAGMA max_page_count = 1073741823")) }
      })
  ],
  [
    "is locked",
    /database is locked \(another program holds the file/,
    (filename) =>
      Effect.gen(function* () {
        yield* (yield* SqlClient).unsafe("PRAGMA busy_timeout = 0")
        const other = yield* SqliteClient.make({ filename }).pipe(Effect.provide(reactivity))
        yield* other.unsafe("BEGIN IMMEDIATE")
        return { heal: Effect.orDie(other.unsafe("ROLLBACK")) }
      })
  ]
]

describe.each(refusals)("a SQLite file that %s", (_name, reason, refuse) => {
  it.scoped("sends nothing that is not stored, says so, and goes on when it can", () =>
    Effect.gen(function* () {
      const filename = file()
      const beneath = Layer.succeedContext(yield* Layer.build(open(filename)))
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: [] })
        const running = yield* submit(peer, "gate", { name: "disk" })
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "waiting")
        const { heal } = yield* refuse(filename)
        const large = "x".repeat(100_000)
        const store = yield* Store
        const direct = yield* Effect.flip(store.commit({ ...emptyBatch, keys: [key(large)] }))
        expect(direct.message).toMatch(reason)
        expect((yield* submit(peer, "echo", large)).payload).toMatchObject({
          code: "INTERNAL_ERROR",
          retryable: true,
          message: "the store is not available: commit failed; try again"
        })
        yield* barrier(peer)
        expect(peer.events().length).toBe(2)
        yield* heal
        yield* Deferred.succeed(gate("disk"), undefined)
        yield* TestClock.adjust("10 seconds")
        expect((yield* peer.terminal(running.job_id!)).payload.result).toBe("disk")
        expect((yield* run(peer, "echo", large)).payload.result).toBe(large)
        expect(peer.events().map((frame) => frame.event_seq)).toEqual([1, 2, 3, 4, 5, 6])
        expect(yield* (yield* SqlClient).unsafe("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }])
      }).pipe(Effect.provide(Layer.merge(world({ store: beneath }), beneath)))
    })
  )
})

const key = (name: string) => ({
  principalId: "alice",
  key: name,
  jobId: "job",
  parametersHash: "hash",
  expiresAt: 1
})

/** Overwrites the pages that hold a text, and not the other. */
const damage = (filename: string, text: string, unless?: string): number => {
  const bytes = readFileSync(filename)
  const descriptor = openSync(filename, "r+")
  let pages = 0
  for (let at = 0; at < bytes.length; at += 4096) {
    const page = bytes.subarray(at, at + 4096)
    if (at === 0 || !page.includes(text) || (unless !== undefined && page.includes(unless))) continue
    writeSync(descriptor, Buffer.alloc(4096, 0xa5), 0, 4096, at)
    pages++
  }
  closeSync(descriptor)
  return pages
}

describe("a SQLite file with damaged pages", () => {
  it.scoped("answers what it can, refuses what it cannot, and the runtime lives", () =>
    Effect.gen(function* () {
      const filename = file()
      const jobs = yield* Effect.gen(function* () {
        const peer = yield* hello({ features: ["subscribe", "list_jobs"] })
        const marked = yield* submit(peer, "echo", "hit-by-the-damage ".repeat(2_000))
        yield* peer.terminal(marked.job_id!)
        const spared = yield* submit(peer, "echo", "spared")
        yield* peer.terminal(spared.job_id!)
        return { marked: marked.job_id!, spared: spared.job_id! }
      }).pipe(Effect.provide(world({ store: SqliteStore.layer({ filename }) })))
      expect(damage(filename, "hit-by-the-damage", "job_")).toBeGreaterThan(0)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: ["subscribe", "list_jobs"] })
        const ask = (job_id: string) =>
          Effect.flatMap(peer.send("job.subscribe", { job_id, history: true }), peer.reply)
        expect((yield* ask(jobs.marked)).payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
        expect((yield* run(peer, "echo", "alive")).payload.result).toBe("alive")
        expect((yield* ask(jobs.spared)).type).toBe("job.subscribed")
        expect((yield* peer.terminal(jobs.spared)).payload.result).toBe("spared")
      }).pipe(Effect.provide(world({ store: SqliteStore.layer({ filename }) })))
    })
  )

  it.scoped("refuses to start where the log of a job that lives is no log, and names it", () =>
    Effect.gen(function* () {
      const beneath = yield* Layer.build(open(file()))
      const store = yield* makeStore(Layer.succeedContext(beneath))
      const agents = Agent.untyped("calls", () => Effect.zipRight(Job.toolCall("search", { q: 1 }), Effect.never))
      const jobId = yield* Effect.gen(function* () {
        const peer = yield* hello({ features: [] })
        const job = yield* submit(peer, "calls")
        yield* peer.next("job.event", (frame) => frame.payload.kind === "tool_call")
        return job.job_id!
      }).pipe(Effect.provide(yield* start(store.layer, agents)))
      yield* store.die
      yield* Context.get(beneath, SqlClient).unsafe(
        `UPDATE arcp_segments SET data = replace(data, '{"kind":"tool_call"', '{"kind":"tool_call') WHERE job_id = ?`,
        [jobId]
      )
      const started = yield* Effect.exit(start(store.layer, agents))
      expect(Exit.isFailure(started) ? Cause.pretty(started.cause) : "").toMatch(
        new RegExp(`StoreError: the log of ${jobId} is damaged in its events [0-9]+ to [0-9]+: restore`)
      )
    })
  )

  it.scoped("refuses to start where the sessions or jobs that live cannot be read, and says what to do", () =>
    Effect.gen(function* () {
      const filename = file()
      yield* Effect.scoped(
        Effect.provide(hello({ features: ["heartbeat"] }), world({ store: SqliteStore.layer({ filename }) }))
      )
      expect(damage(filename, "sess_")).toBeGreaterThan(0)
      const before = statSync(filename).size
      const scope = yield* Scope.make()
      const started = yield* Effect.exit(
        Layer.build(world({ store: SqliteStore.layer({ filename }) })).pipe(Scope.extend(scope))
      )
      yield* Scope.close(scope, Exit.void)
      expect(Exit.isFailure(started)).toBe(true)
      expect(Exit.isFailure(started) ? Cause.pretty(started.cause) : "").toMatch(
        /refused to recover: database disk image is malformed \(the file is damaged: restore it from a backup, or start with a new one\)/
      )
      expect(statSync(filename).size).toBe(before)
    })
  )
})

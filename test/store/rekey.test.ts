/** 1.0 §14 A store gets another key: all of it or nothing, whatever happens on the way. */
import { spawn, spawnSync } from "node:child_process"
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { inspect } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Exit, Fiber, Layer, Redacted } from "effect"
import { emptyBatch, Store, type StoreError } from "../../src/store/index.js"
import { aesGcmOf } from "../../src/store/internal/aesGcm.js"
import { prepareFile } from "../../src/store/internal/fileModes.js"
import { stepName } from "../../src/store/internal/sqlRows.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { bundle } from "../bundle.js"
import { canFault, Fault, type FaultMode } from "../crash/fault.js"
import { jobRecord, jobState } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { storeKey, weaklySealed } from "../support/storeKeys.js"
import { fixtures, keyOf } from "./fixtures/list.js"
import { marker, readEverything, writeEverything } from "./fixtures/everything.js"
import { withFile } from "./fixtures/open.js"

const folder = scratch("arcp-rekey-")
let files = 0
const place = () => join(folder, `${files++}.db`)
const [from, to] = [storeKey(1), storeKey(2)]

type Key = Redacted.Redacted<string> | undefined

const storesOf = (filename: string, encryptionKey: Key) => SqliteStore.layer({ filename, encryptionKey })

/** What a file holds under a key; the failure where it does not open with it. */
const read = (filename: string, key: Key) =>
  Effect.either(Effect.provide(readEverything, storesOf(filename, key))) as Effect.Effect<
    Either.Either<Effect.Effect.Success<typeof readEverything>, StoreError>
  >

const filled = (key: Key, filename = place()) =>
  Effect.gen(function* () {
    yield* Effect.provide(writeEverything, storesOf(filename, key))
    return { filename, content: Either.getOrThrow(yield* read(filename, key)) }
  })

/** The bytes of a database and of what lies beside it. */
const dump = (filename: string): string =>
  readdirSync(dirname(filename))
    .filter((name) => name.startsWith(basename(filename)))
    .map((name) => readFileSync(join(dirname(filename), name), "latin1"))
    .join("")

const refusal = (options: SqliteStore.RekeyOptions) => Effect.map(Effect.flip(SqliteStore.rekey(options)), String)

describe("1.0 §14 SqliteStore.rekey", () => {
  it.scopedLive("gives everything the new key; the old one opens nothing any more", () =>
    Effect.gen(function* () {
      const { content, filename } = yield* filled(from)
      const sealedBefore = (yield* withFile(filename, "SELECT data FROM arcp_jobs")) as ReadonlyArray<{ data: string }>
      expect((yield* SqliteStore.rekey({ filename, from, to })).values).toBe(17)
      expect(yield* read(filename, to)).toEqual(Either.right(content))
      expect(String(Either.getOrThrow(Either.flip(yield* read(filename, from))))).toContain("the encryption key is not")
      const text = dump(filename)
      expect(text).not.toContain(marker)
      // What was sealed with the old key is overwritten.
      for (const { data } of sealedBefore) expect(text).not.toContain(data)
      // And back, and on.
      yield* SqliteStore.rekey({ filename, from: to, to: from })
      expect(yield* read(filename, from)).toEqual(Either.right(content))
    })
  )

  it.scopedLive("encrypts a file that is in clear, of which nothing in clear is left", () =>
    Effect.gen(function* () {
      const { content, filename } = yield* filled(undefined)
      expect(dump(filename)).toContain(marker)
      yield* SqliteStore.rekey({ filename, to })
      expect(dump(filename)).not.toContain(marker)
      expect(yield* read(filename, to)).toEqual(Either.right(content))
      expect(Either.isLeft(yield* read(filename, undefined))).toBe(true)
    })
  )

  it.scopedLive("replaces a key that is too weak to be taken today", () =>
    Effect.gen(function* () {
      const filename = place()
      const weak = Redacted.make("swordfish")
      yield* Effect.provide(writeEverything, weaklySealed(filename, weak))
      expect(String(Either.getOrThrow(Either.flip(yield* read(filename, weak))))).toContain("32 are needed")
      yield* SqliteStore.rekey({ filename, from: weak, to })
      expect(Either.isRight(yield* read(filename, to))).toBe(true)
    })
  )

  it.scopedLive("refuses a store in use, a wrong key, a weak one, the same one, and a file that is not there", () =>
    Effect.gen(function* () {
      const { content, filename } = yield* filled(from)
      const inUse = yield* Effect.scoped(
        Effect.zipRight(Layer.build(storesOf(filename, from)), refusal({ filename, from, to }))
      )
      expect(inUse).toContain("is in use by another runtime")
      expect(yield* refusal({ filename, from: storeKey(3), to })).toContain(
        "has another key than the one that was given"
      )
      expect(yield* refusal({ filename, to })).toContain("is encrypted: give the key that it has")
      expect(yield* refusal({ filename, from, to: Redacted.make("k".repeat(64)) })).toContain("repeats itself")
      expect(yield* refusal({ filename, from, to: from })).toContain("the new key is the same as the old one")
      const clear = yield* filled(undefined)
      expect(yield* refusal({ filename: clear.filename, from, to })).toContain("is not encrypted: give no key")
      expect(yield* read(clear.filename, undefined)).toEqual(Either.right(clear.content))
      const absent = place()
      expect(yield* refusal({ filename: absent, from, to })).toContain(`${absent} does not exist`)
      expect(existsSync(absent)).toBe(false)
      expect(yield* read(filename, from)).toEqual(Either.right(content))
    })
  )

  it.scopedLive("refuses what is no store, and leaves it as it was", () =>
    Effect.gen(function* () {
      for (const made of ["CREATE TABLE other (id TEXT)", "PRAGMA user_version = 1"]) {
        const filename = place()
        yield* withFile(filename, made)
        expect(yield* refusal({ filename, to })).toContain(`${filename} is not the file of a store`)
        const tables = yield* withFile(filename, "SELECT name FROM sqlite_master WHERE name LIKE 'arcp%'")
        expect(tables).toEqual([])
      }
      expect(yield* refusal({ filename: ":memory:", to })).toContain(":memory: is not the file of a store")
    })
  )

  describe.each(fixtures.filter(({ sealed }) => sealed))("of a file with $name", ({ name, schema }) => {
    const key = Redacted.make(keyOf({ schema }))
    const copy = () => {
      const filename = place()
      copyFileSync(new URL(`./fixtures/${name}.db`, import.meta.url), filename)
      return filename
    }
    const last = (filename: string) => withFile(filename, "SELECT MAX(id) AS id FROM arcp_migrations")
    const jobsIn = (layer: ReturnType<typeof weaklySealed>) =>
      Effect.flatMap(Store, (store) =>
        Effect.all([
          store.jobs({
            principalIds: undefined,
            statuses: undefined,
            agent: undefined,
            version: undefined,
            createdAfter: undefined,
            afterJobId: undefined,
            limit: 100
          }),
          Effect.map(store.recover, ({ sessions }) => sessions)
        ])
      ).pipe(Effect.provide(layer))

    it.scopedLive("a refused key changes nothing", () =>
      Effect.gen(function* () {
        const filename = copy()
        expect(yield* refusal({ filename, from, to })).toContain("has another key")
        expect(yield* last(filename)).toEqual([{ id: schema }])
      })
    )

    it.scopedLive(
      "a row that cannot be opened leaves the schema too: the version that wrote the file still opens it",
      () =>
        Effect.gen(function* () {
          const filename = copy()
          yield* withFile(
            filename,
            "UPDATE arcp_job_states SET status = 'error', ended_at = 9 WHERE ended_at IS NULL",
            "UPDATE arcp_segments SET data = 'AAAA' WHERE rowid = (SELECT MAX(rowid) FROM arcp_segments)"
          )
          const tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
          const before = yield* withFile(filename, tables)
          expect(yield* refusal({ filename, from: key, to })).toContain("Nothing was changed")
          expect(yield* last(filename)).toEqual([{ id: schema }])
          expect(yield* withFile(filename, tables)).toEqual(before)
        })
    )

    it.scopedLive("everything has the new key, once no unfinished job has steps whose names are not known", () =>
      Effect.gen(function* () {
        const filename = copy()
        const names = yield* withFile(filename, "SELECT name FROM arcp_steps")
        const unnamed =
          schema < 8 && (names as ReadonlyArray<{ readonly name: string }>).some((row) => row.name.length === 43)
        if (unnamed) {
          expect(yield* refusal({ filename, from: key, to })).toContain("was recorded by an earlier version")
          expect(yield* last(filename)).toEqual([{ id: schema }])
          yield* withFile(filename, "UPDATE arcp_job_states SET status = 'error', ended_at = 9 WHERE ended_at IS NULL")
        }
        const asWritten = place()
        copyFileSync(filename, asWritten)
        const content = yield* jobsIn(weaklySealed(asWritten, key))
        expect(content[0].length).toBeGreaterThan(3)
        expect((yield* SqliteStore.rekey({ filename, from: key, to })).values).toBeGreaterThan(10)
        expect(yield* jobsIn(storesOf(filename, to))).toEqual(content)
      })
    )
  })

  it.scopedLive("can be repeated: a file that has the new key is left as it is", () =>
    Effect.gen(function* () {
      const { content, filename } = yield* filled(from)
      yield* SqliteStore.rekey({ filename, from, to })
      expect(yield* SqliteStore.rekey({ filename, from, to })).toEqual({ values: 0 })
      expect(yield* read(filename, to)).toEqual(Either.right(content))
    })
  )

  it.scopedLive("does not say a key, whatever is refused", () =>
    Effect.gen(function* () {
      const { filename } = yield* filled(from)
      const weak = Redacted.make("swordfish-and-chips")
      for (const options of [
        { filename, from: to, to: storeKey(3) },
        { filename, from, to: from },
        { filename, from, to: weak },
        { filename, from: weak, to },
        { filename: place(), from, to }
      ]) {
        const error = yield* Effect.flip(SqliteStore.rekey(options))
        const said = [String(error), error.message, error.stack, inspect(error, { depth: 9 }), JSON.stringify(error)]
        for (const key of [options.from, options.to]) expect(said.join("\n")).not.toContain(Redacted.value(key))
      }
    })
  )

  it.scopedLive("changes nothing where a row was changed", () =>
    Effect.gen(function* () {
      for (const damage of [
        "UPDATE arcp_artifact_chunks SET data = zeroblob(100)",
        "UPDATE arcp_credentials SET handle = 'AAAA'",
        "UPDATE arcp_keys SET idempotency_key = 'other' WHERE job_id = 'job_open'",
        "UPDATE arcp_steps SET value = 'AAAA' WHERE job_id = 'job_open'"
      ]) {
        const { filename } = yield* filled(from)
        yield* withFile(filename, damage)
        const rows = yield* withFile(filename, "SELECT * FROM arcp_jobs")
        expect(yield* refusal({ filename, from, to }), damage).toContain("Nothing was changed")
        expect(yield* withFile(filename, "SELECT * FROM arcp_jobs")).toEqual(rows)
        yield* Effect.scoped(Layer.build(storesOf(filename, from)))
      }
    })
  )

  it.scopedLive("encrypts idempotency keys that are not well-formed; they are found under the new key", () =>
    Effect.gen(function* () {
      const filename = place()
      const key = "half of a pair: \ud800"
      yield* Effect.flatMap(Store, (store) =>
        store.commit({
          ...emptyBatch,
          jobs: [jobRecord("job_1", { idempotencyKey: key })],
          jobStates: [jobState("job_1")],
          keys: [{ principalId: "alice", key, jobId: "job_1", parametersHash: "h", expiresAt: 9_000_000_000_000 }]
        })
      ).pipe(Effect.provide(storesOf(filename, undefined)))
      yield* SqliteStore.rekey({ filename, to })
      const found = yield* Effect.provide(
        Effect.flatMap(Store, (store) => store.key("alice", key)),
        storesOf(filename, to)
      )
      expect(found).toMatchObject({ value: { jobId: "job_1" } })
    })
  )

  it.scopedLive("an interruption on the way leaves the old key", () =>
    Effect.gen(function* () {
      const { content, filename } = yield* filled(from)
      yield* many(filename, 400, 10)
      const fiber = yield* Effect.fork(SqliteStore.rekey({ filename, from, to }))
      // It has begun to write: in one step, it would have ended.
      yield* Effect.repeat(
        Effect.sync(() => existsSync(`${filename}-wal`)),
        { until: (exists) => exists }
      )
      const exit = yield* Fiber.interrupt(fiber)
      expect(Exit.isInterrupted(exit)).toBe(true)
      expect(yield* read(filename, from)).toEqual(Either.right(content))
    })
  )

  it.scopedLive(
    "steps of an earlier version go with jobs that have ended, and keep the key of jobs that have not",
    () =>
      Effect.gen(function* () {
        const sealer = aesGcmOf(from)
        const earlier = (jobId: string) =>
          `UPDATE arcp_steps SET value = '${sealer.seal('"first"', `step ${jobId} one`)}' WHERE job_id = '${jobId}' AND name = '${stepName(sealer, jobId, "one")}'`
        const { filename } = yield* filled(from)
        yield* withFile(filename, earlier("job_open"), earlier("job_ended"))
        const stepOf = (key: Key, jobId: string) =>
          Effect.flatMap(Store, (store) => store.step(jobId, "one")).pipe(Effect.provide(storesOf(filename, key)))
        // They are read as before.
        expect(yield* stepOf(from, "job_open")).toMatchObject({ value: { value: '"first"' } })
        expect(yield* refusal({ filename, from, to })).toContain("a step of the unfinished job job_open")
        expect(yield* stepOf(from, "job_ended")).toMatchObject({ value: { value: '"first"' } })
        yield* withFile(
          filename,
          "UPDATE arcp_job_states SET status = 'success', ended_at = 9 WHERE job_id = 'job_open'"
        )
        yield* SqliteStore.rekey({ filename, from, to })
        expect(yield* stepOf(to, "job_ended")).toMatchObject({ _tag: "None" })
        const left = yield* withFile(filename, "SELECT COUNT(*) AS n FROM arcp_steps")
        expect(left).toEqual([{ n: 2 }])
      })
  )
})

/** Makes a file large: so many segments of so many kilobytes. */
const many = (filename: string, segments: number, kilobytes: number) =>
  Effect.flatMap(Store, (store) =>
    Effect.forEach(
      Array.from({ length: segments }, (_, n) => n + 4),
      (seq) =>
        store.commit({
          ...emptyBatch,
          segments: [
            {
              jobId: "job_ended",
              firstSeq: seq,
              lastSeq: seq,
              class: "event",
              payloads: [JSON.stringify({ text: "x".repeat(kilobytes * 1_024) })]
            }
          ]
        }),
      { discard: true }
    )
  ).pipe(Effect.provide(storesOf(filename, from)))

const program = join(bundle({ "cli/bin": "src/cli/bin.ts" }), "cli/bin.js")

describe("1.0 §14 a rekey that is killed", () => {
  /** Runs `arcp store rekey`, and kills it once its log has so many bytes; with none it ends by itself. */
  const rekeying = (filename: string, killAt?: number) =>
    Effect.async<{ readonly code: number | null; readonly err: string }>((resume) => {
      const child = spawn(
        process.execPath,
        [program, "store", "rekey", "--store", filename, "--key-env", "OLD", "--new-key-env", "NEW"],
        {
          stdio: ["ignore", "ignore", "pipe"],
          env: { ...process.env, OLD: Redacted.value(from), NEW: Redacted.value(to) }
        }
      )
      let err = ""
      child.stderr.on("data", (data) => (err += data))
      const size = () => (existsSync(`${filename}-wal`) ? statSync(`${filename}-wal`).size : 0)
      // Whoever looks at a file of another process has to look again and again.
      const timer =
        killAt === undefined
          ? undefined
          : setInterval(() => {
              if (size() >= killAt) child.kill("SIGKILL")
            }, 1)
      child.on("close", (code) => {
        clearInterval(timer)
        resume(Effect.succeed({ code, err }))
      })
      return Effect.sync(() => void child.kill("SIGKILL"))
    })

  it.scopedLive("is refused while a runtime has the file, also behind a second opening in its process", () =>
    Effect.gen(function* () {
      const { content, filename } = yield* filled(from)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Layer.build(storesOf(filename, from))
          const second = yield* Effect.flip(Effect.scoped(Layer.build(storesOf(filename, from))))
          expect(second.message).toContain("is in use by another runtime")
          const { code, err } = yield* rekeying(filename)
          expect([code, err]).toEqual([1, expect.stringContaining("is in use by another runtime")])
        })
      )
      expect(yield* read(filename, from)).toEqual(Either.right(content))
    })
  )

  it.scopedLive(
    "is refused also where another copy of this package has tried to open the file in the runtime's process",
    () =>
      Effect.gen(function* () {
        const { content, filename } = yield* filled(from)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Layer.build(storesOf(filename, from))
            // It does not know what this copy has open. A worker thread has a copy of its own.
            prepareFile(filename, false)
            const { code, err } = yield* rekeying(filename)
            expect([code, err]).toEqual([1, expect.stringContaining("is in use by another runtime")])
          })
        )
        expect(yield* read(filename, from)).toEqual(Either.right(content))
      })
  )

  it.scopedLive(
    "has the old key and everything, or the new key and everything; and is done the next time",
    () =>
      Effect.gen(function* () {
        const { content, filename: full } = yield* filled(from)
        yield* many(full, 600, 60)
        let killed = 0
        for (const killAt of [1, 4_000_000, 16_000_000, 30_000_000]) {
          const filename = place()
          copyFileSync(full, filename)
          const { code } = yield* rekeying(filename, killAt)
          const [old, fresh] = [yield* read(filename, from), yield* read(filename, to)]
          if (code === null) killed++
          expect([Either.isRight(old), Either.isRight(fresh)].filter(Boolean)).toHaveLength(1)
          expect(Either.isRight(old) ? old : fresh).toEqual(Either.right(content))
          if (Either.isRight(fresh)) continue
          const again = yield* rekeying(filename)
          expect([again.code, again.err]).toEqual([0, expect.stringContaining("has its new key")])
          expect(yield* read(filename, to)).toEqual(Either.right(content))
        }
        // They were killed on the way, and not before or behind it.
        expect(killed).toBeGreaterThanOrEqual(3)
      }),
    240_000
  )
})

describe.skipIf(!canFault())("1.0 §14 a rekey on a disk that fails", () => {
  /** Runs `arcp store rekey` on a copy of a file, on a disk that fails behind so many calls. */
  const rekeying = (full: string, mode: FaultMode, behind: number) => {
    const filename = join(scratch("arcp-rekey-disk-"), "arcp.db")
    copyFileSync(full, filename)
    const fault = Fault.make()!
    fault.set(mode, behind)
    const { signal, status, stderr } = spawnSync(
      process.execPath,
      [program, "store", "rekey", "--store", filename, "--key-env", "OLD", "--new-key-env", "NEW"],
      {
        encoding: "utf8",
        env: { ...process.env, ...fault.env, OLD: Redacted.value(from), NEW: Redacted.value(to) }
      }
    )
    const { failed } = fault.counts
    fault.end()
    return { filename, failed, signal, status, stderr }
  }

  it.scopedLive(
    "has one of the keys and everything, and what is said is so",
    () =>
      Effect.gen(function* () {
        const { content, filename: full } = yield* filled(from)
        yield* many(full, 40, 20)
        const seen: Array<string> = []
        const faults: ReadonlyArray<readonly [FaultMode, ReadonlyArray<number>]> = [
          ["full", [0, 9, 50, 100, 400, 700]],
          ["readOnly", [0, 50, 100, 900]],
          ["noSync", [0, 1, 3, 5]],
          ["die", [0, 9, 100, 900]]
        ]
        for (const [mode, calls] of faults) {
          for (const behind of calls) {
            const { failed, filename, signal, status, stderr } = rekeying(full, mode, behind)
            if (failed === 0) continue
            const [old, fresh] = [yield* read(filename, from), yield* read(filename, to)]
            const about = `${mode} behind ${behind}: ${stderr}`
            expect([old, fresh].filter(Either.isRight), about).toEqual([Either.right(content)])
            expect([status, signal], about).toEqual(mode === "die" ? [null, "SIGKILL"] : [1, null])
            seen.push(`${mode} ${Either.isRight(old) ? "old" : "new"}`)
            if (mode === "die") continue
            // Where the new key may be there, this is said.
            if (Either.isRight(fresh)) expect(stderr, about).toMatch(/has its new key|or all of it under the new one/)
            else expect(stderr, about).not.toContain("has its new key")
          }
        }
        expect([...new Set(seen)].sort()).toEqual(
          expect.arrayContaining(["die old", "full old", "noSync new", "noSync old", "readOnly old"])
        )
      }),
    240_000
  )
})

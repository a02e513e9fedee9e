/** What can go wrong with the schema of a database when it is opened. */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Exit, Fiber, Layer, Option, Redacted } from "effect"
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { aesGcmOf } from "../../src/store/internal/aesGcm.js"
import { emptyBatch, Store, StoreError } from "../../src/store/index.js"
import { migrateTo } from "../../src/store/internal/migrating.js"
import { type Migration, migrations } from "../../src/store/internal/migrations.js"
import { SqlStore } from "../../src/store/sql.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { world } from "../runtime/world.js"
import { scratch } from "../support/scratch.js"
import { keyOf } from "./fixtures/list.js"
import { ddlOf, using, withFile } from "./fixtures/open.js"
import { weaklySealed } from "../support/storeKeys.js"

const folder = scratch("arcp-migrating-")
let files = 0
const place = () => join(folder, `${files++}.db`)
const latest = migrations.at(-1)!.id

const fixture = (name: string): string => {
  const filename = place()
  copyFileSync(new URL(`./fixtures/${name}.db`, import.meta.url), filename)
  return filename
}

/** The stores in a file; the key of the fixtures is one that is not taken any more. */
const stores = (filename: string, { encryptionKey }: { readonly encryptionKey?: Redacted.Redacted<string> } = {}) =>
  encryptionKey === undefined ? SqliteStore.layer({ filename }) : weaklySealed(filename, encryptionKey)

const build = (filename: string, options: { readonly encryptionKey?: Redacted.Redacted<string> } = {}) =>
  Effect.scoped(Layer.build(stores(filename, options)))

/** A store over connections that do not hold the file for themselves. */
const sharing = (options: SqliteClient.SqliteClientConfig, decorate: (sql: SqlClient) => SqlClient = (sql) => sql) =>
  SqlStore.layer().pipe(
    Layer.provide(Layer.scoped(SqlClient, Effect.map(SqliteClient.make(options), decorate))),
    Layer.provide(reactivity)
  )

const stepsIn = (filename: string) => withFile(filename, "SELECT id FROM arcp_migrations ORDER BY id")
const upTo = (last: number) => Array.from({ length: last }, (_, i) => ({ id: i + 1 }))

/** A file without its change counter, which counts openings too. */
const contentOf = (filename: string) => readFileSync(filename).fill(0, 24, 28).fill(0, 92, 96)

describe("a database that a newer version has written", () => {
  const made = Effect.gen(function* () {
    const filename = place()
    yield* build(filename)
    yield* withFile(
      filename,
      `INSERT INTO arcp_migrations (id) VALUES (${latest + 1})`,
      "ALTER TABLE arcp_sessions ADD COLUMN of_the_future TEXT",
      "PRAGMA wal_checkpoint(TRUNCATE)"
    )
    return filename
  })

  it.effect("is rejected with both schemas and what to do, and stays as it is", () =>
    Effect.gen(function* () {
      const filename = yield* made
      const before = contentOf(filename)
      const error = yield* Effect.flip(build(filename))
      expect(error).toBeInstanceOf(StoreError)
      expect(error).toMatchObject({ operation: "migrate", schema: { found: latest + 1, known: latest } })
      expect(error.message).toBe(
        `the database has schema ${latest + 1}, and this version knows schemas up to ${latest}: a newer version has written it. Start that version or a later one, or restore the backup from before the upgrade. Nothing was changed`
      )
      expect(contentOf(filename).equals(before)).toBe(true)
    })
  )

  it.effect("is what the runtime's layer fails with", () =>
    Effect.gen(function* () {
      const store = SqliteStore.layer({ filename: yield* made })
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(world({ store }))))
      const failures = Exit.isFailure(exit) ? Chunk.toReadonlyArray(Cause.failures(exit.cause)) : []
      expect(failures).toEqual([
        expect.objectContaining({ _tag: "StoreError", schema: { found: latest + 1, known: latest } })
      ])
    })
  )
})

describe("a migration", () => {
  const broken = (statement: string): ReadonlyArray<Migration> => [
    ...migrations,
    { id: latest + 1, statements: ["CREATE TABLE arcp_next (a TEXT)"] },
    { id: latest + 2, statements: ["CREATE TABLE arcp_after (a TEXT)", statement] }
  ]

  it.effect("whose last step fails leaves the database as it was, and names the step", () =>
    Effect.gen(function* () {
      for (const filename of [fixture("schema-1"), fixture(`schema-${latest}`), place()]) {
        const before = yield* ddlOf(filename)
        const reserved = (steps: ReadonlyArray<Migration>) =>
          using(filename, (sql) => Effect.scoped(Effect.flatMap(sql.reserve, migrateTo(steps))))
        const error = yield* Effect.flip(reserved(broken("ALTER TABLE arcp_nothing ADD COLUMN a TEXT")))
        expect(error).toMatchObject({
          operation: "migrate",
          message: `the database refused step ${latest + 2} of its schema: no such table: arcp_nothing. Nothing was changed`
        })
        expect(yield* ddlOf(filename)).toEqual(before)
        yield* reserved(broken("CREATE TABLE arcp_last (a TEXT)"))
        expect(yield* stepsIn(filename)).toEqual(upTo(latest + 2))
      }
    })
  )

  it.effect("that was killed half-way has not been: the next start does all of it", () =>
    Effect.gen(function* () {
      const [filename, left] = [fixture("schema-1"), place()]
      yield* using(filename, (sql) =>
        Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* sql.reserve
            // Pages that do not stay in memory reach the log before the end.
            yield* connection.executeRaw("PRAGMA cache_size = 1", [])
            yield* connection.executeRaw("BEGIN IMMEDIATE", [])
            for (const { id, statements } of migrations.slice(1, 4)) {
              for (const statement of statements) yield* connection.executeRaw(statement, [])
              yield* connection.executeRaw("INSERT INTO arcp_migrations (id) VALUES (?)", [id])
            }
            yield* connection.executeRaw("UPDATE arcp_job_states SET cancelled = 'x'", [])
            for (const end of ["", "-wal"]) if (existsSync(filename + end)) copyFileSync(filename + end, left + end)
            yield* connection.executeRaw("ROLLBACK", [])
          })
        )
      )
      expect(readFileSync(`${left}-wal`).length).toBeGreaterThan(0)
      yield* build(left)
      expect(yield* stepsIn(left)).toEqual(upTo(latest))
      expect(yield* withFile(left, "SELECT COUNT(*) AS n FROM arcp_job_states WHERE cancelled IS NOT NULL")).toEqual([
        { n: 0 }
      ])
    })
  )

  // After its first statement, after its second, and so on.
  it.effect.each(Array.from({ length: 16 }, (_, i) => i + 1))(
    "of two processes at once runs once: the other comes after statement %i",
    (place) =>
      Effect.gen(function* () {
        const filename = fixture("schema-1")
        const other = Effect.scoped(Layer.build(sharing({ filename }, quick)))
        let statements = 0
        const also = <A, E>(statement: Effect.Effect<A, E>) =>
          Effect.zipLeft(
            statement,
            Effect.suspend(() => (++statements === place ? Effect.exit(other) : Effect.void))
          )
        const interrupted = (sql: SqlClient): SqlClient =>
          Object.assign(sql, {
            reserve: Effect.map(sql.reserve, (connection) => ({
              ...connection,
              execute: (...args: Parameters<typeof connection.execute>) => also(connection.execute(...args)),
              executeRaw: (...args: Parameters<typeof connection.executeRaw>) => also(connection.executeRaw(...args))
            }))
          })
        yield* Effect.scoped(Layer.build(sharing({ filename }, interrupted)))
        expect(statements).toBeGreaterThanOrEqual(place)
        yield* other
        expect(yield* stepsIn(filename)).toEqual(upTo(latest))
      })
  )
})

/** Does not wait for a lock that is held by this very process. */
const quick = (sql: SqlClient): SqlClient => {
  Effect.runSync(Effect.orDie(sql.unsafe("PRAGMA busy_timeout = 0")))
  return sql
}

describe("a file", () => {
  it.effect("that may not be written is rejected, and says so", () =>
    Effect.gen(function* () {
      const filename = fixture("schema-1")
      // Without a log, which could not be made.
      yield* withFile(filename, "PRAGMA journal_mode = DELETE")
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(sharing({ filename, readonly: true, disableWAL: true })))
      )
      expect(error).toMatchObject({
        _tag: "StoreError",
        message:
          "the database refused step 2 of its schema: attempt to write a readonly database (the file may not be written by this user). Nothing was changed"
      })
      expect(yield* stepsIn(filename)).toEqual(upTo(1))
    })
  )

  it.effect("that is no database is rejected, and stays as it is", () =>
    Effect.gen(function* () {
      const filename = place()
      writeFileSync(filename, "notes of mine\n".repeat(500))
      const error = yield* Effect.flip(build(filename))
      expect(error.message).toBe(
        `${filename} is not a SQLite database or is damaged: restore it from a backup, or start with a new file`
      )
      expect(readFileSync(filename, "utf8")).toBe("notes of mine\n".repeat(500))
    })
  )

  it.live("of the first version, which cannot give its pages back, does not hold up a purge", () =>
    Effect.gen(function* () {
      const filename = fixture("schema-1")
      yield* Effect.gen(function* () {
        const store = yield* Store
        const purging = yield* Effect.fork(store.purge)
        let turns = 0
        const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
        while (Option.isNone(yield* Fiber.poll(purging))) {
          yield* turn
          turns++
        }
        expect(turns).toBeLessThan(10)
        yield* Fiber.join(purging)
      }).pipe(Effect.provide(yield* freed(filename)))
    }).pipe(Effect.scoped)
  )
})

/** The store over a file that has free pages. */
const freed = (filename: string) =>
  Effect.gen(function* () {
    yield* withFile(
      filename,
      "CREATE TABLE filler (a TEXT)",
      `INSERT INTO filler VALUES ('${"x".repeat(100_000)}')`,
      "DROP TABLE filler"
    )
    const [row] = (yield* withFile(filename, "PRAGMA freelist_count")) as ReadonlyArray<{ freelist_count: number }>
    expect(row!.freelist_count).toBeGreaterThan(20)
    return yield* Layer.build(SqliteStore.layer({ filename }))
  })

describe("§7.2 a database in which a job's other owners are a list", () => {
  it.effect.each(["schema-6", "schema-6-sealed"])(
    "%s has them as rows in the order of the list, and none of a session that is gone",
    (name) =>
      Effect.gen(function* () {
        const filename = fixture(name)
        const encryptionKey = name.endsWith("sealed") ? { encryptionKey: Redacted.make(keyOf({ schema: 6 })) } : {}
        // Ids that begin or end with another one, and that order differently than they came.
        const ids = ["sess_B", "sess_A", "sess_AB", "A", "s"]
        const columns =
          "token_hash, previous_token_hash, created_at, last_seen_at, last_seq, acked_seq, floor_seq, data"
        const lists = ["sess_B,A,sess_AB,sess_gone,sess_A,s", "s", "sess_gone", "sess_gone,sess_A,sess_A"]
        const jobs = (yield* withFile(
          filename,
          ...ids.map(
            (id) =>
              `INSERT INTO arcp_sessions (session_id, ${columns}) SELECT '${id}', ${columns} FROM arcp_sessions LIMIT 1`
          ),
          `SELECT job_id AS id FROM arcp_job_states WHERE other_owners IS NULL ORDER BY job_id LIMIT ${lists.length}`
        )) as ReadonlyArray<{ readonly id: string }>
        expect(jobs).toHaveLength(lists.length)
        const [before] = (yield* withFile(
          filename,
          ...lists.map(
            (list, n) => `UPDATE arcp_job_states SET other_owners = '${list}' WHERE job_id = '${jobs[n]!.id}'`
          ),
          "SELECT job_id AS job, other_owners AS session FROM arcp_job_states WHERE other_owners LIKE 'sess_0%'"
        )) as ReadonlyArray<{ readonly job: string; readonly session: string }>
        yield* build(filename, encryptionKey)
        const rows = (yield* withFile(
          filename,
          "SELECT job_id AS job, session_id AS session FROM arcp_job_owners ORDER BY job_id, place"
        )) as ReadonlyArray<{ readonly job: string; readonly session: string }>
        const ofJob = ({ id }: { readonly id: string }) =>
          rows.flatMap(({ job, session }) => (job === id ? [session] : []))
        expect(jobs.map(ofJob)).toEqual([["sess_B", "A", "sess_AB", "sess_A", "s"], ["s"], [], ["sess_A"]])
        // The one that the program of that schema has written.
        expect(rows.filter(({ job }) => jobs.every(({ id }) => id !== job))).toEqual([before])
      })
  )

  it.effect("has a thousand owners in their order, too", () =>
    Effect.gen(function* () {
      const filename = fixture("schema-6")
      const ids = Array.from({ length: 1_000 }, (_, n) => `sess_01M8H8MTDF815H9G853R${(n * 7_919) % 1_000}`)
      const columns = "token_hash, previous_token_hash, created_at, last_seen_at, last_seq, acked_seq, floor_seq, data"
      yield* withFile(
        filename,
        `INSERT INTO arcp_sessions (session_id, ${columns}) SELECT value, ${columns} FROM json_each('${JSON.stringify(ids)}'), (SELECT * FROM arcp_sessions LIMIT 1)`,
        `UPDATE arcp_job_states SET other_owners = '${ids.join(",")}' WHERE job_id = (SELECT MIN(job_id) FROM arcp_job_states)`
      )
      yield* build(filename)
      const rows = yield* withFile(
        filename,
        "SELECT session_id AS id FROM arcp_job_owners WHERE job_id = (SELECT MIN(job_id) FROM arcp_job_states) ORDER BY place"
      )
      expect(rows).toEqual(ids.map((id) => ({ id })))
    })
  )
})

describe("1.0 §14 an encrypted database of an earlier version", () => {
  const encryptionKey = Redacted.make(keyOf({ schema: 4 }))
  const { name } = aesGcmOf(encryptionKey)

  it.effect("has no key, name of a step or budget in clear any more, and the digests of later versions stay", () =>
    Effect.gen(function* () {
      const filename = fixture("schema-4-sealed")
      // A version in between has been there: a key of today, and the first key repeated under its digest.
      yield* withFile(
        filename,
        `INSERT INTO arcp_keys SELECT principal_id, '${name("ended", "key alice")}', 'job_later', parameters_hash, expires_at FROM arcp_keys WHERE idempotency_key = 'ended'`,
        `INSERT INTO arcp_keys SELECT principal_id, '${name("other", "key alice")}', 'job_other', parameters_hash, expires_at FROM arcp_keys WHERE idempotency_key = 'ended'`
      )
      yield* build(filename, { encryptionKey })
      const keys = (yield* withFile(filename, "SELECT idempotency_key AS k, job_id FROM arcp_keys")) as ReadonlyArray<{
        readonly k: string
        readonly job_id: string
      }>
      expect(keys.map(({ k }) => k).toSorted()).toEqual(
        ["ended", "other", "running"].map((key) => name(key, "key alice")).toSorted()
      )
      expect(keys.find(({ k }) => k === name("ended", "key alice"))!.job_id).toBe("job_later")
      const budgets = yield* withFile(filename, "SELECT budget FROM arcp_job_states WHERE budget IS NOT NULL")
      expect(budgets).toEqual([{ budget: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/) }])
      const steps = (yield* withFile(filename, "SELECT job_id, name FROM arcp_steps")) as ReadonlyArray<{
        readonly job_id: string
        readonly name: string
      }>
      expect(steps.map((step) => step.name)).toEqual(steps.map(({ job_id }) => name("one", `step ${job_id}`)))
      expect(steps).toHaveLength(1)
      const dump = (yield* withFile(filename, "PRAGMA wal_checkpoint(TRUNCATE)"), readFileSync(filename, "latin1"))
      expect(dump).not.toContain('"USD"')
    })
  )

  it.effect("finds a key that looks like a digest, whichever way it was stored", () =>
    Effect.gen(function* () {
      const filename = place()
      const looksNamed = "A".repeat(43)
      const { seal } = aesGcmOf(encryptionKey)
      yield* build(filename, { encryptionKey })
      const insert = (jobId: string, stored: string) => [
        `INSERT INTO arcp_jobs (job_id, principal_id, agent, version, created_at, data) VALUES ('${jobId}', 'alice', 'a', '1', 1, '${seal(JSON.stringify({ idempotencyKey: looksNamed }), `job ${jobId}`)}')`,
        `INSERT INTO arcp_keys (principal_id, idempotency_key, job_id, parameters_hash, expires_at) VALUES ('${jobId}', '${stored}', '${jobId}', 'hash', 9)`
      ]
      yield* withFile(
        filename,
        "DELETE FROM arcp_meta WHERE name = 'sealing'",
        ...insert("clear", looksNamed),
        ...insert("named", name(looksNamed, "key named"))
      )
      const built = yield* Layer.build(stores(filename, { encryptionKey }))
      yield* Effect.gen(function* () {
        const store = yield* Store
        for (const principal of ["clear", "named"]) {
          const found = yield* store.key(principal, looksNamed)
          expect([principal, Option.map(found, ({ jobId }) => jobId)]).toEqual([principal, Option.some(principal)])
        }
        yield* store.commit(emptyBatch)
      }).pipe(Effect.provide(built))
    }).pipe(Effect.scoped)
  )
})

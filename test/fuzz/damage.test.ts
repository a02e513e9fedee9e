/** A SQLite store whose rows were overwritten: it is refused by a clear error, or what is whole in it goes on. */
import { describe, expect, it } from "@effect/vitest"
import { layer as reactivity } from "@effect/experimental/Reactivity"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Cause, Effect, Exit, FastCheck as fc, TestClock } from "effect"
import { copyFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { SqliteStore } from "../../src/store/sqlite.js"
import { dial, hello, run, submit } from "../runtime/peer.js"
import { world } from "../runtime/world.js"
import { runs } from "../support/properties.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-damage-")

const columns: ReadonlyArray<readonly [table: string, column: string]> = [
  ["arcp_sessions", "data"],
  ["arcp_sessions", "last_seq"],
  ["arcp_sessions", "token_hash"],
  ["arcp_jobs", "data"],
  ["arcp_jobs", "created_at"],
  ["arcp_job_states", "status"],
  ["arcp_job_states", "budget"],
  ["arcp_job_states", "last_job_seq"],
  ["arcp_segments", "data"],
  ["arcp_segments", "class"],
  ["arcp_meta", "value"]
]

/** What may stand there afterwards; `old` is what stood there. */
const damage: fc.Arbitrary<(old: string) => string> = fc.oneof(
  fc.constantFrom("", "null", "[]", "{}", "{", '"x"', "-1", "1e999", "\u0000", "{garbage}").map((text) => () => text),
  fc.string({ maxLength: 40 }).map((text) => () => text),
  fc.nat().map((at) => (old: string) => old.slice(0, at % (old.length + 1))),
  fc.tuple(fc.nat(), fc.nat({ max: 9 })).map(([at, length]) => (old: string) => {
    const i = at % (old.length + 1)
    return old.slice(0, i) + old.slice(i + length)
  }),
  fc
    .constantFrom("principal", "features", "accepted", "lease", "claims", "input", "kind")
    .map((name) => (old: string) => old.replace(`"${name}"`, `"no${name}"`))
)

/** Overwrites one column of one row. */
const overwrite = (filename: string, table: string, column: string, pick: number, change: (old: string) => string) =>
  Effect.gen(function* () {
    const sql = yield* SqliteClient.make({ filename, disableWAL: true })
    const rows = yield* sql.unsafe<{ readonly id: number; readonly old: unknown }>(
      `SELECT rowid AS id, ${column} AS old FROM ${table}`
    )
    const row = rows[pick % rows.length]!
    const old = String(row.old ?? "")
    const now = change(old)
    yield* sql.unsafe(`UPDATE ${table} SET ${column} = ? WHERE rowid = ?`, [now, row.id])
    return { old, now }
  }).pipe(Effect.scoped, Effect.provide(reactivity))

const whole = Effect.gen(function* () {
  const filename = join(folder, "whole.db")
  const told = yield* Effect.scoped(
    Effect.gen(function* () {
      const peer = yield* hello()
      yield* run(peer, "counter", { count: 4 })
      const budget = { lease_request: { "cost.budget": ["USD:5.00"] } }
      const running = yield* submit(peer, "gate", { name: "damage" }, budget)
      yield* peer.next("job.event", (frame) => frame.job_id === running.job_id && frame.payload.kind === "log")
      return { sessionId: peer.sessionId, token: peer.token }
    }).pipe(Effect.provide(world({ store: SqliteStore.layer({ filename }) })))
  )
  return { filename, ...told }
})

describe("a damaged SQLite store", () => {
  it.effect(
    "§6.3 is refused by an error that names the row, or its whole rows go on; no job and no session of others is lost",
    () =>
      Effect.gen(function* () {
        const { filename, sessionId, token } = yield* whole
        const plans = fc.sample(fc.tuple(fc.constantFrom(...columns), fc.nat(), damage), {
          numRuns: runs(20),
          seed: 11
        })
        const count = { refused: 0, started: 0 }
        for (const [i, [[table, column], pick, change]] of plans.entries()) {
          const copy = join(folder, `${i}.db`)
          copyFileSync(filename, copy)
          const { now, old } = yield* overwrite(copy, table, column, pick, change)
          const told = `${table}.${column} ${old} -> ${now}`
          const exit = yield* Effect.exit(
            Effect.scoped(
              Effect.gen(function* () {
                const resuming = yield* dial
                yield* resuming.send("session.hello", {
                  auth: { scheme: "bearer", token: "alice-token" },
                  capabilities: { features: ["subscribe", "list_jobs"] },
                  resume: { session_id: sessionId, resume_token: token, last_event_seq: 0 }
                })
                yield* TestClock.adjust(0)
                const other = yield* hello({ token: "bob-token" })
                expect((yield* run(other, "echo", told)).payload.result).toBe(told)
                const list = yield* resuming.send("session.list_jobs")
                yield* TestClock.adjust(0)
                // Whatever became of the resume and its listing, somebody else's session goes on.
                expect(typeof list).toBe("string")
                expect((yield* run(other, "echo", told)).payload.result).toBe(told)
                for (const frame of resuming.seen) {
                  if (frame.type === "session.error") expect(frame.payload.message, told).not.toContain("SyntaxError")
                }
              }).pipe(Effect.provide(world({ store: SqliteStore.layer({ filename: copy }) })))
            )
          )
          rmSync(copy)
          if (Exit.isSuccess(exit)) count.started++
          else {
            count.refused++
            expect(Cause.pretty(exit.cause), told).toMatch(/StoreError: .*(is damaged|encrypted)/)
          }
        }
        expect(count.refused).toBeGreaterThan(2)
        expect(count.started).toBeGreaterThan(2)
      })
  )
})

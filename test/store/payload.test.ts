/** Large payloads as bytes (ARCP 1.1 §8.4): what stores keep of them, and what who knows texts alone is given. */
import { SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { join } from "node:path"
import { emptyBatch, MemoryStore, Store, decorate } from "../../src/store/index.js"
import { loadedSegments, type LoadedBatch, type Payload, payloadText } from "../../src/store/Payload.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { atOnceOf } from "../support/atOnce.js"
import { jobRecord, jobState } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-payload-")
let files = 0
const sqlite = (options: Partial<SqliteStore.SqliteOptions> = {}) =>
  Layer.suspend(() => SqliteStore.layer({ filename: join(folder, `${files++}.db`), ...options }))
const sealed = { encryptionKey: storeKey() }

const text = (data: string) => `{"kind":"result_chunk","body":{"data":"${data}"}}`
const bytes = (data: string) => Buffer.from(text(data))

/** Two texts, three chunks as bytes, an end: each of the bytes is a segment of its own, as a batch of the log has them. */
const payloads: ReadonlyArray<ReadonlyArray<Payload>> = [
  [text("a"), text("b")],
  [bytes("é€😀")],
  [bytes("c".repeat(70_000))],
  [bytes("d")],
  [text("e")]
]
const all = payloads.flat().map(payloadText)

const batch = (): LoadedBatch => {
  let last = 0
  const segments = payloads.map((some) => {
    const firstSeq = last + 1
    last += some.length
    return { jobId: "j", firstSeq, lastSeq: last, class: "chunk" as const, payloads: some }
  })
  return { ...emptyBatch, jobs: [jobRecord("j")], jobStates: [jobState("j")], segments }
}

const ending = {
  ...emptyBatch,
  jobStates: [jobState("j", { status: "success", endedAt: 1 })]
}

const kept = { endedBefore: 0, maxJobs: 10, maxBytes: 0 }

describe.each([
  ["memory", MemoryStore.layer],
  ["SQLite", sqlite()],
  ["encrypted SQLite", sqlite(sealed)]
] as const)("§8.4 payloads as bytes in %s", (name, layer) => {
  it.scopedLive("are read as the texts that they are, whatever part of them is asked for", () =>
    Effect.gen(function* () {
      const store = yield* Store
      expect(atOnceOf(store)(batch())).toBeUndefined()
      const found = yield* store.segments("j", 1, 6, Number.MAX_SAFE_INTEGER)
      expect(found.flatMap((segment) => segment.payloads)).toEqual(all)
      const [one] = yield* store.segments("j", 4, 4, 1)
      expect(one).toEqual({ jobId: "j", firstSeq: 4, lastSeq: 4, class: "chunk", payloads: [all[3]] })
      expect((yield* store.segmentHeads("j", 1, 6)).map(({ lastSeq }) => lastSeq)).toEqual([2, 3, 4, 5, 6])
      // The size of a job's events is that of all of them.
      expect(atOnceOf(store)(ending)).toBeUndefined()
      expect(yield* store.expiredJobs({ ...kept, maxBytes: 70_000 }, 9)).toEqual(["j"])
      expect(yield* store.expiredJobs({ ...kept, maxBytes: 70_500 }, 9)).toEqual([])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("are read as bytes by who asks for these, as far as they are kept so", () =>
    Effect.gen(function* () {
      const store = yield* Store
      expect(atOnceOf(store)(batch())).toBeUndefined()
      const found = (yield* loadedSegments(store, "j", 1, 6, Number.MAX_SAFE_INTEGER)).flatMap((s) => s.payloads)
      expect(found.map(payloadText)).toEqual(all)
      const isText = found.map((payload) => typeof payload === "string")
      expect(isText).toEqual(
        name === "encrypted SQLite" ? all.map(() => true) : [true, true, false, false, false, true]
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("are neither given to nor asked of a store that was put around it", () =>
    Effect.gen(function* () {
      const inner = yield* Store
      expect(atOnceOf(inner)(batch())).toBeUndefined()
      const store = decorate(inner, (_, run) => run)
      const found = yield* loadedSegments(store, "j", 1, 6, Number.MAX_SAFE_INTEGER)
      expect(found.flatMap((segment) => segment.payloads)).toEqual(all)
    }).pipe(Effect.provide(layer))
  )
})

it.scopedLive(
  "§8.4 bytes are one row each, which an earlier version reads as the text that it would have written",
  () =>
    Effect.gen(function* () {
      const store = yield* Store
      expect(atOnceOf(store)(batch())).toBeUndefined()
      const sql = store.over?.[0] as SqlClient
      const rows = yield* sql.unsafe<{ readonly data: unknown; readonly kind: string; readonly bytes: number }>(
        "SELECT data, typeof(data) AS kind, bytes FROM arcp_segments ORDER BY last_seq"
      )
      expect(rows.map(({ kind }) => kind)).toEqual(["text", "blob", "blob", "blob", "text"])
      // Versions before this one read a row so.
      expect(rows.flatMap(({ data }) => String(data).split("\n"))).toEqual(all)
      expect(rows.reduce((sum, row) => sum + row.bytes, 0)).toBe(
        payloads.flat().reduce((sum, payload) => sum + payload.length, 1)
      )
    }).pipe(Effect.provide(sqlite()))
)

it.scopedLive("a row of bytes that something else has changed is damaged, and is not sent", () =>
  Effect.gen(function* () {
    const store = yield* Store
    expect(atOnceOf(store)(batch())).toBeUndefined()
    const sql = store.over?.[0] as SqlClient
    for (const data of [Buffer.from("nonsense"), Buffer.alloc(0), Buffer.from("{}\n{}x")]) {
      yield* sql.unsafe("UPDATE arcp_segments SET data = ? WHERE last_seq = 4", [data])
      const error = yield* Effect.flip(loadedSegments(store, "j", 4, 4, 1))
      expect(error.message).toContain("the row j 4 of arcp_segments is damaged in its field data")
    }
  }).pipe(Effect.provide(sqlite()))
)

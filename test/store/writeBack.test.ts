/** How much of a SQLite file's log is written back at a time. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { closeSync, openSync, statSync } from "node:fs"
import { join } from "node:path"
import { emptyBatch } from "../../src/store/index.js"
import { nextTurn } from "../../src/store/internal/turn.js"
import { bound, flushing, weightOf, WriteBack } from "../../src/store/internal/writeBack.js"
import { jobRecord, jobState } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { openSqlite } from "./fixtures/rows.js"

const folder = scratch("arcp-write-back-")
let files = 0
const file = () => join(folder, `${files++}.db`)

const mebibyte = 1_048_576
/** What the log has beside the bytes of events: pages of indexes, and its own headers. */
const beside = mebibyte

const chunk = JSON.stringify("x".repeat(65_534))

/** A commit of a mebibyte of events, as the writer's longest. */
const commitOf = (number: number) => ({
  ...emptyBatch,
  segments: Array.from({ length: 16 }, (_, i) => ({
    jobId: "j",
    firstSeq: number * 16 + i + 1,
    lastSeq: number * 16 + i + 1,
    class: "chunk" as const,
    payloads: [chunk]
  }))
})

const artifact = (number: number, data: Uint8Array) => ({
  artifactId: `art_0000000000000000000000000${number}`,
  principalId: "alice",
  contentType: "application/octet-stream",
  byteSize: data.length,
  sha256: createHash("sha256").update(data).digest("hex"),
  createdAt: 1,
  expiresAt: 2,
  jobId: undefined
})

/** What runs between two commits. */
const between = { "no turn of the event loop": Effect.void, "a turn of the event loop": nextTurn }

describe.each(Object.entries(between))("a SQLite file that is written to with %s between commits", (_name, pause) => {
  it.scopedLive("keeps its log within twice the bound, whatever is written", () =>
    Effect.gen(function* () {
      const filename = file()
      const { store } = yield* openSqlite({ filename })
      yield* store.commit({ ...emptyBatch, jobs: [jobRecord("j")], jobStates: [jobState("j")] })
      let largest = 0
      for (let i = 0; i < 48; i++) {
        yield* store.commit(commitOf(i))
        largest = Math.max(largest, statSync(`${filename}-wal`).size)
        yield* pause
      }
      expect(largest).toBeGreaterThan(bound)
      expect(largest).toBeLessThanOrEqual(bound * 2 + mebibyte + beside)
      // What was written back is in the file, without its being closed.
      expect(statSync(filename).size).toBeGreaterThan(48 * mebibyte - bound * 2 - mebibyte - beside)
    })
  )

  it.scopedLive("keeps it so beside artifacts, which are written over the connection", () =>
    Effect.gen(function* () {
      const filename = file()
      const { artifacts } = yield* openSqlite({ filename })
      let largest = 0
      for (let i = 0; i < 4; i++) {
        const data = new Uint8Array(9 * mebibyte)
        yield* artifacts.put(artifact(i, data), data)
        largest = Math.max(largest, statSync(`${filename}-wal`).size)
        yield* pause
      }
      expect(largest).toBeLessThanOrEqual(bound * 2 + mebibyte + beside)
    })
  )
})

/** A log that counts what is asked of it, and is flushed when the test says so. */
const counted = (fails = false) => {
  const state = { checkpoints: 0, flushes: 0, closes: 0, inTransaction: false, flushed: () => {} }
  const log = new WriteBack({
    inTransaction: () => state.inTransaction,
    checkpoint: () => {
      state.checkpoints++
      if (fails) throw new Error("the disk fails")
    },
    flush: (done) => {
      state.flushes++
      state.flushed = done
    },
    close: () => void state.closes++
  })
  return { state, log }
}

describe("the write-back of a log", () => {
  it("is done once for 4 MiB, behind one flush", () => {
    const { log, state } = counted()
    for (let i = 1; i <= 3; i++) {
      log.wrote(bound - 1)
      expect(state.flushes).toBe(i - 1)
      log.wrote(1)
      log.wrote(mebibyte)
      expect(state).toMatchObject({ flushes: i, checkpoints: i - 1 })
      state.flushed()
      expect(state).toMatchObject({ flushes: i, checkpoints: i })
    }
  })

  it("is done for each 8 MiB while nothing is flushed, and not again behind the flush", () => {
    const { log, state } = counted()
    for (let i = 0; i < 64; i++) log.wrote(mebibyte)
    expect(state).toMatchObject({ flushes: 1, checkpoints: 8 })
    state.flushed()
    expect(state.checkpoints).toBe(8)
  })

  it("waits for the end of a transaction", () => {
    const { log, state } = counted()
    state.inTransaction = true
    log.wrote(bound)
    state.flushed()
    log.wrote(bound * 2)
    expect(state.checkpoints).toBe(0)
    state.inTransaction = false
    log.wrote(0)
    expect(state.checkpoints).toBe(1)
    log.wrote(0)
    expect(state.checkpoints).toBe(1)
  })

  it("goes on after one that failed, and throws nothing", () => {
    const { log, state } = counted(true)
    log.wrote(bound * 2)
    log.wrote(bound * 2)
    expect(state.checkpoints).toBe(2)
  })

  it("is not done once the database closes; a flush that is under way ends first", () => {
    const { log, state } = counted()
    log.wrote(bound)
    log.close()
    log.wrote(bound * 2)
    expect(state).toMatchObject({ closes: 0, checkpoints: 0 })
    state.flushed()
    log.wrote(bound * 2)
    expect(state).toMatchObject({ flushes: 1, closes: 1, checkpoints: 0 })
    const idle = counted()
    idle.log.close()
    expect(idle.state.closes).toBe(1)
  })

  it("counts texts, bytes, and a row's share of pages", () => {
    const row = weightOf([])
    expect(weightOf(["abc", 1, null, new Uint8Array(5)])).toBe(row + 8)
  })
})

it.live("a log is flushed whether or not its file is there", () =>
  Effect.gen(function* () {
    const filename = join(folder, "log")
    for (const there of [false, true, true]) {
      if (there) closeSync(openSync(filename, "a"))
      const { close, flush } = flushing(filename)
      // Twice: the second time the file is open.
      for (let i = 0; i < 2; i++) yield* Effect.async<void>((resume) => flush(() => resume(Effect.void)))
      close()
    }
  })
)

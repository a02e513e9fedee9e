/** The audit trail in a file: when it is written, and what survives rotation, a crash and a disk that is full (ARCP 1.1 §14). */
import { FileSystem } from "@effect/platform"
import { SystemError } from "@effect/platform/Error"
import { NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Metric, Scope, TestClock } from "effect"
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { Audit, AuditRecord, type AuditFileOptions, Metrics } from "../../src/runtime/index.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-audit-")
let files = 0
const newPath = () => join(folder, `${files++}.ndjson`)

const record = (seq: number, run = "run", runtime = "demo"): AuditRecord => ({
  v: 1,
  run,
  runtime,
  seq,
  ts: "2026-01-01T12:00:00.000Z",
  type: "session.refused",
  reason: "bound",
  code: "INTERNAL_ERROR"
})

const records = (from: number, to: number, run?: string) =>
  Array.from({ length: to - from + 1 }, (_, i) => record(from + i, run))

const linesOf = (path: string): ReadonlyArray<string> => readFileSync(path, "utf8").split("\n").slice(0, -1)

const seqsOf = (path: string): ReadonlyArray<number> =>
  linesOf(path).map((line) => (JSON.parse(line) as AuditRecord).seq)

/** What tests change of a file system. */
interface Faults {
  /** Milliseconds are the clock's. Undefined: as it is. */
  write?: (bytes: Uint8Array, write: FileSystem.File["write"]) => ReturnType<FileSystem.File["write"]>
  writes: number
  syncs: number
}

const faulty = (faults: Faults) =>
  Layer.map(NodeFileSystem.layer, (context) => {
    const fs = Context.get(context, FileSystem.FileSystem)
    return Context.make(FileSystem.FileSystem, {
      ...fs,
      open: (path, options) =>
        Effect.map(
          fs.open(path, options),
          (file) =>
            new Proxy(file, {
              get: (target, key) => {
                const value: unknown = Reflect.get(target, key, target)
                if (key === "write") {
                  return (bytes: Uint8Array) => {
                    faults.writes++
                    const write: FileSystem.File["write"] = (part) => target.write(part)
                    return faults.write === undefined ? write(bytes) : faults.write(bytes, write)
                  }
                }
                if (key === "sync") return Effect.tap(target.sync, () => void faults.syncs++)
                return typeof value === "function" ? (value as () => unknown).bind(target) : value
              }
            })
        )
    })
  })

const full = new SystemError({ reason: "Unknown", module: "FileSystem", method: "write", description: "ENOSPC" })

/** A trail, and what ends it; it is ended with the test at the latest. */
const open = (path: string, options: AuditFileOptions = {}, faults: Faults = { writes: 0, syncs: 0 }) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const close = yield* Effect.cached(Scope.close(scope, Exit.void))
    yield* Effect.addFinalizer(() => Effect.forkDaemon(close))
    const context = yield* Layer.buildWithScope(
      Audit.layerNdjson(path, { flushInterval: 0, ...options }).pipe(Layer.provide(faulty(faults))),
      scope
    )
    const { write } = Context.get(context, Audit)
    return { close, faults, write: (list: ReadonlyArray<AuditRecord>) => Effect.orDie(write(list)) }
  })

/** One turn of the event loop after the other. */
const until = (holds: () => boolean) =>
  Effect.repeat(
    Effect.async<boolean>((resume) => void setImmediate(() => resume(Effect.sync(holds)))),
    { until: (done) => done }
  )

/** Waits until a fiber sleeps for so many milliseconds from now on: before, the clock must not be moved. */
const asleepFor = (millis: number) =>
  Effect.repeat(
    Effect.async<boolean>(
      (resume) =>
        void setImmediate(() =>
          resume(
            Effect.flatMap(Clock.currentTimeMillis, (now) =>
              Effect.map(TestClock.sleeps(), (sleeps) => Chunk.contains(sleeps, now + millis))
            )
          )
        )
    ),
    { until: (asleep) => asleep }
  )

const written = (path: string, last: number) => until(() => existsSync(path) && seqsOf(path).at(-1) === last)

const errors = () => {
  const lines: Array<string> = []
  const logger = Logger.map(Logger.structuredLogger, ({ logLevel, message }) => {
    lines.push(`${logLevel} ${String(message)}`)
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

const lostBy = (runtime: string) =>
  Effect.map(Metric.value(Metric.tagged(Metrics.auditLost, "runtime", runtime)), ({ count }) => count)

describe("an audit trail in a file", () => {
  it.scopedLive("§14 is this user's alone, a record a line, and one write for many", () =>
    Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path, { flushInterval: "10 minutes" })
      expect(statSync(path).mode & 0o777).toBe(0o600)
      for (const one of records(1, 500)) yield* trail.write([one])
      expect(linesOf(path)).toEqual([])
      yield* trail.close
      expect(linesOf(path).map((line) => JSON.parse(line) as unknown)).toEqual(records(1, 500))
      expect(trail.faults).toEqual({ writes: 1, syncs: 0 })
    })
  )

  it.scopedLive("does not wait for its interval where there are many", () =>
    Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path, { flushInterval: "10 minutes" })
      yield* trail.write(records(1, 1_024))
      yield* written(path, 1_024)
    })
  )

  it.scopedLive("appends to what is there, and leaves its mode", () =>
    Effect.gen(function* () {
      const path = newPath()
      writeFileSync(path, `${Audit.toLine(record(1))}\n`)
      chmodSync(path, 0o640)
      const trail = yield* open(path)
      yield* trail.write([record(2)])
      yield* trail.close
      expect(seqsOf(path)).toEqual([1, 2])
      expect(statSync(path).mode & 0o777).toBe(0o640)
    })
  )

  it.scopedLive("flushes each write to the disk where that is asked for", () =>
    Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path, { sync: true })
      yield* trail.write([record(1)])
      yield* until(() => trail.faults.syncs === 1)
      expect(seqsOf(path)).toEqual([1])
    })
  )

  it.scopedLive.each(["{", '{"v":1,"run":"r"', "\u0000"])("a line that a crash has torn (%j) spoils no other", (torn) =>
    Effect.gen(function* () {
      const path = newPath()
      writeFileSync(path, `${Audit.toLine(record(1))}\n${torn}`)
      const trail = yield* open(path)
      yield* trail.write([record(2)])
      yield* trail.close
      const [first, second, third] = linesOf(path)
      expect(JSON.parse(first!)).toEqual(record(1))
      expect(second).toBe(torn)
      expect(JSON.parse(third!)).toEqual(record(2))
    })
  )

  it.scopedLive("is opened anew where its file was renamed or removed", () =>
    Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path)
      yield* trail.write([record(1)])
      yield* written(path, 1)
      renameSync(path, `${path}.1`)
      yield* trail.write([record(2)])
      yield* written(path, 2)
      expect(seqsOf(`${path}.1`)).toEqual([1])
      expect(seqsOf(path)).toEqual([2])
      expect(statSync(path).mode & 0o777).toBe(0o600)
      rmSync(path)
      yield* trail.write([record(3)])
      yield* written(path, 3)
      expect(seqsOf(path)).toEqual([3])
    })
  )

  it.skipIf(process.platform === "win32")("a pipe is refused: nobody may read it", () =>
    Effect.gen(function* () {
      const path = newPath()
      execFileSync("mkfifo", [path])
      const opened = yield* Effect.exit(Effect.timeout(Effect.disconnect(open(path)), "5 seconds"))
      expect(String(opened)).toContain("an audit trail is a file")
      // A reader that comes later frees the thread of a process that waits for it.
      closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))
    }).pipe(Effect.scoped, Effect.runPromise)
  )

  it.skipIf(process.platform === "win32")("a pipe in its place is not opened, and no record is lost of it", () => {
    const { layer, lines } = errors()
    return Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path)
      yield* trail.write([record(1)])
      yield* written(path, 1)
      rmSync(path)
      execFileSync("mkfifo", [path])
      yield* trail.write([record(2)])
      yield* until(() => lines.some((line) => line.includes("an audit trail is a file")))
      rmSync(path)
      yield* written(path, 2)
      expect(seqsOf(path)).toEqual([2])
    }).pipe(Effect.scoped, Effect.provide(layer), Effect.runPromise)
  })

  it.scopedLive("§14 anonymous principals have a part of what waits, and push out no record of others", () =>
    Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path, { flushInterval: "10 minutes", capacity: 8 })
      const of = (seq: number, principal: string): AuditRecord => ({ ...record(seq), principal })
      const lost = (count: number, seq: number) => ({
        v: 1,
        run: "run",
        runtime: "demo",
        seq,
        ts: record(seq).ts,
        type: "audit.lost",
        count
      })
      yield* trail.write(Array.from({ length: 100 }, (_, i) => of(i + 1, `anonymous:${i}`)))
      yield* trail.write([of(101, "alice"), of(102, "anonymous:102"), of(103, "alice"), of(104, "anonymous:104")])
      yield* trail.close
      expect(linesOf(path).map((line) => JSON.parse(line) as unknown)).toEqual([
        ...[1, 2, 3, 4].map((seq) => of(seq, `anonymous:${seq - 1}`)),
        lost(96, 100),
        of(101, "alice"),
        lost(1, 102),
        of(103, "alice"),
        lost(1, 104)
      ])
    })
  )

  it.scopedLive("two runtimes share one", () =>
    Effect.gen(function* () {
      const path = newPath()
      const trail = yield* open(path)
      yield* trail.write([record(1, "a"), record(1, "b"), record(2, "a")])
      yield* trail.close
      expect(seqsOf(path)).toEqual([1, 1, 2])
    })
  )

  it.scopedLive("fails where it cannot be opened at the start", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(open(join(folder, "none", "audit.ndjson")))
      expect(exit).toMatchObject({ cause: { error: { reason: "NotFound" } } })
      expect(yield* Effect.exit(open(folder))).toMatchObject({ _tag: "Failure" })
    })
  )
})

describe("what cannot be written", () => {
  it.scopedLive("§14 is written later, whole and once, whatever part of it was written; and is logged once", () => {
    const { layer, lines } = errors()
    return Effect.gen(function* () {
      const path = newPath()
      let broken = true
      const faults: Faults = {
        writes: 0,
        syncs: 0,
        // A part of a line, as of a disk that is full.
        write: (bytes, write) =>
          !broken ? write(bytes) : bytes.length > 700 ? write(bytes.subarray(0, 250)) : Effect.fail(full)
      }
      const trail = yield* open(path, {}, faults)
      yield* trail.write(records(1, 5))
      yield* until(() => lines.length === 1)
      expect(lines[0]).toMatch(/^ERROR the audit trail .* could not be written: .*ENOSPC/)
      broken = false
      yield* trail.close
      const good = linesOf(path).filter((line) => line.endsWith("}"))
      expect(good.map((line) => (JSON.parse(line) as AuditRecord).seq)).toEqual([1, 2, 3, 4, 5])
      expect(lines.filter((line) => line.startsWith("ERROR"))).toHaveLength(1)
    }).pipe(Effect.provide(layer))
  })

  it.scoped("is tried again after pauses that grow, and is logged once", () => {
    const { layer, lines } = errors()
    return Effect.gen(function* () {
      const path = newPath()
      let broken = true
      const faults: Faults = {
        writes: 0,
        syncs: 0,
        write: (bytes, write) => (broken ? Effect.fail(full) : write(bytes))
      }
      const trail = yield* open(path, { flushInterval: "1 second" }, faults)
      const attempts = (n: number) => until(() => faults.writes === n)
      yield* trail.write([record(1)])
      yield* until(() => true)
      for (const [pause, n] of [
        [1, 1],
        [1, 2],
        [2, 3],
        [4, 4],
        [8, 5],
        [16, 6],
        [30, 7],
        [30, 8]
      ] as const) {
        yield* asleepFor(pause * 1000)
        yield* TestClock.adjust(pause * 1000 - 1)
        yield* Effect.repeatN(
          until(() => true),
          20
        )
        expect(faults.writes).toBe(n - 1)
        yield* TestClock.adjust(1)
        yield* attempts(n)
      }
      broken = false
      yield* asleepFor(30_000)
      yield* TestClock.adjust("30 seconds")
      yield* written(path, 1)
      yield* until(() => lines.length === 2)
      expect(lines.map((line) => line.split(" ")[0])).toEqual(["ERROR", "WARN"])
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("beyond its capacity is counted, and told in its place", () =>
    Effect.gen(function* () {
      const path = newPath()
      const before = yield* lostBy("full")
      const go = yield* Deferred.make<void>()
      const faults: Faults = {
        writes: 0,
        syncs: 0,
        write: (bytes, write) => Effect.zipRight(Deferred.await(go), write(bytes))
      }
      const trail = yield* open(path, { capacity: 3 }, faults)
      const add = (run: string, seq: number) => trail.write([record(seq, run, "full")])
      yield* add("a", 1)
      yield* until(() => faults.writes === 1)
      for (const [run, seq] of [
        ["a", 2],
        ["b", 1],
        ["a", 3],
        ["a", 4],
        ["b", 2],
        ["a", 5]
      ] as const)
        yield* add(run, seq)
      yield* Deferred.succeed(go, undefined)
      yield* until(() => linesOf(path).length >= 4)
      yield* add("a", 6)
      yield* trail.close
      const read = linesOf(path).map((line) => JSON.parse(line) as AuditRecord)
      expect(read.map(({ run, seq, type }) => [run, seq, type === "audit.lost" ? "lost" : "there"])).toEqual([
        ["a", 1, "there"],
        ["a", 2, "there"],
        ["b", 1, "there"],
        ["a", 3, "there"],
        ["a", 5, "lost"],
        ["b", 2, "lost"],
        ["a", 6, "there"]
      ])
      expect(read.filter(({ type }) => type === "audit.lost")).toMatchObject([{ count: 2 }, { count: 1 }])
      expect((yield* lostBy("full")) - before).toBe(3)
    })
  )

  it.scopedLive("its folder is gone: nothing is lost once it is back", () =>
    Effect.gen(function* () {
      const own = join(folder, "own")
      mkdirSync(own)
      const path = join(own, "audit.ndjson")
      const { layer, lines } = errors()
      yield* Effect.gen(function* () {
        const trail = yield* open(path)
        rmSync(own, { recursive: true })
        yield* trail.write([record(1)])
        yield* until(() => lines.length === 1)
        mkdirSync(own)
        yield* trail.write([record(2)])
        yield* trail.close
        expect(seqsOf(path)).toEqual([1, 2])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive.skipIf(!existsSync("/dev/full"))(
    "a disk that stays full: the end says what is lost, and is not held up",
    () =>
      Effect.gen(function* () {
        const { layer, lines } = errors()
        const before = yield* lostBy("demo")
        yield* Effect.gen(function* () {
          const trail = yield* open("/dev/full")
          yield* trail.write(records(1, 3))
          yield* until(() => lines.length === 1)
          yield* trail.close
        }).pipe(Effect.provide(layer))
        expect(lines[0]).toMatch(/^ERROR .*\/dev\/full could not be written/)
        expect(lines[1]).toMatch(/^ERROR .*ends without 3 records/)
        expect((yield* lostBy("demo")) - before).toBe(3)
      })
  )

  it.scoped("a disk that does not answer holds up neither who writes nor, for more than 5 seconds, the end", () => {
    const { layer, lines } = errors()
    return Effect.gen(function* () {
      const faults: Faults = { writes: 0, syncs: 0, write: () => Effect.uninterruptible(Effect.never) }
      const trail = yield* open(newPath(), {}, faults)
      yield* trail.write([record(1)])
      yield* TestClock.adjust(1)
      yield* until(() => faults.writes === 1)
      yield* trail.write(records(2, 5))
      const closing = yield* Effect.fork(trail.close)
      yield* asleepFor(5_000)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(closing)
      expect(lines).toEqual([expect.stringMatching(/^ERROR .*ends without 5 records/)])
    }).pipe(Effect.provide(layer))
  })

  it.each([{ capacity: 0 }, { capacity: Number.NaN }, { flushInterval: -1 }])(
    "%j is refused when the layer is made",
    (options) => {
      expect(() => Audit.layerNdjson("audit.ndjson", options)).toThrow(RangeError)
    }
  )

  it.each([0, 1.5, -1, Number.NaN])("a capacity of %s is refused in memory and by the stream", async (capacity) => {
    expect(() => Audit.layerMemory(capacity)).toThrow(RangeError)
    const audit = await Effect.runPromise(Effect.scoped(Effect.provide(Audit, Audit.layerStream)))
    expect(() => audit.records(capacity)).toThrow(RangeError)
  })
})

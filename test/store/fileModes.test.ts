/** 1.0 §14 The files of a store are its owner's alone: looser modes are mended, or the files are refused. */
import { spawnSync } from "node:child_process"
import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, openSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { emptyBatch, FolderArtifactStore, Store } from "../../src/store/index.js"
import { prepareFile } from "../../src/store/internal/fileModes.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { bundle } from "../bundle.js"
import { sessionRecord } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-modes-")
let files = 0
const place = () => join(folder, `${files++}.db`)
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

const logged = () => {
  const lines: Array<string> = []
  return { lines, layer: Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => void lines.push(String(message)))) }
}

describe.skipIf(process.platform === "win32")("1.0 §14 the files of a SQLite store", () => {
  it.scopedLive("are mended where others could reach them, with the log and the index, and that is logged", () =>
    Effect.gen(function* () {
      for (const mode of [0o644, 0o640, 0o604, 0o666, 0o660, 0o620, 0o601]) {
        const filename = place()
        const log = logged()
        yield* Effect.scoped(Layer.build(SqliteStore.layer({ filename })))
        // As a process that was killed leaves them.
        for (const suffix of ["-wal", "-shm"]) writeFileSync(`${filename}${suffix}`, "")
        for (const suffix of ["", "-wal", "-shm"]) chmodSync(`${filename}${suffix}`, mode)
        const scope = yield* Scope.make()
        const stores = yield* Layer.build(Layer.provide(SqliteStore.layer({ filename }), log.layer)).pipe(
          Scope.extend(scope)
        )
        yield* Effect.flatMap(Store, (store) => store.commit({ ...emptyBatch, sessions: [sessionRecord("s")] })).pipe(
          Effect.provide(stores)
        )
        for (const suffix of ["", "-wal", "-shm"]) {
          const path = `${filename}${suffix}`
          if (existsSync(path)) expect([path, modeOf(path)]).toEqual([path, "600"])
        }
        expect(existsSync(`${filename}-wal`)).toBe(true)
        expect(log.lines).toContain(`${filename} could be reached by other users: its mode is 600 now`)
        yield* Scope.close(scope, Exit.void)
      }
    })
  )

  it.scopedLive("are made for their owner alone, and are left as they are where they are", () =>
    Effect.gen(function* () {
      const log = logged()
      const before = process.umask(0)
      const filename = place()
      yield* Effect.scoped(Layer.build(Layer.provide(SqliteStore.layer({ filename }), log.layer))).pipe(
        Effect.ensuring(Effect.sync(() => process.umask(before)))
      )
      expect(modeOf(filename)).toBe("600")
      chmodSync(filename, 0o400 | 0o200)
      yield* Effect.scoped(Layer.build(Layer.provide(SqliteStore.layer({ filename }), log.layer)))
      expect(log.lines).toEqual([])
    })
  )

  it("are found where a link leads", () => {
    const filename = place()
    closeSync(openSync(filename, "w", 0o644))
    writeFileSync(`${filename}-wal`, "", { mode: 0o644 })
    chmodSync(`${filename}-wal`, 0o644)
    chmodSync(filename, 0o644)
    const link = place()
    symlinkSync(filename, link)
    expect(prepareFile(link, false)).toEqual([link, `${filename}-wal`])
    expect([modeOf(filename), modeOf(`${filename}-wal`)]).toEqual(["600", "600"])
  })

  // Only the superuser can make a file that is another user's.
  it.scopedLive.skipIf(process.getuid?.() !== 0)("are refused where they are another user's and cannot be mended", () =>
    Effect.sync(() => {
      const program = join(bundle({ modes: "test/store/fixtures/modes.ts" }), "modes.js")
      const open = join(scratch("arcp-open-", "/tmp"), "store.db")
      closeSync(openSync(open, "w"))
      chmodSync(open, 0o666)
      for (const at of [join(open, ".."), program, join(program, "..")]) chmodSync(at, 0o755)
      const { status, stderr, stdout } = spawnSync(process.execPath, [program, open], {
        uid: 65_534,
        gid: 65_534,
        encoding: "utf8"
      })
      expect([status, stderr]).toEqual([0, ""])
      expect(stdout).toContain(`${open} has mode 0666, so that other users reach it, and it cannot be mended`)
      chownSync(open, 65_534, 65_534)
      const own = spawnSync(process.execPath, [program, open], { uid: 65_534, gid: 65_534, encoding: "utf8" })
      expect(own.stdout).toBe(`mended ${open}`)
    })
  )
})

describe.skipIf(process.platform === "win32")("1.0 §14 the folder of an artifact store", () => {
  it.scopedLive("is closed to others where they could reach it", () =>
    Effect.gen(function* () {
      const directory = join(folder, "artifacts")
      mkdirSync(directory, { mode: 0o755 })
      chmodSync(directory, 0o755)
      const log = logged()
      yield* Effect.scoped(
        Layer.build(
          Layer.provide(FolderArtifactStore.layer({ directory, encryptionKey: storeKey() }), [
            NodeFileSystem.layer,
            log.layer
          ])
        )
      )
      expect(modeOf(directory)).toBe("700")
      expect(log.lines).toEqual([`${directory} could be reached by other users: its mode is 700 now`])
    })
  )
})

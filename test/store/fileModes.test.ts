/** 1.0 §14 The files of a store are its owner's alone: looser modes are mended, or the files are refused. */
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { ArtifactStore, emptyBatch, FolderArtifactStore, Store } from "../../src/store/index.js"
import { checkFile, prepareFile } from "../../src/store/internal/fileModes.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { bundle } from "../bundle.js"
import { sessionRecord } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-modes-")
let files = 0
const place = () => join(folder, `${files++}.db`)
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

const bytes = new TextEncoder().encode("swordfish")
const artifact = {
  artifactId: "art_01KDWPVNG0YF4YQZ9B63R5RW3A",
  principalId: "alice",
  contentType: "text/plain",
  byteSize: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  createdAt: 1,
  expiresAt: 9_000_000_000_000,
  jobId: undefined
}

const logged = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message }) => void lines.push(String(message)))
    )
  }
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
    expect(prepareFile(link, false).mended).toEqual([link, `${filename}-wal`])
    expect([modeOf(filename), modeOf(`${filename}-wal`)]).toEqual(["600", "600"])
  })

  it.scopedLive(
    "are refused where the file has several names: a start by the other one would not have the log of the first",
    () =>
      Effect.gen(function* () {
        for (const mode of [0o600, 0o644]) {
          const [filename, second] = [place(), place()]
          closeSync(openSync(filename, "w", mode))
          chmodSync(filename, mode)
          linkSync(filename, second)
          for (const name of [filename, second]) {
            const refusal = yield* Effect.flip(Effect.scoped(Layer.build(SqliteStore.layer({ filename: name }))))
            expect(String(refusal)).toContain(`${name} has 2 names (hard links)`)
          }
          expect(modeOf(filename)).toBe(mode.toString(8))
          rmSync(second)
          yield* Effect.scoped(Layer.build(SqliteStore.layer({ filename })))
        }
      })
  )

  it("are refused where one is a link or a pipe, which SQLite makes none of", () => {
    const [filename, secret] = [place(), place()]
    writeFileSync(secret, "other", { mode: 0o644 })
    closeSync(openSync(filename, "w", 0o600))
    symlinkSync(secret, `${filename}-wal`)
    expect(() => prepareFile(filename, false)).toThrow(`${filename}-wal is a link, and SQLite makes none: remove it`)
    expect(modeOf(secret)).toBe("644")
    const pipe = place()
    execFileSync("mkfifo", [pipe])
    expect(() => prepareFile(pipe, true)).toThrow(`${pipe} is not a regular file`)
    const other = place()
    closeSync(openSync(other, "w", 0o600))
    execFileSync("mkfifo", [`${other}-journal`])
    expect(() => prepareFile(other, true)).toThrow(`${other}-journal is not a regular file`)
  })

  it("are refused where they are replaced before SQLite has them", () => {
    for (const replaced of ["", "-wal"]) {
      const filename = place()
      const prepared = prepareFile(filename, true)
      expect(() => checkFile(prepared)).not.toThrow()
      const other = place()
      writeFileSync(other, "", { mode: 0o644 })
      renameSync(other, `${filename}${replaced}`)
      expect(() => checkFile(prepared)).toThrow(`${filename}${replaced} was replaced while it was opened`)
    }
  })

  it.scopedLive("are warned of where every user can replace them", () =>
    Effect.gen(function* () {
      const shared = join(folder, "shared")
      mkdirSync(shared)
      const opened = (mode: number) => {
        const log = logged()
        chmodSync(shared, mode)
        return Effect.as(
          Effect.scoped(Layer.build(Layer.provide(SqliteStore.layer({ filename: join(shared, "a.db") }), log.layer))),
          log.lines
        )
      }
      expect(yield* opened(0o777)).toEqual([
        `every user of this machine can replace what is in ${shared}: give the store a folder of its own`
      ])
      expect(yield* opened(0o1777)).toEqual([])
      expect(yield* opened(0o775)).toEqual([])
    })
  )

  it.skipIf(process.getuid?.() !== 0)("are refused where the path is a link that another user has made", () => {
    const filename = place()
    closeSync(openSync(filename, "w", 0o644))
    const link = place()
    symlinkSync(filename, link)
    lchownSync(link, 65_534, 65_534)
    expect(() => prepareFile(link, false)).toThrow(`${link} is a link that another user has made`)
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
  it.scopedLive("has its files closed to others where they could reach them; the folder stays as it is", () =>
    Effect.gen(function* () {
      const directory = join(folder, "artifacts")
      const build = () => {
        const log = logged()
        const layer = Layer.provide(FolderArtifactStore.layer({ directory, encryptionKey: storeKey() }), [
          NodeFileSystem.layer,
          log.layer
        ])
        return { lines: log.lines, layer }
      }
      yield* Effect.flatMap(ArtifactStore, (store) => store.put(artifact, bytes)).pipe(Effect.provide(build().layer))
      const files = readdirSync(directory).map((file) => join(directory, file))
      expect(files).toHaveLength(3)
      for (const file of files) chmodSync(file, 0o644)
      writeFileSync(join(directory, "notes.txt"), "", { mode: 0o644 })
      chmodSync(directory, 0o755)
      const opened = build()
      yield* Effect.scoped(Layer.build(opened.layer))
      expect(files.map(modeOf)).toEqual(["600", "600", "600"])
      expect([modeOf(join(directory, "notes.txt")), modeOf(directory)]).toEqual(["644", "755"])
      expect(opened.lines).toEqual([`3 files in ${directory} could be reached by other users: their mode is 600 now`])
      chmodSync(directory, 0o777)
      const shared = build()
      yield* Effect.scoped(Layer.build(shared.layer))
      expect(shared.lines).toEqual([
        `every user of this machine can replace what is in ${directory}: give the artifacts a folder of their own`
      ])
    })
  )

  const filled = (directory: string) =>
    Effect.as(
      Effect.flatMap(ArtifactStore, (store) => store.put(artifact, bytes)).pipe(
        Effect.provide(FolderArtifactStore.layer({ directory, encryptionKey: storeKey() }))
      ),
      directory
    )

  it.scopedLive("refuses links and pipes under the names of artifacts, and changes nothing behind them", () =>
    Effect.gen(function* () {
      const other = join(folder, "other.txt")
      writeFileSync(other, "", { mode: 0o644 })
      const id = "art_01KDWPVNG0YF4YQZ9B63R5RW3B"
      const put: Readonly<Record<string, (path: string) => unknown>> = {
        "a link": (path) => symlinkSync(other, path),
        "not a regular file": (path) => execFileSync("mkfifo", [path])
      }
      for (const [what, make] of Object.entries(put)) {
        for (const name of [`${id}.json`, `${id}.bin.tmp`]) {
          const directory = yield* filled(join(folder, `odd-${files++}`))
          make(join(directory, name))
          const opened = FolderArtifactStore.make({ directory, encryptionKey: storeKey() })
          // A pipe that nobody writes to would be read without an end.
          const error = yield* Effect.flip(Effect.timeout(opened, "10 seconds"))
          expect(error.message).toContain(`${name} is ${what}: remove it`)
        }
      }
      expect(modeOf(other)).toBe("644")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("is not copied under another key without what is damaged, nor under its own key", () =>
    Effect.gen(function* () {
      const directory = yield* filled(join(folder, `odd-${files++}`))
      const [from, to, into] = [storeKey(), storeKey(1), join(folder, `copy-${files++}`)]
      const refusal = (options: FolderArtifactStore.FolderRekeyOptions) =>
        Effect.map(Effect.flip(FolderArtifactStore.rekey(options)), ({ message }) => message)
      expect(yield* refusal({ directory, from, to: from, into: directory })).toContain("the same as the old one")
      writeFileSync(join(directory, `${artifact.artifactId}.json`), "AAAA")
      expect(yield* refusal({ directory, from, to, into })).toContain(`the artifact ${artifact.artifactId} is damaged`)
      expect(existsSync(into)).toBe(false)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})

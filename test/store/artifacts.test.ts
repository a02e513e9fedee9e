import { NodeFileSystem } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Layer, Option, Redacted } from "effect"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import {
  type ArtifactRecord,
  ArtifactStore,
  FolderArtifactStore,
  MemoryStore,
  type StoreError
} from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { runs } from "../support/properties.js"
import { scratch } from "../support/scratch.js"

const root = scratch("arcp-artifacts-")
let places = 0
const place = (suffix = "") => join(root, `${places++}${suffix}`)

const folderLayer = (directory: string, encryptionKey?: Redacted.Redacted<string>) =>
  Layer.provide(FolderArtifactStore.layer({ directory, encryptionKey }), NodeFileSystem.layer)

/** Statements run on the file behind the store's back. */
const behind = (filename: string, ...statements: ReadonlyArray<readonly [string, ...ReadonlyArray<unknown>]>) =>
  Effect.flatMap(SqliteClient.SqliteClient, (sql) =>
    Effect.forEach(statements, ([statement, ...params]) => sql.unsafe(statement, params))
  ).pipe(Effect.provide(SqliteClient.layer({ filename })), Effect.scoped)

const key = Redacted.make("k".repeat(40))

const stores: ReadonlyArray<readonly [string, () => Layer.Layer<ArtifactStore, StoreError>]> = [
  ["memory", () => MemoryStore.layer],
  ["SQLite in memory", () => SqliteStore.layer({ filename: ":memory:" })],
  ["a SQLite file", () => SqliteStore.layer({ filename: place(".db") })],
  ["an encrypted SQLite file", () => SqliteStore.layer({ filename: place(".db"), encryptionKey: key })],
  ["a folder", () => folderLayer(place())],
  ["an encrypted folder", () => folderLayer(place(), key)]
]

const durable: ReadonlyArray<readonly [string, () => () => Layer.Layer<ArtifactStore, StoreError>]> = [
  [
    "a SQLite file",
    () => {
      const filename = place(".db")
      return () => SqliteStore.layer({ filename })
    }
  ],
  [
    "an encrypted SQLite file",
    () => {
      const filename = place(".db")
      return () => SqliteStore.layer({ filename, encryptionKey: key })
    }
  ],
  [
    "a folder",
    () => {
      const directory = place()
      return () => folderLayer(directory)
    }
  ],
  [
    "an encrypted folder",
    () => {
      const directory = place()
      return () => folderLayer(directory, key)
    }
  ]
]

const id = (n: number) => `art_${String(n).padStart(26, "0")}`

const bytesOf = (size: number, seed = 7) => Uint8Array.from({ length: size }, (_, i) => (i * seed + (i >> 8)) & 255)

const record = (n: number, data: Uint8Array, more: Partial<ArtifactRecord> = {}): ArtifactRecord => ({
  artifactId: id(n),
  principalId: "alice",
  contentType: "text/plain; charset=utf-8",
  byteSize: data.length,
  sha256: createHash("sha256").update(data).digest("hex"),
  createdAt: 1000,
  expiresAt: 2000,
  jobId: undefined,
  ...more
})

const put = (n: number, data: Uint8Array, more: Partial<ArtifactRecord> = {}) =>
  Effect.flatMap(ArtifactStore, (store) => store.put(record(n, data, more), data))

describe.each(stores)("artifacts in %s", (_name, make) => {
  it.scoped.each([0, 1, 1_048_575, 1_048_576, 1_048_577, 3_000_000])("§8.2 %i bytes come back as they were", (size) =>
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      const data = bytesOf(size)
      yield* put(1, data, { jobId: "job_1" })
      const found = Option.getOrThrow(yield* store.get(id(1)))
      expect(found.record).toEqual(record(1, data, { jobId: "job_1" }))
      expect(Buffer.compare(found.data, data)).toBe(0)
      expect(yield* store.info(id(1))).toEqual(Option.some(found.record))
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§8.2 what is read or put is the caller's own, a view into a larger buffer too", () =>
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      const data = bytesOf(100).subarray(10, 20)
      const before = data.slice()
      yield* put(1, data)
      data.fill(0)
      const first = Option.getOrThrow(yield* store.get(id(1)))
      expect([...first.data]).toEqual([...before])
      first.data.fill(1)
      expect([...Option.getOrThrow(yield* store.get(id(1))).data]).toEqual([...before])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§8.2 exactly one of many releases takes an artifact, and nothing of it stays", () =>
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      yield* put(1, bytesOf(2_000_000))
      yield* put(2, bytesOf(10))
      const answers = yield* Effect.all(
        Array.from({ length: 8 }, () => store.release(id(1))),
        { concurrency: "unbounded" }
      )
      expect(answers.filter((gone) => gone)).toHaveLength(1)
      expect(yield* store.get(id(1))).toEqual(Option.none())
      expect(yield* store.info(id(1))).toEqual(Option.none())
      expect(yield* store.totals).toEqual([{ principalId: "alice", count: 1, bytes: 10 }])
      // The id is free again: no chunk was left behind.
      yield* put(1, bytesOf(5))
      expect(Option.getOrThrow(yield* store.get(id(1))).data).toHaveLength(5)
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§8.2 an id that exists, an id that is none and a wrong size are refused and harm nothing", () =>
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      const data = bytesOf(1_500_000)
      yield* put(1, data)
      for (const bad of [
        put(1, bytesOf(3)),
        put(2, data, { artifactId: "art_../../../../etc/passwd0000" }),
        put(3, data, { artifactId: "" }),
        put(4, data, { byteSize: 1 })
      ]) {
        expect((yield* Effect.flip(bad))._tag).toBe("StoreError")
      }
      expect(Buffer.compare(Option.getOrThrow(yield* store.get(id(1))).data, data)).toBe(0)
      expect(yield* store.totals).toEqual([{ principalId: "alice", count: 1, bytes: data.length }])
      for (const odd of ["", "art_", "../x", `${id(1)}.bin`, id(9)]) {
        expect(yield* store.get(odd)).toEqual(Option.none())
        expect(yield* store.info(odd)).toEqual(Option.none())
        expect(yield* store.release(odd)).toBe(false)
      }
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§8.2 two puts of one id at once leave one artifact, whole", () =>
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      const exits = yield* Effect.all(
        [1, 2, 3].map((seed) => Effect.exit(put(1, bytesOf(1_200_000, seed)))),
        { concurrency: "unbounded" }
      )
      expect(exits.filter((exit) => exit._tag === "Success")).toHaveLength(1)
      const { data, record: kept } = Option.getOrThrow(yield* store.get(id(1)))
      expect(createHash("sha256").update(data).digest("hex")).toBe(kept.sha256)
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§8.2 expired artifacts are told by their time, the earliest first, and totals by principal", () =>
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      yield* put(1, bytesOf(1), { expiresAt: 30 })
      yield* put(2, bytesOf(2), { expiresAt: 10, principalId: "bob" })
      yield* put(3, bytesOf(3), { expiresAt: 20 })
      yield* put(4, bytesOf(4), { expiresAt: 20 })
      const ids = (now: number, limit: number) =>
        Effect.map(store.expired(now, limit), (list) => list.map(({ artifactId }) => artifactId))
      expect(yield* ids(9, 10)).toEqual([])
      expect(yield* ids(10, 10)).toEqual([id(2)])
      expect(yield* ids(30, 10)).toEqual([id(2), id(3), id(4), id(1)])
      expect(yield* ids(30, 2)).toEqual([id(2), id(3)])
      expect((yield* store.expired(10, 1))[0]).toEqual({ artifactId: id(2), principalId: "bob", byteSize: 2 })
      expect(new Set(yield* store.totals)).toEqual(
        new Set([
          { principalId: "alice", count: 3, bytes: 8 },
          { principalId: "bob", count: 1, bytes: 2 }
        ])
      )
    }).pipe(Effect.provide(make()))
  )

  it.effect("§8.2 agrees with a model over random puts, reads, releases and expiries", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              act: fc.constantFrom("put", "get", "release", "expired"),
              n: fc.integer({ min: 0, max: 5 }),
              size: fc.constantFrom(0, 1, 17, 1_048_577),
              principalId: fc.constantFrom("alice", "bob"),
              expiresAt: fc.integer({ min: 1, max: 9 })
            }),
            { maxLength: 20 }
          ),
          (steps) =>
            Effect.gen(function* () {
              const store = yield* ArtifactStore
              const model = new Map<string, ArtifactRecord>()
              for (const { act, expiresAt, n, principalId, size } of steps) {
                const known = model.get(id(n))
                if (act === "put") {
                  const data = bytesOf(size, n + 1)
                  const exit = yield* Effect.exit(put(n, data, { principalId, expiresAt }))
                  expect(exit._tag).toBe(known === undefined ? "Success" : "Failure")
                  if (known === undefined) model.set(id(n), record(n, data, { principalId, expiresAt }))
                } else if (act === "get") {
                  const found = yield* store.get(id(n))
                  expect(Option.getOrUndefined(Option.map(found, (f) => f.record))).toEqual(known)
                } else if (act === "release") {
                  expect(yield* store.release(id(n))).toBe(model.delete(id(n)))
                } else {
                  const gone = [...model.values()].filter((r) => r.expiresAt <= expiresAt).map((r) => r.artifactId)
                  expect(new Set((yield* store.expired(expiresAt, 100)).map((r) => r.artifactId))).toEqual(
                    new Set(gone)
                  )
                }
              }
              const bytes = [...model.values()].reduce((sum, r) => sum + r.byteSize, 0)
              expect((yield* store.totals).reduce((sum, t) => sum + t.bytes, 0)).toBe(bytes)
              expect((yield* store.totals).reduce((sum, t) => sum + t.count, 0)).toBe(model.size)
            }).pipe(Effect.provide(make()), Effect.scoped, Effect.runPromise)
        ),
        { numRuns: runs(15) }
      )
    )
  )
})

describe.each(durable)("artifacts outlive the process in %s", (_name, at) => {
  it.scoped("§8.2 bytes, records and totals are there again, and released ones are not", () =>
    Effect.gen(function* () {
      const make = at()
      const data = bytesOf(2_500_000)
      yield* Effect.zipRight(put(1, data, { jobId: "job_1" }), put(2, bytesOf(3))).pipe(
        Effect.zipRight(Effect.flatMap(ArtifactStore, (store) => store.release(id(2)))),
        Effect.provide(make())
      )
      yield* Effect.gen(function* () {
        const store = yield* ArtifactStore
        expect(store.durable).toBe(true)
        const found = Option.getOrThrow(yield* store.get(id(1)))
        expect(found.record).toEqual(record(1, data, { jobId: "job_1" }))
        expect(Buffer.compare(found.data, data)).toBe(0)
        expect(yield* store.get(id(2))).toEqual(Option.none())
        expect(yield* store.totals).toEqual([{ principalId: "alice", count: 1, bytes: data.length }])
      }).pipe(Effect.provide(make()))
    })
  )
})

describe("what a crash or somebody leaves", () => {
  it.scoped("§8.2 chunks without a record go at the start, and changed bytes are an error", () =>
    Effect.gen(function* () {
      const filename = place(".db")
      yield* put(1, bytesOf(1_100_000)).pipe(Effect.provide(SqliteStore.layer({ filename, encryptionKey: key })))
      yield* behind(
        filename,
        [
          "INSERT INTO arcp_artifact_chunks (artifact_id, chunk_seq, data) VALUES (?, 0, ?)",
          id(2),
          Buffer.from("torn")
        ],
        [
          "UPDATE arcp_artifact_chunks SET data = ? WHERE artifact_id = ? AND chunk_seq = 1",
          Buffer.from("changed by somebody else, long enough"),
          id(1)
        ]
      )
      yield* Effect.gen(function* () {
        const store = yield* ArtifactStore
        expect((yield* Effect.flip(store.get(id(1)))).message).toContain("cannot be decrypted or read")
        expect(yield* store.release(id(1))).toBe(true)
      }).pipe(Effect.provide(SqliteStore.layer({ filename, encryptionKey: key })))
      const [rows] = yield* behind(filename, ["SELECT COUNT(*) AS n FROM arcp_artifact_chunks"])
      expect(rows).toEqual([{ n: 0 }])
    })
  )

  it.scoped("§8.2 a database of an earlier version gets the tables, whichever steps it has had", () =>
    Effect.gen(function* () {
      const filename = place(".db")
      yield* Effect.scoped(Layer.build(SqliteStore.layer({ filename })))
      yield* behind(
        filename,
        ["DROP TABLE arcp_artifacts"],
        ["DROP TABLE arcp_artifact_chunks"],
        ["DELETE FROM arcp_migrations WHERE id = 3"]
      )
      yield* put(1, bytesOf(3)).pipe(Effect.provide(SqliteStore.layer({ filename })))
    })
  )

  it.scoped("§8.2 temporary files and bytes without a record go, other files stay, damage is left out", () =>
    Effect.gen(function* () {
      const directory = place()
      yield* Effect.zipRight(put(1, bytesOf(10)), put(2, bytesOf(10))).pipe(Effect.provide(folderLayer(directory)))
      writeFileSync(join(directory, `${id(3)}.bin`), "half")
      writeFileSync(join(directory, `${id(4)}.json.tmp`), "{")
      writeFileSync(join(directory, `${id(1)}.bin.tmp`), "x")
      writeFileSync(join(directory, "notes.txt"), "mine")
      writeFileSync(join(directory, `${id(2)}.json`), "no json")
      yield* Effect.gen(function* () {
        const store = yield* ArtifactStore
        expect(Option.isSome(yield* store.get(id(1)))).toBe(true)
        expect(yield* store.info(id(2))).toEqual(Option.none())
        writeFileSync(join(directory, `${id(1)}.bin`), "another length")
        expect((yield* Effect.flip(store.get(id(1)))).message).toContain("were changed")
      }).pipe(Effect.provide(folderLayer(directory)))
      expect(readdirSync(directory).toSorted()).toEqual(
        [
          `${id(1)}.bin`,
          `${id(1)}.json`,
          `${id(2)}.bin`,
          `${id(2)}.json`,
          "arcp-artifacts.json",
          "notes.txt"
        ].toSorted()
      )
    })
  )

  it.scoped("§8.2 an encrypted folder holds nothing in clear and opens with its key only", () =>
    Effect.gen(function* () {
      const directory = place()
      yield* put(1, new TextEncoder().encode("swordfish"), { contentType: "text/secret" }).pipe(
        Effect.provide(folderLayer(directory, key))
      )
      for (const file of readdirSync(directory)) {
        const text = readFileSync(join(directory, file), "latin1")
        expect(text).not.toContain("swordfish")
        expect(text).not.toContain("secret")
        expect(text).not.toContain("alice")
      }
      for (const other of [undefined, Redacted.make("o".repeat(40))]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(folderLayer(directory, other))))
        expect(error.message).toContain("encrypt")
      }
      const clear = place()
      yield* put(1, bytesOf(1)).pipe(Effect.provide(folderLayer(clear)))
      const error = yield* Effect.flip(Effect.scoped(Layer.build(folderLayer(clear, key))))
      expect(error.message).toContain("is not encrypted")
    })
  )

  it.scoped("§8.2 a folder that cannot be made is refused with its reason", () =>
    Effect.gen(function* () {
      const file = place()
      writeFileSync(file, "a file")
      const error = yield* Effect.flip(Effect.scoped(Layer.build(folderLayer(file))))
      expect(error.operation).toBe("start")
      expect(error.message).toContain(file)
    })
  )
})

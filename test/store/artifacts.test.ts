import { NodeFileSystem } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, type Redacted } from "effect"
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
import { artifactLaws } from "../../src/testing/index.js"
import { runs, within } from "../support/properties.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

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

const key = storeKey()

const stores: ReadonlyArray<readonly [string, () => Layer.Layer<ArtifactStore, StoreError>]> = [
  ["memory", () => MemoryStore.layer],
  ["SQLite in memory", () => SqliteStore.layer({ filename: ":memory:" })],
  ["a SQLite file", () => SqliteStore.layer({ filename: place(".db") })],
  ["an encrypted SQLite file", () => SqliteStore.layer({ filename: place(".db"), encryptionKey: key })],
  ["a folder", () => folderLayer(place())],
  ["an encrypted folder", () => folderLayer(place(), key)]
]

const durable = new Map<string, () => () => Layer.Layer<ArtifactStore, StoreError>>([
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
])

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

describe.each(stores)("artifacts in %s", (name, make) => {
  const at = durable.get(name)
  const options = { runs: runs(15), timeout: within(100_000) }
  const place = at === undefined ? {} : { place: Effect.sync(() => Layer.suspend(at())) }
  for (const law of artifactLaws(Layer.suspend(make), { ...options, ...place })) {
    it.scopedLive(law.name, () => law.check)
  }
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
      for (const other of [undefined, storeKey(1)]) {
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

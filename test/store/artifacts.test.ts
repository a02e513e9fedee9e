import { NodeFileSystem } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import {
  type ArtifactRecord,
  ArtifactStore,
  FolderArtifactStore,
  MemoryStore,
  type StoreError
} from "../../src/store/index.js"
import { aesGcmOf } from "../../src/store/internal/aesGcm.js"
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

describe("1.0 §14 FolderArtifactStore.rekey", () => {
  const bytes = new TextEncoder().encode("swordfish ".repeat(1_000))
  const record = (n: number): ArtifactRecord => ({
    artifactId: `art_01KDWPVNG0YF4YQZ9B63R5RW3${n}`,
    principalId: "alice",
    contentType: "text/swordfish",
    byteSize: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    createdAt: 1,
    expiresAt: 9_000_000_000_000,
    jobId: undefined
  })
  const records = [0, 1, 2].map(record)
  const rekey = (options: FolderArtifactStore.FolderRekeyOptions) =>
    Effect.provide(FolderArtifactStore.rekey(options), NodeFileSystem.layer)
  const read = (layer: Layer.Layer<ArtifactStore, StoreError>) =>
    Effect.flatMap(ArtifactStore, (store) =>
      Effect.forEach(records, ({ artifactId }) => Effect.map(store.get(artifactId), Option.getOrThrow))
    ).pipe(Effect.provide(layer))
  const filled = (encryptionKey?: Redacted.Redacted<string>) => {
    const directory = place()
    const put = Effect.flatMap(ArtifactStore, (store) => Effect.forEach(records, (each) => store.put(each, bytes)))
    return Effect.as(Effect.provide(put, folderLayer(directory, encryptionKey)), directory)
  }
  const textOf = (directory: string) =>
    readdirSync(directory)
      .map((file) => readFileSync(join(directory, file), "latin1"))
      .join("")

  it.effect("copies a folder under another key, and leaves it as it is", () =>
    Effect.gen(function* () {
      for (const from of [undefined, storeKey(1)]) {
        const [directory, into] = [yield* filled(from), place()]
        const before = textOf(directory)
        const content = yield* read(folderLayer(directory, from))
        expect(yield* rekey({ directory, from, into, to: key })).toEqual({ artifacts: 3 })
        expect(textOf(directory)).toBe(before)
        expect(textOf(into)).not.toContain("swordfish")
        expect(yield* read(folderLayer(into, key))).toEqual(content)
      }
    })
  )

  it.effect("goes on where it was interrupted", () =>
    Effect.gen(function* () {
      const [directory, into] = [yield* filled(storeKey(1)), place()]
      yield* Effect.flatMap(ArtifactStore, (store) => store.put(records[1]!, bytes)).pipe(
        Effect.provide(folderLayer(into, key))
      )
      // As a process leaves it that was killed while it wrote.
      writeFileSync(join(into, `${records[2]!.artifactId}.bin`), "half")
      expect(yield* rekey({ directory, from: storeKey(1), into, to: key })).toEqual({ artifacts: 2 })
      expect(yield* read(folderLayer(into, key))).toEqual(yield* read(folderLayer(directory, storeKey(1))))
    })
  )

  it.effect("takes a weak old key, and refuses a wrong one, a weak new one, and a folder that is not there", () =>
    Effect.gen(function* () {
      const refusal = (options: FolderArtifactStore.FolderRekeyOptions) =>
        Effect.map(Effect.flip(rekey(options)), ({ message }) => message)
      const weak = Redacted.make("swordfish")
      const directory = yield* filled(key)
      expect(yield* refusal({ directory, from: weak, into: place(), to: key })).toContain(
        "the encryption key is not the one"
      )
      expect(yield* refusal({ directory, into: place(), to: key })).toContain("is encrypted")
      expect(yield* refusal({ directory, from: key, into: place(), to: weak })).toContain("32 are needed")
      const absent = place()
      expect(yield* refusal({ directory: absent, from: key, into: place(), to: storeKey(1) })).toContain(absent)
      expect(existsSync(absent)).toBe(false)
      expect(yield* refusal({ directory, from: key, into: yield* filled(), to: storeKey(1) })).toContain(
        "is not encrypted"
      )
      const old = place()
      const sealer = aesGcmOf(weak)
      mkdirSync(old, { mode: 0o700 })
      writeFileSync(
        join(old, "arcp-artifacts.json"),
        JSON.stringify({ format: 1, canary: sealer.seal("effect-arcp", "canary") })
      )
      const start = yield* Effect.flip(Effect.scoped(Layer.build(folderLayer(old, weak))))
      expect(start.message).toMatch(/32 are needed.*FolderArtifactStore.rekey/)
      expect(yield* rekey({ directory: old, from: weak, into: place(), to: key })).toEqual({ artifacts: 0 })
    })
  )
})

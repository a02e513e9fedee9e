import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { CredentialLedger, MemoryStore, type StoreError, unrevoked } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { ledgerLaws } from "../../src/testing/index.js"
import { runs, within } from "../support/properties.js"
import { ledgerRecord } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-ledger-")
let files = 0
const file = () => join(folder, `${files++}.db`)

const ledgers: ReadonlyArray<readonly [string, () => Layer.Layer<CredentialLedger, StoreError>, boolean]> = [
  ["memory", () => MemoryStore.layer, false],
  ["SQLite in memory", () => SqliteStore.layer({ filename: ":memory:" }), false],
  ["a SQLite file", () => SqliteStore.layer({ filename: file() }), true],
  ["an encrypted SQLite file", () => SqliteStore.layer({ filename: file(), encryptionKey: storeKey() }), true]
]

describe.each(ledgers)("the credential ledger in %s", (name, make, durable) => {
  const filename = file()
  const place = durable ? { place: Effect.sync(() => SqliteStore.layer({ filename })) } : {}
  const options = { durable, runs: runs(name === "SQLite in memory" ? 60 : 10), timeout: within(100_000), ...place }
  for (const law of ledgerLaws(Layer.suspend(make), options)) it.scopedLive(law.name, () => law.check)
})

describe("the ledger in a SQLite file", () => {
  it.scoped("§14 outlives its process, and its handles are sealed with the store's key", () =>
    Effect.gen(function* () {
      const filename = file()
      const options = { filename, encryptionKey: storeKey() }
      const use = <A>(f: (ledger: typeof CredentialLedger.Service) => Effect.Effect<A, StoreError>) =>
        Effect.flatMap(CredentialLedger, f).pipe(Effect.provide(SqliteStore.layer(options)))
      yield* use((ledger) => ledger.put([ledgerRecord("a", { handle: "upstream-handle" })]))
      expect(readFileSync(filename).toString("latin1")).not.toContain("upstream-handle")
      const again = yield* use((ledger) => ledger.list({ states: unrevoked, limit: 9 }))
      expect(again).toEqual([ledgerRecord("a", { handle: "upstream-handle" })])
    })
  )
})

/** 1.0 §14 `arcp store rekey`, as a process: a store is made by `arcp serve`, given another key, and served under it. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { chmodSync, existsSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"
import { arcp, serve } from "./processes.js"

const folder = scratch("arcp-cli-rekey-")
const [one, two] = [Redacted.value(storeKey(1)), Redacted.value(storeKey(2))]

const serving = (store: string, key: string | undefined) =>
  serve(
    ["--demo", "--anonymous", "--store", store, ...(key === undefined ? [] : ["--store-key-env", "THE_KEY"])],
    key === undefined ? {} : { THE_KEY: key }
  )

const rekey = (store: string, keys: Readonly<Record<string, string>>, ...more: ReadonlyArray<string>) =>
  arcp(
    [
      "store",
      "rekey",
      "--store",
      store,
      ...("OLD" in keys ? ["--key-env", "OLD"] : []),
      "--new-key-env",
      "NEW",
      ...more
    ],
    keys
  )

/** The bytes of a store's file and of its log. */
const textOf = (store: string): string =>
  [store, `${store}-wal`].map((path) => (existsSync(path) ? readFileSync(path, "latin1") : "")).join("")

describe("1.0 §14 arcp store rekey", () => {
  it.scopedLive(
    "encrypts a store, replaces its key, and says no key",
    () =>
      Effect.gen(function* () {
        const store = join(folder, "a.db")
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { url } = yield* serving(store, undefined)
            const { code } = yield* arcp(["submit", "echo", "--url", url, "--input", '"swordfish"'])
            expect(code).toBe(0)
            const busy = yield* rekey(store, { NEW: one })
            expect([busy.code, busy.err]).toEqual([1, expect.stringContaining("is in use by another runtime")])
          })
        )
        expect(textOf(store)).toContain("swordfish")
        chmodSync(store, 0o644)
        const encrypted = yield* rekey(store, { NEW: one })
        expect([encrypted.code, encrypted.out]).toEqual([0, ""])
        expect(encrypted.err).toContain(`${store} could be reached by other users: its mode is 600 now`)
        expect(encrypted.err).toMatch(/has its new key, with \d+ values: start the runtime with it/)
        expect((statSync(store).mode & 0o777).toString(8)).toBe("600")
        expect(textOf(store)).not.toContain("swordfish")
        const wrong = yield* rekey(store, { OLD: two, NEW: Redacted.value(storeKey(3)) }, "--log-level", "all")
        expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining("has another key than the one")])
        const replaced = yield* rekey(store, { OLD: one, NEW: two }, "--log-level", "all")
        expect([replaced.code, replaced.err]).toEqual([0, expect.stringContaining("has its new key")])
        const again = yield* rekey(store, { OLD: one, NEW: two })
        expect([again.code, again.err]).toEqual([0, expect.stringContaining("has the new key: start the runtime")])
        yield* Effect.scoped(serving(store, two))
        for (const { err, out } of [encrypted, wrong, replaced, again]) {
          for (const key of [one, two]) expect(err + out).not.toContain(key)
        }
      }),
    60_000
  )

  it.live("a weak key is refused wherever one is given, with what to do, and is not repeated", () =>
    Effect.gen(function* () {
      const weak = "correct-horse"
      const store = join(folder, "weak.db")
      const started = yield* arcp(
        ["serve", "--demo", "--anonymous", "--port", "0", "--store", store, "--store-key-env", "THE_KEY"],
        { THE_KEY: weak }
      )
      const given = yield* rekey(store, { NEW: weak })
      for (const [{ code, err }, option] of [
        [started, "--store-key-env"],
        [given, "--new-key-env"]
      ] as const) {
        expect([code, err]).toEqual([2, expect.stringContaining(`${option}: the encryption key holds at most`)])
        expect(err).toContain("openssl rand -base64 32")
        expect(err).not.toContain(weak)
      }
      expect(started.err).toContain("arcp store rekey")
    })
  )

  it.live("a key in the place of a variable's name is not repeated", () =>
    Effect.gen(function* () {
      const store = join(folder, "named.db")
      for (const key of [one, `x${one}`, "a-key/of+some=kind"]) {
        const given = yield* arcp(["store", "rekey", "--store", store, "--new-key-env", key])
        const served = yield* arcp(["serve", "--demo", "--anonymous", "--store", store, "--store-key-env", key])
        for (const { code, err } of [given, served]) {
          expect([code, err]).toEqual([2, expect.stringContaining("must be the name of an environment variable")])
          expect(err).not.toContain(key)
        }
      }
    })
  )
})

/** Stores that get another key while no runtime has them, by a process that is killed: afterwards exactly one of the two keys opens them. */
import { statSync } from "node:fs"
import { Effect, Either, type Redacted } from "effect"
import { SqliteStore } from "../../src/store/sqlite.js"
import { storeKey } from "../support/storeKeys.js"
import type { Random, RuntimeProcess } from "./runtimes.js"

type Key = Redacted.Redacted<string> | undefined

/** How long a process may take to give a file another key, in milliseconds. */
const patience = 10_000

/** Calls that write a page: its frame in the log is two, and then it comes into the file. */
const callsPerPage = 3

const opens = (filename: string, encryptionKey: Key) =>
  Effect.either(
    Effect.scoped(Effect.asVoid(Effect.provide(Effect.void, SqliteStore.layer({ filename, encryptionKey }))))
  ).pipe(Effect.map(Either.isRight), Effect.runPromise)

/** The key of one file; none at first. */
export class StoreKeys {
  current: Key
  private changes = 0
  private readonly filename: string

  constructor(filename: string) {
    this.filename = filename
  }

  /** Lets a process that has loaded change the key, and kills it at some call. Returns where it struck, and what is wrong with the file. */
  async change(
    process: RuntimeProcess,
    random: Random
  ): Promise<{ readonly struck: string; readonly problem: string | undefined }> {
    const from = this.current
    const to = storeKey(++this.changes)
    const pages = Math.ceil(statSync(this.filename).size / 4_096)
    await process.begin({ filename: this.filename, port: 0, key: from, to })
    // Some live until it is done.
    await process.killAt(random.int(0, pages * callsPerPage), random.int(0, patience))
    const [old, fresh] = [await opens(this.filename, from), await opens(this.filename, to)]
    if (fresh) this.current = to
    return {
      struck: fresh ? "rekey, behind its end" : "rekey, before its end",
      problem:
        old === fresh ? `after a kill in its rekey ${old ? "both keys open" : "no key opens"} the file` : undefined
    }
  }

  /** Whether a key that is not the file's opens it. */
  async problemAtEnd(): Promise<string | undefined> {
    const other = this.current === undefined ? storeKey(1) : undefined
    return (await opens(this.filename, other)) ? "the file opens without the key that it has" : undefined
  }
}

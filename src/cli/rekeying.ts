/** What `arcp store rekey` does. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Sealer from "../store/Sealer.js"
import { type Exit, failed, usage } from "./errors.js"
import { sqlite } from "./optional.js"
import { keyNotSet } from "./storeKeys.js"
import type { RekeyArgs } from "./storeOptions.js"
import { takeVariable } from "./tokens.js"
import { notEmpty } from "./values.js"
import { visible } from "./visible.js"

const keyIn = (option: string, name: string): Effect.Effect<Redacted.Redacted, Exit> =>
  Effect.flatMap(takeVariable(name), (key) => (key === undefined ? keyNotSet(option, name) : Effect.succeed(key)))

/** Gives the file its new key. */
export const rekeyStore = (args: RekeyArgs) =>
  Effect.gen(function* () {
    const filename = yield* notEmpty("store", args.store, "the path of a SQLite file")
    if (filename === ":memory:") return yield* usage("--store must be a file, and :memory: is none")
    if (Option.getOrUndefined(args.keyEnv) === args.newKeyEnv) {
      return yield* usage(
        "--key-env and --new-key-env must name two variables: that of the old key, and that of the new one"
      )
    }
    const from = Option.isNone(args.keyEnv) ? undefined : yield* keyIn("key-env", args.keyEnv.value)
    const to = yield* keyIn("new-key-env", args.newKeyEnv)
    const strong = Sealer.ofKey(to, "rekey")
    if (Either.isLeft(strong)) return yield* usage(`--new-key-env: ${strong.left.message}`)
    const { SqliteStore } = yield* sqlite
    const { values } = yield* Effect.mapError(SqliteStore.rekey({ filename, from, to }), ({ message }) =>
      failed(message)
    )
    const what = values === 0 ? "has the new key" : `has its new key, with ${values} values`
    yield* Console.error(
      `arcp: ${visible(filename)} ${what}: start the runtime with it. Copies that were made before have the old one`
    )
  })

/**
 * Where the program takes secrets from: a file, an environment variable, or the command line.
 *
 * A variable is deleted from the program's environment as soon as it is read, so that agents' modules and child processes do not see
 * it. What the command line held is overwritten by `bin.ts`.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { entriesOf, type Pair, tableOf } from "../auth/Tokens.js"
import { type Exit, usage } from "./errors.js"

/** Tokens of `serve` and of `submit`; each command removes both. */
const tokenVariables = ["ARCP_TOKENS", "ARCP_TOKEN"] as const

/** Reads a variable and deletes it from the environment; undefined where it is not set or empty. */
export const takeVariable = (name: string): Effect.Effect<Redacted.Redacted | undefined> =>
  Effect.sync(() => taken(name))

// edge: a Config reads the environment, this has to change it
const taken = (name: string): Redacted.Redacted | undefined => {
  const value = process.env[name]
  delete process.env[name]
  return value === undefined || value === "" ? undefined : Redacted.make(value)
}

const takeTokens = (name: (typeof tokenVariables)[number]) =>
  Effect.map(Effect.all(tokenVariables.map(takeVariable)), (values) => values[tokenVariables.indexOf(name)])

/** Reads a file of secrets; warns where other users of the machine can read it too. */
const readSecrets = (path: string): Effect.Effect<Redacted.Redacted, Exit, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const unreadable = () => usage(`--token-file: ${path} cannot be read`)
    const { mode } = yield* Effect.mapError(fs.stat(path), unreadable)
    if ((mode & 0o044) !== 0) {
      yield* Console.error(
        `arcp: warning: other users of this machine can read the tokens in ${path}: give it the mode 600`
      )
    }
    return Redacted.make(yield* Effect.mapError(fs.readFileString(path), unreadable))
  })

/** What `serve` was given. */
export interface TokenOptions {
  readonly tokenFile: Option.Option<string>
  readonly token: ReadonlyArray<Redacted.Redacted>
  readonly bearer: Option.Option<Redacted.Redacted>
  readonly principal: Option.Option<string>
}

/** `--bearer TOKEN --principal WHO`: one client's token and whose it is. */
const bearerOf = ({
  bearer,
  principal
}: Pick<TokenOptions, "bearer" | "principal">): Effect.Effect<ReadonlyArray<Pair>, Exit> => {
  if (Option.isSome(bearer) && Option.isSome(principal)) {
    const from = "--bearer with --principal"
    return Effect.succeed([{ from, token: Redacted.value(bearer.value), principal: principal.value.trim() }])
  }
  if (Option.isSome(bearer)) {
    return usage("--bearer: say whose token it is by --principal, for example --principal alice@example.com")
  }
  return Option.isSome(principal)
    ? usage("--principal: give the token of this principal by --bearer, for example --bearer secret-token")
    : Effect.succeed([])
}

/** The tokens that `serve` accepts and whose they are, from the file, `ARCP_TOKENS` and the command line together. */
export const serveTokens = ({
  token,
  tokenFile,
  ...only
}: TokenOptions): Effect.Effect<ReadonlyMap<string, string>, Exit, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const variable = yield* takeTokens("ARCP_TOKENS")
    const pairs = yield* bearerOf(only)
    const file = Option.isNone(tokenFile) ? undefined : yield* readSecrets(tokenFile.value)
    const path = Option.getOrElse(tokenFile, () => "")
    const table = tableOf([
      ...(file === undefined ? [] : entriesOf(file, /\r?\n/, (n) => `--token-file: line ${n} of ${path}`)),
      ...(variable === undefined ? [] : entriesOf(variable, /[\r\n,]+/, (n) => `ARCP_TOKENS: number ${n}`)),
      ...token.map((text, i) => ({ from: `--token: number ${i + 1}`, text: Redacted.value(text) })),
      ...pairs
    ])
    return yield* Either.mapLeft(table, usage)
  })

/** The token that `submit` presents: `--token` before `--token-file` before `ARCP_TOKEN`. */
export const submitToken = (options: {
  readonly tokenFile: Option.Option<string>
  readonly token: Option.Option<Redacted.Redacted>
}): Effect.Effect<Redacted.Redacted | undefined, Exit, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const variable = yield* takeTokens("ARCP_TOKEN")
    if (Option.isSome(options.token)) return options.token.value
    if (Option.isNone(options.tokenFile)) return variable
    const path = options.tokenFile.value
    const lines = entriesOf(yield* readSecrets(path), /\r?\n/, (n) => `--token-file: line ${n} of ${path}`)
    const [only] = lines
    return only === undefined || lines.length > 1
      ? yield* usage(`--token-file: ${path} must hold one line, the token`)
      : Redacted.make(only.text)
  })

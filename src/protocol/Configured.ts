/**
 * Options from `effect/Config`, for the `layerConfig` of each part.
 *
 * Responsibility: what a key's text may be. A key that is not set is left out; one that is set must be valid, and an
 * empty text is not: an empty secret is a mistake of the deployment, not a wish for no secret. An error names the key and what it must
 * be, and never repeats the value, since a secret may have been set under the wrong key.
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Options from "./Options.js"

/** The value of a key; undefined where the key is not set. */
export type Configured<A> = Config.Config<A | undefined>

/** A key whose text is parsed; `undefined` from `parse` means that the text is not valid. `expected`: what it must be. */
export const parsed = <A extends {}>(
  name: string,
  expected: string,
  parse: (text: string) => A | undefined
): Configured<A> =>
  Config.string(name).pipe(
    Config.mapOrFail((text): Either.Either<A, ConfigError.ConfigError> => {
      const value = parse(text.trim())
      return value === undefined ? Either.left(invalid(expected)) : Either.right(value)
    }),
    Config.withDefault(undefined)
  )

const invalid = (expected: string) => ConfigError.InvalidData([], `must be ${expected}`)

/** Any text but the empty one. */
export const text = (name: string): Configured<string> =>
  parsed(name, "a text that is not empty; unset it to leave it out", (text) => (text === "" ? undefined : text))

/** A secret: as {@link text}, and never printed. */
export const secret = (name: string): Configured<Redacted.Redacted<string>> =>
  Config.map(text(name), (value) => (value === undefined ? undefined : Redacted.make(value)))

/** A text that `is` accepts. */
export const matching = <A extends string>(
  name: string,
  expected: string,
  is: (text: string) => text is A
): Configured<A> => parsed(name, expected, (text) => (is(text) ? text : undefined))

/** One of the given words. */
export const oneOf = <const Word extends string>(name: string, words: ReadonlyArray<Word>): Configured<Word> =>
  parsed(name, `one of ${words.join(", ")}`, (text) => words.find((word) => word === text))

/** A list of texts, separated by commas. */
export const list = (name: string): Configured<ReadonlyArray<string>> =>
  parsed(name, "a list separated by commas, none of it empty", (text) => {
    const values = text.split(",").map((value) => value.trim())
    return values.includes("") ? undefined : values
  })

/** As {@link list}, of the given words. */
export const listOf = <const Word extends string>(
  name: string,
  words: ReadonlyArray<Word>
): Configured<ReadonlyArray<Word>> =>
  parsed(name, `a list, separated by commas, of ${words.join(", ")}`, (text) => {
    const values = text.split(",").map((value) => words.find((word) => word === value.trim()))
    return values.includes(undefined) ? undefined : (values as ReadonlyArray<Word>)
  })

/** A decimal number, or `Infinity`; undefined for other texts, and for a number so large that JavaScript reads it as `Infinity`. */
const numberOf = (text: string): number | undefined => {
  if (text === "Infinity") return Number.POSITIVE_INFINITY
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined
  return value === Number.POSITIVE_INFINITY ? undefined : value
}

/** A number of this kind; `Infinity` where the kind takes it. */
export const number = (name: string, kind: "count" | "countOrZero" | "size", least = 0): Configured<number> =>
  parsed(name, least > 1 ? `a whole number, at least ${least}` : Options.wordsOf(kind), (text) => {
    const value = numberOf(text)
    return value !== undefined && value >= least && Options.problem({ value }, { value: kind }) === undefined
      ? value
      : undefined
  })

/** A TCP port; 0 for one that the system picks. */
export const port = (name: string): Configured<number> =>
  parsed(name, "a port, 0 to 65535", (text) =>
    /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined
  )

/** A duration such as `5 seconds`; a number counts as milliseconds, `Infinity` as no end. */
export const duration = (name: string, kind: "duration" | "interval"): Configured<Duration.Duration> =>
  parsed(name, `${Options.wordsOf(kind)}, such as "5 seconds"`, (text) => {
    const value = numberOf(text) ?? text
    return text === "" || Options.problem({ value }, { value: kind }) !== undefined
      ? undefined
      : Duration.decode(value as Duration.DurationInput)
  })

/** The values that are set, by name. */
export const all = <A extends Readonly<Record<string, unknown>>>(
  configs: {
    readonly [Name in keyof A]: Configured<A[Name]>
  }
): Config.Config<{ readonly [Name in keyof A]?: A[Name] }> =>
  Config.map(
    Config.all(configs as Readonly<Record<string, Configured<unknown>>>),
    (values) =>
      Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
        readonly [Name in keyof A]?: A[Name]
      }
  )

/** The value of `name`: from the configuration or, where it is not set there, from the program's options. */
export const required = <A>(
  name: string,
  configured: A | undefined,
  given: A | undefined
): Either.Either<A, ConfigError.ConfigError> => {
  const value = configured ?? given
  return value === undefined
    ? Either.left(ConfigError.MissingData([name], "is required: set it, or give it in the program's options"))
    : Either.right(value)
}

/** Values that JSON cannot hold, and errors that cannot be read. */

/** Something whose every use throws. */
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const throwing = (thrown: unknown) => (): never => {
  throw thrown
}

const cycle = (): object => {
  const value: { self?: object } = {}
  value.self = value
  return value
}

const deep = (): unknown => {
  let value: unknown = 1
  for (let level = 0; level < 100_000; level++) value = [value]
  return value
}

class Unreadable extends Error {
  override get message(): string {
    throw this
  }
  override get name(): string {
    throw this
  }
}

/** What code of a caller may throw. */
export const thrown: ReadonlyArray<readonly [string, () => unknown]> = [
  ["an error", () => new Error("no luck")],
  ["an error with a throwing message", () => new Unreadable()],
  ["an object without a prototype", () => Object.create(null)],
  ["a revoked proxy", revoked],
  ["a symbol", () => Symbol("s")],
  ["a bigint", () => 1n],
  ["undefined", () => undefined],
  ["an error whose message is a bigint", () => Object.assign(new Error(), { message: 1n })],
  ["a text of 16 MiB", () => "x".repeat(16_777_216)]
]

/** Values that `JSON.stringify` throws for, at any depth. */
export const unencodable: ReadonlyArray<readonly [string, () => unknown]> = [
  ["a bigint", () => ({ id: 1n })],
  ["a cycle", cycle],
  ["a cycle in an array", () => [cycle()]],
  ["a revoked proxy", () => ({ proxy: revoked() })],
  ["a value that nests too deep", deep],
  ...thrown.flatMap(
    ([what, make]): ReadonlyArray<readonly [string, () => unknown]> => [
      [`a toJSON that throws ${what}`, () => ({ toJSON: throwing(make()) })],
      [
        `a getter that throws ${what}`,
        () => Object.defineProperty({}, "x", { enumerable: true, get: throwing(make()) })
      ],
      [`a proxy that throws ${what}`, () => new Proxy({}, { ownKeys: throwing(make()), get: throwing(make()) })]
    ]
  )
]

/** Values that have no JSON text, or lose all they say, when they are the whole value. */
export const absent: ReadonlyArray<readonly [string, () => unknown]> = [
  ["a function", () => () => 1],
  ["a symbol", () => Symbol("s")],
  ["a toJSON that returns undefined", () => ({ toJSON: () => undefined })],
  ["an invalid date", () => new Date(Number.NaN)],
  ["NaN", () => Number.NaN],
  ["infinity", () => Number.POSITIVE_INFINITY]
]

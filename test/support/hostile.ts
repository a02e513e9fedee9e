/** Values that user code may fail with, return or pass, and that break code which trusts them. */

const throwing = (): never => {
  throw new Error("a getter that throws")
}

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** Every trap throws, and throws something that cannot be printed. */
const unprintable = (): object =>
  new Proxy(
    {},
    new Proxy(
      {},
      {
        get: () => () => {
          throw Object.create(null)
        }
      }
    )
  )

const cycle = (): object => {
  const at: { self?: unknown; cause?: unknown } = {}
  at.self = at
  at.cause = at
  return at
}

const withGetter = (name: string): object => Object.defineProperty({}, name, { get: throwing, enumerable: true })

/** Each makes a new value; none of them has a secret or a text that is expected anywhere. */
export const hostileValues: ReadonlyArray<readonly [name: string, make: () => unknown]> = [
  ["an object without a prototype", () => Object.create(null)],
  ["a message without a prototype", () => ({ message: Object.create(null) })],
  ["a message getter that throws", () => withGetter("message")],
  ["a _tag getter that throws", () => withGetter("_tag")],
  ["a cause getter that throws", () => withGetter("cause")],
  ["an Error with a throwing message", () => Object.defineProperty(new Error(), "message", { get: throwing })],
  ["an Error with a throwing stack", () => Object.defineProperty(new Error("x"), "stack", { get: throwing })],
  ["an Error whose cause is itself", () => Object.assign(new Error("x"), cycle())],
  ["a cycle", cycle],
  ["a BigInt", () => 1n],
  ["an object with a BigInt", () => ({ message: 1n, id: 1n })],
  ["a symbol", () => Symbol("hostile")],
  ["a message that is a symbol", () => ({ message: Symbol("hostile"), _tag: Symbol("tag") })],
  ["a revoked proxy", revoked],
  ["a message that is a revoked proxy", () => ({ message: revoked(), _tag: revoked(), cause: revoked() })],
  ["a proxy whose every trap throws", unprintable],
  ["a toString that throws", () => ({ message: { toString: throwing, [Symbol.toPrimitive]: throwing } })],
  ["a toJSON that throws", () => ({ toJSON: throwing })],
  ["a toJSON that throws no Error", () => ({ toJSON: () => unprintable() })],
  ["a function", () => () => undefined],
  ["null", () => null],
  ["undefined", () => undefined],
  ["a long string", () => "x".repeat(2_000_000)],
  ["a message of a long string", () => ({ message: "x".repeat(2_000_000) })],
  [
    "a nesting too deep for JSON",
    () => {
      let deep: unknown = {}
      for (let i = 0; i < 100_000; i++) deep = [deep]
      return { message: "deep", deep, toJSON: () => deep }
    }
  ]
]

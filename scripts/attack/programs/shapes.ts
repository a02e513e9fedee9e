/** Values that no program expects where it reads a message, a name or a result. */

const cyclic = (): object => {
  const value: Record<string, unknown> = { name: "cyclic" }
  value["self"] = value
  return value
}

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const refuse = (): never => {
  throw Object.create(null)
}

const shapes: Readonly<Record<string, () => unknown>> = {
  "null prototype": () => Object.create(null) as object,
  "null message": () => ({ message: Object.create(null) as object }),
  "throwing getters": () => ({
    get message() {
      return refuse()
    },
    get _tag() {
      return refuse()
    },
    get name() {
      return refuse()
    },
    get code() {
      return refuse()
    },
    get stack() {
      return refuse()
    }
  }),
  "throwing conversions": () => ({ toString: refuse, toJSON: refuse, valueOf: refuse, [Symbol.toPrimitive]: refuse }),
  "revoked proxy": revoked,
  "error with a revoked cause": () => new Error("outer", { cause: revoked() }),
  "hostile proxy": () =>
    new Proxy(
      {},
      { get: refuse, has: refuse, ownKeys: refuse, getPrototypeOf: refuse, getOwnPropertyDescriptor: refuse }
    ),
  cyclic: cyclic,
  "cyclic cause": () => {
    const error = new Error("round")
    error.cause = new Error("and round", { cause: error })
    return error
  },
  bigint: () => 12n,
  "bigint inside": () => ({ message: "m", n: 12n }),
  symbol: () => Symbol("s"),
  "symbol message": () => ({ message: Symbol("s") }),
  function: () => refuse,
  undefined: () => undefined,
  null: () => null,
  "not a number": () => Number.NaN,
  "invalid date": () => new Date(Number.NaN),
  "lone surrogate": () => "\ud800",
  deep: () => {
    let value: unknown = "end"
    for (let i = 0; i < 20_000; i++) value = [value]
    return value
  },
  "huge text": () => "x".repeat(100_000_000)
}

/** Their names. */
export const shapeNames: ReadonlyArray<string> = Object.keys(shapes)

/** A new value of this shape; the name itself where there is none. */
export const shapeOf = (name: string): unknown => {
  const make = shapes[name]
  return make === undefined ? name : make()
}

/** Real messages, spoilt: what the fuzzers send. */
import { FastCheck as fc } from "effect"

export const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    1.5,
    1e300,
    -0,
    "",
    "\u0000",
    "\ud800",
    "__proto__",
    [],
    {},
    [[]],
    "9".repeat(400)
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.jsonValue({ maxDepth: 3 })
)

const oddKey = fc.constantFrom("__proto__", "constructor", "toString", "", "payload", "job_id", "type", "x-1", "\u0000")

type Path = ReadonlyArray<string>
const pathsOf = (value: unknown, at: Path = []): ReadonlyArray<Path> =>
  typeof value === "object" && value !== null
    ? [at, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...at, key]))]
    : [at]

const changeAt = (
  value: unknown,
  path: Path,
  change: (holder: Record<string, unknown>, key: string) => void
): unknown => {
  const copy = JSON.parse(JSON.stringify(value)) as Record<string, unknown>
  const [last] = path.slice(-1)
  let holder = copy
  for (const key of path.slice(0, -1)) {
    // Never up a prototype: that would change every array of the test itself.
    const inner = Object.hasOwn(holder, key) ? holder[key] : undefined
    // A key such as `__proto__` need not outlive the copy.
    if (typeof inner !== "object" || inner === null) return copy
    holder = inner as Record<string, unknown>
  }
  if (last !== undefined) change(holder, last)
  return copy
}

/** Deletes, replaces, renames, wraps or doubles one to three parts of a message; or cuts or spoils its text. */
export const mutation: fc.Arbitrary<(text: string) => string> = fc
  .record({
    changes: fc.array(
      fc.record({
        at: fc.nat(),
        how: fc.constantFrom("delete", "replace", "rename", "wrap", "nest"),
        value: oddValue,
        key: oddKey
      }),
      { minLength: 0, maxLength: 3 }
    ),
    text: fc.constantFrom("whole", "whole", "whole", "cut", "spoilt", "twice"),
    where: fc.nat()
  })
  .map(({ changes, text, where }) => (base) => {
    let frame: unknown = JSON.parse(base)
    for (const { at, how, key, value } of changes) {
      const paths = pathsOf(frame).filter((path) => path.length > 0)
      if (paths.length === 0) break
      frame = changeAt(frame, paths[at % paths.length]!, (holder, last) => {
        const old = holder[last]
        if (how === "delete" || how === "rename") delete holder[last]
        if (how === "replace") holder[last] = value
        if (how === "rename") Object.defineProperty(holder, key, { value: old, enumerable: true, configurable: true })
        if (how === "wrap") holder[last] = [old]
        if (how === "nest") holder[last] = { [last]: old }
      })
    }
    const whole = JSON.stringify(frame) ?? "null"
    const i = where % (whole.length + 1)
    if (text === "cut") return whole.slice(0, i)
    if (text === "spoilt") return `${whole.slice(0, i)}\u0001${whole.slice(i + 1)}`
    return text === "twice" ? whole + whole : whole
  })

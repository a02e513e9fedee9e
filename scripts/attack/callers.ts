/** A client and its own caller: what cannot be encoded fails that call, and no other. */
import type { Check } from "./check.js"

const item = "a client and its caller"

const caller = (name: string, ways: ReadonlyArray<string>, quick: boolean): Check => ({
  item,
  name,
  quick,
  seconds: 40,
  run: async (tools) => {
    const server = tools.child({ program: "hostile", args: ["agents"], memory: 768 })
    const url = await server.address()
    const wrong: Array<string> = []
    let calls = 0
    for (const way of ways) {
      const child = tools.child({ program: "client", args: [url, way], memory: 768 })
      await child.until(12_000, () =>
        child.exit !== undefined || child.reports.at(-1)?.kind === "done" ? true : undefined
      )
      const tried = child.reports.filter(({ kind }) => kind === "tried")
      calls += tried.length
      for (const { call, next, shape } of tried) {
        if (call === "nothing within 3 s") wrong.push(`${way} of ${String(shape)}: nothing within 3 s`)
        if (next !== "works") wrong.push(`after ${way} of ${String(shape)} a plain submit ${String(next)}`)
      }
      if (child.reports.at(-1)?.kind !== "done") {
        wrong.push(`${way}: the program did not end its calls: ${child.output.slice(-120)}`)
      }
      child.kill()
      if (wrong.length > 3) break
    }
    return {
      held: wrong.length === 0,
      observed: wrong.length === 0 ? `${calls} calls ended, a plain submit worked after each` : wrong.join("; ")
    }
  }
})

export const callers: ReadonlyArray<Check> = [
  caller("submits an input of every shape", ["input", "nested"], true),
  caller("passes values of every shape as options", ["lease", "expiresAt", "key", "runtime", "trace", "agent"], false),
  caller(
    "cancels, lists, subscribes and keeps artifacts with such values",
    ["cancel", "list", "subscribe", "from", "unsubscribe", "artifact", "artifactBytes", "fetch"],
    false
  )
]

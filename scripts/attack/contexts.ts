/** What a handler can see: of this package, its job and a client that its author provided, and nothing of the runtime. */
import type { Check } from "./check.js"
import { answerOf } from "./values.js"

const item = "a handler's context"

/** By list: what is not here is not for a handler. */
const allowed = new Set(["effect-arcp/agent/Job", "effect-arcp/client/ArcpClient"])

const looks = (name: string, agent: string, store: "sql" | "memory", quick: boolean): Check => ({
  item,
  name,
  quick,
  run: async (tools) => {
    const child = tools.child({ program: "context", args: [store] })
    const url = await child.until(15_000, () => {
      const ready = child.reports.find(({ kind }) => kind === "ready")
      return ready === undefined ? undefined : String(ready["address"])
    })
    if (url === undefined) return { held: false, observed: `it does not start: ${child.output.slice(-300)}` }
    const peer = await tools.peer(url)
    const lease = { "tool.call": ["**"], "model.use": ["**"], "cost.budget": ["USD:1"] }
    const end = await peer.run(agent, null, { lease }, 8_000)
    const reports = child.reports.filter(({ kind }) => kind === "keys")
    const found = new Map<string, string>()
    for (const { keys, where } of reports) {
      for (const key of keys as ReadonlyArray<string>) {
        const foreign = key.startsWith("effect-arcp/") ? !allowed.has(key) : key === "@effect/sql/SqlClient"
        if (foreign && !found.has(key)) found.set(key, String(where))
      }
    }
    const short = [...found].map(([key, where]) => `${key.split("/").at(-1)} (${where})`)
    const complete = reports.length >= 9
    return {
      held: found.size === 0 && complete && end?.type === "job.result",
      observed:
        found.size > 0
          ? `${found.size} services of the runtime: ${short.join(", ")}`
          : `${reports.length} places show none of them; the job: ${answerOf(end)}`
    }
  }
})

export const contexts: ReadonlyArray<Check> = [
  looks("everything is provided below and above the agents", "looks", "memory", true),
  looks("a SqlClient under the store is provided too", "looks", "sql", false),
  looks("an author names every tag as unguarded", "vouched", "sql", false)
]

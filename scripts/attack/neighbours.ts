/** Two runtimes in one program: agents, tools, tokens, jobs, limits, stores and metrics of one are not the other's. */
import type { Check, Tools } from "./check.js"
import type { Child } from "./child.js"
import { answerOf } from "./values.js"
import { pause } from "./small.js"

const item = "two runtimes in one program"

const addressOf = (child: Child, name: string): string =>
  String(child.reports.find((report) => report.kind === "serves" && report["name"] === name)?.["address"])

interface Row {
  readonly job_id: string
}

const names = (agents: unknown): ReadonlyArray<string> =>
  ((agents ?? []) as ReadonlyArray<string | { readonly name: string }>).map((agent) =>
    typeof agent === "string" ? agent : agent.name
  )

const separate = async (tools: Tools, mode: string): Promise<ReadonlyArray<string>> => {
  const child = tools.child({ program: "two", args: [mode] })
  if ((await child.report("ready", 15_000)) === undefined) return [`they do not start: ${child.output.slice(-200)}`]
  const wrong: Array<string> = []
  const open = addressOf(child, "public")
  const closed = addressOf(child, "admin")
  const admin = await tools.peer(closed, { token: "root", millis: 4_000 }).catch((error: Error) => error)
  const guest = await tools.peer(open, { token: "guest", millis: 4_000 }).catch((error: Error) => error)
  if (admin instanceof Error) wrong.push(`the admin: ${admin.message}`)
  if (guest instanceof Error) wrong.push(`the guest: ${guest.message}`)
  for (const [what, url, token] of [
    ["the guest's token at the admin runtime", closed, "guest"],
    ["the admin's token at the public runtime", open, "root"]
  ] as const) {
    const stranger = await tools.peer(url, { token, millis: 4_000 }).catch((error: Error) => error.message)
    if (stranger !== "refused: UNAUTHENTICATED") wrong.push(`${what}: accepted`)
  }
  if (guest instanceof Error || admin instanceof Error) return wrong
  const seen = names(guest.welcome?.payload.capabilities?.agents)
  if (seen.includes("secrets")) wrong.push(`the guest sees ${seen.join(", ")}`)
  const lease = { "tool.call": ["*"], "agent.delegate": ["*"] }
  const stolen = await guest.run("secrets", null)
  if (stolen?.type === "job.result") wrong.push("the guest runs the admin's agent")
  const wiped = await guest.run("calls", null, { lease })
  if (wiped?.type === "job.result") wrong.push("the guest's agent runs the admin's tool")
  const delegated = await guest.run("delegates", null, { lease })
  if (delegated?.type === "job.result") wrong.push("the guest's agent delegates to the admin's")
  // The same principal's name on both sides: what is one runtime's does not appear in the other.
  const own = await admin.run("secrets", null)
  if (own?.type !== "job.result") wrong.push(`the admin's own agent: ${answerOf(own)}`)
  const listed = await guest.request("session.list_jobs", {})
  const rows = (listed?.payload.jobs ?? []) as ReadonlyArray<Row>
  if (rows.some(({ job_id }) => job_id === own?.job_id)) wrong.push("the guest lists the admin's job")
  const watched = await guest.request("job.subscribe", { job_id: own?.job_id, history: true })
  if (watched?.type === "job.subscribed") wrong.push("the guest observes the admin's job")
  const resumed = await tools.peer(open, { hello: false })
  const answer = resumed.next(4_000, () => true)
  resumed.send("session.hello", {
    auth: { scheme: "bearer", token: "guest" },
    resume: { session_id: admin.session, resume_token: admin.welcome?.payload.resume_token, last_event_seq: 0 }
  })
  if ((await answer)?.type === "session.welcome") wrong.push("the guest resumes the admin's session")
  return wrong
}

const separation = (mode: string, name: string, quick: boolean): Check => ({
  item,
  name,
  quick,
  run: async (tools) => {
    const wrong = await separate(tools, mode)
    return {
      held: wrong.length === 0,
      observed: wrong.length === 0 ? "tokens, agents, tools, jobs and sessions are apart" : wrong.join("; ")
    }
  }
})

const metrics: Check = {
  item,
  name: "metrics tell which runtime counted",
  run: async (tools) => {
    const child = tools.child({ program: "two", args: ["public-first"] })
    if ((await child.report("ready", 15_000)) === undefined) {
      return { held: false, observed: `they do not start: ${child.output.slice(-200)}` }
    }
    for (const [name, token] of [
      ["public", "guest"],
      ["admin", "root"]
    ] as const) {
      const peer = await tools.peer(addressOf(child, name), { token }).catch(() => undefined)
      await peer?.run("echo", 1)
    }
    await pause(600)
    const last = child.reports.findLast(({ kind }) => kind === "metrics")
    const ended = (
      (last?.["all"] ?? []) as ReadonlyArray<{ readonly name: string; readonly tags: Array<string> }>
    ).filter(({ name }) => name === "arcp_jobs_ended")
    const tagged = (runtime: string) => ended.some(({ tags }) => tags.some((tag) => tag.endsWith(`=${runtime}`)))
    return {
      held: tagged("public") && tagged("admin"),
      observed: `arcp_jobs_ended is tagged ${ended.map(({ tags }) => `{${tags.join(", ")}}`).join(" and ") || "nowhere"}`
    }
  }
}

const shared: Check = {
  item,
  name: "one store is given to two runtimes",
  run: async (tools) => {
    const child = tools.child({ program: "two", args: ["shared"] })
    const report = await child.report("shared", 12_000)
    const refused = report !== undefined && report["second"] === false && report["third"] === false
    return {
      held: report?.["first"] === true && refused,
      observed:
        report === undefined
          ? `no report: ${child.output.slice(-200)}`
          : `the first starts: ${String(report["first"])}, the second: ${String(report["second"])} ${String(report["why"])}`
    }
  }
}

const twice: Check = {
  item,
  name: "one version of an agent, or one tool, is registered twice",
  run: async (tools) => {
    const child = tools.child({ program: "two", args: ["twice"] })
    const report = await child.report("twice", 12_000)
    return {
      held: report?.["agents"] === false && report["tools"] === false,
      observed:
        report === undefined
          ? `no report: ${child.output.slice(-200)}`
          : `a runtime with two such agents starts: ${String(report["agents"])}, with two such tools: ${String(report["tools"])}`
    }
  }
}

export const neighbours: ReadonlyArray<Check> = [
  separation("public-first", "the public runtime is composed first", true),
  separation("admin-first", "the admin's runtime is composed first", false),
  separation("paths", "both on one port, by two paths", false),
  metrics,
  shared,
  twice
]

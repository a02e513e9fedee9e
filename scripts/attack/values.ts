/** Values from user code: whatever an agent, a tool, an authenticator or a policy hands over costs at most its own job. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Check, Observed, Tools } from "./check.js"
import type { Child } from "./child.js"
import type { Frame, Peer } from "./peer.js"
import { shapeNames } from "./programs/shapes.js"
import { pause } from "./small.js"

const item = "values from user code"

/** What an answer was, in a word. */
export const answerOf = (frame: Frame | undefined): string =>
  frame === undefined
    ? "no answer"
    : frame.type === "job.result"
      ? "result"
      : `${String(frame.payload?.code)}${frame.type === "job.error" ? "" : ` (${frame.type})`}`

/**
 * Whether the runtime still works: a job of the session that is open, a new session with a job, the ticker that has run all
 * the while, and an end within its drain time and three seconds.
 */
const alive = async (tools: Tools, child: Child, peer: Peer, url: string): Promise<ReadonlyArray<string>> => {
  const wrong: Array<string> = []
  const same = await peer.run("echo", "same", {}, 3_000)
  if (same?.type !== "job.result") wrong.push(`the open session's next job: ${answerOf(same)}`)
  const fresh = await tools.peer(url, { millis: 4_000 }).catch((error: Error) => error)
  if (fresh instanceof Error) wrong.push(`a new session: ${fresh.message}`)
  else {
    const answer = await fresh.run("echo", "fresh", {}, 3_000)
    if (answer?.type !== "job.result") wrong.push(`a new session's job: ${answerOf(answer)}`)
  }
  await pause(50)
  if (child.exit !== undefined) wrong.push(`the process ended: ${child.exit.code ?? child.exit.signal}`)
  else {
    const took = await child.stop(5_000)
    if (took === undefined) wrong.push("SIGTERM: still running after 5 s")
  }
  return wrong
}

const verdict = (ok: string, wrong: ReadonlyArray<string>): Observed => ({
  held: wrong.length === 0,
  observed: wrong.length === 0 ? ok : wrong.join("; ")
})

/** A runtime with a job that ticks all the while. */
const start = async (tools: Tools, args: ReadonlyArray<string>, memory?: number) => {
  const child = tools.child({ program: "hostile", args, ...(memory === undefined ? {} : { memory }) })
  const url = await child.address()
  const peer = await tools.peer(url)
  const ticking = await peer.submit("ticker", null)
  return { child, url, peer, ticking: String(ticking?.payload.job_id) }
}

const ticks = (peer: Peer, jobId: string): number =>
  peer.frames.filter((frame) => frame.job_id === jobId && frame.payload?.kind === "log").length

/** All shapes by these ways, one after the other until one is not answered. */
const agentCheck = (name: string, ways: ReadonlyArray<string>, quick: boolean): Check => ({
  item,
  name,
  quick,
  seconds: 25,
  run: async (tools) => {
    const { child, peer, ticking, url } = await start(tools, ["agents"], 768)
    const lease = { "tool.call": ["*"], "agent.delegate": ["*"], "model.use": ["**"], "cost.budget": ["USD:1"] }
    let jobs = 0
    for (const way of ways) {
      for (const shape of shapeNames) {
        const end = await peer.run("hostile", { way, shape }, { lease }, 10_000)
        if (end?.type === "job.result" || end?.type === "job.error") {
          jobs++
          continue
        }
        const wrong = await alive(tools, child, peer, url)
        return {
          held: false,
          observed: `${way} with ${shape}: ${answerOf(end)} (${jobs} jobs ended before); ${wrong.join("; ")}`
        }
      }
    }
    const before = ticks(peer, ticking)
    await pause(300)
    const ticked = ticks(peer, ticking) > before
    const wrong = [...(ticked ? [] : ["the other job's events stopped"]), ...(await alive(tools, child, peer, url))]
    return verdict(`${jobs} jobs ended, each in its own terminal message; the others went on; SIGTERM ended it`, wrong)
  }
})

const authenticator: Check = {
  item,
  name: "an authenticator fails, dies, throws and returns principals of every shape",
  seconds: 25,
  run: async (tools) => {
    const { child, peer, url } = await start(tools, ["auth"], 768)
    const wrong: Array<string> = []
    let tried = 0
    for (const way of ["fail", "die", "throw", "id", "claims", "principal"]) {
      for (const shape of shapeNames) {
        if (way === "claims" && shape === "huge text") continue
        const guest = await tools
          .peer(url, { hello: false, from: `127.1.${tried >> 3}.${(tried & 7) + 1}` })
          .catch(() => undefined)
        // From an address of its own each, so that no bound of failed attempts hides what comes after it.
        if (guest === undefined) {
          wrong.push(`after ${way}: no connection is made`)
          return verdict("", wrong)
        }
        const answer = guest.next(3_000, () => true)
        guest.hello(`${way}:${shape}`)
        const frame = await answer
        tried++
        if (frame === undefined && guest.closed === undefined) wrong.push(`${way} with ${shape}: no answer`)
        guest.destroy()
        if (wrong.length > 2) break
      }
    }
    return verdict(`${tried} hellos answered; alice's session and jobs went on`, [
      ...wrong,
      ...(await alive(tools, child, peer, url))
    ])
  }
}

const provisioner: Check = {
  item,
  name: "a provisioner fails, dies, throws and issues values of every shape",
  seconds: 25,
  run: async (tools) => {
    const { child, peer, url } = await start(tools, ["provisioner", join(tools.folder(), "arcp.db")], 768)
    const wrong: Array<string> = []
    let tried = 0
    for (const way of ["fail", "die", "throw", "issued", "handle", "all"]) {
      for (const shape of shapeNames) {
        if (shape === "huge text") continue
        const answer = await peer.submit(
          "echo",
          1,
          { lease: { "model.use": [`${way}:${shape.replaceAll(" ", "-")}`] } },
          3_000
        )
        tried++
        if (answer === undefined) wrong.push(`${way} with ${shape}: the submit is not answered`)
        if (wrong.length > 2) break
      }
    }
    if (!child.reports.some(({ kind }) => kind === "issue")) wrong.push("the provisioner was never asked")
    return verdict(`${tried} submits answered; the others went on`, [
      ...wrong,
      ...(await alive(tools, child, peer, url))
    ])
  }
}

const policies: Check = {
  item,
  name: "policies for leases and observation throw",
  run: async (tools) => {
    const { child, peer, ticking, url } = await start(tools, ["policies"])
    const wrong: Array<string> = []
    const bob = await tools.peer(url, { token: "other" })
    for (const [what, answer] of [
      ["bob's submit", await bob.submit("echo", 1, { lease: { "tool.call": ["*"] } }, 3_000)],
      ["bob's subscribe", await bob.request("job.subscribe", { job_id: ticking }, 3_000)],
      ["bob's listing", await bob.request("session.list_jobs", {}, 3_000)],
      ["bob's ping", await bob.ping(3_000)]
    ] as const) {
      if (answer === undefined) wrong.push(`${what}: no answer`)
    }
    return verdict("each request answered; the others went on", [...wrong, ...(await alive(tools, child, peer, url))])
  }
}

const logger: Check = {
  item,
  name: "a logger throws at everything",
  run: async (tools) => {
    const { child, peer, url } = await start(tools, ["logger"])
    const wrong: Array<string> = []
    for (const [way, shape] of [
      ["fail", "bigint"],
      ["die", "null prototype"],
      ["logged", "cyclic"]
    ] as const) {
      const end = await peer.run("hostile", { way, shape }, {}, 3_000)
      if (end === undefined) wrong.push(`${way}: no answer`)
    }
    const denied = await peer.run("denied", null, {}, 3_000)
    if (denied === undefined) wrong.push("a denial: no answer")
    const stranger = await tools.peer(url, { token: "wrong" }).catch((error: Error) => error.message)
    if (!String(stranger).includes("UNAUTHENTICATED")) wrong.push(`a wrong token: ${String(stranger)}`)
    if (!child.reports.some(({ kind }) => kind === "logged")) wrong.push("the logger was never used")
    return verdict("jobs ended; the others went on", [...wrong, ...(await alive(tools, child, peer, url))])
  }
}

const rerun: Check = {
  item,
  name: "a job that runs again after a crash fails with such a value",
  seconds: 25,
  quick: true,
  run: async (tools) => {
    const filename = join(tools.folder(), "arcp.db")
    const first = await start(tools, ["rerun", filename])
    const jobs: Array<string> = []
    for (const shape of ["null message", "throwing getters", "hostile proxy"]) {
      const accepted = await first.peer.submit("again", { shape })
      jobs.push(String(accepted?.payload.job_id))
    }
    await pause(300)
    first.child.kill()
    await first.child.until(3_000, () => undefined)
    const child = tools.child({ program: "hostile", args: ["rerun", filename] })
    const url = await child.address()
    const peer = await tools.peer(url)
    const wrong: Array<string> = []
    for (let i = 0; i < 30; i++) {
      const listed = await peer.request("session.list_jobs", {}, 1_000)
      const rows = (listed?.payload.jobs ?? []) as ReadonlyArray<{ readonly job_id: string; readonly status: string }>
      wrong.length = 0
      for (const jobId of jobs) {
        const row = rows.find((one) => one.job_id === jobId)
        if (row?.status !== "error") wrong.push(`a job that runs again is ${row?.status ?? "not listed"}`)
      }
      if (wrong.length === 0) break
      await pause(100)
    }
    return verdict("each ended in error after the restart; the runtime went on", [
      ...wrong,
      ...(await alive(tools, child, peer, url))
    ])
  }
}

/** Modules that `arcp serve --agents` loads. */
const modules: Readonly<Record<string, string>> = {
  "throws without a prototype": "throw Object.create(null)",
  "throws a revoked proxy": "const p = Proxy.revocable({}, {}); p.revoke(); throw p.proxy",
  "exports a hostile proxy":
    "const no = () => { throw Object.create(null) }; export default new Proxy({}, { get: no, has: no, ownKeys: no, getPrototypeOf: no })",
  "exports a revoked proxy": "const p = Proxy.revocable([], {}); p.revoke(); export const agents = p.proxy",
  "rejects with a throwing message": "throw { get message() { throw Object.create(null) } }"
}

const module: Check = {
  item,
  name: "a module of agents throws or exports such a value",
  run: async (tools) => {
    const folder = tools.folder()
    const tried = Object.entries(modules).map(async ([name, text], i) => {
      const path = join(folder, `${i}.mjs`)
      writeFileSync(path, text)
      const child = tools.child({ program: "arcp", args: ["serve", "--port", "0", "--token", "a=b", "--agents", path] })
      await child.until(10_000, () => (child.output.includes("listening") ? true : undefined))
      const said = child.output.trim()
      if (child.exit === undefined) return `${name}: it went on`
      if (child.exit.code !== 2 && child.exit.code !== 1) return `${name}: exit ${child.exit.code ?? child.exit.signal}`
      return said.includes("--agents") ? undefined : `${name}: it says ${JSON.stringify(said.slice(0, 80))}`
    })
    const wrong = (await Promise.all(tried)).filter((one) => one !== undefined)
    return verdict("each is a usage error that names --agents", wrong)
  }
}

export const values: ReadonlyArray<Check> = [
  agentCheck(
    "agents fail, die, throw, return and emit values of every shape",
    ["fail", "die", "throw", "message", "messageGetter", "result", "log", "status", "metric", "event", "spend"],
    true
  ),
  agentCheck(
    "errors that look like the protocol's, and tools that take, return and fail with such values",
    ["tagged", "vendor", "cause", "finalizer", "forked", "logged"].concat([
      "toolCall",
      "tool",
      "toolGives",
      "hosted",
      "hostedGives",
      "hostedTakes"
    ]),
    false
  ),
  agentCheck(
    "steps, streams, children, models and checks with such values",
    ["step", "stepFails", "stream", "streamGives", "child", "handoff", "model", "authorize"],
    false
  ),
  authenticator,
  provisioner,
  policies,
  logger,
  rerun,
  module
]

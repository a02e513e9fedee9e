/** Authority ends with the job: whatever of it still runs reaches nothing. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { mkdirSync, readFileSync, existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Check, Tools } from "./check.js"
import { isEnd } from "./peer.js"
import { pause } from "./small.js"
import { answerOf } from "./values.js"

const item = "the end of a job"

const prepare = async (tools: Tools) => {
  const folder = tools.folder()
  mkdirSync(join(folder, "in"))
  const read = join(folder, "in/data")
  const write = join(folder, "in/written")
  writeFileSync(read, "data of the job")
  writeFileSync(write, "")
  const http = createServer((_, response) => response.end("fetched"))
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  tools.after(() => http.close())
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`
  const lease = {
    "fs.read": [`${folder}/in/**`],
    "fs.write": [`${folder}/in/**`],
    "net.fetch": [`${url}**`],
    "tool.call": ["**"],
    "model.use": ["**"],
    "agent.delegate": ["**"],
    "cost.budget": ["USD:1"]
  }
  const child = tools.child({ program: "guarded", args: ["asked"] })
  const peer = await tools.peer(await child.address())
  return { child, peer, read, write, url, lease }
}

/** What succeeded more than a quarter of a second after the terminal message. */
const lingering = (name: string, agent: string, cancel: boolean, quick: boolean): Check => ({
  item,
  name,
  quick,
  run: async (tools) => {
    const { child, lease, peer, read, url, write } = await prepare(tools)
    const accepted = await peer.submit(agent, { read, write, url, millis: 2_500 }, { lease })
    if (accepted?.type !== "job.accepted") return { held: false, observed: `the submit: ${answerOf(accepted)}` }
    const jobId = accepted.payload.job_id as string
    const end = peer.next(6_000, (frame) => isEnd(frame) && frame.job_id === jobId)
    if (cancel) {
      // Everything has been tried once.
      await child.until(5_000, () =>
        child.reports.some(({ kind, round }) => kind === "tried" && round === 1) ? true : undefined
      )
      peer.send("job.cancel", { job_id: jobId, reason: "enough" }, { job_id: jobId })
    }
    const ended = await end
    if (ended === undefined) return { held: false, observed: "no terminal message" }
    const at = Date.now() + 250
    await pause(300)
    const size = readFileSync(write).length
    await child.report("lingered", 5_000)
    const tried = child.reports.filter(({ kind }) => kind === "tried")
    const before = new Set(tried.filter(({ at: when, ok }) => ok === true && Number(when) < at).map(({ what }) => what))
    const late = tried.filter(({ at: when }) => Number(when) >= at)
    const reached = [...new Set(late.filter(({ ok }) => ok === true).map(({ what }) => String(what)))]
    if (readFileSync(write).length > size && !reached.includes("writes to an open file")) {
      reached.push("bytes written to an open file")
    }
    // A check of nothing otherwise: everything must have worked while the job ran.
    const useless = before.size < 10
    return {
      held: reached.length === 0 && !useless,
      observed: useless
        ? `tried too little: ${before.size} kinds before the end`
        : reached.length === 0
          ? `${late.length} attempts of ${before.size} kinds after ${answerOf(ended)}, none reached anything`
          : `after ${answerOf(ended)} still: ${reached.join(", ")}`
    }
  }
})

const spent: Check = {
  item,
  name: "a spent budget and a file that is open",
  run: async (tools) => {
    const { lease, peer, read, url, write } = await prepare(tools)
    const end = await peer.run("spends", { read, write, url, millis: 0 }, { lease })
    if (end?.type !== "job.result") return { held: false, observed: `the job: ${answerOf(end)}` }
    const outcomes = Object.entries(end.payload.result as Readonly<Record<string, string>>)
    const reached = outcomes.filter(([, text]) => text.startsWith("ok")).map(([what]) => what)
    return {
      held: reached.length === 0 && existsSync(write),
      observed: reached.length === 0 ? "every read and write is refused" : `still: ${reached.join(", ")}`
    }
  }
}

export const endings: ReadonlyArray<Check> = [
  lingering("a daemon fiber goes on after the handler has returned", "leaves", false, true),
  lingering("a handler does not unwind after its grace", "stays", true, false),
  spent
]

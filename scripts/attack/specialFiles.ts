/** Files that are no files: devices, pipes, sockets and directories, and files that are too large. */
import { execFileSync } from "node:child_process"
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import type { Check, Observed, Tools } from "./check.js"
import type { Child } from "./child.js"
import { isEnd } from "./peer.js"
import { mib, pause } from "./small.js"
import { answerOf } from "./values.js"

const item = "special files"

const start = async (tools: Tools) => {
  const folder = tools.folder()
  const inside = join(folder, "in")
  mkdirSync(inside)
  writeFileSync(join(inside, "data"), "inside")
  // A policy that names every folder: what is refused here is refused for what it is.
  const child = tools.child({ program: "guarded", args: ["granting"] })
  const peer = await tools.peer(await child.address())
  const lease = { "fs.read": ["/**", "/dev/**"], "fs.write": ["/**", "/dev/**"] }
  return { folder, inside, child, peer, lease }
}

const verdict = (ok: string, wrong: ReadonlyArray<string>): Observed => ({
  held: wrong.length === 0,
  observed: wrong.length === 0 ? ok : wrong.join("; ")
})

/** Kills the process where it grows by more than this, and says so. */
const capped = (child: Child, tools: Tools, bytes = 300 * 1_048_576): (() => string | undefined) => {
  const before = child.rss
  let most = 0
  const timer = setInterval(() => {
    most = Math.max(most, child.rss - before)
    if (most > bytes) child.kill()
  }, 10)
  tools.after(() => clearInterval(timer))
  return () => (most > bytes ? `the process grew by ${mib(most)}` : undefined)
}

/** Reads without end, or of more than memory: refused, or ended within the bound. */
const endless = (name: string, make: (inside: string) => ReadonlyArray<string>, ops: ReadonlyArray<string>): Check => ({
  item,
  name,
  quick: true,
  run: async (tools) => {
    const { child, inside, lease, peer } = await start(tools)
    const paths = make(inside)
    const grown = capped(child, tools)
    const wrong: Array<string> = []
    const outcomes: Array<string> = []
    for (const path of paths) {
      for (const op of ops) {
        const end = await peer.run("does", [{ op, path, to: `${inside}/copied` }], { lease }, 2_500)
        const outcome = end?.type === "job.result" ? String(end.payload.result[0]) : answerOf(end)
        outcomes.push(outcome)
        if (end === undefined) wrong.push(`${op} of ${path.split("/").at(-1)!} does not end in 2.5 s`)
        else if (outcome.startsWith("ok")) wrong.push(`${op} of ${path.split("/").at(-1)!} succeeds`)
        if (child.exit !== undefined || wrong.length > 2) break
      }
    }
    const large = grown()
    return verdict(`each refused: ${outcomes.at(-1)}`, [...wrong, ...(large === undefined ? [] : [large])])
  }
})

const devices = endless(
  "/dev/zero by its name and by a link, read, opened and copied",
  (inside) => {
    symlinkSync("/dev/zero", join(inside, "zero"))
    return ["/dev/zero", join(inside, "zero")]
  },
  ["readFile", "stream", "open", "copyFile"]
)

const sparse = endless(
  "a file of 20 GB, read at once",
  (inside) => {
    writeFileSync(join(inside, "large"), "")
    truncateSync(join(inside, "large"), 20_000_000_000)
    return [join(inside, "large")]
  },
  ["readFile"]
)

/** Twice as many operations as the pool of threads has. */
const pipes = (name: string, ops: ReadonlyArray<string>, quick: boolean): Check => ({
  item,
  name,
  quick,
  seconds: 25,
  run: async (tools) => {
    const { child, inside, lease, peer } = await start(tools)
    execFileSync("mkfifo", [join(inside, "pipe")])
    const jobs: Array<string> = []
    const ended = new Set<string>()
    const watch = peer.next(20_000, (frame) => {
      if (isEnd(frame)) ended.add(String(frame.job_id))
      return false
    })
    void watch
    for (let i = 0; i < 8; i++) {
      const op = ops[i % ops.length]!
      const accepted = await peer.submit("does", [{ op, path: `${inside}/pipe`, to: `${inside}/copy-${i}` }], { lease })
      jobs.push(String(accepted?.payload.job_id))
    }
    await pause(500)
    const wrong: Array<string> = []
    const other = await peer.run("does", [{ op: "readFile", path: `${inside}/data` }], { lease }, 3_000)
    if (other?.type !== "job.result") wrong.push(`another job's file is not read: ${answerOf(other)}`)
    for (const jobId of jobs) if (!ended.has(jobId)) peer.send("job.cancel", { job_id: jobId }, { job_id: jobId })
    for (let i = 0; i < 20 && jobs.some((jobId) => !ended.has(jobId)); i++) await pause(100)
    const left = jobs.filter((jobId) => !ended.has(jobId)).length
    if (left > 0) wrong.push(`${left} of 8 jobs have not ended after their cancel`)
    const took = await child.stop(5_000)
    if (took === undefined) wrong.push("SIGTERM: still running after 5 s")
    return verdict(`others are served, cancels end all, SIGTERM ends it in ${Math.round(took ?? 0)} ms`, wrong)
  }
})

const kinds: Check = {
  item,
  name: "sockets, pipes and directories in the place of files",
  run: async (tools) => {
    const { inside, lease, peer } = await start(tools)
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(join(inside, "socket"), resolve))
    tools.after(() => server.close())
    mkdirSync(join(inside, "tree"))
    execFileSync("mkfifo", [join(inside, "tree/pipe")])
    const wrong: Array<string> = []
    const tries = [
      { op: "readFile", path: `${inside}/socket` },
      { op: "writeFile", path: `${inside}/socket` },
      { op: "readFile", path: `${inside}/tree` },
      { op: "writeFile", path: `${inside}/tree` },
      { op: "truncate", path: `${inside}/tree/pipe` },
      { op: "copy", path: `${inside}/tree`, to: `${inside}/tree2` },
      { op: "chmod", path: `${inside}/tree/pipe` },
      { op: "writeFile", path: "/dev/null" },
      { op: "open", path: "/dev/tty" }
    ]
    for (const one of tries) {
      const end = await peer.run("does", [one], { lease }, 2_500)
      const outcome = end?.type === "job.result" ? String(end.payload.result[0]) : answerOf(end)
      const what = `${one.op} of ${one.path.split("/").slice(-2).join("/")}`
      if (end === undefined) wrong.push(`${what} does not end in 2.5 s`)
      else if (outcome.startsWith("ok") && one.path.startsWith("/dev")) wrong.push(`${what} succeeds`)
    }
    return verdict("each ends at once, none of a device succeeds", wrong)
  }
}

/** A read that is under way when its job is cancelled. */
const cancelled: Check = {
  item,
  name: "a job is cancelled while it streams a file of 20 GB",
  run: async (tools) => {
    const { child, inside, lease, peer } = await start(tools)
    writeFileSync(join(inside, "large"), "")
    truncateSync(join(inside, "large"), 20_000_000_000)
    const grown = capped(child, tools)
    const wrong: Array<string> = []
    const accepted = await peer.submit("does", [{ op: "stream", path: `${inside}/large` }], { lease })
    const jobId = accepted?.payload.job_id as string
    const end = peer.next(8_000, (frame) => isEnd(frame) && frame.job_id === jobId)
    await pause(400)
    const started = performance.now()
    peer.send("job.cancel", { job_id: jobId }, { job_id: jobId })
    const ended = await end
    const took = Math.round(performance.now() - started)
    if (ended === undefined) wrong.push("no terminal message")
    const stopped = await child.stop(5_000)
    if (stopped === undefined) wrong.push("SIGTERM: still running after 5 s")
    const large = grown()
    return verdict(`${answerOf(ended)} after ${took} ms; SIGTERM ends it`, [
      ...wrong,
      ...(large === undefined ? [] : [large])
    ])
  }
}

export const specialFiles: ReadonlyArray<Check> = [
  devices,
  sparse,
  pipes("eight reads of a pipe that nobody writes", ["readFile", "stream", "open", "copyFile"], true),
  pipes("eight writes to a pipe that nobody reads", ["writeFile", "sink"], false),
  kinds,
  cancelled
]

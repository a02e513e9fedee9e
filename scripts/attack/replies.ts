/** Replies and what comes before the hello: bounded in bytes, whatever a peer asks for, sends in half or leaves unread. */
import type { Check, Observed, Tools } from "./check.js"
import type { Child } from "./child.js"
import type { Frame, Peer } from "./peer.js"
import { frameHead, type Raw, upgrade } from "./raw.js"
import { mib, pause, within } from "./small.js"
import { answerOf } from "./values.js"

const item = "bounds in bytes"
const kib64 = 65_536

const verdict = (ok: string, wrong: ReadonlyArray<string>): Observed => ({
  held: wrong.length === 0,
  observed: wrong.length === 0 ? ok : wrong.join("; ")
})

const start = async (tools: Tools, memory = 512) => {
  const child = tools.child({ program: "replies", memory })
  const url = await child.address()
  return { child, url, peer: await tools.peer(url) }
}

/** A lease of about 30 kB, which a listing repeats in each row. */
const wide = { "tool.call": Array.from({ length: 30 }, (_, i) => `t${i}.${"x".repeat(500)}`) }
const wider = { ...wide, "agent.delegate": wide["tool.call"] }

const jobsWith = async (peer: Peer, count: number): Promise<number> => {
  let accepted = 0
  for (let i = 0; i < count; i++) {
    if ((await peer.submit("echo", i, { lease: wider }, 3_000))?.type === "job.accepted") accepted++
  }
  return accepted
}

/** How much the process has grown at most while `during` ran and for two seconds afterwards. */
const growth = async (child: Child, during: () => Promise<unknown>): Promise<number> => {
  const before = child.rss
  let most = 0
  const look = (): void => void (most = Math.max(most, child.rss - before))
  const timer = setInterval(look, 20)
  await during()
  for (let i = 0; i < 20 && child.exit === undefined; i++) await pause(100)
  clearInterval(timer)
  return most
}

const died = (child: Child): ReadonlyArray<string> =>
  child.exit === undefined ? [] : [`the process ended: ${child.exit.signal ?? child.exit.code}`]

const pages: Check = {
  item,
  name: "a listing of 70 jobs with leases of 30 kB",
  quick: true,
  run: async (tools) => {
    const { peer } = await start(tools)
    const made = await jobsWith(peer, 70)
    const wrong: Array<string> = []
    if (made !== 70) wrong.push(`only ${made} jobs are accepted`)
    let cursor: string | undefined
    let rows = 0
    let largest = 0
    let count = 0
    do {
      const page: Frame | undefined = await peer.request("session.list_jobs", cursor === undefined ? {} : { cursor })
      if (page?.type !== "session.jobs") return verdict("", [`a page: ${answerOf(page)}`])
      rows += page.payload.jobs.length as number
      largest = Math.max(largest, page.bytes)
      cursor = (page.payload.next_cursor as string | null) ?? undefined
      count++
    } while (cursor !== undefined && count < 100)
    if (largest > 1_000_000) wrong.push(`a page of ${mib(largest)}`)
    if (rows < made) wrong.push(`${rows} of ${made} rows listed`)
    return verdict(`${rows} rows in ${count} pages of at most ${largest} bytes`, wrong)
  }
}

/** Asks without reading. */
const unread = (name: string, ask: (peer: Peer) => Promise<(i: number) => void>, count: number): Check => ({
  item,
  name,
  seconds: 25,
  run: async (tools) => {
    const { child, peer, url } = await start(tools)
    const send = await ask(peer)
    const deaf = peer
    const grown = await growth(child, async () => {
      deaf.deaf()
      for (let i = 0; i < count; i++) {
        send(i)
        if (i % 20 === 0) await pause(5)
      }
    })
    const wrong: Array<string> = [...died(child)]
    if (grown > 128 * 1_048_576) wrong.push(`${count} unread replies: the process grew by ${mib(grown)}`)
    if (child.exit === undefined) {
      const other = await tools.peer(url, { millis: 4_000 }).catch((error: Error) => error)
      if (other instanceof Error) wrong.push(`another client: ${other.message}`)
      else if ((await other.ping(3_000)) === undefined) wrong.push("another client's ping: no answer")
    }
    return verdict(`${count} unread replies: the process grew by ${mib(grown)}; others are served`, wrong)
  }
})

const unreadListings = unread(
  "listings of 2 MB are not read",
  async (peer) => {
    await jobsWith(peer, 70)
    return () => void peer.send("session.list_jobs", {})
  },
  300
)

const unreadArtifacts = unread(
  "artifacts of 1 MB are fetched and not read",
  async (peer) => {
    const data = Buffer.alloc(1_000_000, 65).toString("base64")
    const put = await peer.request("artifact.put", { content_type: "text/plain", data })
    const id = put?.payload.artifact_id as string
    if (id === undefined) throw new Error(`the artifact is not kept: ${answerOf(put)}`)
    return () => void peer.send("artifact.fetch", { artifact_id: id })
  },
  200
)

const echoed: Check = {
  item,
  name: "texts of 1 MB in every field that is echoed",
  run: async (tools) => {
    const { child, peer, url } = await start(tools)
    const big = "y".repeat(1_000_000)
    const wrong: Array<string> = []
    let largest = 0
    const waiting = await peer.submit("waits", null)
    const jobId = waiting?.payload.job_id as string
    const attempts: Readonly<Record<string, (p: Peer) => void>> = {
      "a cancel's reason": (p) => void p.send("job.cancel", { job_id: jobId, reason: big }),
      "an agent's name": (p) => void p.send("job.submit", { agent: big, input: 1 }),
      "an idempotency key": (p) => void p.send("job.submit", { agent: "echo", input: 1, idempotency_key: big }),
      "a lease's capability": (p) =>
        void p.send("job.submit", { agent: "echo", input: 1, lease_request: { [big]: ["x"] } }),
      "a lease's pattern": (p) =>
        void p.send("job.submit", { agent: "echo", input: 1, lease_request: { "tool.call": [big] } }),
      "a lease's constraint": (p) =>
        void p.send("job.submit", { agent: "echo", input: 1, lease_constraints: { expires_at: big, [big]: 1 } }),
      "a ping's nonce": (p) => void p.send("session.ping", { nonce: big }),
      "a job's id": (p) => void p.send("job.subscribe", { job_id: big }),
      "an artifact's id": (p) => void p.send("artifact.fetch", { artifact_id: big }),
      "a content type": (p) => void p.send("artifact.put", { content_type: big, data: "AAAA" }),
      "a cursor": (p) => void p.send("session.list_jobs", { cursor: big }),
      "a filter": (p) => void p.send("session.list_jobs", { filter: { agent: big, status: [big] } }),
      "a type": (p) => void p.send(big, {}),
      "a session's id": (p) => void p.send("session.ping", { nonce: "n" }, { session_id: big }),
      "an envelope's id": (p) => void p.send("session.ping", { nonce: "n" }, { id: big }),
      "a trace's id": (p) => void p.send("job.submit", { agent: "echo", input: 1 }, { trace_id: big }),
      "a version": (p) => void p.send("session.ping", { nonce: "n" }, { arcp: big }),
      "no JSON": (p) => p.raw(big)
    }
    for (const [what, attempt] of Object.entries(attempts)) {
      // A cancel is its owner session's alone; for the others each has a session of its own.
      const p = what === "a cancel's reason" ? peer : await tools.peer(url, { millis: 4_000 })
      const from = p.frames.length
      attempt(p)
      await p.ping(3_000)
      // The cancelled job's end comes after its grace.
      if (p === peer) await pause(600)
      const bytes = Math.max(0, ...p.frames.slice(from).map((frame) => frame.bytes))
      largest = Math.max(largest, bytes)
      if (bytes > kib64) wrong.push(`${what}: a reply of ${bytes} bytes`)
      if (p !== peer) p.destroy()
    }
    // Where that reason was refused, the job goes on, and ends with a shorter one.
    const ended = (frame: Frame): boolean => frame.type === "job.error" && frame.job_id === jobId
    const end = peer.frames.some(ended) ? undefined : peer.next(3_000, ended)
    peer.send("job.cancel", { job_id: jobId, reason: "short" })
    if (end !== undefined && (await end) === undefined) wrong.push("the cancelled job has not ended")
    return verdict(`no reply is larger than ${largest} bytes`, [...wrong, ...died(child)])
  }
}

/** Sends what a peer may send before it has said who it is, many times over. */
const halfSent = (name: string, write: (socket: Exclude<Raw, string>["socket"]) => void): Check => ({
  item,
  name,
  seconds: 20,
  quick: true,
  run: async (tools) => {
    const { child, peer, url } = await start(tools)
    const raws: Array<Exclude<Raw, string>> = []
    tools.after(() => raws.forEach(({ socket }) => socket.destroy()))
    let refused = 0
    const grown = await growth(child, async () => {
      for (let i = 0; i < 60; i++) {
        const raw = await upgrade(url, 2_000)
        if (typeof raw === "string") {
          refused++
          continue
        }
        raws.push(raw)
        write(raw.socket)
      }
    })
    const closed = raws.filter(({ ended: over }) => over).length
    const rtt = await peer.ping(3_000)
    const wrong = [...died(child)]
    if (grown > 64 * 1_048_576) wrong.push(`60 connections: the process grew by ${mib(grown)}`)
    if (rtt === undefined) wrong.push("a ping of a session: no answer")
    return verdict(`the process grew by ${mib(grown)}; ${closed} closed, ${refused} refused`, wrong)
  }
})

const most = Buffer.alloc(3_900_000, 0x61)

const hello: Check = {
  item,
  name: "a hello of 256 KiB, and a message of 1 MB after the hello",
  run: async (tools) => {
    const { peer, url } = await start(tools)
    const wrong: Array<string> = []
    const big = await tools.peer(url, { hello: false })
    const answered = big.next(3_000, () => true)
    big.send("session.hello", { auth: { scheme: "bearer", token: "secret" }, padding: "z".repeat(262_144) })
    const answer = await answered
    if (answer?.type === "session.welcome") wrong.push("a hello of 256 KiB is read and welcomed")
    await pause(200)
    const end = await peer.run("echo", "z".repeat(900_000), {}, 4_000)
    if (end?.type !== "job.result") wrong.push(`900 kB after the hello: ${answerOf(end)}`)
    return verdict(`the hello is refused (${big.closed?.code ?? "open"}), the later message is read`, wrong)
  }
}

const strangers: Check = {
  item,
  name: "2,000 connections that never say hello",
  seconds: 20,
  run: async (tools) => {
    const { child, peer, url } = await start(tools)
    const raws: Array<Raw> = []
    tools.after(() => raws.forEach((raw) => (typeof raw === "string" ? undefined : raw.socket.destroy())))
    const deadline = performance.now() + 8_000
    for (let i = 0; i < 40 && performance.now() < deadline; i++) {
      raws.push(...(await Promise.all(Array.from({ length: 50 }, () => upgrade(url, 3_000)))))
    }
    await pause(200)
    const held = raws.filter((raw) => typeof raw !== "string" && !raw.ended).length
    const rtt = await peer.ping(3_000)
    const wrong = [...died(child)]
    if (held === raws.length) wrong.push(`all ${held} from one address are held at a time`)
    if (rtt === undefined) wrong.push("a ping of a session: no answer")
    return verdict(`${held} of ${raws.length} are held; a session's ping takes ${Math.round(rtt ?? 0)} ms`, wrong)
  }
}

const guesses: Check = {
  item,
  name: "1,500 wrong tokens",
  seconds: 20,
  run: async (tools) => {
    const { child, peer, url } = await start(tools)
    let judged = 0
    let tried = 0
    const deadline = performance.now() + 9_000
    const one = async (): Promise<void> => {
      tried++
      const guest = await tools.peer(url, { hello: false, millis: 2_000 }).catch(() => undefined)
      if (guest === undefined) return
      const answered = guest.next(2_000, () => true)
      guest.hello(`wrong-${tried}`)
      const frame = await answered
      if (frame?.payload?.code === "UNAUTHENTICATED") judged++
      guest.destroy()
    }
    for (let i = 0; i < 60 && performance.now() < deadline; i++) {
      await within(4_000, Promise.all(Array.from({ length: 25 }, one)), undefined)
    }
    const rtt = await peer.ping(3_000)
    const wrong = [...died(child)]
    if (judged === tried) wrong.push(`all ${judged} guesses are judged within 9 s`)
    if (rtt === undefined) wrong.push("a ping of a session: no answer")
    return verdict(`${judged} of ${tried} guesses are judged; the session goes on`, wrong)
  }
}

/** Behind a proxy that the server trusts, the address that counts is the one that the proxy names. */
const proxied = (name: string): Check => ({
  item,
  name,
  run: async (tools) => {
    const child = tools.child({ program: "replies", args: ["proxied"] })
    const url = await child.address()
    const guess = async (address: string, token: string): Promise<string> => {
      const guest = await tools
        .peer(url, { token, millis: 3_000, headers: { "x-forwarded-for": address } })
        .catch((error: Error) => error.message)
      return typeof guest === "string" ? guest : "welcome"
    }
    const seen: Array<string> = []
    for (let i = 0; i < 100; i++) seen.push(await guess("192.0.2.1", `wrong-${i}`))
    const judged = seen.filter((text) => text.includes("UNAUTHENTICATED")).length
    const again = await guess("192.0.2.1", "secret")
    const other = await guess("198.51.100.1", "secret")
    const wrong: Array<string> = []
    if (judged === seen.length) wrong.push(`all ${judged} guesses of one address are judged`)
    if (again === "welcome") wrong.push("the address that guessed is welcomed at once")
    if (other !== "welcome") wrong.push(`another address: ${other}`)
    return verdict(`${judged} of 100 guesses are judged; another address is welcomed`, [...wrong, ...died(child)])
  }
})

export const replies: ReadonlyArray<Check> = [
  pages,
  unreadListings,
  unreadArtifacts,
  echoed,
  halfSent("60 frames of 4 MiB half sent before the hello", (socket) => {
    socket.write(frameHead(4_000_000, "text"))
    socket.write(most)
  }),
  halfSent("60 messages of 4 MB in fragments before the hello", (socket) => {
    const part = Buffer.alloc(39_000, 0x61)
    for (let i = 0; i < 100; i++) {
      socket.write(frameHead(part.length, i === 0 ? "first" : "more"))
      socket.write(part)
    }
  }),
  hello,
  strangers,
  guesses,
  proxied("100 wrong tokens of one address behind a trusted proxy")
]

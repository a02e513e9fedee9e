/** One job, one reader and one sender beside others: what the others' pings take meanwhile. */
import { join } from "node:path"
import type { Check, Tools } from "./check.js"
import { type Peer, type PeerOptions, newId } from "./peer.js"
import { pause, within } from "./small.js"
import { answerOf } from "./values.js"

const item = "others are served meanwhile"
/** Milliseconds that a ping beside may take: far more than the few that it should, since machines are shared. */
const most = 1_000

/** Pings until the work is done; the longest that one took. Also that of a ping which is under way at the end. */
const pingsBeside = async (peer: Peer, work: Promise<unknown>): Promise<{ longest: number; count: number }> => {
  let working = true
  const done = work.finally(() => (working = false))
  let longest = 0
  let count = 0
  while (working) {
    const started = performance.now()
    const rtt = await peer.ping(10_000)
    longest = Math.max(longest, rtt ?? performance.now() - started)
    count++
    await pause(20)
  }
  await done
  return { longest, count }
}

interface Beside {
  readonly name: string
  readonly quick?: boolean
  readonly seconds?: number
  readonly filename?: boolean
  /** How the peer that works is connected. */
  readonly worker?: PeerOptions
  /** Works; what went wrong with the work itself. */
  readonly work: (worker: Peer, tools: Tools, url: string) => Promise<ReadonlyArray<string>>
}

const beside = ({ filename, name, quick, seconds, work, worker }: Beside): Check => ({
  item,
  name,
  alone: true,
  quick: quick ?? false,
  seconds: seconds ?? 20,
  run: async (tools) => {
    const child = tools.child({
      program: "busy",
      args: filename === true ? [join(tools.folder(), "arcp.db")] : [],
      memory: 512
    })
    const url = await child.address()
    const peer = await tools.peer(url)
    const working = await tools.peer(url, { keep: false, ...worker })
    await peer.ping()
    let wrong: ReadonlyArray<string> = []
    const { count, longest } = await pingsBeside(
      peer,
      work(working, tools, url).then((found) => (wrong = found))
    )
    const all = [...wrong, ...(longest > most ? [`a ping beside took ${Math.round(longest)} ms`] : [])]
    if (child.exit !== undefined) all.push(`the process ended: ${child.exit.signal ?? child.exit.code}`)
    return {
      held: all.length === 0,
      observed: all.length === 0 ? `${count} pings beside, the longest ${Math.round(longest)} ms` : all.join("; ")
    }
  }
})

const job =
  (agent: string, input: object, millis: number, options: object = {}) =>
  async (worker: Peer): Promise<ReadonlyArray<string>> => {
    const end = await worker.run(agent, input, options, millis)
    return end?.type === "job.result" ? [] : [`the work itself: ${answerOf(end)}`]
  }

const computing = beside({
  name: "an agent computes 20 ms for each of 150 events",
  quick: true,
  work: async (worker) => {
    const started = performance.now()
    let first: number | undefined
    const seen = worker
      .next(10_000, ({ payload }) => payload?.kind === "progress")
      .then((frame) => {
        if (frame !== undefined) first = performance.now() - started
      })
    const wrong = await job("computes", { items: 150, millis: 20 }, 15_000)(worker)
    await seen
    return first === undefined || first > most
      ? [...wrong, `its first event came after ${Math.round(first ?? 10_000)} ms`]
      : wrong
  }
})

const many = beside({
  name: "ten agents compute 5 ms for each of 60 events",
  work: async (worker, tools, url) => {
    const peers = [worker, ...(await Promise.all([1, 2, 3].map(() => tools.peer(url, { keep: false }))))]
    const all = Array.from({ length: 10 }, (_, i) => job("computes", { items: 60, millis: 5 }, 15_000)(peers[i % 4]!))
    return (await Promise.all(all)).flat()
  }
})

const spinning = beside({
  name: "an agent computes for 3 s in small effects and emits nothing",
  work: job("spins", { millis: 3_000 }, 12_000)
})

const yielding = beside({
  name: "an agent computes for 3 s and yields to the scheduler only",
  work: job("yields", { millis: 3_000 }, 12_000)
})

const streaming = beside({
  name: "an agent streams 256 MiB",
  seconds: 30,
  work: job("streams", { chunks: 4_096, bytes: 65_536 }, 25_000)
})

const parsing = beside({
  name: "twelve clients each send 3 messages of 4 MB, costly to parse, without a pause",
  quick: true,
  work: async (worker, tools, url) => {
    const data = `[${'{"a":1},'.repeat(450_000)}0]`
    const senders = [worker, ...(await Promise.all(Array.from({ length: 11 }, () => tools.peer(url, { keep: false }))))]
    const answered = senders.map((sender) => {
      const nonce = newId()
      const last = sender.next(15_000, ({ payload }) => payload?.ping_nonce === nonce)
      for (let i = 0; i < 3; i++) {
        sender.raw(`{"arcp":"1.1","id":"${newId()}","type":"x-vendor.attack.data","payload":{"data":${data}}}`)
      }
      sender.send("session.ping", { nonce })
      return last
    })
    const missing = (await Promise.all(answered)).filter((frame) => frame === undefined).length
    return missing === 0 ? [] : [`the last message of ${missing} of them is not answered`]
  }
})

const replaying = beside({
  name: "twenty observers replay a history of 20 MB at a time",
  seconds: 30,
  work: async (worker, tools, url) => {
    const flooded = await worker.run("floods", { events: 4_000, bytes: 5_000 }, {}, 12_000)
    if (flooded?.type !== "job.result") return [`the history: ${answerOf(flooded)}`]
    const observers = await Promise.all(Array.from({ length: 20 }, () => tools.peer(url, { keep: false })))
    const ends = await Promise.all(
      observers.map((observer) => {
        const end = observer.next(12_000, ({ job_id, type }) => type === "job.result" && job_id === flooded.job_id)
        observer.send("job.subscribe", { job_id: flooded.job_id, history: true })
        return end
      })
    )
    const stalled = ends.filter((end) => end === undefined).length
    return stalled === 0 ? [] : [`${stalled} of 20 replays did not reach their end in 12 s`]
  }
})

const proving = beside({
  name: "an agent asks for 150 subsets that are costly to prove",
  work: job("proves", { times: 150 }, 15_000, {
    lease: {
      "tool.call": Array.from({ length: 40 }, (_, i) => `a*${"b*".repeat(20)}c*${i}`),
      "agent.delegate": ["*"]
    }
  })
})

const purging = beside({
  name: "ended jobs of 150 MB are deleted from a SQLite file",
  filename: true,
  seconds: 35,
  work: async (worker) => {
    const made = await Promise.all([1, 2, 3].map(() => job("floods", { events: 10_000, bytes: 5_000 }, 20_000)(worker)))
    // Until retention has looked twice.
    await pause(5_000)
    return made.flat()
  }
})

/** A session that negotiated acknowledgements and never sends one slows its own agent, and nothing else. */
const silent = beside({
  name: "a session with acknowledgements never sends one while its agent emits 200 MB",
  seconds: 25,
  worker: { features: ["ack", "heartbeat", "progress"] },
  work: async (worker, tools, url) => {
    let events = 0
    let bytes = 0
    const listener = worker.next(5_000, (frame) => {
      if (frame.type === "job.event") {
        events++
        bytes += frame.bytes
      }
      return false
    })
    await worker.submit("floods", { events: 40_000, bytes: 5_000 })
    await within(5_000, listener, undefined)
    const other = await tools.peer(url)
    const end = await other.run("echo", 1, {}, 3_000)
    const wrong = end?.type === "job.result" ? [] : [`another job: ${answerOf(end)}`]
    // 16 MiB of lag by default; twice that is not slowed.
    return bytes > 64 * 1_048_576 ? [...wrong, `${events} events are sent and none is acknowledged`] : wrong
  }
})

export const fairness: ReadonlyArray<Check> = [
  computing,
  many,
  spinning,
  yielding,
  streaming,
  parsing,
  replaying,
  proving,
  purging,
  silent
]

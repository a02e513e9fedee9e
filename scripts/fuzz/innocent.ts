/** A client that keeps to the rules beside those that do not: it is answered at once, gets its results, and misses nothing. */
import type { Channel } from "./channel.js"
import { features } from "./frames.js"
import { type Desk, pause, until } from "./lane.js"
import { readRuntime } from "./legal.js"
import { bearerOf, innocent, type World } from "./world.js"

/** How long a ping may wait, in milliseconds: the fuzzer itself has the same processor. */
const bound = 5_000

/** Milliseconds between two pings. */
const every = 5

/** Pings between two jobs. */
const perJob = 20

export class Innocent {
  private channel: Channel | undefined
  private session: string | undefined
  private working = true
  private loop: Promise<void> | undefined
  private counter = 0
  private lastSeq = 0
  private ended: number | undefined
  private readonly results = new Map<string, unknown>()
  private readonly pongs = new Set<string>()
  private readonly accepted = new Map<string, string>()
  private problems: Array<string> = []
  private readonly world: World
  private readonly desk: Desk

  constructor(world: World, desk: Desk) {
    this.world = world
    this.desk = desk
  }

  private get bound(): number {
    return bound * this.desk.slack
  }

  private take(text: string): void {
    const frame = readRuntime(text, 1_000_000)
    if (typeof frame === "string") return void this.problems.push(frame)
    const { event_seq, job_id, payload, type } = frame
    if (type === "session.welcome") this.session = frame.session_id
    else if (type === "session.pong") this.pongs.add(String(payload["ping_nonce"]))
    else if (type === "job.accepted") this.accepted.set(String(payload["request_id"]), job_id!)
    else if (type === "job.result") this.results.set(job_id!, payload["result"])
    else if (type !== "job.event") this.problems.push(`the innocent is sent ${text.slice(0, 400)}`)
    if (event_seq === undefined) return
    if (event_seq !== this.lastSeq + 1)
      this.problems.push(`the innocent's event ${event_seq} comes behind ${this.lastSeq}`)
    this.lastSeq = event_seq
  }

  private send(type: string, payload: object): string {
    const id = `i${++this.counter}`
    void this.channel!.send(JSON.stringify({ arcp: "1.1", id, type, session_id: this.session, payload }))
    return id
  }

  /** Says hello, and works from then on. */
  async begin(): Promise<void> {
    this.channel = await this.world.open({ frame: (text) => this.take(text), ended: (code) => (this.ended = code) })
    this.send("session.hello", {
      auth: { scheme: "bearer", token: bearerOf(innocent) },
      capabilities: { features }
    })
    if (!(await until(this.bound, () => this.session !== undefined))) throw new Error("the innocent is not welcomed")
    this.loop = this.work()
  }

  private async ping(): Promise<void> {
    const started = performance.now()
    const nonce = `p${this.counter}`
    this.send("session.ping", { nonce })
    if (!(await until(this.bound, () => this.pongs.delete(nonce) || this.ended !== undefined)))
      this.problems.push(`a ping of the innocent is not answered within ${this.bound} ms`)
    const { figures } = this.desk
    figures.slowest = Math.max(figures.slowest, performance.now() - started)
  }

  private async job(): Promise<void> {
    const input = { text: `${this.counter}` }
    const id = this.send("job.submit", { agent: "echo", input })
    const isDone = (): boolean => this.results.has(this.accepted.get(id) ?? "") || this.ended !== undefined
    if (!(await until(this.bound, isDone))) return void this.problems.push("a job of the innocent does not end")
    const jobId = this.accepted.get(id) ?? ""
    if (JSON.stringify(this.results.get(jobId)) !== JSON.stringify(input))
      this.problems.push("a result of the innocent is another's")
    this.results.delete(jobId)
    this.accepted.delete(id)
    this.send("session.ack", { last_processed_seq: this.lastSeq })
  }

  private async work(): Promise<void> {
    for (let i = 0; this.working && this.ended === undefined; i++) {
      await this.ping()
      if (i % perJob === 0) await this.job()
      await pause(every)
    }
  }

  /** Reports what it has met since it was last asked. */
  checked(conversation: number): void {
    if (this.ended !== undefined) this.problems.push(`the innocent's connection ended (${this.ended})`)
    for (const problem of this.problems.splice(0)) this.desk.wrong(conversation, 0, problem)
  }

  async end(): Promise<void> {
    this.working = false
    await this.loop
    this.channel?.cut()
  }
}

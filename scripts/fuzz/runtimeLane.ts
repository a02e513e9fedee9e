/**
 * A runtime that is sent anything. Each conversation has a few connections of one principal, which say hello, resume, take each other's
 * session over, submit, ask, and send what no client would send; beside them an innocent session is answered all the while.
 */
import { clientTypes, type Corpus, corpusOf, runtimeTypes } from "./corpus.js"
import type { Channel } from "./channel.js"
import { clientFrame, goodHello, type Known, nextType, retype } from "./frames.js"
import { Innocent } from "./innocent.js"
import { type Desk, type Lane, perConversation, turn, until } from "./lane.js"
import { type Frame, readRuntime } from "./legal.js"
import { spoil, spoilText, type Tree, written } from "./mutate.js"
import { Account, type Asked, askedBy } from "./owed.js"
import { type Random, randomOf } from "./random.js"
import { bearerOf, openWorld, principals, type World, type WorldOptions } from "./world.js"

/** How long an answer may take, and how long what is over may live on: far above what an idle machine needs. */
const patience = 15_000

/** Bytes of a frame of the runtime. */
const maxFrame = 1_000_000

/** How many jobs and requests one end remembers. */
const remembered = 24

/** What every conversation with one world knows. */
class Shared {
  readonly owners = new Map<string, string>()
  /** Jobs of late, whoever's. */
  readonly recent: Array<string> = []

  /** A job has been accepted. */
  accepted(jobId: string, principal: string): void {
    this.owners.set(jobId, principal)
    this.recent.push(jobId)
    if (this.recent.length > 64) this.recent.shift()
    if (this.owners.size <= 20_000) return
    for (const oldest of this.owners.keys()) {
      this.owners.delete(oldest)
      break
    }
  }
}

/** Messages that only a principal's own jobs may be in. */
const private_ = new Set(["job.accepted", "job.event", "job.result", "job.subscribed"])

/** One connection. */
class Link {
  readonly account = new Account()
  state: "new" | "greeting" | "open" | "refused" | "ended" = "new"
  known: Known
  /** Whether the runtime may end it. */
  mayEnd = false
  /** Whether it must have ended by the end of its conversation. */
  mustEnd: string | undefined = undefined
  /** Why it was refused. */
  code: string | undefined = undefined
  channel: Channel | undefined = undefined
  /** What became of it, in order. */
  readonly told: Array<string> = []
  /** The tokens that it was welcomed with. */
  readonly tokens: Array<string> = []
  /** The sessions that it may resume, if it is not answered yet. */
  readonly claimed = new Set<string | undefined>()
  /** The number of the next event; undefined: any. */
  private expected: number | undefined = undefined
  private readonly ids = new Set<string>()
  private readonly principal: string
  private readonly shared: Shared
  private readonly desk: Desk
  private readonly wrong: (what: string) => void

  /** Of its conversation, and its place in it. */
  readonly name: string

  constructor(
    name: string,
    known: Known,
    principal: string,
    shared: Shared,
    desk: Desk,
    wrong: (what: string) => void
  ) {
    this.name = name
    this.known = known
    this.principal = principal
    this.shared = shared
    this.desk = desk
    this.wrong = wrong
  }

  get isLive(): boolean {
    return this.state !== "ended" && this.state !== "refused" && this.channel !== undefined
  }

  /** The first frame has been sent; `from`: the event that it resumes behind, where that is known. */
  greets(from: number | undefined): void {
    this.state = "greeting"
    this.tell(`greets with ${this.known.token?.slice(3, 7)}`)
    this.expected = from === undefined ? undefined : from + 1
  }

  private tell(what: string): void {
    if (this.told.length < 32) this.told.push(`${Math.round(performance.now() % 100_000)}: ${what}`)
  }

  /** Something has come. */
  frame(text: string): void {
    const read = readRuntime(text, maxFrame)
    this.desk.figures.answers++
    this.desk.trace?.(`${this.name} < ${text}`)
    if (typeof read === "string") return this.wrong(read)
    if (this.state === "greeting") this.greeted(read)
    else if (this.state === "open") this.answered(read)
    else this.wrong(`a frame behind the end: ${text.slice(0, 300)}`)
  }

  private greeted(frame: Frame): void {
    if (frame.type === "session.welcome") {
      this.state = "open"
      if (this.known.session !== undefined && this.known.session !== frame.session_id)
        this.known = { ...this.known, jobs: [], lastSeq: 0, cursor: undefined }
      this.known.session = frame.session_id
      this.known.token = String(frame.payload["resume_token"])
      this.tokens.push(this.known.token)
      this.tell(`welcome ${this.known.token.slice(3, 7)}`)
      return
    }
    if (frame.type !== "session.error") return this.wrong(`the first frame is a ${frame.type}`)
    this.state = "refused"
    this.tell("refused")
    const { counts } = this.desk.figures
    const refusal = `refused ${String(frame.payload["code"])}`
    counts[refusal] = (counts[refusal] ?? 0) + 1
    this.mayEnd = true
    this.code = String(frame.payload["code"])
    this.mustEnd = `a refusal with ${this.code}`
  }

  private answered(frame: Frame): void {
    const { id, job_id, payload, session_id, type } = frame
    if (session_id !== this.known.session) this.wrong(`a ${type} of another session, ${session_id}`)
    if (this.ids.has(id) && type !== "job.error") this.wrong(`the id ${id} again`)
    this.ids.add(id)
    const verdict = this.account.paid(frame)
    if (verdict === "unasked") this.wrong(`an answer that nothing asked for: ${JSON.stringify(frame).slice(0, 400)}`)
    if (verdict === "end") {
      this.mustEnd = `an error that names no request: ${String(payload["message"])}`
      // What a connected session is owed stays; nobody takes a session over but whoever has its token.
      if (payload["code"] === "RESUME_WINDOW_EXPIRED" || (payload["code"] === "PERMISSION_DENIED" && !this.mayEnd))
        this.wrong(`ended by ${JSON.stringify(payload)}`)
    }
    if (type === "session.error" && /unexpectedly/.test(String(payload["message"])))
      this.wrong(`a defect: ${JSON.stringify(payload)}`)
    this.numbered(frame)
    if (job_id !== undefined && private_.has(type)) {
      const owner = this.shared.owners.get(job_id)
      if (owner === undefined && type === "job.accepted") this.shared.accepted(job_id, this.principal)
      else if (owner !== undefined && owner !== this.principal) this.wrong(`a ${type} of ${owner}'s job`)
    }
    this.learn(frame)
  }

  private numbered({ event_seq, type }: Frame): void {
    if (event_seq === undefined) return
    if (this.expected !== undefined && event_seq !== this.expected)
      this.wrong(`${type} ${event_seq}, where ${this.expected} is next`)
    this.expected = event_seq + 1
    this.known.lastSeq = event_seq
  }

  private learn({ job_id, payload, type }: Frame): void {
    const { artifacts, jobs } = this.known
    if (type === "job.accepted" && job_id !== undefined && jobs.length < remembered) jobs.push(job_id)
    if (type === "artifact.ref" && artifacts.length < remembered) artifacts.push(String(payload["artifact_id"]))
    if (type === "session.jobs") this.known.cursor = (payload["next_cursor"] as string | null) ?? undefined
    const counts = this.desk.figures.counts
    counts[type] = (counts[type] ?? 0) + 1
  }

  /** The harness ends it. */
  cut(): void {
    this.tell("cut")
    this.desk.trace?.(`${this.name} is cut`)
    this.state = "ended"
    this.channel?.cut()
  }

  ended(code: number): void {
    this.tell(`ended ${code}`)
    this.desk.trace?.(`${this.name} ended ${code}`)
    if (code === 1011) this.wrong("the connection could not be served")
    else if (!this.mayEnd && this.mustEnd === undefined) this.wrong(`the connection ended by itself (${code})`)
    this.state = "ended"
  }
}

const newKnown = (principal: string, shared: Shared): Known => ({
  bearer: bearerOf(principal),
  session: undefined,
  token: undefined,
  lastSeq: 0,
  jobs: [],
  foreign: shared.recent,
  artifacts: [],
  cursor: undefined,
  requests: []
})

/** What may be sent: a text, and bytes where the transport carries them. */
type Sent =
  | { readonly text: string }
  /** A binary frame. */
  | { readonly binary: Uint8Array }
  /** A text frame that is none, and what the runtime does then. */
  | { readonly bytes: Uint8Array }

/** A text frame that is over every limit. */
const huge = (random: Random): string =>
  `{"arcp":"1.1","id":"huge","type":"session.ping","payload":{"nonce":"${"x".repeat(random.int(4_194_304, 4_500_000))}"}}`

/** What the conversations of a lane have in common. */
interface Setting {
  readonly corpus: Corpus
  readonly world: World
  readonly shared: Shared
  readonly desk: Desk
  /** Whether the runtime ends no connection for what it cannot read. */
  readonly isStrict: boolean
}

class Conversation {
  private sent = 0
  private readonly links: Array<Link> = []
  private last = "{}"
  private readonly principal: string

  private readonly at: Setting
  private readonly number: number
  private readonly random: Random

  constructor(number: number, at: Setting) {
    this.at = at
    this.number = number
    this.random = randomOf(at.desk.seed, number)
    this.principal = this.random.pick(principals)
  }

  private wrong(what: string): void {
    this.at.desk.wrong(this.number, this.sent, what)
  }

  private counted(): void {
    this.sent++
    this.at.desk.figures.frames++
  }

  /** What the connections of this conversation came to, for a report. */
  private story(): string {
    return this.links
      .map(({ known, state, told }) => `${state} ${known.session?.slice(-6)} (${told.join(" ")})`)
      .join("; ")
  }

  /** A message, as it should be or spoilt. */
  private message(known: Known): string {
    const { at, random } = this
    if (random.chance(0.03)) return this.last
    const tree: Tree = clientFrame(nextType(random), at.corpus, known, random)
    const how = random.next()
    if (how < 0.34) spoil(tree, random)
    else if (how < 0.42) retype(tree, random, random.chance(0.5) ? clientTypes : runtimeTypes)
    const text = written(tree)
    return how > 0.93 ? spoilText(text, random) : text
  }

  private frame(link: Link): Sent {
    const { random } = this
    if (link.channel!.bytes && random.chance(0.01)) {
      if (random.chance(0.01)) return { text: huge(random) }
      const bytes = Uint8Array.from({ length: random.int(0, 80) }, () => random.int(0, 255))
      if (random.chance(0.8)) return { binary: bytes }
      return { bytes: Buffer.concat([bytes, Buffer.from([0xff, 0xc0])]) }
    }
    const text = this.message(link.known)
    // What a socket carries has no half characters.
    return { text: link.channel!.bytes ? Buffer.from(text).toString() : text }
  }

  /**
   * Whoever resumes takes the session over, with a first frame or a second, and with any token that the session has had. Of two resumes
   * that are under way either may be read first, whichever was sent first.
   */
  private takesOver(link: Link, text: string): void {
    for (const { known, tokens } of this.links) {
      if (!tokens.some((token) => text.includes(token.slice(0, 12)))) continue
      link.claimed.add(known.session)
      for (const other of this.links) {
        if (other === link) continue
        if (other.known.session === known.session) other.mayEnd = true
        if (other.state === "greeting" && other.claimed.has(known.session)) link.mayEnd = true
      }
    }
  }

  private async send(link: Link, sent: Sent, asked: Asked | undefined): Promise<void> {
    this.counted()
    if ("binary" in sent) {
      link.account.ask({ id: undefined, must: true })
      return link.channel!.sendBinary(sent.binary)
    }
    if ("bytes" in sent) {
      // Not UTF-8: the end of a WebSocket (RFC 6455).
      link.mayEnd = true
      link.account.ask({ id: undefined, must: false })
      return link.channel!.send(sent.bytes)
    }
    const bytes = Buffer.byteLength(sent.text)
    if (bytes > 4_194_304 || (link.state === "greeting" && bytes > 65_536)) link.mayEnd = true
    if (asked !== undefined) {
      if (asked.ends === true) link.mayEnd = true
      link.account.ask(asked)
    }
    if (link.state === "greeting") this.takesOver(link, sent.text)
    this.last = sent.text.length < 4_000 ? sent.text : "{}"
    this.at.desk.trace?.(`${link.name} > ${sent.text}`)
    return link.channel!.send(sent.text)
  }

  /** Opens a connection, with a hello that may be none. */
  private async connect(known: Known): Promise<void> {
    const { random } = this
    const { desk } = this.at
    const link = new Link(`${this.number}.${this.links.length}`, known, this.principal, this.at.shared, desk, (what) =>
      this.wrong(what)
    )
    link.mayEnd = !this.at.isStrict
    link.channel = await this.at.world.open({ frame: (text) => link.frame(text), ended: (code) => link.ended(code) })
    desk.figures.connections++
    const resumes = known.token !== undefined && random.chance(0.85)
    const how = random.next()
    const tree =
      how < 0.9 ? goodHello(known, random, resumes) : clientFrame(nextType(random), this.at.corpus, known, random)
    const isGood = how < 0.75
    if (how >= 0.75 && how < 0.9) spoil(tree, random)
    const text = how > 0.98 ? spoilText(written(tree), random) : written(tree)
    if (!isGood) link.mayEnd = true
    link.greets(isGood ? (resumes ? known.lastSeq : 0) : undefined)
    this.links.push(link)
    await this.send(link, { text }, undefined)
    // Sometimes more is sent before the answer.
    if (random.chance(0.8)) {
      const answered = await until(patience * desk.slack, () => link.state !== "greeting")
      if (!answered) this.wrong("the first frame is not answered")
      if (isGood) this.judge(link, resumes)
    }
  }

  /** A good hello is welcomed; a good resume may come too late, where what it has not seen is gone already or its token was changed. */
  private judge(link: Link, resumes: boolean): void {
    const { counts } = this.at.desk.figures
    const outcome = resumes ? `good resume ${link.state === "refused" ? "refused" : "welcomed"}` : ""
    if (resumes) counts[outcome] = (counts[outcome] ?? 0) + 1
    if (link.state !== "refused" || (resumes && link.code === "RESUME_WINDOW_EXPIRED")) return
    this.wrong(`a good hello is refused with ${link.code}; ${this.story()}`)
  }

  private async burst(link: Link): Promise<void> {
    for (let i = this.random.int(1, 12); i > 0 && link.isLive && this.sent < perConversation; i--) {
      const sent = this.frame(link)
      await this.send(link, sent, "text" in sent ? askedBy(sent.text) : undefined)
    }
    await turn()
  }

  private async step(): Promise<void> {
    const { random } = this
    const live = this.links.filter((link) => link.isLive)
    const what = random.next()
    if (live.length === 0 || (what < 0.06 && this.links.length < 8)) {
      const before = this.links.filter(({ known }) => known.token !== undefined)
      return this.connect(
        before.length > 0 && random.chance(0.7) ? random.pick(before).known : newKnown(this.principal, this.at.shared)
      )
    }
    const link = random.pick(live)
    if (what < 0.1) {
      return link.cut()
    }
    // What has been asked for is answered before more is sent: ids of jobs are known then.
    if (what < 0.3) await until(20, () => link.account.owed === 0 || !link.isLive)
    return this.burst(link)
  }

  async run(): Promise<void> {
    while (this.sent < perConversation) await this.step()
    const open = (): ReadonlyArray<Link> =>
      this.links.filter(
        (link) =>
          link.state !== "ended" && (link.state === "greeting" || link.account.owed > 0 || link.mustEnd !== undefined)
      )
    if (!(await until(patience * this.at.desk.slack, () => open().length === 0))) {
      for (const { account, mustEnd, state } of open())
        this.wrong(
          mustEnd === undefined
            ? `not answered (${state}): ${JSON.stringify(account.debts).slice(0, 500)}`
            : `not ended behind ${mustEnd}`
        )
    }
    for (const link of this.links) {
      if (link.state !== "ended") link.cut()
    }
  }
}

/** Conversations that have one corpus. */
const perCorpus = 8_192

/** Every runtime keeps the session of its innocent. */
const kept = 1

/** A lane that fuzzes a runtime. */
export const runtimeLane =
  (options: WorldOptions) =>
  async (desk: Desk): Promise<Lane> => {
    const world = await openWorld(options)
    const shared = new Shared()
    const innocent = new Innocent(world, desk)
    await innocent.begin()
    return {
      beside: options.transport === "socket" ? 12 : 8,
      converse: async (conversation) => {
        const isStrict = options.badFramesInARow === undefined
        const at = { corpus: corpusOf(desk.seed + Math.floor(conversation / perCorpus)), world, shared, desk, isStrict }
        await new Conversation(conversation, at).run()
        for (const error of world.errors.splice(0)) desk.wrong(conversation, perConversation, `logged: ${error}`)
        innocent.checked(conversation)
      },
      rested: async () => {
        const isEmpty = () => {
          const { connections, pending, running, sessions } = world.living()
          return connections === kept && sessions === kept && running === 0 && pending === 0
        }
        const { "good resume refused": refused = 0, "good resume welcomed": welcomed = 0 } = desk.figures.counts
        if (refused > 50 && refused > welcomed / 4) desk.wrong(0, 0, `${refused} resumes were refused, ${welcomed} not`)
        if (!(await until(patience * desk.slack, isEmpty)))
          desk.wrong(0, 0, `lives on: ${JSON.stringify(world.living())}`)
      },
      end: async () => {
        await innocent.end()
        await world.end()
      }
    }
  }

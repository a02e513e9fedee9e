/**
 * A client whose runtime may send anything: right answers, wrong ones, none, others' and too many, in any order, spoilt at any field, on
 * connections that it ends as it likes. Whatever comes, every call ends with what was asked for or with a typed error, every frame of the
 * client is a legal one, and when the client is closed nothing of it is left.
 */
import { Cause, Effect, Exit, type Fiber, Layer, Logger, LogLevel, Option, Redacted, Scope, Stream } from "effect"
import { ArcpClient, type ArcpClientService } from "effect-arcp/client"
import { isArcpError } from "effect-arcp/protocol"
import { Connector } from "effect-arcp/transport"
import { type Accepted, type Listening, type Takes } from "./accepts.js"
import { isRequest, rightAnswer, runtimeFrame, type Told, unaskedType } from "./answers.js"
import { FastClock } from "./clock.js"
import { type Corpus, corpusOf, runtimeTypes } from "./corpus.js"
import { retype } from "./frames.js"
import { type Desk, type Lane, pause, perConversation, turn } from "./lane.js"
import { readClient } from "./legal.js"
import { spoil, spoilText, written } from "./mutate.js"
import { type Random, randomOf } from "./random.js"

/** Bytes of a frame of the client. */
const maxFrame = 4_194_304

const errors = new Set([
  "ClientClosed",
  "RequestTimeout",
  "SessionEnded",
  "NotNegotiated",
  "ResultInvalid",
  "EventsMissed",
  "ResultStreamed",
  "ResultTooLarge",
  "ArtifactInvalid"
])

/** Whether the client's types name it. */
const isTyped = (error: unknown): boolean =>
  isArcpError(error) || errors.has((error as { readonly _tag?: string } | undefined)?._tag ?? "")

type Ask = (client: ArcpClientService, random: Random) => Effect.Effect<unknown, unknown>

const submit = (client: ArcpClientService, random: Random) =>
  client.submit("echo", { n: random.int(0, 9) }, random.chance(0.3) ? { lease: { "cost.budget": ["USD:1"] } } : {})

/** What a program does with a client. */
const asks: Readonly<Record<string, Ask>> = {
  result: (client, random) => Effect.flatMap(submit(client, random), (job) => job.result),
  events: (client, random) =>
    Effect.flatMap(submit(client, random), (job) =>
      Stream.runDrain(job.eventsWith({ onGap: random.chance(0.5) ? "mark" : "fail" }))
    ),
  chunks: (client, random) => Effect.flatMap(submit(client, random), (job) => Stream.runDrain(job.chunks)),
  bytes: (client, random) => Effect.flatMap(submit(client, random), (job) => Stream.runDrain(job.bytes)),
  cancel: (client, random) =>
    Effect.flatMap(submit(client, random), (job) => Effect.zipRight(job.cancel("enough"), job.result)),
  subscribe: (client) =>
    Effect.flatMap(client.subscribe("job-2", { history: true }), (job) => Stream.runDrain(job.events)),
  attach: (client) => Effect.flatMap(client.attach("job-1"), (job) => job.result),
  unsubscribe: (client) => client.unsubscribe("job-2"),
  list: (client) => Stream.runDrain(Stream.take(client.listJobs({ agent: "echo", pageSize: 3 }), 20)),
  ping: (client) => client.ping,
  put: (client) => client.artifacts.put(new Uint8Array([104, 105]), { contentType: "text/plain" }),
  fetch: (client) => client.artifacts.fetch("art_1"),
  release: (client) => client.artifacts.release("art_1"),
  facts: (client) => Effect.all([client.runtime, client.agents, client.features, client.session]),
  connected: (client) => client.connected,
  children: (client) => Stream.runForEach(client.children, (job) => Effect.ignore(job.result)),
  status: (client) => Stream.runDrain(client.status),
  changes: (client) => Stream.runDrain(client.sessionChanges)
}

/** A call that goes on. */
interface Call {
  readonly name: string
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
}

/** Virtual milliseconds that a closed client may take: far above all of its own bounds together. */
const longest = 120_000

/** How often what is left of a client is looked for. */
const looks = 400

/** The connection that is open now. */
interface Open {
  readonly end: Accepted
  isOver: boolean
}

class Conversation {
  private sent = 0
  private readonly random: Random
  private readonly clock = new FastClock()
  private readonly open: Array<Open> = []
  private readonly malice: number
  private told: Told
  private sessions = 0

  private readonly number: number
  private readonly corpus: Corpus
  private readonly desk: Desk

  constructor(number: number, corpus: Corpus, desk: Desk) {
    this.number = number
    this.corpus = corpus
    this.desk = desk
    this.random = randomOf(desk.seed, number)
    this.malice = this.random.pick([0, 0.1, 0.4, 1])
    this.told = this.newTold()
  }

  private newTold(): Told {
    const { malice } = this
    return {
      malice,
      session: `sess-${++this.sessions}`,
      seq: 0,
      jobs: [],
      requests: [],
      answered: [],
      chunks: new Map()
    }
  }

  wrong(what: string): void {
    this.desk.wrong(this.number, this.sent, what)
  }

  /** A client has connected. */
  readonly takes: Takes = (end) => {
    const open: Open = { end, isOver: false }
    this.open.push(open)
    this.desk.figures.connections++
    return {
      frame: (text) => {
        this.desk.figures.answers++
        this.desk.trace?.(`${this.number} > ${text}`)
        const read = readClient(text, maxFrame)
        if (typeof read === "string") return this.wrong(read)
        const { counts } = this.desk.figures
        counts[read.type] = (counts[read.type] ?? 0) + 1
        if (read.type === "session.hello" && this.random.chance(0.3) && read.payload["resume"] === undefined)
          this.told = this.newTold()
        if (isRequest(read) && this.told.requests.length < 64) this.told.requests.push(read)
      },
      ended: (code) => {
        this.desk.trace?.(`${this.number} ended ${code}`)
        open.isOver = true
      }
    }
  }

  private text(): string {
    const { corpus, random, told } = this
    const request =
      told.requests.length > 0 && random.chance(0.75)
        ? told.requests.splice(random.chance(0.8) ? 0 : random.int(0, told.requests.length - 1), 1)[0]!
        : random.chance(0.05 * this.malice) && told.answered.length > 0
          ? random.pick(told.answered)
          : undefined
    if (request !== undefined && told.answered.length < 16) told.answered.push(request)
    const right = request === undefined ? unaskedType(told, random) : rightAnswer(request, random)
    const type =
      request !== undefined && random.chance(0.06 * this.malice)
        ? random.chance(0.5)
          ? "session.error"
          : random.pick(runtimeTypes)
        : right
    const tree = runtimeFrame(type, corpus, told, request, random)
    // A welcome that cannot be read ends much: it is spoilt more rarely.
    const how = (random.next() * (type === "session.welcome" ? 4 : 1)) / this.malice
    if (how < 0.25) spoil(tree, random)
    else if (how < 0.3) retype(tree, random, runtimeTypes)
    const text = written(tree)
    return how > 0.3 && how < 0.33 ? spoilText(text, random) : text
  }

  private send(): void {
    const { random } = this
    const live = this.open.filter(({ isOver }) => !isOver)
    const to = live.at(-1)
    if (to === undefined) return
    this.sent++
    this.desk.figures.frames++
    const { end } = !random.chance(0.03 * this.malice) ? to : random.pick(live)
    if (end.bytes && random.chance(0.01 * this.malice)) {
      const bytes = Uint8Array.from({ length: random.int(0, 60) }, () => random.int(0, 255))
      return end.sendBytes(bytes, random.chance(0.5))
    }
    const text = this.text()
    this.desk.trace?.(`${this.number} < ${text}`)
    end.send(text)
    if (random.chance(0.02 * this.malice)) end.send(text)
  }

  private step(): void {
    const { random } = this
    const roll = random.next() / this.malice
    if (roll < 0.015) {
      const live = this.open.filter(({ isOver }) => !isOver)
      if (live.length > 0) random.pick(live).end.close(random.pick([1000, 1001, 1006, 1008, 1009, 1011, 1013]))
    } else if (roll < 0.05) this.clock.advance(random.pick([1, 50, 300, 2_000, 11_000, 31_000]))
    else this.send()
    this.clock.advance(random.int(0, 5))
  }

  private judge(name: string, exit: Exit.Exit<unknown, unknown>): void {
    const { counts } = this.desk.figures
    const outcome = Exit.isSuccess(exit) ? `${name} right` : `${name} failed`
    counts[outcome] = (counts[outcome] ?? 0) + 1
    if (Exit.isSuccess(exit)) return
    const error = Cause.failureOption(exit.cause)
    if (Option.isNone(error) || !isTyped(error.value))
      this.wrong(`${name} failed with ${Cause.pretty(exit.cause).slice(0, 2_000)}`)
  }

  private layer(listening: Listening) {
    const { random } = this
    const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      if (LogLevel.greaterThanEqual(logLevel, LogLevel.Error))
        this.wrong(`logged: ${String(message)} ${Cause.pretty(cause)}`.slice(0, 2_000))
    })
    return ArcpClient.layer({
      auth: { token: Redacted.make("secret-of-alice") },
      maxAttempts: random.pick([0, 3, 8]),
      eventBuffer: random.pick([1, 16, 16_384])
    }).pipe(
      Layer.provide(Layer.succeed(Connector, listening.connector)),
      Layer.provideMerge(Logger.replace(Logger.defaultLogger, logger))
    )
  }

  async run(listening: Listening, wait: () => Promise<void>): Promise<void> {
    const { clock, random } = this
    const scope = await Effect.runPromise(Scope.make())
    const within = <A, E>(effect: Effect.Effect<A, E>) => Effect.withClock(effect, clock)
    const building = Effect.runFork(within(Layer.buildWithScope(this.layer(listening), scope)))
    for (let i = 0; i < 20 && building.unsafePoll() === null; i++) await wait()
    const built = building.unsafePoll()
    if (built === null || Exit.isFailure(built)) return this.wrong("the client is not there")
    const client = await Effect.runPromise(Effect.provide(ArcpClient, built.value))
    const calls: Array<Call> = []
    const call = (): void => {
      const name = random.pick(Object.keys(asks))
      const effect = Effect.provide(within(asks[name]!(client, random)), built.value)
      calls.push({ name, fiber: Effect.runFork(effect) })
    }
    for (let i = random.int(1, 5); i > 0; i--) call()
    for (let i = 0; this.sent < perConversation && i < 4 * perConversation; i++) {
      if (random.chance(0.06)) call()
      this.step()
      if (random.chance(0.5)) await wait()
    }
    calls.push({ name: "close", fiber: Effect.runFork(within(client.close)) })
    calls.push({
      name: "end",
      fiber: Effect.runFork(Effect.zipRight(Effect.yieldNow(), within(Scope.close(scope, Exit.void))))
    })
    await this.ends(calls, wait)
  }

  /** Waits until everything has ended, in virtual time. */
  private async ends(calls: ReadonlyArray<Call>, wait: () => Promise<void>): Promise<void> {
    const open = () => calls.filter(({ fiber }) => fiber.unsafePoll() === null)
    const isOver = () => open().length === 0 && this.open.every(({ isOver }) => isOver)
    for (let i = 0; i < looks && !isOver(); i++) {
      await wait()
      if (i > 4) this.clock.advance(longest / looks)
    }
    for (const { name } of open()) this.wrong(`${name} hangs`)
    if (!this.open.every(({ isOver }) => isOver)) this.wrong("a connection is left open")
    if (this.clock.waiting > 0) this.wrong(`${this.clock.waiting} timers are left`)
    for (const { fiber, name } of calls) {
      const exit = fiber.unsafePoll()
      if (exit !== null) this.judge(name, exit)
    }
  }
}

const perCorpus = 8_192

/** A lane that fuzzes clients, which connect where `listen` says. */
export const clientLane =
  (listen: (takes: Takes) => Promise<Listening>, isSlow: boolean) =>
  (desk: Desk): Promise<Lane> => {
    return Promise.resolve({
      beside: 16,
      converse: async (number) => {
        const conversation = new Conversation(number, corpusOf(desk.seed + Math.floor(number / perCorpus)), desk)
        const listening = await listen(conversation.takes)
        await conversation.run(listening, isSlow ? () => pause(1) : turn)
        await listening.end()
      },
      rested: () => pause(50),
      end: () => Promise.resolve()
    })
  }

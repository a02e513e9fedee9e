/**
 * A runtime as other SDKs write one, in memory: sessions, jobs, numbers and refusals. What differs between the SDKs are
 * `Traits`; each SDK has a file of its own.
 *
 * Agents: `echo` returns its input, `gate` emits and waits for `open`, `never` runs until it is cancelled, `late` times out,
 * `burst` emits `input.events` events together with its siblings once `input.of` of them run.
 */
import { Effect, Stream } from "effect"
import { BadFrame, type Connection, Server } from "../../../src/transport/Connection.js"

type Json = Record<string, unknown>
export interface Frame {
  readonly id: string
  readonly type: string
  readonly session_id?: string
  readonly job_id?: string
  readonly event_seq?: number
  readonly trace_id?: string
  readonly payload: Json
}

/** One connection. What is pushed to `out` is sent when the frame that is being answered has been. */
export interface Link {
  readonly out: Array<object>
  session: Session | undefined
  closes: readonly [code: number, reason: string] | undefined
}

export interface Session {
  readonly id: string
  readonly token: string
  seq: number
  readonly log: Array<{ readonly event_seq: number }>
  link: Link | undefined
  /** Whether events still reach it. */
  live: boolean
}

interface Event {
  readonly id: string
  readonly type: string
  readonly payload: Json
  /** Its number in the owner's session. */
  seq: number
}

export interface Job {
  readonly id: string
  readonly submit: Frame
  readonly owner: Session
  readonly events: Array<Event>
  readonly observers: Array<{ readonly session: Session; next: number }>
  status: string
}

/** How an SDK's runtime differs from the others. */
export interface Traits {
  readonly name: string
  /** Encoded bytes of the largest frame that it takes. */
  readonly frameBytes: number
  /** Frames of a session that can be replayed. */
  readonly retained: number
  /** Envelope ids. */
  readonly id: (n: number) => string
  /** The order in which numbered frames of several jobs leave; those of one job keep theirs. */
  readonly order: (frames: ReadonlyArray<{ readonly job: Job; readonly frame: object }>) => ReadonlyArray<object>
  readonly refuse: (runtime: Runtime, link: Link, request: Frame, code: string, jobId?: string) => void
  readonly refuseResume: (runtime: Runtime, link: Link, hello: Frame) => void
  readonly cancelled: (runtime: Runtime, link: Link, request: Frame, job: Job) => void
  readonly timedOut: { readonly type: string; readonly payload: Json }
  readonly repeat: "silence" | "replay"
  readonly subscribeEnded: "refuse" | "silence" | "replay"
  readonly numbersSubscriptions: boolean
  /** Whether the newest event is sent live before the history that holds it too. */
  readonly liveBeforeHistory: boolean
  readonly liveAfterResume: boolean
  /** Whether an absent `input` is refused. */
  readonly needsInput: boolean
  readonly needsReason: boolean
  readonly tellsTrace: boolean
  readonly budget: (list: ReadonlyArray<string>) => unknown
  readonly createdAt: "created_at" | "submitted_at"
  readonly result: "result" | "output"
  readonly listsEnded: boolean
  readonly close: "closed" | "unknown"
  /** Whether a close ends the jobs of the session. */
  readonly closeEndsJobs: boolean
}

const isOver = (job: Job) => job.status !== "running"
const agents = ["echo", "gate", "never", "late", "burst"]

export class Runtime {
  readonly traits: Traits
  readonly sessions = new Map<string, Session>()
  readonly jobs = new Map<string, Job>()
  readonly links = new Set<Link & { readonly connection: Connection }>()
  /** Every frame that came, of all connections. */
  readonly seen: Array<Frame> = []
  connects = 0
  private n = 0

  constructor(traits: Traits) {
    this.traits = traits
  }

  next(): number {
    return ++this.n
  }

  say(link: Link, type: string, payload: Json, head: Json = {}): void {
    const session_id = link.session?.id
    const frame = { arcp: "1.1", id: this.traits.id(this.next()), type, session_id, ...head, payload }
    link.out.push(frame)
    if (typeof head.event_seq === "number") link.session?.log.push({ ...frame, event_seq: head.event_seq })
  }

  /** Sends an event again, under the next number of a session. */
  private again(link: Link, session: Session, job: Job, event: Event): void {
    const frame = this.frame(job, event, session, ++session.seq)
    session.log.push(frame)
    link.out.push(frame)
  }

  /** The next number of a link's session, for frames that use one up though they are no events. */
  number(link: Link): number {
    const { session } = link
    return session === undefined ? 0 : ++session.seq
  }

  /** Adds an event to a job, numbers it for its owner and its observers; they get it in the order that the traits say. */
  emit(events: ReadonlyArray<readonly [job: Job, type: string, payload: Json]>): void {
    const byLink = new Map<Link, Array<{ readonly job: Job; readonly frame: object }>>()
    for (const [job, type, payload] of events) {
      const event: Event = { id: this.traits.id(this.next()), type, payload, seq: 0 }
      job.events.push(event)
      const to = (session: Session, event_seq: number, logged: boolean): void => {
        const frame = this.frame(job, event, session, event_seq)
        if (logged) session.log.push(frame)
        if (session.link === undefined) return
        const frames = byLink.get(session.link) ?? []
        byLink.set(session.link, frames)
        frames.push({ job, frame })
      }
      if (job.owner.live) {
        event.seq = ++job.owner.seq
        to(job.owner, event.seq, true)
      }
      for (const observer of job.observers) {
        const own = this.traits.numbersSubscriptions
        to(observer.session, own ? ++observer.next : ++observer.session.seq, !own)
      }
    }
    for (const [link, frames] of byLink) link.out.push(...this.traits.order(frames))
  }

  private frame(job: Job, { id, payload, type }: Event, session: Session, event_seq: number) {
    return { arcp: "1.1", id, type, session_id: session.id, job_id: job.id, event_seq, payload }
  }

  thought(job: Job, text: string): readonly [Job, string, Json] {
    return [job, "job.event", { kind: "thought", ts: "2026-01-01T00:00:00.000Z", body: { text } }]
  }

  end(job: Job, status: string, type: string, payload: Json): void {
    if (isOver(job)) return
    job.status = status
    this.emit([[job, type, payload]])
  }

  succeed(job: Job): void {
    this.end(job, "success", "job.result", {
      final_status: "success",
      [this.traits.result]: job.submit.payload.input ?? null
    })
  }

  private start(job: Job): void {
    const { agent } = job.submit.payload
    this.emit([this.thought(job, "one")])
    if (agent === "echo") {
      this.emit([this.thought(job, "two")])
      this.succeed(job)
    } else if (agent === "late") this.end(job, "timed_out", this.traits.timedOut.type, this.traits.timedOut.payload)
    else if (agent === "burst") this.burst(job)
  }

  private burst(last: Job): void {
    const { events, of } = last.submit.payload.input as { readonly events: number; readonly of: number }
    const all = [...this.jobs.values()].filter((job) => job.submit.payload.agent === "burst" && !isOver(job))
    if (all.length < of) return
    const batch: Array<readonly [Job, string, Json]> = []
    for (let n = 0; n < events; n++) for (const job of all) batch.push(this.thought(job, `${job.id} ${n}`))
    for (const job of all) {
      job.status = "success"
      batch.push([job, "job.result", { final_status: "success", [this.traits.result]: job.id }])
    }
    this.emit(batch)
  }

  read(link: Link, frame: Frame): void {
    this.seen.push(frame)
    switch (frame.type) {
      case "session.hello":
        return this.hello(link, frame)
      case "session.ping":
        return this.say(link, "session.pong", { ping_nonce: frame.payload.nonce })
      case "session.close":
        return this.close(link, frame)
      case "session.list_jobs":
        return this.list(link, frame)
      case "job.submit":
        return this.submit(link, frame)
      case "job.cancel":
        return this.cancel(link, frame)
      case "job.subscribe":
        return this.subscribe(link, frame)
      default:
        // Acknowledgements, pongs and job.unsubscribe are not answered.
        return undefined
    }
  }

  private hello(link: Link, frame: Frame): void {
    const { last_event_seq, resume, resume_token } = frame.payload as {
      readonly resume?: { readonly session_id: string; readonly last_event_seq: number }
      readonly resume_token?: string
      readonly last_event_seq?: number
    }
    const known = [...this.sessions.values()].find(
      ({ id, token }) => id === resume?.session_id && token === resume_token
    )
    if (resume !== undefined && known === undefined) return this.traits.refuseResume(this, link, frame)
    const session: Session = known ?? {
      id: `sess_${this.next()}`,
      token: `token_${this.next()}`,
      seq: 0,
      log: [],
      link,
      live: true
    }
    this.sessions.set(session.id, session)
    session.link = link
    link.session = session
    if (known !== undefined) session.live = session.live && this.traits.liveAfterResume
    this.say(link, "session.welcome", {
      session_id: session.id,
      runtime: { name: this.traits.name, version: "1" },
      resume_token: session.token,
      resume_window_sec: 600,
      heartbeat_interval_sec: 30,
      capabilities: {
        encodings: ["json"],
        features: ["heartbeat", "ack", "list_jobs", "subscribe", "progress", "result_chunk", "cost.budget"],
        agents
      }
    })
    if (known === undefined) return
    // Past what is retained the replay starts in the middle, silently.
    const retained = session.log.slice(-this.traits.retained)
    link.out.push(...retained.filter((one) => one.event_seq > (last_event_seq ?? 0)))
  }

  private close(link: Link, frame: Frame): void {
    if (this.traits.closeEndsJobs) {
      for (const job of this.jobs.values()) {
        if (job.owner === link.session)
          this.end(job, "cancelled", "job.error", { code: "CANCELLED", message: "closed" })
      }
    }
    if (this.traits.close === "closed") {
      this.say(link, "session.closed", {})
      link.closes = [1000, ""]
    } else {
      this.say(link, "session.error", { code: "INVALID_REQUEST", message: `unknown type ${frame.type}`, details: null })
    }
  }

  private list(link: Link, frame: Frame): void {
    const rows = [...this.jobs.values()].filter((job) => this.traits.listsEnded || !isOver(job))
    const jobs = rows.map((job) => ({
      job_id: job.id,
      agent: job.submit.payload.agent,
      status: job.status,
      [this.traits.createdAt]: "2026-01-01T00:00:00.000Z"
    }))
    this.say(link, "session.jobs", { request_id: frame.id, jobs, next_cursor: null })
  }

  private submit(link: Link, frame: Frame): void {
    const { agent, idempotency_key: key, lease_request: lease } = frame.payload
    if (this.traits.needsInput && !("input" in frame.payload)) {
      return this.traits.refuse(this, link, frame, "INVALID_REQUEST")
    }
    const before = [...this.jobs.values()].find((job) => job.submit.payload.idempotency_key === key)
    if (before !== undefined && before.submit.payload.agent !== agent) {
      return this.traits.refuse(this, link, frame, "DUPLICATE_KEY", before.id)
    }
    if (!agents.includes(String(agent))) return this.traits.refuse(this, link, frame, "AGENT_NOT_AVAILABLE")
    const { session } = link
    if (session === undefined) return
    const job: Job = before ?? {
      id: `job_${this.next()}`,
      submit: frame,
      owner: session,
      events: [],
      observers: [],
      status: "running"
    }
    this.jobs.set(job.id, job)
    const amounts = (lease as { readonly "cost.budget"?: ReadonlyArray<string> } | undefined)?.["cost.budget"]
    const budget = amounts === undefined ? {} : { budget: this.traits.budget(amounts) }
    const trace = this.traits.tellsTrace ? { trace_id: frame.trace_id } : {}
    this.say(link, "job.accepted", { job_id: job.id, agent, lease: {}, ...budget }, { job_id: job.id, ...trace })
    if (before === undefined) this.start(job)
    else if (this.traits.repeat === "replay") this.replay(link, session, job, 0)
  }

  private replay(link: Link, session: Session, job: Job, from: number): void {
    for (const event of job.events) {
      if (event.seq > from) this.again(link, session, job, event)
    }
  }

  private cancel(link: Link, frame: Frame): void {
    const job = this.jobs.get(String(frame.payload.job_id))
    if (job === undefined || isOver(job)) {
      return this.traits.refuse(this, link, frame, "JOB_NOT_FOUND", String(frame.payload.job_id))
    }
    if (this.traits.needsReason && typeof frame.payload.reason !== "string") {
      return this.traits.refuse(this, link, frame, "INTERNAL_ERROR")
    }
    this.traits.cancelled(this, link, frame, job)
  }

  private subscribe(link: Link, frame: Frame): void {
    const job = this.jobs.get(String(frame.payload.job_id))
    const { session } = link
    if (job === undefined || session === undefined || (isOver(job) && this.traits.subscribeEnded === "refuse")) {
      return this.traits.refuse(this, link, frame, "JOB_NOT_FOUND", String(frame.payload.job_id))
    }
    const history = frame.payload.history === true
    const from = Number(frame.payload.from_event_seq ?? 0)
    const subscribed = (replayed: unknown) =>
      this.say(
        link,
        "job.subscribed",
        { request_id: frame.id, job_id: job.id, current_status: job.status, agent: job.submit.payload.agent, replayed },
        { job_id: job.id }
      )
    if (isOver(job)) {
      subscribed(this.traits.subscribeEnded === "replay" && history)
      if (this.traits.subscribeEnded === "replay" && history) this.replay(link, session, job, from)
      return
    }
    const observer = { session, next: 0 }
    job.observers.push(observer)
    const events = history ? job.events.filter(({ seq }) => seq === 0 || seq > from) : []
    if (this.traits.numbersSubscriptions) {
      for (const event of events) link.out.push(this.frame(job, event, session, ++observer.next))
      return subscribed(events.length)
    }
    subscribed(history)
    const latest = events.at(-1)
    if (this.traits.liveBeforeHistory && latest !== undefined) {
      this.again(link, session, job, latest)
    }
    for (const event of events) this.again(link, session, job, event)
  }
}

/** Text of a `job.error` that refuses or ends. */
export const errorOf = (code: string) => ({ code, message: `refused: ${code}`, retryable: false })

/** A runtime that listens, and what a test does to it. */
export const listen = (traits: Traits) =>
  Effect.gen(function* () {
    const server = yield* Server
    const runtime = new Runtime(traits)
    const flush = Effect.suspend(() =>
      Effect.forEach(
        runtime.links,
        (link) => {
          const frames = link.out.splice(0)
          return Effect.ignore(
            Effect.zipRight(
              frames.length === 0 ? Effect.void : link.connection.send(frames.map((frame) => JSON.stringify(frame))),
              link.closes === undefined ? Effect.void : link.connection.close(...link.closes)
            )
          )
        },
        { discard: true }
      )
    )
    const serve = (connection: Connection) => {
      runtime.connects++
      const link = { connection, out: [], session: undefined, closes: undefined } as Link & {
        readonly connection: Connection
      }
      runtime.links.add(link)
      return Stream.runForEachChunk(connection.inbound, (chunk) =>
        Effect.gen(function* () {
          for (const frame of chunk) {
            if (frame instanceof BadFrame || link.closes !== undefined) continue
            const text = typeof frame === "string" ? frame : JSON.stringify(frame)
            if (new TextEncoder().encode(text).length > traits.frameBytes) link.closes = [1009, "message too big"]
            else runtime.read(link, JSON.parse(text) as Frame)
          }
          yield* flush
        })
      ).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            runtime.links.delete(link)
            if (link.session?.link === link) link.session.link = undefined
          })
        )
      )
    }
    yield* Effect.forkScoped(
      Stream.runForEach(server.connections, (connection) => Effect.forkScoped(serve(connection)))
    )
    const jobsOf = (agent: string) =>
      [...runtime.jobs.values()].filter((job) => job.submit.payload.agent === agent && !isOver(job))
    return {
      runtime,
      /** Every gate goes on: one event more, and the result. */
      open: Effect.suspend(() => {
        for (const job of jobsOf("gate")) {
          runtime.emit([runtime.thought(job, "after")])
          runtime.succeed(job)
        }
        return flush
      }),
      /** The connections break. */
      cut: Effect.suspend(() =>
        Effect.forEach([...runtime.links], ({ connection }) => connection.close(1001, "cut"), { discard: true })
      ),
      /** The runtime has forgotten its sessions; its jobs too where it says so. */
      forget: (jobs: boolean) =>
        Effect.sync(() => {
          runtime.sessions.clear()
          if (jobs) runtime.jobs.clear()
        })
    }
  })

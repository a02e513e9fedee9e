/** A client at the level of frames that keeps an exact ledger of what it was sent, over any number of connections. */
import { WebSocket } from "ws"

/** A frame of the runtime. */
export interface Frame {
  readonly type: string
  readonly id: string
  readonly session_id?: string
  readonly job_id?: string
  readonly event_seq?: number
  // The ledger reads what it checks, whatever the type says.
  readonly payload: Record<string, any>
}

/** What was seen of one job in one session. */
export interface JobLedger {
  readonly jobId: string
  /** What this client knows of it, where it submitted it. */
  agent: string | undefined
  input: { readonly n: number } | undefined
  accepted: boolean
  readonly seqs: Array<number>
  readonly events: Array<Frame>
  /** How often its submit has been repeated: each repetition of an ended job sends its end again. */
  repeats: number
}

/** What happened, in numbers. */
export interface Figures {
  events: number
  resumes: number
  cuts: number
  sessions: number
  jobs: number
  lost: number
  repeated: number
  takeovers: number
}

export const newFigures = (): Figures => ({
  events: 0,
  resumes: 0,
  cuts: 0,
  sessions: 0,
  jobs: 0,
  lost: 0,
  repeated: 0,
  takeovers: 0
})

const features = [
  "heartbeat",
  "ack",
  "list_jobs",
  "subscribe",
  "cost.budget",
  "lease_expires_at",
  "progress",
  "result_chunk",
  "agent_versions"
]

interface Submit {
  readonly agent: string
  readonly input: { readonly n: number; readonly pause?: number | undefined }
  readonly lease_request?: object
  readonly idempotency_key?: string
}

export const isTerminal = (frame: Frame): boolean => frame.type === "job.result" || frame.type === "job.error"

/** The client. `wrong` takes what breaks a promise. */
export class LedgerClient {
  readonly name: string
  readonly jobs = new Map<string, JobLedger>()
  lastSeq = 0
  sessionId: string | undefined
  private token: string | undefined
  private socket: WebSocket | undefined
  private open = false
  private ended = false
  private counter = 0
  private readonly waiting = new Map<string, (frame: Frame | undefined) => void>()
  /** Requests of connections that were taken over: their replies are bound to those. */
  private readonly abandoned = new Set<string>()
  private readonly opened: Array<() => void> = []
  private readonly changed: Array<() => void> = []
  private unacked = 0
  private refused: string | undefined
  private readonly acknowledges: boolean
  private readonly bearer: string
  private readonly url: () => string
  private readonly figures: Figures
  private readonly wrong: (what: string) => void

  constructor(options: {
    readonly name: string
    readonly bearer: string
    readonly url: () => string
    readonly figures: Figures
    readonly wrong: (what: string) => void
    /** Whether it says what it has read; one that never has slows nobody (§6.5). Default true. */
    readonly acknowledges?: boolean
  }) {
    this.acknowledges = options.acknowledges ?? true
    this.name = options.name
    this.bearer = options.bearer
    this.url = options.url
    this.figures = options.figures
    this.wrong = (what) => options.wrong(`${this.name} (${this.sessionId ?? "no session"}): ${what}`)
    this.connect()
  }

  private connect(): void {
    if (this.ended) return
    const socket = new WebSocket(this.url(), { perMessageDeflate: false })
    this.socket = socket
    socket.on("error", () => undefined)
    socket.on("open", () => {
      const resume =
        this.sessionId === undefined
          ? {}
          : { resume: { session_id: this.sessionId, resume_token: this.token, last_event_seq: this.lastSeq } }
      this.write("session.hello", {
        client: { name: this.name, version: "1" },
        auth: { scheme: "bearer", token: this.bearer },
        capabilities: {
          encodings: ["json"],
          features: this.acknowledges ? features : features.filter((feature) => feature !== "ack")
        },
        ...resume
      })
    })
    socket.on("message", (data) => {
      if (this.socket === socket) this.take(JSON.parse(String(data)) as Frame)
    })
    socket.on("close", () => {
      if (this.socket !== socket) return
      this.open = false
      this.socket = undefined
      this.forget()
      if (!this.ended) setTimeout(() => this.connect(), 15)
    })
  }

  /** No reply comes any more to what has been asked. */
  private forget(): void {
    for (const resolve of this.waiting.values()) resolve(undefined)
    this.waiting.clear()
  }

  private write(type: string, payload: object, id = `m${++this.counter}`): string {
    const { socket } = this
    if (socket?.readyState === WebSocket.OPEN) {
      const session = type === "session.hello" ? {} : { session_id: this.sessionId }
      socket.send(JSON.stringify({ arcp: "1.1", id, type, ...session, payload }))
    }
    return id
  }

  private ledger(jobId: string): JobLedger {
    let job = this.jobs.get(jobId)
    if (job === undefined) {
      job = {
        jobId,
        agent: undefined,
        input: undefined,
        accepted: false,
        seqs: [],
        events: [],
        repeats: 0
      }
      this.jobs.set(jobId, job)
    }
    return job
  }

  private take(frame: Frame): void {
    const { event_seq: seq, payload } = frame
    if (frame.type === "session.welcome") {
      if (this.sessionId === undefined) this.figures.sessions++
      else if (this.sessionId === frame.session_id) this.figures.resumes++
      else this.wrong(`resumed as another session, ${frame.session_id}`)
      this.sessionId = frame.session_id
      this.token = payload["resume_token"] as string
      this.open = true
      for (const resolve of this.opened.splice(0)) resolve()
      return
    }
    if (frame.type === "job.subscribed" && payload["replayed"] === true && frame.job_id !== undefined) {
      // A history follows. What came before the answer is in it again, where an answer before this one was lost (§7.6).
      const job = this.ledger(frame.job_id)
      job.events.length = 0
      job.seqs.length = 0
    }
    if (seq !== undefined) {
      this.figures.events++
      if (seq <= this.lastSeq) {
        this.figures.repeated++
        return this.wrong(`event ${seq} again after ${this.lastSeq}: ${JSON.stringify(frame)}`)
      }
      if (seq > this.lastSeq + 1) {
        this.figures.lost += seq - this.lastSeq - 1
        this.wrong(`event ${seq} after ${this.lastSeq}: ${JSON.stringify(frame)}`)
      }
      this.lastSeq = seq
      const job = this.ledger(frame.job_id!)
      job.seqs.push(seq)
      job.events.push(frame)
      if (this.acknowledges && ++this.unacked >= 64) {
        this.unacked = 0
        this.write("session.ack", { last_processed_seq: this.lastSeq })
      }
      for (const resolve of this.changed.splice(0)) resolve()
      return
    }
    if (frame.type === "session.ping") return void this.write("session.pong", { ping_nonce: payload["nonce"] })
    const request = payload["request_id"] as string | undefined
    if (request !== undefined) {
      const resolve = this.waiting.get(request)
      this.waiting.delete(request)
      if (this.abandoned.has(request))
        this.wrong(`a reply to a request of another connection: ${JSON.stringify(frame)}`)
      return resolve?.(frame)
    }
    if (frame.type !== "session.error") return
    this.wrong(`refused: ${JSON.stringify(payload)}`)
    // It would be refused for ever, and everybody would wait for it.
    if (!this.open && payload["retryable"] !== true) {
      this.refused = `${this.name} is refused: ${JSON.stringify(payload)}`
      this.end()
    }
  }

  /** Whether it has a session on an open connection. */
  get connected(): boolean {
    return this.open
  }

  /** Waits for a session. */
  async ready(): Promise<void> {
    if (this.refused !== undefined) throw new Error(this.refused)
    while (!this.open && !this.ended) await new Promise<void>((resolve) => this.opened.push(resolve))
  }

  /** Waits for an event, or a moment. */
  async change(): Promise<void> {
    await Promise.race([
      new Promise<void>((resolve) => this.changed.push(resolve)),
      new Promise((resolve) => setTimeout(resolve, 25))
    ])
  }

  /** Sends a request; its answer, or undefined where the connection was lost before it. */
  async request(type: string, payload: object): Promise<Frame | undefined> {
    await this.ready()
    const id = `m${++this.counter}`
    const answer = new Promise<Frame | undefined>((resolve) => this.waiting.set(id, resolve))
    if (this.socket?.readyState !== WebSocket.OPEN) {
      this.waiting.delete(id)
      // Its end is known here before it is told.
      await new Promise((resolve) => setTimeout(resolve, 5))
      return undefined
    }
    this.write(type, payload, id)
    return answer
  }

  /** Submits; with a key, as often as it takes. The answer's job, or undefined where nobody can know. */
  async submit(submit: Submit): Promise<string | undefined> {
    let known: string | undefined
    for (let again = 0; !this.ended; again++) {
      const answer = await this.request("job.submit", submit)
      if (answer?.type === "job.accepted") {
        const jobId = answer.payload["job_id"] as string
        if (known !== undefined && known !== jobId) this.wrong(`one key, two jobs: ${known} and ${jobId}`)
        known = jobId
        const job = this.ledger(jobId)
        if (!job.accepted) this.figures.jobs++
        job.agent = submit.agent
        job.input = submit.input
        job.accepted = true
        job.repeats += again
        return jobId
      }
      if (answer !== undefined) {
        if (answer.payload["retryable"] !== true) this.wrong(`a submit was refused: ${JSON.stringify(answer.payload)}`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      if (submit.idempotency_key === undefined) return undefined
    }
    return known
  }

  /** Observes a job from its beginning. */
  async subscribe(jobId: string): Promise<boolean> {
    // The answer may be lost after the subscription was made.
    while (!this.ended) {
      const answer = await this.request("job.subscribe", { job_id: jobId, history: true })
      if (answer?.type === "job.subscribed") {
        this.ledger(jobId)
        return true
      }
      if (answer !== undefined) this.wrong(`may not observe ${jobId}: ${JSON.stringify(answer.payload)}`)
      if (answer !== undefined) return false
    }
    return false
  }

  /**
   * Waits until it has what its session has been given by now, jobs that it knows nothing of among them: an acknowledgement of
   * more than that is refused with the number of the last event (§6.5).
   */
  async drained(): Promise<void> {
    for (;;) {
      const answer = await this.request("session.ack", { last_processed_seq: Number.MAX_SAFE_INTEGER })
      if (answer === undefined) continue
      const last = Number(/last event is (\d+)$/.exec(String(answer.payload["message"]))?.[1])
      if (Number.isNaN(last)) return this.wrong(`an acknowledgement is answered with ${JSON.stringify(answer.payload)}`)
      while (this.open && this.lastSeq < last) await this.change()
      if (this.lastSeq >= last) return
    }
  }

  /** Every job that its principal may see. */
  async list(): Promise<ReadonlyArray<Record<string, any>>> {
    const all: Array<Record<string, any>> = []
    let cursor: string | undefined
    do {
      const page = await this.request("session.list_jobs", { limit: 100, ...(cursor === undefined ? {} : { cursor }) })
      if (page === undefined) return this.list()
      all.push(...(page.payload["jobs"] as ReadonlyArray<Record<string, any>>))
      cursor = (page.payload["next_cursor"] as string | null) ?? undefined
    } while (cursor !== undefined)
    return all
  }

  /**
   * Resumes the session on another connection while this one lives and has requests in flight. What comes on the one before is not looked
   * at any more: the runtime owes it to nobody.
   */
  takeOver(): void {
    if (!this.open) return
    this.figures.takeovers++
    this.open = false
    for (const request of this.waiting.keys()) this.abandoned.add(request)
    this.forget()
    this.connect()
  }

  /** Loses the connection. */
  cut(): void {
    if (!this.open) return
    this.figures.cuts++
    this.socket?.terminate()
  }

  /** Reads no further, or goes on. */
  read(on: boolean): void {
    if (on) this.socket?.resume()
    else this.socket?.pause()
  }

  end(): void {
    this.ended = true
    this.socket?.terminate()
    for (const resolve of this.opened.splice(0)) resolve()
    for (const resolve of this.changed.splice(0)) resolve()
  }
}

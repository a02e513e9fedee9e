/**
 * One ARCP session over a bare `ws` socket. It speaks as much of the protocol as a measurement needs and nothing that only this
 * package's client does, so that it can drive any runtime: what is measured is the runtime and the socket.
 *
 * It acknowledges (§6.5) where the runtime has offered `ack`: after 256 numbers or 1 MiB, and a moment after the last frame. It
 * reads `output` as `result`, and matches a reply by `request_id` or what stands for it, else in the order of the requests.
 * Whatever ends the connection fails all that waits for an answer: no wait outlives its socket.
 */
import { Features } from "effect-arcp/protocol"
import { type RawData, WebSocket } from "ws"

/** A frame as it is parsed. */
export interface RawFrame {
  readonly type: string
  readonly id: string
  readonly job_id?: string
  readonly event_seq?: number
  readonly correlation_id?: string
  readonly reply_to?: string
  readonly payload: { readonly [field: string]: any }
}

/** What happens to a submitted job; each but `failed` may be left out. */
export interface Watch {
  readonly accepted?: (jobId: string) => void
  readonly event?: (frame: RawFrame) => void
  /** The job has its result. */
  readonly ended?: (result: unknown) => void
  readonly failed: (error: Error) => void
}

/** How a session is opened. */
export interface SessionOptions {
  readonly url: string
  readonly token: string
  /** Events are counted and not parsed: where many sessions share a process, the parsing would be what is measured. */
  readonly lean?: boolean | undefined
  readonly resume?: { readonly sessionId: string; readonly resumeToken: string; readonly lastSeq: number } | undefined
  /** Called with each event of a job that the session did not submit, from the first one on. */
  readonly onEvent?: ((frame: RawFrame) => void) | undefined
  /** Milliseconds for the connection and the handshake. */
  readonly within?: number | undefined
}

const ackEvery = 256
const ackBytes = 1_048_576
const ackAfter = 50
const eventMark = Buffer.from("job.event")

/** A failure as one line. */
const told = (what: string, payload: { readonly [field: string]: unknown }): Error =>
  new Error(`${what}: ${String(payload["code"] ?? "no code")} ${String(payload["message"] ?? "")}`.trim())

export class RawSession {
  /** Events that have come, parsed or not. */
  events = 0
  /** The greatest number that has come. */
  lastSeq = 0
  sessionId = ""
  resumeToken = ""
  /** When the first event came since this was set to undefined. */
  firstAt: number | undefined
  private readonly onEvent: ((frame: RawFrame) => void) | undefined
  private readonly socket: WebSocket
  private readonly lean: boolean
  private acks = false
  private acked = 0
  private bytes = 0
  private timer: NodeJS.Timeout | undefined
  private sent = 0
  private gone: Error | undefined
  /** Submits without an answer, by the id of their request. */
  private readonly pending = new Map<string, Watch>()
  private readonly jobs = new Map<string, Watch>()
  /** Jobs of other sessions that are watched until they end. */
  private readonly observed = new Map<string, Watch>()
  /** Other requests, by the type of their answer: one of each at a time. */
  private readonly answers = new Map<string, { resolve: (frame: RawFrame) => void; reject: (error: Error) => void }>()

  private constructor(socket: WebSocket, lean: boolean, onEvent: ((frame: RawFrame) => void) | undefined) {
    this.socket = socket
    this.lean = lean
    this.onEvent = onEvent
    socket.on("message", (data) => this.take(data))
    socket.on("error", (error) => this.end(error))
    socket.on("close", (code, reason) => this.end(new Error(`the connection was closed (${code}) ${reason}`.trim())))
  }

  /** Connects, and says hello. */
  static async open({
    lean = false,
    onEvent,
    resume,
    token,
    url,
    within = 10_000
  }: SessionOptions): Promise<RawSession> {
    const socket = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: within })
    const session = new RawSession(socket, lean, onEvent)
    const late = setTimeout(() => {
      session.end(new Error(`no session within ${within} ms`))
      socket.terminate()
    }, within)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("open", resolve)
        session.answers.set("open", { resolve: () => resolve(), reject })
      })
      session.answers.delete("open")
      const payload = {
        client: { name: "bench", version: "1" },
        auth: { scheme: "bearer", token },
        capabilities: { encodings: ["json"], features: Features.coreFeatures },
        ...(resume === undefined
          ? {}
          : {
              resume: {
                session_id: resume.sessionId,
                resume_token: resume.resumeToken,
                last_event_seq: resume.lastSeq
              },
              resume_token: resume.resumeToken,
              last_event_seq: resume.lastSeq
            })
      }
      session.lastSeq = session.acked = resume?.lastSeq ?? 0
      const welcome = await session.ask("session.hello", "session.welcome", payload)
      session.welcomed(welcome)
      return session
    } catch (error) {
      socket.terminate()
      throw error
    } finally {
      clearTimeout(late)
    }
  }

  /** Submits a job. */
  submit(agent: string, input: unknown, watch: Watch): void {
    if (this.gone !== undefined) return watch.failed(this.gone)
    const id = this.nextId()
    this.pending.set(id, watch)
    this.sendAs(id, "job.submit", { agent, input })
  }

  /** Submits a job and waits for its result. */
  run(agent: string, input: unknown): Promise<unknown> {
    return new Promise((ended, failed) => this.submit(agent, input, { ended, failed }))
  }

  /** Watches a job of another session of the principal. */
  async subscribe(jobId: string, watch: Watch): Promise<void> {
    this.observed.set(jobId, watch)
    await this.ask("job.subscribe", "job.subscribed", { job_id: jobId }, jobId)
  }

  /** Milliseconds from a ping to its pong. */
  async ping(): Promise<number> {
    const begin = performance.now()
    await this.ask("session.ping", "session.pong", { nonce: "n", sent_at: new Date().toISOString() })
    return performance.now() - begin
  }

  /** Ends the connection without a word of the protocol. */
  close(): void {
    clearTimeout(this.timer)
    this.socket.removeAllListeners("close")
    this.socket.terminate()
  }

  private welcomed({ payload, ...envelope }: RawFrame): void {
    const features: unknown = payload["capabilities"]?.["features"]
    this.acks = Array.isArray(features) && features.includes("ack")
    this.sessionId = String(payload["session_id"] ?? (envelope as { readonly session_id?: string }).session_id ?? "")
    this.resumeToken = String(payload["resume_token"] ?? payload["resume"]?.["token"] ?? "")
  }

  private nextId(): string {
    return `m${++this.sent}`
  }

  private ask(type: string, answer: string, payload: object, jobId?: string): Promise<RawFrame> {
    return new Promise((resolve, reject) => {
      if (this.gone !== undefined) return reject(this.gone)
      this.answers.set(answer, { resolve, reject })
      this.sendAs(this.nextId(), type, payload, jobId)
    })
  }

  private sendAs(id: string, type: string, payload: object, jobId?: string): void {
    const session = this.sessionId === "" ? undefined : this.sessionId
    this.socket.send(JSON.stringify({ arcp: "1.1", id, type, session_id: session, job_id: jobId, payload }))
  }

  private ack(seq: number): void {
    this.acked = seq
    this.bytes = 0
    this.sendAs(this.nextId(), "session.ack", { last_processed_seq: seq })
  }

  private numbered(seq: number, bytes: number): void {
    if (seq > this.lastSeq) this.lastSeq = seq
    if (!this.acks) return
    this.bytes += bytes
    if (this.lastSeq - this.acked >= ackEvery || this.bytes >= ackBytes) return this.ack(this.lastSeq)
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      if (this.acked < this.lastSeq && this.gone === undefined) this.ack(this.lastSeq)
    }, ackAfter)
  }

  private take(data: RawData): void {
    const bytes = data as Buffer
    if (this.lean) {
      const at = bytes.indexOf(eventMark)
      if (at !== -1 && at < 256) {
        this.firstAt ??= performance.now()
        if (++this.events % ackEvery !== 0) return
      }
    }
    const frame = JSON.parse(String(bytes)) as RawFrame
    if (frame.event_seq !== undefined) this.numbered(frame.event_seq, bytes.length)
    const jobId = frame.job_id ?? (frame.payload["job_id"] as string | undefined) ?? ""
    switch (frame.type) {
      case "job.event": {
        if (!this.lean) this.events++
        const watch = this.jobs.get(jobId) ?? this.observed.get(jobId)
        return watch === undefined ? this.onEvent?.(frame) : watch.event?.(frame)
      }
      case "job.accepted":
        return this.accepted(jobId, frame)
      case "job.result":
        return this.settled(jobId, (watch) => watch.ended?.(frame.payload["result"] ?? frame.payload["output"]))
      case "job.error":
        return this.refused(jobId, frame)
      case "session.error":
        return this.erred(frame)
      case "session.ping":
        return this.sendAs(this.nextId(), "session.pong", {
          ping_nonce: frame.payload["nonce"],
          received_at: new Date().toISOString()
        })
      default: {
        const asked = this.answers.get(frame.type)
        this.answers.delete(frame.type)
        asked?.resolve(frame)
      }
    }
  }

  /** The request that a reply is of: by its id, else the oldest. */
  private requestOf(frame: RawFrame): string | undefined {
    const named = frame.payload["request_id"] ?? frame.correlation_id ?? frame.reply_to
    if (typeof named === "string" && this.pending.has(named)) return named
    if (this.pending.has(frame.id)) return frame.id
    return this.pending.keys().next().value
  }

  private accepted(jobId: string, frame: RawFrame): void {
    const request = this.requestOf(frame)
    if (request === undefined) return
    const watch = this.pending.get(request)!
    this.pending.delete(request)
    this.jobs.set(jobId, watch)
    watch.accepted?.(jobId)
  }

  private settled(jobId: string, tell: (watch: Watch) => void): void {
    const watch = this.jobs.get(jobId) ?? this.observed.get(jobId)
    this.jobs.delete(jobId)
    this.observed.delete(jobId)
    if (watch !== undefined) tell(watch)
  }

  /** Some runtimes refuse a submit by a `job.error`. */
  private refused(jobId: string, frame: RawFrame): void {
    const error = told("the job failed", frame.payload)
    if (this.jobs.has(jobId) || this.observed.has(jobId)) return this.settled(jobId, (watch) => watch.failed(error))
    const request = this.requestOf(frame)
    if (request === undefined) return
    const watch = this.pending.get(request)!
    this.pending.delete(request)
    watch.failed(error)
  }

  /** An error of a request fails that request; one that names none fails all, since a figure would wait for it. */
  private erred(frame: RawFrame): void {
    const error = told("refused", frame.payload)
    const named = frame.payload["request_id"] ?? frame.correlation_id ?? frame.reply_to
    const watch = typeof named === "string" ? this.pending.get(named) : undefined
    if (watch !== undefined) {
      this.pending.delete(named as string)
      return watch.failed(error)
    }
    this.failAll(error)
  }

  private failAll(error: Error): void {
    const watches = [...this.pending.values(), ...this.jobs.values(), ...this.observed.values()]
    const askers = [...this.answers.values()]
    for (const waiting of [this.pending, this.jobs, this.observed, this.answers]) waiting.clear()
    for (const watch of watches) watch.failed(error)
    for (const asker of askers) asker.reject(error)
  }

  private end(error: Error): void {
    clearTimeout(this.timer)
    this.gone ??= error
    this.failAll(this.gone)
  }
}

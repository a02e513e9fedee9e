/**
 * A reader that speaks just enough ARCP over a bare socket, and does not decode what it counts: where many readers share a
 * process, the server is to be what is measured.
 */
import { Features } from "effect-arcp/protocol"
import { type RawData, WebSocket } from "ws"
import { token } from "./agents.js"

interface Frame {
  readonly type: string
  readonly id: string
  readonly event_seq?: number
  readonly payload: { readonly [field: string]: unknown }
}

const eventMark = Buffer.from('"type":"job.event"')
/** As often as the client acknowledges. */
const ackEvery = 256

/** One session. */
export class Reader {
  private readonly socket: WebSocket
  private sent = 0
  private events = 0
  private ended: (events: number) => void = () => undefined
  private readonly answers = new Map<string, (frame: Frame) => void>()

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on("message", (data) => this.take(data))
  }

  /** Connects, and has a session. */
  static async open(url: string): Promise<Reader> {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    await new Promise((resolve, reject) => {
      socket.once("open", resolve)
      socket.once("error", reject)
    })
    const reader = new Reader(socket)
    await reader.ask("session.hello", "session.welcome", {
      client: { name: "bench", version: "1" },
      auth: { scheme: "bearer", token },
      capabilities: { encodings: ["json"], features: Features.coreFeatures }
    })
    return reader
  }

  /** Submits a job and answers its id. */
  async submit(agent: string, input: unknown): Promise<string> {
    const { payload } = await this.ask("job.submit", "job.accepted", { agent, input })
    return String(payload["job_id"])
  }

  async subscribe(jobId: string): Promise<void> {
    await this.ask("job.subscribe", "job.subscribed", { job_id: jobId })
  }

  /** Waits for the end of a job, and answers how many events came until then. */
  untilEnd(): Promise<number> {
    this.events = 0
    return new Promise((resolve) => (this.ended = resolve))
  }

  close(): void {
    this.socket.terminate()
  }

  /** The kind of answer has one question in flight at a time. */
  private ask(type: string, answer: string, payload: object): Promise<Frame> {
    return new Promise((resolve) => {
      this.answers.set(answer, resolve)
      this.send(type, payload)
    })
  }

  private send(type: string, payload: object): void {
    this.socket.send(JSON.stringify({ arcp: "1.1", id: `m${++this.sent}`, type, payload }))
  }

  private take(data: RawData): void {
    const bytes = data as Buffer
    const at = bytes.indexOf(eventMark)
    if (at !== -1 && at < 64) {
      if (++this.events % ackEvery === 0) {
        this.send("session.ack", { last_processed_seq: (JSON.parse(bytes.toString()) as Frame).event_seq })
      }
      return
    }
    const frame = JSON.parse(bytes.toString()) as Frame
    if (frame.type === "session.ping") return this.send("session.pong", { ping_nonce: frame.payload["nonce"] })
    if (frame.event_seq !== undefined) this.send("session.ack", { last_processed_seq: frame.event_seq })
    if (frame.type === "session.error" || frame.type === "job.error") throw new Error(JSON.stringify(frame.payload))
    if (frame.type === "job.result") return this.ended(this.events)
    const answered = this.answers.get(frame.type)
    this.answers.delete(frame.type)
    answered?.(frame)
  }
}

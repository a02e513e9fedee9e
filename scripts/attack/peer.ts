/** A client of a few lines that keeps to no rule: raw envelopes over `ws`, so that what a runtime does is seen as it is. */
import { randomBytes } from "node:crypto"
import type { Socket } from "node:net"
import { WebSocket } from "ws"
import { within } from "./small.js"

/** A message as it came. */
export interface Frame {
  readonly type: string
  readonly id?: string
  readonly job_id?: string
  readonly event_seq?: number
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly payload: any
  /** Its size on the wire. */
  readonly bytes: number
}

/** How a peer begins. */
export interface PeerOptions {
  /** Default `secret`; null for none. */
  readonly token?: string | null
  /** False: no hello. */
  readonly hello?: boolean
  readonly features?: ReadonlyArray<string>
  /** Whether frames are kept in `frames`. Default true. */
  readonly keep?: boolean
  /** The address that it connects from, one of 127.0.0.0/8. */
  readonly from?: string
  /** Headers of its upgrade. */
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds for the welcome. Default 10,000. */
  readonly millis?: number
}

/** Options of a submit. */
export interface Submit {
  readonly lease?: Readonly<Record<string, ReadonlyArray<string>>>
  readonly key?: string
  /** More fields of the payload. */
  readonly more?: object
}

const features = [
  "heartbeat",
  "list_jobs",
  "subscribe",
  "lease_expires_at",
  "cost.budget",
  "model.use",
  "progress",
  "result_chunk",
  "agent_versions",
  "artifacts",
  "provisioned_credentials"
]

/** An id that a runtime accepts. */
export const newId = (): string => randomBytes(16).toString("hex").toUpperCase()

/** Whether it ends a job. */
export const isEnd = (frame: Frame): boolean => frame.type === "job.result" || frame.type === "job.error"

export class Peer {
  readonly socket: WebSocket
  readonly frames: Array<Frame> = []
  closed: { readonly code: number; readonly reason: string } | undefined
  session = ""
  welcome: Frame | undefined
  private readonly listeners = new Set<(frame: Frame | undefined) => void>()

  private constructor(url: string, { from, headers = {}, keep = true }: PeerOptions) {
    this.socket = new WebSocket(url, {
      maxPayload: 0,
      perMessageDeflate: false,
      headers,
      ...(from === undefined ? {} : { localAddress: from })
    })
    this.socket.on("message", (data: Buffer) => {
      const frame = { ...(JSON.parse(data.toString("utf8")) as Omit<Frame, "bytes">), bytes: data.length }
      if (keep) this.frames.push(frame)
      for (const listener of this.listeners) listener(frame)
    })
    this.socket.on("error", () => undefined)
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString("utf8") }
      for (const listener of this.listeners) listener(undefined)
    })
  }

  /** Connects and says hello. Rejects where no connection is made or no welcome comes in time. */
  static async open(url: string, options: PeerOptions = {}): Promise<Peer> {
    const peer = new Peer(url, options)
    const millis = options.millis ?? 10_000
    const opened = new Promise<boolean>((resolve) => {
      peer.socket.once("open", () => resolve(true))
      peer.socket.once("close", () => resolve(false))
    })
    if (!(await within(millis, opened, false))) {
      peer.destroy()
      throw new Error("no connection is made")
    }
    if (options.hello === false) return peer
    const answered = peer.next(millis, ({ type }) => type === "session.welcome" || type === "session.error")
    peer.hello(options.token === undefined ? "secret" : options.token, options.features)
    peer.welcome = await answered
    peer.session = String((peer.welcome as { session_id?: string } | undefined)?.session_id ?? "")
    if (peer.welcome?.type === "session.welcome") return peer
    peer.destroy()
    throw new Error(
      peer.welcome === undefined
        ? `no welcome within ${millis / 1000} s`
        : `refused: ${peer.welcome.payload?.code as string}`
    )
  }

  hello(token: string | null, offered: ReadonlyArray<string> = features): void {
    this.send("session.hello", {
      client: { name: "attack", version: "1" },
      ...(token === null ? {} : { auth: { scheme: "bearer", token } }),
      capabilities: { features: offered }
    })
  }

  /** Sends a message and returns its id. */
  send(type: string, payload: object, more: object = {}): string {
    const id = newId()
    const text = JSON.stringify({
      arcp: "1.1",
      id,
      type,
      ...(this.session === "" ? {} : { session_id: this.session }),
      ...more,
      payload
    })
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text)
    return id
  }

  /** Sends a text that need not be a message. */
  raw(text: string): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text)
  }

  /** The next frame like this; undefined once the time is over or the connection has ended. */
  next(millis: number, like: (frame: Frame) => boolean): Promise<Frame | undefined> {
    if (this.closed !== undefined) return Promise.resolve(undefined)
    let listener: ((frame: Frame | undefined) => void) | undefined
    const found = new Promise<Frame | undefined>((resolve) => {
      listener = (frame) => {
        if (frame === undefined || like(frame)) resolve(frame)
      }
      this.listeners.add(listener)
    })
    return within(millis, found, undefined).finally(() => this.listeners.delete(listener!))
  }

  /** Sends a request and waits for what answers it. */
  request(type: string, payload: object, millis = 5_000, more: object = {}): Promise<Frame | undefined> {
    let id = ""
    const answer = this.next(
      millis,
      (frame) => frame.payload?.request_id === id || frame.payload?.ping_nonce === id || frame.payload?.id === id
    )
    id = this.send(type, payload, more)
    return answer
  }

  /** The milliseconds until a pong; undefined where none came. */
  async ping(millis = 5_000): Promise<number | undefined> {
    const nonce = newId()
    const started = performance.now()
    const pong = this.next(millis, ({ payload }) => payload?.ping_nonce === nonce)
    this.send("session.ping", { nonce, sent_at: new Date().toISOString() })
    return (await pong) === undefined ? undefined : performance.now() - started
  }

  /** `job.accepted`, or the refusal; undefined where nothing came. */
  submit(agent: string, input: unknown, options: Submit = {}, millis = 5_000): Promise<Frame | undefined> {
    const { key, lease, more } = options
    return this.request(
      "job.submit",
      {
        agent,
        input,
        ...(lease === undefined ? {} : { lease_request: lease }),
        ...(key === undefined ? {} : { idempotency_key: key }),
        ...more
      },
      millis
    )
  }

  /** Submits and waits for the job's end: the terminal message, the refusal, or undefined where neither came in time. */
  async run(agent: string, input: unknown, options: Submit = {}, millis = 5_000): Promise<Frame | undefined> {
    const ended: Array<Frame> = []
    let jobId: string | undefined
    const end = this.next(millis, (frame) => {
      if (!isEnd(frame)) return false
      ended.push(frame)
      return frame.job_id === jobId
    })
    const accepted = await this.submit(agent, input, options, millis)
    if (accepted === undefined || accepted.type !== "job.accepted") return accepted
    jobId = accepted.payload.job_id as string
    return ended.find((frame) => frame.job_id === jobId) ?? end
  }

  /** Stops reading, so that what the runtime sends stays with it. */
  deaf(): void {
    ;(this.socket as unknown as { _socket: Socket })._socket.pause()
  }

  destroy(): void {
    this.socket.terminate()
  }
}

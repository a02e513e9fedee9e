/**
 * What the scripted clients of other SDKs have in common: a connection, a reader that may die, and what waits for its frames. How frames
 * are matched, and which fields they must have, is each client's own.
 */
import { Data, Deferred, Effect, FiberId, Schema, type Scope, Stream } from "effect"
import { type Connection, Connector, type TransportError } from "../../../src/transport/Connection.js"

const fiberId = FiberId.none

/** A frame as a client of another SDK reads it: JSON, nothing checked. */
export interface Wire {
  readonly [key: string]: any
}

/** What an SDK's call fails with. `code` is the protocol's, or `TRANSPORT`, `READER_DIED`, `CLIENT`. */
export class SdkError extends Data.TaggedError("SdkError")<{
  readonly code: string
  readonly message: string
  readonly retryable?: boolean
  readonly details?: Wire | undefined
}> {}

export const errorOf = (payload: Wire): SdkError =>
  new SdkError({
    code: String(payload.code),
    message: String(payload.message),
    retryable: payload.retryable === true,
    details: payload.details ?? undefined
  })

/** A job as an SDK's handle shows it. */
export class SdkJob {
  jobId = ""
  accepted: Wire = {}
  readonly events: Array<Wire> = []
  readonly chunks: Array<Wire> = []
  readonly acceptance = Deferred.unsafeMake<SdkJob, SdkError>(fiberId)
  readonly completion = Deferred.unsafeMake<unknown, SdkError>(fiberId)
  /** The text of a streamed result. */
  get streamed(): string {
    return this.chunks
      .map(({ data, encoding }) => (encoding === "base64" ? Buffer.from(data, "base64").toString("utf8") : data))
      .join("")
  }
  get result(): Effect.Effect<unknown, SdkError> {
    return Deferred.await(this.completion)
  }
  fail(error: SdkError): void {
    Deferred.unsafeDone(this.acceptance, Effect.fail(error))
    Deferred.unsafeDone(this.completion, Effect.fail(error))
  }
}

/** What a resume needs. */
export interface Facts {
  readonly sessionId: string
  readonly resumeToken: string
  readonly lastSeq: number
}

/** What a submit may carry. */
export interface SubmitOptions {
  readonly idempotencyKey?: string
  readonly lease?: Wire
  readonly expiresAt?: string
  readonly maxRuntimeSec?: number
}

/** How a test drives a client, whichever it is. */
export abstract class SdkClient {
  protected connection!: Connection
  readonly seen: Array<Wire> = []
  sessionId = ""
  resumeToken = ""
  lastSeq = 0
  features: ReadonlyArray<string> = []
  /** Why the reader reads no further. */
  dead: SdkError | undefined = undefined
  /** Fails when the reader dies. */
  readonly death = Deferred.unsafeMake<never, SdkError>(fiberId)
  protected readonly jobs = new Map<string, SdkJob>()
  protected readonly lists = new Map<string, Deferred.Deferred<ReadonlyArray<Wire>, SdkError>>()
  protected readonly welcomed = Deferred.unsafeMake<Wire, SdkError>(fiberId)

  abstract readonly name: string
  /** Bytes of a frame, beyond which the client closes the connection. */
  readonly maxFrame: number = Number.POSITIVE_INFINITY
  protected abstract id(): string
  protected abstract hello(token: string, resume: Facts | undefined): Wire
  /** Handles a frame. What it throws ends the reader. */
  protected abstract onFrame(frame: Wire): void
  protected abstract pendingSubmits(): Iterable<SdkJob>
  abstract submit(agent: string, input?: unknown, options?: SubmitOptions): Effect.Effect<SdkJob, SdkError>
  abstract subscribe(jobId: string, history: boolean): Effect.Effect<SdkJob, SdkError>
  abstract cancel(jobId: string): Effect.Effect<void>
  abstract close: Effect.Effect<void>

  /** Connects and says hello. */
  connect(token: string, resume?: Facts): Effect.Effect<Wire, SdkError | TransportError, Connector | Scope.Scope> {
    return Effect.gen(this, function* () {
      this.connection = yield* (yield* Connector).connect
      yield* Effect.forkScoped(this.read)
      yield* this.send("session.hello", this.hello(token, resume))
      return yield* Deferred.await(this.welcomed)
    })
  }

  get facts(): Facts {
    return { sessionId: this.sessionId, resumeToken: this.resumeToken, lastSeq: this.lastSeq }
  }

  list(): Effect.Effect<ReadonlyArray<Wire>, SdkError> {
    return Effect.gen(this, function* () {
      const id = this.id()
      const answer = yield* Deferred.make<ReadonlyArray<Wire>, SdkError>()
      this.lists.set(id, answer)
      yield* this.send("session.list_jobs", {}, {}, id)
      return yield* Deferred.await(answer)
    })
  }

  /** Drops the connection without a word. */
  get drop(): Effect.Effect<void> {
    return this.connection.close(1006, "dropped")
  }

  get ended(): Effect.Effect<{ readonly code: number; readonly reason: string }> {
    return this.connection.closed
  }

  protected send(type: string, payload: Wire, head: Wire = {}, id: string = this.id()): Effect.Effect<void> {
    const session = this.sessionId === "" ? {} : { session_id: this.sessionId }
    return Effect.ignore(
      this.connection.send([JSON.stringify({ arcp: "1.1", id, type, ...session, ...head, payload })])
    )
  }

  protected answerPing({ payload }: Wire): void {
    Effect.runFork(this.send("session.pong", { ping_nonce: payload.nonce, received_at: "1970-01-01T00:00:00Z" }))
  }

  private readonly read: Effect.Effect<void> = Effect.suspend(() =>
    Stream.runForEach(this.connection.inbound, (frame) =>
      Effect.suspend(() => {
        if (this.dead !== undefined) return Effect.void
        const text = typeof frame === "string" ? frame : JSON.stringify(frame)
        if (Buffer.byteLength(text) > this.maxFrame) {
          this.failAll(new SdkError({ code: "TRANSPORT", message: "a frame was too large" }))
          return this.connection.close(1009, "message too big")
        }
        const wire = JSON.parse(text) as Wire
        this.seen.push(wire)
        try {
          this.onFrame(wire)
          if (typeof wire.event_seq === "number") this.lastSeq = Math.max(this.lastSeq, wire.event_seq)
        } catch (error) {
          this.dead = new SdkError({ code: "READER_DIED", message: `${wire.type}: ${String(error)}` })
          Deferred.unsafeDone(this.death, Effect.fail(this.dead))
          this.failAll(this.dead)
        }
        return Effect.void
      })
    ).pipe(
      Effect.ensuring(
        Effect.sync(() => this.failAll(new SdkError({ code: "TRANSPORT", message: "the transport was closed" })))
      )
    )
  )

  protected failAll(error: SdkError): void {
    Deferred.unsafeDone(this.welcomed, Effect.fail(error))
    for (const job of [...this.pendingSubmits(), ...this.jobs.values()]) job.fail(error)
    for (const list of this.lists.values()) Deferred.unsafeDone(list, Effect.fail(error))
    this.lists.clear()
  }

  protected event(job: SdkJob | undefined, { payload }: Wire): void {
    if (job === undefined) return
    if (payload.kind === "result_chunk") job.chunks.push(payload.body)
    else job.events.push(payload)
  }

  protected listed({ payload }: Wire): void {
    const list = this.lists.get(payload.request_id)
    if (list !== undefined) Deferred.unsafeDone(list, Effect.succeed(payload.jobs))
    this.lists.delete(payload.request_id)
  }
}

/** Throws where a field that an SDK demands is missing or of another type. */
export const demand = <A, I>(schema: Schema.Schema<A, I>, value: unknown): A => Schema.decodeUnknownSync(schema)(value)

/** The features of 1.1, in the order of the specification. */
export const features11 = [
  "heartbeat",
  "ack",
  "list_jobs",
  "subscribe",
  "lease_expires_at",
  "cost.budget",
  "model.use",
  "provisioned_credentials",
  "progress",
  "result_chunk",
  "agent_versions"
]

let made = 0
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/** A bare ULID, fresh. */
export const ulid = (): string => {
  let text = ""
  for (let n = ++made, i = 0; i < 16; i++, n = Math.floor(n / 32)) text = crockford[n % 32] + text
  return `01JPEER000${text}`
}

/** A UUIDv7, fresh. */
export const uuid7 = (): string => `01920000-0000-7000-8000-${(++made).toString(16).padStart(12, "0")}`

/** A trace id, fresh. */
export const traceId = (): string => (++made).toString(16).padStart(32, "a")

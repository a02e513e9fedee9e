/** A raw client for tests of the runtime: sends envelopes, keeps what comes, and waits for what is expected. */
import { Effect, Either, type Scope, Stream } from "effect"
import { Envelope } from "../../src/protocol/index.js"
import { type Connection, Connector, type TransportError } from "../../src/transport/Connection.js"

export type Frame = Envelope.RawEnvelope & { readonly payload: Record<string, any> }

export const allFeatures = [
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
  "agent_versions",
  "x-vendor.effect-arcp.agent_errors"
]

/** Of a client that is never slowed: one that negotiates `ack` has to acknowledge (§6.5). */
export const withoutAck = allFeatures.filter((feature) => feature !== "ack")

let counter = 0

export interface Peer {
  readonly connection: Connection
  /** Everything received so far. */
  readonly seen: ReadonlyArray<Frame>
  /** Sends a message; answers its id. */
  readonly send: (type: string, payload?: object, head?: object) => Effect.Effect<string>
  readonly raw: (frame: string) => Effect.Effect<void>
  /** The first frame, from the last one taken on, that fits; those before it are passed over. */
  readonly next: (type: string, fits?: (frame: Frame) => boolean) => Effect.Effect<Frame>
  /** The answer to a request. */
  readonly reply: (id: string) => Effect.Effect<Frame>
  /** The first terminal message of a job. */
  readonly terminal: (jobId: string) => Effect.Effect<Frame>
  /** Waits for the end of the connection. */
  readonly ended: Effect.Effect<{ readonly code: number; readonly reason: string }>
  readonly drop: Effect.Effect<void>
  readonly events: () => ReadonlyArray<Frame>
}

/** Connects without saying anything. */
export const dial: Effect.Effect<Peer, TransportError, Connector | Scope.Scope> = Effect.gen(function* () {
  const connector = yield* Connector
  const connection = yield* connector.connect
  const seen: Array<Frame> = []
  const replies = new Map<string, Frame>()
  const terminals = new Map<string, Frame>()
  let waiters: Array<() => void> = []
  let ended = false
  const wake = () => {
    const all = waiters
    waiters = []
    for (const w of all) w()
  }
  yield* Stream.runForEach(connection.inbound, (frame) =>
    Effect.sync(() => {
      if (typeof frame !== "string" && "_tag" in frame) throw new Error("bad frame from the runtime")
      const envelope = (typeof frame === "string" ? Either.getOrThrow(Envelope.fromText(frame)) : frame) as Frame
      seen.push(envelope)
      if (typeof envelope.payload.request_id === "string") replies.set(envelope.payload.request_id, envelope)
      if (envelope.type === "job.result" || envelope.type === "job.error") terminals.set(envelope.job_id!, envelope)
      wake()
    })
  ).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        ended = true
        wake()
      })
    ),
    Effect.forkScoped
  )
  let at = 0
  const next = (type: string, fits: (frame: Frame) => boolean = () => true): Effect.Effect<Frame> =>
    Effect.async<Frame>((resume) => {
      const look = () => {
        while (at < seen.length) {
          const frame = seen[at++]!
          if (frame.type === type && fits(frame)) return resume(Effect.succeed(frame))
        }
        if (ended) {
          return resume(
            Effect.die(new Error(`the connection ended before ${type}; seen: ${seen.map((f) => f.type).join(", ")}`))
          )
        }
        waiters.push(look)
      }
      look()
    })
  const keyed = (map: ReadonlyMap<string, Frame>, key: string, what: string): Effect.Effect<Frame> =>
    Effect.async<Frame>((resume) => {
      const look = () => {
        const found = map.get(key)
        if (found !== undefined) return resume(Effect.succeed(found))
        if (ended) return resume(Effect.die(new Error(`the connection ended before ${what} ${key}`)))
        waiters.push(look)
      }
      look()
    })
  const reply = (id: string) => keyed(replies, id, "the reply to")
  return {
    connection,
    seen,
    send: (type, payload = {}, head = {}) =>
      Effect.suspend(() => {
        const id = `m${++counter}`
        return Effect.as(
          Effect.ignore(connection.send([JSON.stringify({ arcp: "1.1", id, type, payload, ...head })])),
          id
        )
      }),
    raw: (frame) => Effect.ignore(connection.send([frame])),
    next,
    reply,
    terminal: (jobId) => keyed(terminals, jobId, "the end of"),
    ended: connection.closed,
    drop: connection.close(1006, "dropped"),
    events: () => seen.filter((f) => f.event_seq !== undefined)
  }
})

/** Connects and says hello. */
export const hello = (
  options: { readonly token?: string; readonly features?: ReadonlyArray<string>; readonly resume?: object } = {}
) =>
  Effect.gen(function* () {
    const peer = yield* dial
    yield* peer.send("session.hello", {
      client: { name: "test", version: "1" },
      auth: { scheme: "bearer", token: options.token ?? "alice-token" },
      capabilities: { encodings: ["json"], features: options.features ?? allFeatures },
      ...(options.resume === undefined ? {} : { resume: options.resume })
    })
    const welcome = yield* peer.next("session.welcome")
    return { ...peer, welcome, sessionId: welcome.session_id!, token: welcome.payload.resume_token as string }
  })

/** A hello: what it is answered with, a welcome or a refusal, which is followed by the close with 1013. */
export const knock = (token: string, features: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const peer = yield* dial
    const id = yield* peer.send("session.hello", { auth: { scheme: "bearer", token }, capabilities: { features } })
    const answer = yield* Effect.raceFirst(peer.next("session.welcome"), peer.reply(id))
    if (answer.type !== "session.error") return answer
    const { code } = yield* peer.ended
    return code === 1013 ? answer : yield* Effect.dieMessage(`a refused hello is closed with ${code}, not with 1013`)
  })

/** Submits and answers the accepted frame. */
export const submit = (peer: Peer, agent: string, input?: unknown, rest: object = {}) =>
  Effect.flatMap(peer.send("job.submit", { agent, input, ...rest }), peer.reply)

/** Submits and waits for the end. */
export const run = (peer: Peer, agent: string, input?: unknown, rest: object = {}) =>
  Effect.flatMap(submit(peer, agent, input, rest), (accepted) => {
    if (accepted.type !== "job.accepted") return Effect.die(new Error(JSON.stringify(accepted.payload)))
    return peer.terminal(accepted.payload.job_id)
  })

/** The events of a job that the peer has seen. */
export const eventsOf = (peer: Peer, jobId: string): ReadonlyArray<Frame> =>
  peer.events().filter((frame) => frame.job_id === jobId)

/** A round trip: what the runtime sent before it has arrived. */
export const barrier = (peer: Peer) =>
  Effect.gen(function* () {
    const nonce = `barrier-${++counter}`
    yield* peer.send("session.ping", { nonce })
    yield* peer.next("session.pong", (frame) => frame.payload.ping_nonce === nonce)
  })

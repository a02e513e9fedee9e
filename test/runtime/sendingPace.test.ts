/**
 * An agent does not get ahead of what its runtime sends (ARCP 1.1 §6.5, §7.6): what many observers are sent of a job comes from memory, however
 * fast the job emits. Connections here take every frame at once, so that nothing but the sending takes time.
 */
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Queue, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Store } from "../../src/store/Store.js"
import { type Connection, Connector, type Frame, Server } from "../../src/transport/Connection.js"
import { withoutAck } from "./peer.js"
import { world } from "./world.js"

const events = 5_000
const observers = 16

/** A connection whose peer takes everything at once; sending a frame takes a few microseconds, as encoding does. */
const makeSink = Effect.gen(function* () {
  const inbound = yield* Queue.unbounded<string>()
  const gone = yield* Deferred.make<{ readonly code: number; readonly reason: string }>()
  const waiting = new Map<string, (payload: Record<string, any>) => void>()
  let count = 0
  const seqs: Array<number> = []
  let end: ((frame: Record<string, any>) => void) | undefined
  let chatting: string | undefined
  let pongs = 0
  const ended = new Promise<Record<string, any>>((resolve) => (end = resolve))
  const take = (frame: Frame): void => {
    for (const until = performance.now() + 0.003; performance.now() < until; );
    const text = String(frame)
    const seq = /"event_seq":(\d+)/.exec(text)?.[1]
    if (seq !== undefined) seqs.push(Number(seq))
    // Of events only the end is looked into.
    if (seq !== undefined && text.includes('"type":"job.event"')) return
    const { payload, type } = JSON.parse(text) as { readonly type: string; readonly payload: Record<string, any> }
    if (seq !== undefined) {
      end?.(payload)
      chatting = undefined
    }
    if (type === "session.pong" && chatting !== undefined) {
      pongs++
      chat(chatting)
    }
    const answered = type === "session.welcome" ? "welcome" : (payload["request_id"] as string | undefined)
    if (answered !== undefined) waiting.get(answered)?.(payload)
  }
  const connection: Connection = {
    transport: "sink",
    secure: true,
    remoteAddress: undefined,
    inbound: Stream.fromQueue(inbound),
    send: (frames) => Effect.sync(() => frames.forEach(take)),
    close: (code, reason) => Effect.asVoid(Deferred.succeed(gone, { code, reason })),
    closed: Deferred.await(gone)
  }
  const ask = (type: string, payload: object, session?: string) =>
    Effect.async<Record<string, any>>((resume) => {
      const id = `m${++count}`
      waiting.set(type === "session.hello" ? "welcome" : id, (answer) => resume(Effect.succeed(answer)))
      Queue.unsafeOffer(inbound, JSON.stringify({ arcp: "1.1", id, type, session_id: session, payload }))
    })
  /** Pings, and again at each pong, until a job has ended. */
  const chat = (session: string): void => {
    chatting = session
    const payload = { nonce: `n${++count}`, sent_at: new Date().toISOString() }
    Queue.unsafeOffer(
      inbound,
      JSON.stringify({ arcp: "1.1", id: `m${count}`, type: "session.ping", session_id: session, payload })
    )
  }
  const hello = Effect.map(
    ask("session.hello", {
      client: { name: "sink", version: "1" },
      auth: { scheme: "bearer", token: "alice-token" },
      capabilities: { encodings: ["json"], features: withoutAck }
    }),
    ({ session_id }) => session_id as string
  )
  return { ask, chat, connection, ended: Effect.promise(() => ended), hello, pongs: () => pongs, seqs }
})

/** Runs a job with many observers; `watched` is called once they are there. */
const observed = (
  watched: (sinks: ReadonlyArray<Effect.Effect.Success<typeof makeSink>>, ids: ReadonlyArray<string>) => void
) =>
  Effect.gen(function* () {
    const connections = yield* Queue.unbounded<Connection>()
    const go = yield* Deferred.make<void>()
    let reads = 0
    const store = Layer.effect(
      Store,
      Effect.map(Store, (store) => ({
        ...store,
        deliveries: (sessionId: string, afterSeq: number, limit: number) => {
          reads++
          return store.deliveries(sessionId, afterSeq, limit)
        }
      }))
    ).pipe(Layer.provide(MemoryStore.layer))
    const agents = Agent.untyped("fast", () =>
      Effect.gen(function* () {
        yield* Deferred.await(go)
        const job = yield* Job
        for (let n = 1; n <= events; n++) yield* job.log(`event ${n}`)
        return events
      }).pipe(Effect.orDie)
    )
    const transport = Layer.merge(
      Layer.succeed(Server, {
        connections: Stream.fromQueue(connections),
        stopAccepting: Effect.void,
        address: "sink:"
      }),
      Layer.succeed(Connector, { connect: Effect.dieMessage("nobody connects by it"), address: "sink:" })
    )
    const sinks = yield* Effect.gen(function* () {
      const sinks = yield* Effect.replicateEffect(makeSink, observers + 1)
      const ids: Array<string> = []
      for (const sink of sinks) {
        yield* Queue.offer(connections, sink.connection)
        ids.push(yield* sink.hello)
      }
      const [owner, ...others] = sinks
      const { job_id: jobId } = yield* owner!.ask("job.submit", { agent: "fast", input: null }, ids[0])
      for (const [i, other] of others.entries()) {
        yield* other.ask("job.subscribe", { job_id: jobId }, ids[i + 1])
      }
      watched(sinks, ids)
      yield* Deferred.succeed(go, undefined)
      for (const sink of sinks) expect(yield* sink.ended).toMatchObject({ result: events })
      return sinks
    }).pipe(Effect.provide(world({ agents, transport, store })))
    for (const { seqs } of sinks) {
      expect(seqs.length).toBeGreaterThanOrEqual(events + 1)
      expect(seqs.every((seq, i) => i === 0 || seq === seqs[i - 1]! + 1)).toBe(true)
    }
    return reads
  })

it.scopedLive("§7.6: what is live is sent to many observers from memory", () =>
  Effect.gen(function* () {
    expect(yield* observed(() => undefined)).toBe(0)
  })
)

it.scopedLive("§6.5, §7.6: observers that ask for answers without end do not stop the agent that they observe", () =>
  Effect.gen(function* () {
    let observers: Parameters<Parameters<typeof observed>[0]>[0] = []
    yield* observed((sinks, ids) => {
      observers = sinks.slice(1)
      for (const [i, sink] of observers.entries()) sink.chat(ids[i + 1]!)
    })
    // Each has a pong in a turn. The agent emits in bursts of hundreds of events: it has not waited for many turns beside its own.
    expect(Math.max(...observers.map(({ pongs }) => pongs()))).toBeLessThan(events / 20)
  })
)

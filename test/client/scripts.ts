/** A client with one job, and a runtime that says what a test tells it to. */
import { Chunk, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

/** A scripted runtime answers no session.close, and nobody moves the clock when the scope ends. */
export const clientOf = (options: ClientOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0, ...options }).pipe(
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provideMerge(Ids.layerSeeded(9))
  )

export const head = { session_id: "s" }

/** Takes the next connection, and welcomes it. */
export const greet = <R>(
  next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>,
  session: { readonly session_id: string } = head,
  resume_token = "rt_1"
) =>
  Effect.gen(function* () {
    const peer = yield* next
    const hello = yield* peer.expect("session.hello")
    const features = ["ack", "list_jobs", "subscribe", "result_chunk"]
    yield* peer.send("session.welcome", { resume_token, capabilities: { features, agents: ["a"] } }, session)
    return { ...peer, hello }
  })

export const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

export const withJob = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const next = yield* accepting
  const submitting = yield* Effect.fork(arcp.submit("a", 1))
  const peer = yield* greet(next)
  const submit = yield* peer.expect("job.submit")
  yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }, { ...head, job_id: "j" })
  const job = yield* Fiber.join(submitting)
  const event = (seq: number, kind: string, body: object) =>
    peer.send("job.event", { kind, ts: "t", body }, { ...head, job_id: "j", event_seq: seq })
  const result = (seq: number, payload: object) =>
    peer.send("job.result", { final_status: "success", ...payload }, { ...head, job_id: "j", event_seq: seq })
  const chunk = (seq: number, chunk_seq: number, data: string, encoding = "utf8", more = true, result_id = "r") =>
    event(seq, "result_chunk", { result_id, chunk_seq, data, encoding, more })
  return { arcp, next, peer, job, event, result, chunk }
})

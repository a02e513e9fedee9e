/** A client and a runtime that says what a test tells it to. */
import { expect } from "@effect/vitest"
import { Cause, Chunk, Effect, Exit, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { isTyped } from "./typed.js"

// The clock stands still when the scope ends.
export const client = (options: ClientOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0, ...options }).pipe(
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provideMerge(Ids.layerSeeded(9))
  )

export const head = { session_id: "s" }
export const allFeatures = ["ack", "list_jobs", "subscribe", "result_chunk", "progress", "cost.budget"]

export const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

/** Accepts the next connection and welcomes it. */
export const greet = <R>(
  next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>,
  features: ReadonlyArray<string> = allFeatures,
  at: object = head
) =>
  Effect.gen(function* () {
    const peer = yield* next
    const hello = yield* peer.expect("session.hello")
    yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features, agents: ["a"] } }, at)
    return { ...peer, hello }
  })

/** What a runtime says about one job. */
export const sayer = (peer: ScriptedPeer.ScriptedPeer, job_id = "j") => ({
  thought: (seq: number, text = `${seq}`, more: object = {}) =>
    peer.send("job.event", { kind: "thought", ts: "t", body: { text } }, { ...head, job_id, event_seq: seq, ...more }),
  result: (seq: number | undefined, payload: object = {}) =>
    peer.send("job.result", { final_status: "success", ...payload }, { ...head, job_id, event_seq: seq }),
  error: (code: string, more: object = {}, payload: object = {}) =>
    peer.send("job.error", { final_status: "error", code, message: "no", ...payload }, { ...head, job_id, ...more })
})

/** Submits, and accepts without naming the request, as most other runtimes do. */
export const submitted = (
  arcp: ArcpClient["Type"],
  peer: ScriptedPeer.ScriptedPeer,
  jobId: string,
  options?: Parameters<ArcpClient["Type"]["submit"]>[2]
) =>
  Effect.gen(function* () {
    const submitting = yield* Effect.fork(arcp.submit("a", 1, options))
    const submit = yield* peer.expect("job.submit")
    yield* peer.send("job.accepted", { job_id: jobId, agent: "a" }, { ...head, job_id: jobId })
    return { job: yield* Fiber.join(submitting), submit }
  })

/** A client with one job, and the runtime's side of it. */
export const withJob = (features?: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const arcp = yield* ArcpClient
    const next = yield* accepting
    const peer = yield* greet(next, features)
    const { job, submit } = yield* submitted(arcp, peer, "j")
    return { arcp, next, peer, job, submit, say: sayer(peer) }
  })

/** The typed error that an effect failed with; a success or a defect fails the test. */
export const failure = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) return expect.fail(`succeeded with ${JSON.stringify(exit.value)}`)
  const error = Cause.failureOption(exit.cause)
  if (Option.isNone(error)) return expect.fail(Cause.pretty(exit.cause))
  expect(isTyped(error.value)).toBe(true)
  return error.value
}

export const textsOf = (events: Chunk.Chunk<{ readonly body: unknown }>) =>
  Chunk.toReadonlyArray(events).map((event) => (event.body as { readonly text?: string }).text)

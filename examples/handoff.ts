/**
 * Starts with a cheap runtime and goes on with a better one where the answer is not good enough.
 *
 * It shows: an agent that knows that its answer is weak keeps the conversation as an artifact and says by a vendor event where to go
 * (ARCP 1.1 §8.2); the client checks the name of the runtime there before it hands anything over (§6.2), and both jobs are one trace
 * (§11). It brings its own runtimes.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Context, Data, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { claim } from "./support/claim.js"

const Answer = Schema.Struct({ text: Schema.String, confidence: Schema.Number })
const handoff = "x-vendor.example.handoff"

class Ask extends Agent.make("ask", {
  input: Schema.Struct({ question: Schema.String, deepAt: Schema.String }),
  output: Answer,
  events: { [handoff]: Schema.Struct({ runtime: Schema.String, url: Schema.String, transcript: Schema.String }) }
}) {}

class Continue extends Agent.make("continue", {
  input: Schema.Struct({ transcript: Schema.String }),
  output: Answer
}) {}

/** It tries, doubts, and says who may do better. */
const AskLive = Ask.toLayer(({ deepAt, question }) =>
  Effect.gen(function* () {
    const answer = { text: "It depends.", confidence: 0.3 }
    yield* Job.thought(`I am only ${answer.confidence} sure of: ${answer.text}`)
    const turns = [`you: ${question}`, `cheap: ${answer.text}`]
    const transcript = yield* Job.artifact(new TextEncoder().encode(turns.join("\n")), { contentType: "text/plain" })
    yield* Ask.emit(handoff, { runtime: "deep", url: deepAt, transcript: transcript.uri })
    return answer
  })
)

/** Where it runs, its jobs' traces and what they were given are written down, for the claims. */
const given: Array<{ readonly by: string; readonly trace: string; readonly transcript: string }> = []
const continueAs = (by: string) =>
  Continue.toLayer(({ transcript }) =>
    Effect.gen(function* () {
      const { traceId } = yield* Job
      given.push({ by, trace: traceId, transcript })
      return { text: `After ${transcript.split("\n").length} turns: 42.`, confidence: 0.97 }
    })
  )

/** A runtime of its own, with this name, until the end; where it listens. */
const start = <E, R>(name: string, agents: Layer.Layer<never, E, R>) =>
  ArcpRuntime.layer({ name }).pipe(
    Layer.provide(agents),
    Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
    Layer.provide(Authenticator.layerBearer({ "example-token": "you" })),
    Layer.provide(MemoryStore.layer),
    Layer.build,
    Effect.map((services) => Context.get(services, Server).address)
  )

const connect = (url: string) =>
  ArcpClient.layer({ auth: { token: Redacted.make("example-token") } }).pipe(
    Layer.provide(WebSocketClient.layer({ url })),
    Layer.build,
    Effect.map(Context.get(ArcpClient))
  )

/** What is there is not the runtime that was named. */
class WrongRuntime extends Data.TaggedError("WrongRuntime")<{ readonly message: string }> {}

/** Goes on at a runtime, if it has the name: nothing of the conversation leaves before that. */
const goOn = (to: { readonly runtime: string; readonly url: string }, transcript: string, traceId: string) =>
  Effect.gen(function* () {
    const arcp = yield* connect(to.url)
    const { name } = yield* arcp.runtime
    if (name !== to.runtime) return yield* new WrongRuntime({ message: `wanted ${to.runtime}, and there is ${name}` })
    return yield* arcp.submit(Continue, { transcript }, { trace: { traceId } })
  })

const program = Effect.gen(function* () {
  const deepAt = yield* start("deep", continueAs("deep"))
  const otherAt = yield* start("other", continueAs("other"))
  const cheap = yield* connect(yield* start("cheap", AskLive))

  const question = "What is the answer, and why is it “42”? ".repeat(500)
  const job = yield* cheap.submit(Ask, { question, deepAt })
  yield* Console.log(`${job.jobId} runs on ${(yield* cheap.runtime).name}`)
  const [to] = yield* job.events.pipe(
    Stream.filter((event) => event._tag === handoff),
    Stream.map(({ body }) => body),
    Stream.runCollect
  )
  const weak = yield* job.result
  yield* Console.log(`  "${weak.text}", sure to ${weak.confidence}; it says: go on at ${to?.runtime}`)
  if (to === undefined || job.traceId === undefined)
    return yield* Effect.dieMessage("the first runtime did not name another one")

  const { bytes } = yield* cheap.artifacts.fetch(to.transcript)
  const transcript = new TextDecoder().decode(bytes)
  const refused = yield* Effect.flip(goOn({ ...to, url: otherAt }, transcript, job.traceId))
  yield* Console.log(`not handed over: ${refused.message}`)
  const next = yield* goOn(to, transcript, job.traceId)
  const better = yield* next.result
  yield* Console.log(`${next.jobId} runs on deep\n  "${better.text}", sure to ${better.confidence}`)

  yield* claim("a runtime with another name was given nothing", refused._tag === "WrongRuntime" && given.length === 1)
  yield* claim(
    `the whole conversation arrived, ${bytes.length} bytes`,
    given[0]?.by === "deep" && given[0].transcript === `you: ${question}\ncheap: ${weak.text}`
  )
  yield* claim(`both jobs are one trace, ${job.traceId}`, given[0]?.trace === job.traceId)
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.timeout("30 seconds")))

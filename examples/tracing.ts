/**
 * Follows one request through the client, the runtime and a delegated job, as one trace of OpenTelemetry.
 *
 * It shows: a submit carries the trace of the span in which it is made (ARCP 1.1 §11), a job is a span below it, and a delegated job one
 * below that. Client and runtime have tracers of their own, as in two processes: what connects them is on the wire. It brings its own
 * runtime, and exports to memory.
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { NodeRuntime } from "@effect/platform-node"
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Effect, Layer, Redacted, Schema } from "effect"
import { claim } from "./support/claim.js"

class Translate extends Agent.make("translate", { input: Schema.String, output: Schema.String }) {}
class Publish extends Agent.make("publish", { input: Schema.String, output: Schema.String }) {}

const AgentsLive = Layer.merge(
  Translate.toLayer((text) => Job.tool("dictionary.look-up", { text }, Effect.succeed(text.toUpperCase()))),
  Publish.toLayer((text) =>
    Effect.flatMap(Job.delegate(Translate, text, { lease: { "tool.call": ["dictionary.*"] } }), (translated) =>
      Effect.withSpan(Effect.succeed(`published: ${translated}`), "print")
    )
  )
)

const exporter = new InMemorySpanExporter()
const telemetry = (serviceName: string) =>
  NodeSdk.layer(() => ({ resource: { serviceName }, spanProcessor: new SimpleSpanProcessor(exporter) }))

const RuntimeLive = ArcpRuntime.layer({ name: "tracing" }).pipe(
  Layer.provide(AgentsLive),
  Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
  Layer.provide(Authenticator.layerBearer({ "example-token": "you" })),
  Layer.provide(MemoryStore.layer),
  Layer.provide(telemetry("runtime"))
)

const ClientLive = Layer.unwrapEffect(
  Effect.map(Server, ({ address }) =>
    ArcpClient.layer({ auth: { token: Redacted.make("example-token") } }).pipe(
      Layer.provide(WebSocketClient.layer({ url: address }))
    )
  )
)

const request = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const lease = { "agent.delegate": ["translate"], "tool.call": ["dictionary.*"] }
  const job = yield* arcp.submit(Publish, "hello", { lease })
  return yield* job.result
}).pipe(Effect.withSpan("request"))

/** A span with those below it, as lines. */
const tree = (spans: ReadonlyArray<ReadableSpan>, parent: string | undefined, indent: string): ReadonlyArray<string> =>
  spans
    .filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)
    .flatMap((span) => {
      const { attributes, name, resource } = span
      const what = attributes["arcp.agent"] ?? attributes["arcp.tool"] ?? ""
      const line = `${indent}${name} ${String(what)} (${String(resource.attributes["service.name"])})`
      return [line, ...tree(spans, span.spanContext().spanId, `${indent}  `)]
    })

const program = Effect.gen(function* () {
  yield* Console.log(yield* request)
  const all = exporter.getFinishedSpans()
  const root = all.find(({ name }) => name === "request")
  const trace = all.filter((span) => span.spanContext().traceId === root?.spanContext().traceId)
  yield* Console.log(`trace ${root?.spanContext().traceId}`)
  yield* Effect.forEach(tree(trace, undefined, "  "), (line) => Console.log(line))

  const parentOf = (span: ReadableSpan | undefined) =>
    trace.find((other) => other.spanContext().spanId === span?.parentSpanContext?.spanId)
  const jobOf = (agent: string) => all.find(({ attributes }) => attributes["arcp.agent"] === agent)
  const [parent, child] = [jobOf("publish@1.0.0"), jobOf("translate@1.0.0")]
  yield* claim(
    "both jobs are of the trace in which the client submitted",
    trace.includes(parent!) && trace.includes(child!)
  )
  yield* claim("the job is a span below the client's", parentOf(parent) === root && root !== undefined)
  yield* claim("the delegated job is one below it", parentOf(child) === parent && parent !== undefined)
})

const main = Effect.provide(program, [Layer.provideMerge(ClientLive, RuntimeLive), telemetry("client")])
NodeRuntime.runMain(Effect.timeout(main, "30 seconds"))

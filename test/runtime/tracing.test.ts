/** Traces: where the runtime makes spans, and what goes on to tools and sub-agents (ARCP 1.1 §11). */
import { FetchHttpClient, HttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Layer, Logger, LogLevel, Option, Tracer } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Agent, Job } from "../../src/agent/index.js"
import { hello, run, submit } from "./peer.js"
import { world } from "./world.js"
import { recording } from "../support/spans.js"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"

/** A tool server that keeps the `traceparent` of each request. */
const toolServer = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly seen: ReadonlyArray<string>; readonly stop: () => void }>((resume) => {
    const seen: Array<string> = []
    const server = createServer((request, response) => {
      seen.push(String(request.headers.traceparent))
      response.end("ok")
    })
    server.listen(0, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      resume(Effect.succeed({ url, seen, stop: () => server.close() }))
    })
  }),
  ({ stop }) => Effect.sync(stop)
)

const agents = Layer.mergeAll(
  Agent.untyped("caller", (url) => Effect.flatMap(HttpClient.get(String(url)), (response) => response.text)).pipe(
    Layer.provide(FetchHttpClient.layer)
  ),
  Agent.untyped("parent", (url) =>
    Job.delegate("caller", url, { lease: { "net.fetch": [`${String(url)}**`], "cost.budget": ["USD:1"] } })
  ),
  Agent.untyped("payer", () => Effect.as(Job.spend("cost.x", "0.25 USD"), "paid"))
)

describe("§11 traces", () => {
  it.scopedLive("the trace goes on to a tool server and to a sub-agent, and each job has a span of its own", () =>
    Effect.gen(function* () {
      const { layer, spans } = yield* recording
      const tools = yield* toolServer
      const end = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const lease_request = {
          "net.fetch": [`${tools.url}**`],
          "agent.delegate": ["caller"],
          "cost.budget": ["USD:2"]
        }
        const id = yield* peer.send(
          "job.submit",
          { agent: "parent", input: tools.url, lease_request },
          { trace_id: `00-${traceId}-00f067aa0ba902b7-01` }
        )
        return yield* Effect.flatMap(peer.reply(id), (accepted) => peer.terminal(accepted.job_id!))
      }).pipe(Effect.provide(Layer.provide(world({ agents }), layer)))
      expect(end.payload).toMatchObject({ final_status: "success", result: "ok" })
      const [parent, child] = spans.filter((span) => span.name === "arcp.job")
      expect([parent!.traceId, child!.traceId]).toEqual([traceId, traceId])
      expect(child!.spanId).not.toBe(parent!.spanId)
      expect(Option.getOrThrow(child!.parent).traceId).toBe(traceId)
      expect(tools.seen.length).toBe(1)
      expect(tools.seen[0]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-0[01]$`))
    })
  )

  it.scopedLive(
    "§14 neither spans nor lines hold the queries of URLs that an agent asks, also where it fails with them",
    () =>
      Effect.gen(function* () {
        const { layer, spans } = yield* recording
        const lines: Array<string> = []
        const logger = Logger.make(({ cause, message }) => void lines.push(`${String(message)} ${Cause.pretty(cause)}`))
        const dies = Agent.untyped("dies", (url) => Effect.orDie(HttpClient.get(String(url)))).pipe(
          Layer.provide(FetchHttpClient.layer)
        )
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          for (const agent of ["caller", "dies"]) {
            // Nothing listens there.
            const lease = { lease_request: { "net.fetch": ["http://127.0.0.1:1/**"] } }
            const end = yield* run(peer, agent, "http://127.0.0.1:1/a?token=hunter2", lease)
            expect(end.payload.final_status).toBe("error")
          }
        }).pipe(
          Effect.provide(
            Layer.provide(
              world({ agents: Layer.merge(agents, dies) }),
              Layer.mergeAll(layer, Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All))
            )
          )
        )
        const shown = spans.map(({ attributes, name, status }) =>
          JSON.stringify([
            name,
            [...attributes],
            status._tag === "Ended" && status.exit._tag === "Failure"
              ? Cause.prettyErrors(status.exit.cause).map(({ message, stack }) => [message, stack])
              : ""
          ])
        )
        expect(shown.filter((span) => span.includes("127.0.0.1:1/a?…"))).toHaveLength(4)
        expect(lines.some((line) => line.includes("127.0.0.1:1/a?…"))).toBe(true)
        expect([...shown, ...lines].join("\n")).not.toContain("hunter2")
      })
  )

  it.scopedLive("the parent of a job's span says whether its trace is sampled, also where no traceparent came", () =>
    Effect.gen(function* () {
      const { layer, spans } = yield* recording
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const sampled of [false, true]) {
          const extensions = { "x-vendor.opentelemetry.tracecontext": { sampled } }
          const id = yield* peer.send("job.submit", { agent: "payer" }, { trace_id: traceId, extensions })
          const accepted = yield* peer.reply(id)
          yield* peer.terminal(accepted.job_id!)
        }
      }).pipe(Effect.provide(Layer.provide(world({ agents }), layer)))
      const parents = spans.filter((span) => span.name === "arcp.job").map((span) => Option.getOrThrow(span.parent))
      expect(parents.map(({ sampled }) => sampled)).toEqual([false, true])
    })
  )

  it.scopedLive("a child's parent is the span of the handler that delegates it, unless that is of another trace", () =>
    Effect.gen(function* () {
      const { layer, spans } = yield* recording
      const foreign = Tracer.externalSpan({ traceId: "f".repeat(32), spanId: "e".repeat(16) })
      const delegating = Layer.mergeAll(
        Agent.untyped("echo", (input) => Effect.succeed(input)),
        Agent.untyped("inside", () => Effect.withSpan(Job.delegate("echo", 1), "own work")),
        Agent.untyped("outside", () => Effect.withParentSpan(Job.delegate("echo", 1), foreign))
      )
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const agent of ["inside", "outside"]) {
          const id = yield* peer.send(
            "job.submit",
            { agent, lease_request: { "agent.delegate": ["echo"] } },
            { trace_id: `00-${traceId}-00f067aa0ba902b7-01` }
          )
          const accepted = yield* peer.reply(id)
          expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("success")
        }
      }).pipe(Effect.provide(Layer.provide(world({ agents: delegating }), layer)))
      const children = spans.filter(
        (span) => span.name === "arcp.job" && span.attributes.get("arcp.agent") === "echo@1.0.0"
      )
      expect(children.map((span) => span.traceId)).toEqual([traceId, traceId])
      const parents = children.map((span) => Option.getOrThrow(span.parent).spanId)
      expect(parents[0]).toBe(spans.find((span) => span.name === "own work")!.spanId)
      expect(parents[1]).not.toBe(foreign.spanId)
    })
  )

  it.scopedLive("a span for each session with its id, and the budget that a job has left", () =>
    Effect.gen(function* () {
      const { layer, spans } = yield* recording
      const sessionId = yield* Effect.scoped(
        Effect.gen(function* () {
          const peer = yield* hello()
          yield* run(peer, "payer", undefined, { lease_request: { "cost.budget": ["USD:1.00"] } })
          const accepted = yield* submit(peer, "payer")
          yield* peer.terminal(accepted.job_id!)
          return peer.sessionId
        }).pipe(Effect.provide(Layer.provide(world({ agents }), layer)))
      )
      const session = spans.find((span) => span.name === "arcp.session")!
      expect(session.attributes.get("arcp.session_id")).toBe(sessionId)
      expect(session.status._tag).toBe("Ended")
      const budgets = spans
        .filter((span) => span.name === "arcp.job")
        .map((span) => span.attributes.get("arcp.budget.remaining"))
      expect(budgets).toEqual(['{"USD":"0.75"}', undefined])
    })
  )
})

/** Bytes of HTTP responses in flight, through a whole runtime (ARCP 1.1 §14). */
import type { ServerResponse } from "node:http"
import { FetchHttpClient, HttpClient } from "@effect/platform"
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Metric, Schedule, Stream } from "effect"
import { Agent } from "../../src/agent/index.js"
import { PermissionDenied } from "../../src/protocol/index.js"
import { Metrics } from "../../src/runtime/index.js"
import { JobResponses } from "../../src/runtime/jobs/handler/jobResponses.js"
import type { Running } from "../../src/runtime/jobs/Running.js"
import { defaults } from "../../src/runtime/kernel/Limits.js"
import { server } from "../agent/httpServers.js"
import { hello, run, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

/** Sends as many bytes as the path says; with `/open` behind it, the response ends only where the test ends it. */
const filling = () => {
  const open: Array<ServerResponse> = []
  return Effect.map(
    server((request, response) => {
      const [, bytes, how] = request.url!.split("/")
      response.write(Buffer.alloc(Number(bytes), 65))
      if (how === "open") open.push(response)
      else response.end()
      return true
    }),
    (self) => ({ self, open })
  )
}

const text = (url: string) => Effect.flatMap(HttpClient.get(url), (response) => response.text)

/** Says with what it failed. */
const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onFailure: (error) => (error as { readonly cause?: unknown }).cause as object,
    onSuccess: () => ({ _tag: "read" })
  })

/** Fibers that handlers left behind. */
const left: Array<Fiber.RuntimeFiber<object>> = []

const agents = Layer.mergeAll(
  Agent.untyped("text", (url) => Effect.map(refusal(text(String(url))), (end) => ({ ...end }))),
  // Reads a body without an end until the gate opens.
  Agent.untyped("holds", (input) =>
    Effect.gen(function* () {
      const { name, url } = input as { name: string; url: string }
      // Another job may have the room for a moment.
      const reading = yield* Effect.fork(Effect.retry(text(url), { schedule: Schedule.spaced("5 millis") }))
      yield* Deferred.await(gate(name))
      yield* Fiber.interrupt(reading)
      return "released"
    })
  ),
  Agent.untyped("leaves", (url) =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const { stream } = yield* HttpClient.get(String(url))
      const reading = Stream.runForEach(stream, () => Deferred.succeed(begun, undefined))
      left.push(yield* Effect.forkDaemon(refusal(reading)))
      yield* Deferred.await(begun)
      return "left"
    })
  )
).pipe(Layer.provide(FetchHttpClient.layer))

const lease = (origin: string) => ({ lease_request: { "net.fetch": [`${origin}/**`] } })

const reached = (limit: string) =>
  Effect.map(
    Metric.snapshot,
    (pairs) =>
      pairs
        .filter(({ metricKey }) => metricKey.name === "arcp_limit_reached")
        .filter(({ metricKey }) => metricKey.tags.some(({ value }) => value === limit))
        .map(({ metricState }) => (metricState as unknown as { readonly count: number }).count)[0] ?? 0
  )

describe("responses in flight", () => {
  it.scopedLive("§14 are bounded for a job, and over all jobs of a runtime", () =>
    Effect.gen(function* () {
      const { self } = yield* filling()
      const before = [yield* reached("responseBytesPerJob"), yield* reached("responseBytes")] as const
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const granted = lease(self.origin)
        const alone = yield* run(peer, "text", `${self.origin}/70000`, granted)
        expect(alone.payload.result).toMatchObject({ _tag: "ResponseRoomFull", scope: "job", limit: 60_000 })
        // One job has half of what there is.
        const holding = yield* submit(peer, "holds", { name: "first", url: `${self.origin}/50000/open` }, granted)
        const attempt = run(peer, "text", `${self.origin}/40000`, granted)
        const refused = yield* Effect.map(attempt, ({ payload }) => payload.result as { readonly scope?: string }).pipe(
          Effect.repeat({ until: ({ scope }) => scope === "runtime" }),
          Effect.timeout("20 seconds")
        )
        expect(refused).toMatchObject({ _tag: "ResponseRoomFull", limit: 100_000 })
        yield* Deferred.succeed(gate("first"), undefined)
        expect((yield* peer.terminal(holding.job_id!)).payload.result).toBe("released")
      }).pipe(Effect.provide(world({ agents, limits: { responseBytesPerJob: 60_000, responseBytes: 100_000 } })))
      expect(yield* reached("responseBytesPerJob")).toBeGreaterThan(before[0])
      expect(yield* reached("responseBytes")).toBeGreaterThan(before[1])
    })
  )

  it.scopedLive(
    "§14 the end of a job gives back what a fiber holds that its handler left behind, and ends its reading",
    () =>
      Effect.gen(function* () {
        const { open, self } = yield* filling()
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          yield* run(peer, "leaves", `${self.origin}/5000/open`, lease(self.origin))
          open[0]!.write("more")
          expect(yield* Fiber.join(left.pop()!)).toMatchObject({ _tag: "PermissionDenied" })
        }).pipe(Effect.provide(world({ agents, limits: { responseBytesPerJob: 10_000, responseBytes: 20_000 } })))
      })
  )

  it("§14 jobs of anonymous principals have a share of the runtime's room together, and the rest is for others", () => {
    const limits = { ...defaults, responseBytesPerJob: 60_000, responseBytes: 100_000 }
    const rooms = new JobResponses(limits, Metrics.makeMeter("rooms"), new PermissionDenied({ message: "ended" }))
    const roomOf = (principalId: string) =>
      rooms.of({ live: { record: { principalId } }, finished: false, watch: () => undefined } as unknown as Running)
    const guests = [roomOf("anonymous:1"), roomOf("anonymous:2"), roomOf("anonymous:3")]
    expect(guests.map((room) => room.take(24_000)?._tag)).toEqual([undefined, "ResponseRoomFull", "ResponseRoomFull"])
    expect(guests[1]!.take(12_000)).toBeUndefined()
    const alice = roomOf("alice")
    expect(alice.take(30_000)).toBeUndefined()
    // What others hold is not there for anonymous jobs either.
    expect(roomOf("bob").take(16_000)).toBeUndefined()
    expect(guests[2]!.take(10_000)).toMatchObject({ _tag: "ResponseRoomFull", scope: "runtime" })
    for (const room of guests.slice(0, 2)) room.release(12_000)
    expect(guests[2]!.take(10_000)).toBeUndefined()
  })
})

/** Numbers that a client's program passes: refused by field before anything is sent, never taken for "none" (ARCP 1.1 §5, §7.1). */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { Agent } from "../../src/agent/index.js"
import { ArcpClient, type ArcpClientService, type ClientOptions } from "../../src/client/index.js"
import { InvalidRequest } from "../../src/protocol/index.js"
import { TestArcp } from "../../src/testing/index.js"

const agents = Agent.untyped("echo", (input) => Effect.succeed(input))

const message = (call: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.flip(call), (error) => (error instanceof InvalidRequest ? error.message : String(error)))

const invalidDate = new Date(Number.NaN)
const beyond = [Number.NaN, Infinity, -Infinity, 2 ** 53, 1e300, 0.5, -1, "5", null, 5n, {}] as const

describe("numbers that a client is given", () => {
  it.scoped("§5, §7.1 those of a call are refused by field", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const calls: ReadonlyArray<
        readonly [string, (client: ArcpClientService, value: never) => Effect.Effect<unknown, unknown>, number]
      > = [
        ["payload.max_runtime_sec", (c, value) => c.submit("echo", 1, { maxRuntimeSec: value }), 1],
        ["payload.limit", (c, value) => Stream.runCollect(c.listJobs({ pageSize: value })), 1],
        ["payload.from_event_seq", (c, value) => c.subscribe("j", { history: true, fromEventSeq: value }), 0],
        ["payload.from_event_seq", (c, value) => c.subscribe("j", { fromEventSeq: value }), 0],
        [
          "retainSeconds",
          (c, value) => c.artifacts.put(new Uint8Array(1), { contentType: "text/plain", retainSeconds: value }),
          1
        ]
      ]
      for (const [field, call, least] of calls) {
        for (const value of [...beyond, ...(least === 0 ? [] : [0])]) {
          // Null is what JSON has for "none"; an option's own default stands for it in a subscription.
          if (value === null && field === "payload.from_event_seq") continue
          expect(yield* message(call(client, value as never)), `${field} ${String(value)}`).toMatch(
            new RegExp(`^${field.replace(".", "\\.")}: must be a whole number`)
          )
        }
      }
    }).pipe(Effect.provide(TestArcp.layer(agents)))
  )

  it.scoped("§9.5 times that are none are refused by field", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      for (const expiresAt of [Number.NaN, Infinity, -Infinity, 8.65e15, 1e300]) {
        expect(yield* message(client.submit("echo", 1, { expiresAt }))).toBe(
          "payload.lease_constraints.expires_at: is not a time"
        )
      }
      for (const created_after of [Number.NaN, Infinity, invalidDate, 5, "yesterday"]) {
        const listing = Stream.runCollect(client.listJobs({ created_after: created_after as never }))
        expect(yield* message(listing), String(created_after)).toMatch(/^payload\.filter\.created_after: /)
      }
    }).pipe(Effect.provide(TestArcp.layer(agents)))
  )

  it.scoped("§7.1 the largest that count are sent as they are", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("echo", { n: 2 ** 60 }, { maxRuntimeSec: Number.MAX_SAFE_INTEGER })
      // Numbers of the input are the program's own.
      expect(yield* job.result).toEqual({ n: 2 ** 60 })
      const page = yield* Stream.runCollect(client.listJobs({ pageSize: Number.MAX_SAFE_INTEGER }))
      expect(Chunk.toReadonlyArray(page).map(({ job_id }) => job_id)).toEqual([job.jobId])
    }).pipe(Effect.provide(TestArcp.layer(agents)))
  )

  const options: ReadonlyArray<readonly [keyof ClientOptions, ReadonlyArray<unknown>]> = [
    ...(["connectTimeout", "handshakeTimeout", "closeTimeout", "backoff", "maxBackoff", "ackInterval"] as const).map(
      (name) => [name, [Number.NaN, -1, -5n, "-5 seconds", "soon", [Number.NaN, 0], null, {}]] as const
    ),
    ["maxAttempts", [Number.NaN, -1, 0.5, "5", 2 ** 53, null]],
    ...(["ackEvery", "ackBytes", "eventBuffer", "maxFrameBytes"] as const).map(
      (name) => [name, [Number.NaN, -1, 0, 0.5, "5", 2 ** 53, null]] as const
    ),
    ["maxArtifactBytes", [Number.NaN, -1, 0.5, "5", 2 ** 53, null]]
  ]

  it.each(options)("§6.1 an option %s that is none ends the client with what is wrong", (name, values) =>
    Effect.runPromise(
      Effect.forEach(
        values,
        (value) =>
          Effect.gen(function* () {
            const client = yield* ArcpClient
            const ended = yield* Effect.fork(Stream.runLast(client.status))
            for (const call of [client.connected, client.submit("echo", 1), client.ping]) {
              expect(yield* message(call), `${name} ${String(value)}`).toMatch(
                new RegExp(`^options\\.${name}: must be`)
              )
            }
            expect(yield* Fiber.join(ended)).toMatchObject({
              value: { _tag: "Closed", error: { _tag: "InvalidRequest" } }
            })
          }).pipe(
            Effect.provide(
              TestArcp.layer(agents, {
                client: { auth: { token: Redacted.make("test-token") }, [name]: value as never }
              })
            )
          ),
        { discard: true }
      ) as Effect.Effect<void>
    )
  )

  it.scoped("§6.1 options at their bounds are taken", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("echo", 1)
      expect(yield* job.result).toBe(1)
    }).pipe(
      Effect.provide(
        Layer.fresh(
          TestArcp.layer(agents, {
            client: {
              connectTimeout: Duration.infinity,
              closeTimeout: 0,
              backoff: "10 millis",
              maxAttempts: Number.POSITIVE_INFINITY,
              ackEvery: 1,
              eventBuffer: Number.POSITIVE_INFINITY,
              maxArtifactBytes: 0
            }
          })
        )
      )
    )
  )
})

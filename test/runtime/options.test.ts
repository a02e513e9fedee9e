/** Options that are numbers or durations: what is none is named at once, and never means "no limit" or "at once". */
import { describe, expect, it } from "@effect/vitest"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { Cause, Duration, Effect, Exit, Layer, Redacted } from "effect"
import { Agent, GuardedFileSystem, GuardedHttpClient, Job } from "../../src/agent/index.js"
import { PinnedHttpClient } from "../../src/agent/node.js"
import { Jwt } from "../../src/auth/jwt.js"
import * as Options from "../../src/protocol/Options.js"
import { ArcpRuntime, Credentials, LiteLlm, SlowConsumers } from "../../src/runtime/index.js"
import { MemoryTransport, WebSocketGlobal } from "../../src/transport/index.js"
import { StdioTransport, WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import { TestArcp } from "../../src/testing/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { InvalidRequest } from "../../src/protocol/index.js"

const notDurations = [Number.NaN, -1, -5n, "-5 seconds", "soon", [Number.NaN, 0], [-1, 0], null, {}, true]
const notCounts = [Number.NaN, -1, 0.5, 2 ** 53, "5", 5n, null, {}]

describe("options", () => {
  it("each kind takes what it is, and absent ones are fine", () => {
    const taken: Readonly<Record<Options.Kind, ReadonlyArray<unknown>>> = {
      duration: [0, 5, 0.5, 5n, Infinity, "5 seconds", "0 millis", Duration.infinity, Duration.zero, [1, 5], undefined],
      interval: [5, 0.5, 5n, "5 seconds", Duration.infinity, undefined],
      count: [1, 2 ** 53 - 1, Infinity, undefined],
      countOrZero: [0, -0, 1, Infinity, undefined],
      size: [0, 0.5, 2 ** 53, Infinity, undefined]
    }
    const refused: Readonly<Record<Options.Kind, ReadonlyArray<unknown>>> = {
      duration: notDurations,
      interval: [...notDurations, 0, "0 seconds", Duration.zero],
      count: [...notCounts, 0],
      countOrZero: notCounts,
      size: [Number.NaN, -1, "5", 5n, null, {}]
    }
    for (const kind of Object.keys(taken) as ReadonlyArray<Options.Kind>) {
      for (const value of taken[kind]) expect(Options.problem({ value }, { value: kind }), kind).toBeUndefined()
      for (const value of refused[kind]) {
        expect(Options.problem({ value }, { value: kind })?.name, `${kind} ${String(value)}`).toBe("value")
      }
    }
    expect(() => Options.check("It", { a: 1, b: Number.NaN }, { a: "count", b: "count" })).toThrow(
      "It: b must be a whole number, 1 or greater; it is NaN"
    )
  })

  const url = "ws://127.0.0.1:1/arcp"
  const gate = { authorize: () => Effect.die("unused") } as never
  const layers: ReadonlyArray<readonly [string, string, (value: never) => unknown]> = [
    ["ArcpRuntime", "heartbeatInterval", (value) => ArcpRuntime.layer({ heartbeatInterval: value })],
    ["ArcpRuntime", "resumeWindow", (value) => ArcpRuntime.layer({ resumeWindow: value })],
    ["ArcpRuntime", "drainTime", (value) => ArcpRuntime.layer({ drainTime: value })],
    ["Credentials", "revokeTimeout", (value) => ArcpRuntime.layer({ credentials: { revokeTimeout: value } })],
    ["Credentials", "issueTimeout", (value) => Credentials.layer({ issueTimeout: value })],
    ["SlowConsumers", "patience", (value) => SlowConsumers.layer({ patience: value })],
    ["MemoryTransport", "capacity", (value) => MemoryTransport.layerWith({ capacity: value })],
    ["WebSocketGlobal", "maxFrameBytes", (value) => WebSocketGlobal.layer({ url, maxFrameBytes: value })],
    ["WebSocketGlobal", "connectTimeout", (value) => WebSocketGlobal.layer({ url, connectTimeout: value })],
    ["WebSocketClient", "maxFrameBytes", (value) => WebSocketClient.layer({ url, maxFrameBytes: value })],
    ["WebSocketClient", "closeTimeout", (value) => WebSocketClient.layer({ url, closeTimeout: value })],
    ["WebSocketServer", "maxFrameBytes", (value) => WebSocketServer.layer({ port: 0, maxFrameBytes: value })],
    ["WebSocketServer", "handshakeTimeout", (value) => WebSocketServer.layer({ port: 0, handshakeTimeout: value })],
    ["StdioTransport", "inboundBytes", (value) => StdioTransport.layerServer({ inboundBytes: value })],
    ["StdioTransport", "killTimeout", (value) => StdioTransport.layerClient({ command: "true", killTimeout: value })],
    [
      "GuardedHttpClient",
      "maxRedirects",
      (value) => GuardedHttpClient.make({} as never, gate, { maxRedirects: value })
    ],
    [
      "GuardedHttpClient",
      "maxResponseBytes",
      (value) => GuardedHttpClient.make({} as never, gate, { maxResponseBytes: value })
    ],
    ["GuardedFileSystem", "fileBytes", (value) => GuardedFileSystem.make({} as never, gate, { fileBytes: value })],
    ["PinnedHttpClient", "connectTimeout", (value) => PinnedHttpClient.layer({ connectTimeout: value })],
    [
      "LiteLlm",
      "requestTimeout",
      (value) =>
        Layer.provide(
          LiteLlm.layer({ url: "http://127.0.0.1:1", masterKey: Redacted.make("k"), requestTimeout: value }),
          FetchHttpClient.layer
        )
    ],
    [
      "Jwt",
      "clockTolerance",
      (value) =>
        Jwt.layer({
          keys: { secret: Redacted.make("x".repeat(32)) },
          algorithms: ["HS256"],
          clockTolerance: value
        })
    ]
  ]

  it.each(layers)("%s takes no %s that is NaN or negative", (owner, name, make) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (const value of [Number.NaN, -1]) {
          // Some are checked when the layer is made, others when it is built.
          const exit = yield* Effect.exit(
            Effect.scoped(
              Effect.suspend(() => {
                const made = make(value as never)
                return Layer.isLayer(made) ? Layer.build(made as unknown as Layer.Layer<never>) : Effect.succeed(made)
              })
            )
          )
          expect(Exit.isFailure(exit) && Cause.pretty(exit.cause), String(value)).toContain(`${owner}: ${name} must be`)
        }
      })
    )
  )

  it.each([Number.NaN, 0, -1, 0.5, 2 ** 53])("§7.5 an agent with maxRunning %s is not registered", (maxRunning) =>
    Effect.runPromise(
      Effect.gen(function* () {
        const echo = Agent.untyped("echo", (input) => Effect.succeed(input), { maxRunning })
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(TestArcp.layer(echo))))
        expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
          "the agent echo@1.0.0 cannot be registered: maxRunning must be a whole number, 1 or greater"
        )
      })
    )
  )
})

describe("numbers that an agent passes", () => {
  it.scoped("§8.2, §10 are refused by field where they count something", () =>
    Effect.gen(function* () {
      const refusal = (call: Effect.Effect<unknown, unknown, Job>) =>
        Effect.map(Effect.flip(call), (error) => (error instanceof InvalidRequest ? error.message : String(error)))
      const agent = Agent.untyped("a", () =>
        Effect.gen(function* () {
          const refused: Array<[string, string]> = []
          const bad = [Number.NaN, Infinity, -1]
          for (const value of [...bad, 2 ** 53, 0.5]) {
            const uri = "file:///a"
            refused.push([
              "artifact_ref.byte_size: must be",
              yield* refusal(Job.artifactRef({ uri, contentType: "a/b", byteSize: value }))
            ])
          }
          for (const value of bad) {
            refused.push(["progress.current: must be", yield* refusal(Job.progress({ current: value }))])
            refused.push(["progress.total: must be", yield* refusal(Job.progress({ current: 1, total: value }))])
          }
          for (const value of [Number.NaN, Infinity, -Infinity]) {
            refused.push(["metric.value: must be", yield* refusal(Job.metric({ name: "n", value }))])
          }
          for (const value of [...bad, 0, 2 ** 53]) {
            refused.push(["maxRuntimeSec: must be", yield* refusal(Job.startChild("a", 1, { maxRuntimeSec: value }))])
          }
          for (const value of [Number.NaN, Infinity, 8.65e15]) {
            refused.push(["lease_constraints.expires_at", yield* refusal(Job.startChild("a", 1, { expiresAt: value }))])
          }
          return refused
        })
      )
      const job = yield* Effect.flatMap(ArcpClient, (client) =>
        client.submit("a", 1, { lease: { "agent.delegate": ["a"] } })
      ).pipe(
        Effect.flatMap((job) => job.result),
        Effect.provide(TestArcp.layer(agent))
      )
      for (const [expected, message] of job as ReadonlyArray<[string, string]>) expect(message).toContain(expected)
    })
  )
})

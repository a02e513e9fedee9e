/** §14 Frames of a client are bounded before they are sent: a call that is too large fails alone. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Redacted } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import { webSocket } from "../runtime/backends.js"
import { world } from "../runtime/world.js"
import { accepting, client as scripted, greet } from "./dialogue.js"

const client = (options: ClientOptions = {}) =>
  ArcpClient.layerNoIds({ auth: { token: Redacted.make("alice-token") }, ...options }).pipe(
    Layer.provide(Ids.layer),
    Layer.provide(world({ transport: webSocket }))
  )

const codeOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? (Option.getOrThrow(Cause.failureOption(exit.cause)) as { code: string }).code : "success"

describe("a client over a WebSocket", () => {
  it.scopedLive.each([
    ["ASCII", "x".repeat(5_000_000), {}],
    ["text of three bytes a character", "€".repeat(1_500_000), {}],
    ["escapes", "\u0001".repeat(800_000), {}],
    ["its own bound", "x".repeat(10_000), { maxFrameBytes: 8_192 }]
  ] as const)("§14 fails a submit over the frame limit (%s) and stays connected", ([, text, options]) =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const beside = yield* arcp.submit("never")
      expect(codeOf(yield* Effect.exit(arcp.submit("echo", { text })))).toBe("INVALID_REQUEST")
      expect(codeOf(yield* Effect.exit(arcp.submit("echo", [text], { idempotencyKey: "k" })))).toBe("INVALID_REQUEST")
      const job = yield* arcp.submit("echo", "small")
      expect(yield* job.result).toBe("small")
      yield* beside.cancel()
    }).pipe(Effect.provide(client(options)))
  )

  it.scoped("§14 sends the largest artifact that maxArtifactBytes allows, whatever its frame takes", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const peer = yield* greet(yield* accepting, ["artifacts"])
      yield* Effect.fork(arcp.artifacts.put(new Uint8Array(4_000_000), { contentType: "application/octet-stream" }))
      const { data } = (yield* peer.expect("artifact.put")).payload
      expect(Buffer.from(data as string, "base64").length).toBe(4_000_000)
    }).pipe(Effect.provide(scripted({ maxArtifactBytes: 4_000_000 })))
  )

  it.scopedLive("§14 sends a submit just below the frame limit", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const job = yield* arcp.submit("slow", "x".repeat(4_190_000))
      expect(job.jobId).toMatch(/^job_/)
    }).pipe(Effect.provide(client()))
  )
})

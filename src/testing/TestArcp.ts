/**
 * A client and a runtime in one process, as one Layer: agents in, `ArcpClient` out.
 *
 * Everything passes through the encoder, as over a network. Time is `Clock`'s, so `TestClock` drives every timer; ids
 * come from a seed, so a test sees the same ids in every run. Not covered: real sockets, real files, crashes.
 */
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Authenticator } from "../auth/Authenticator.js"
import { ArcpClient, type ClientOptions } from "../client/index.js"
import { Ids } from "../protocol/Ids.js"
import { ArcpRuntime } from "../runtime/index.js"
import { MemoryStore } from "../store/index.js"
import * as MemoryTransport from "../transport/MemoryTransport.js"
import * as FaultyTransport from "./FaultyTransport.js"

/**
 * How the pair is set up.
 *
 * @since 0.1.0
 * @category options
 */
export interface TestOptions<P extends ArcpRuntime.Replacements = {}> {
  /** Options of the client. Default: the test's token. */
  readonly client?: ClientOptions | undefined
  /** `drainTime` is 0 here: nobody moves the clock once a test has ended. */
  readonly runtime?: ArcpRuntime.RuntimeOptions | undefined
  /** Layers in the place of the runtime's own concerns, as in `ArcpRuntime.layer`. */
  readonly replace?: P | undefined
  /** Seeds the ids of both sides. Default 1. */
  readonly seed?: number | undefined
}

/**
 * A client of a runtime that hosts the given agents, and the faults of the connection between them.
 *
 * @example
 * ```ts
 * import { expect, it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { ArcpClient } from "effect-arcp/client"
 * import { TestArcp } from "effect-arcp/testing"
 *
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
 *
 * it.effect("echoes", () =>
 *   Effect.gen(function* () {
 *     const client = yield* ArcpClient
 *     const job = yield* client.submit("echo", { text: "hello" })
 *     expect(yield* job.result).toEqual({ text: "hello" })
 *   }).pipe(Effect.provide(TestArcp.layer(EchoLive)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R, const P extends ArcpRuntime.Replacements = {}>(
  agents: Layer.Layer<never, E, R>,
  options: TestOptions<P> = {}
): Layer.Layer<
  ArcpClient | FaultyTransport.Faults,
  E | ArcpRuntime.ReplaceError<P>,
  R | ArcpRuntime.ReplaceContext<P>
> => {
  const runtime = ArcpRuntime.layerNoIds({ drainTime: 0, ...options.runtime, replace: options.replace }).pipe(
    Layer.provide(agents),
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provide(MemoryStore.layer),
    Layer.provide(Authenticator.layerBearer({ "test-token": "test" })),
    Layer.provide(Ids.layerSeeded(options.seed ?? 1))
  )
  return ArcpClient.layerNoIds({ auth: { token: Redacted.make("test-token") }, ...options.client }).pipe(
    Layer.provideMerge(FaultyTransport.layer),
    Layer.provide(runtime),
    Layer.provide(Ids.layerSeeded((options.seed ?? 1) + 1))
  )
}

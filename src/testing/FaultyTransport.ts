/**
 * A transport that breaks on command: wraps any `Connector` and cuts, holds, delays, drops and reorders what passes.
 *
 * Nothing happens by itself; a test asks for each fault through {@link Faults}. Time comes from `Clock`.
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import {
  BadFrame,
  closeCodes,
  type Connection,
  ConnectionClosed,
  Connector,
  type Frame,
  type Inbound,
  TransportError
} from "../transport/Connection.js"

/**
 * The faults that a test can ask for, and what has passed so far.
 *
 * @since 0.1.0
 * @category services
 */
export interface FaultsService {
  /** Ends the connection of the moment as if the network had broken. What is under way is lost. */
  readonly cut: Effect.Effect<void>
  /** Cuts right before the `n`th inbound frame from now on would be delivered (1 is the next). */
  readonly cutBeforeInbound: (n: number) => Effect.Effect<void>
  /** Cuts right before the `n`th outbound frame from now on would be sent: it and all after it are lost. */
  readonly cutBeforeOutbound: (n: number) => Effect.Effect<void>
  /** The next `n` connects fail. */
  readonly refuseConnects: (n: number) => Effect.Effect<void>
  /** Holds inbound frames back until {@link release}. */
  readonly hold: Effect.Effect<void>
  /** Delivers what was held back, and holds nothing back any more. */
  readonly release: Effect.Effect<void>
  /** Delivers every inbound chunk this much later; zero switches it off. */
  readonly delay: (duration: Duration.DurationInput) => Effect.Effect<void>
  /** Drops the next `n` inbound frames that `fits` accepts. */
  readonly dropInbound: (n: number, fits?: (frame: Inbound) => boolean) => Effect.Effect<void>
  /** Swaps the next two inbound frames that arrive together. */
  readonly swapInbound: Effect.Effect<void>
  /** Connections opened, cuts made, frames that passed in each direction. */
  readonly counts: Effect.Effect<{
    /** Connections opened. */
    readonly connects: number
    /** Connections cut. */
    readonly cuts: number
    /** Frames delivered to the client. */
    readonly inbound: number
    /** Frames sent by the client. */
    readonly outbound: number
  }>
}

/**
 * Controls the faults of the `Connector` beside it.
 *
 * @since 0.1.0
 * @category services
 */
export class Faults extends Context.Tag("effect-arcp/testing/Faults")<Faults, FaultsService>() {}

/**
 * A frame that has passed.
 *
 * @since 0.2.0
 * @category models
 */
export interface Passed {
  /** Whom it goes to. */
  readonly to: "client" | "runtime"
  /** Its JSON text; the envelope itself on a transport that passes references. */
  readonly frame: Frame
}

/**
 * Called with each frame that passes, in order, for a test that looks at the wire. It must not throw. Default: it does nothing. Frames
 * hold tokens and the values of credentials.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { ArcpClient } from "effect-arcp/client"
 * import { FaultyTransport, TestArcp } from "effect-arcp/testing"
 *
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
 * const frames: Array<FaultyTransport.Passed> = []
 *
 * const program = Effect.flatMap(ArcpClient, (client) => client.submit("echo", 1)).pipe(
 *   Effect.provide(TestArcp.layer(EchoLive)),
 *   Effect.provideService(FaultyTransport.Tap, (passed) => void frames.push(passed))
 * )
 * ```
 *
 * @since 0.2.0
 * @category services
 */
export class Tap extends Context.Reference<Tap>()("effect-arcp/testing/Tap", {
  defaultValue: (): ((passed: Passed) => void) => () => {}
}) {}

const make = (inner: Context.Tag.Service<Connector>, tap: (passed: Passed) => void) => {
  let connects = 0
  let cuts = 0
  let inbound = 0
  let outbound = 0
  let cutInboundAt = Number.POSITIVE_INFINITY
  let cutOutboundAt = Number.POSITIVE_INFINITY
  let refuse = 0
  let delay = 0
  let drop = 0
  let dropFits: (frame: Inbound) => boolean = () => true
  let swap = false
  let gate: Deferred.Deferred<void> | undefined
  let current: { readonly kill: Effect.Effect<void> } | undefined

  const wrap = (connection: Connection): Effect.Effect<Connection> =>
    Effect.gen(function* () {
      const broken = yield* Deferred.make<void>()
      let dead = false
      const kill = Effect.suspend(() => {
        if (dead) return Effect.void
        dead = true
        cuts++
        return Effect.zipRight(Deferred.succeed(broken, undefined), connection.close(closeCodes.abnormal, "cut"))
      })
      current = { kill }
      const frames = connection.inbound.pipe(
        Stream.mapChunksEffect((chunk) =>
          Effect.gen(function* () {
            if (delay > 0) yield* Clock.sleep(delay)
            if (gate !== undefined) yield* Effect.raceFirst(Deferred.await(gate), Deferred.await(broken))
            const out: Array<Inbound> = []
            for (const frame of chunk) {
              if (dead) break
              if (inbound + 1 >= cutInboundAt) {
                cutInboundAt = Number.POSITIVE_INFINITY
                yield* kill
                break
              }
              if (drop > 0 && dropFits(frame)) {
                drop--
                continue
              }
              inbound++
              if (!(frame instanceof BadFrame)) tap({ to: "client", frame })
              out.push(frame)
            }
            if (swap && out.length >= 2) {
              swap = false
              const [first, second] = [out[0]!, out[1]!]
              out[0] = second
              out[1] = first
            }
            return Chunk.unsafeFromArray(out)
          })
        ),
        Stream.interruptWhenDeferred(broken)
      )
      return {
        ...connection,
        inbound: frames,
        send: (batch) =>
          Effect.suspend(() => {
            if (dead) return Effect.fail(new ConnectionClosed({ code: closeCodes.abnormal, reason: "cut" }))
            const passing: Array<(typeof batch)[number]> = []
            for (const frame of batch) {
              if (outbound + 1 >= cutOutboundAt) {
                cutOutboundAt = Number.POSITIVE_INFINITY
                return Effect.zipRight(
                  passing.length === 0 ? Effect.void : connection.send(passing),
                  Effect.zipRight(kill, Effect.fail(new ConnectionClosed({ code: closeCodes.abnormal, reason: "cut" })))
                )
              }
              outbound++
              tap({ to: "runtime", frame })
              passing.push(frame)
            }
            return connection.send(passing)
          })
      }
    })

  const connect = Effect.suspend(() => {
    if (refuse > 0) {
      refuse--
      return Effect.fail(new TransportError({ operation: "connect", message: "refused by the faulty transport" }))
    }
    connects++
    return Effect.flatMap(inner.connect, wrap)
  })

  const faults: FaultsService = {
    cut: Effect.suspend(() => current?.kill ?? Effect.void),
    cutBeforeInbound: (n) => Effect.sync(() => void (cutInboundAt = inbound + n)),
    cutBeforeOutbound: (n) => Effect.sync(() => void (cutOutboundAt = outbound + n)),
    refuseConnects: (n) => Effect.sync(() => void (refuse = n)),
    hold: Effect.map(Deferred.make<void>(), (deferred) => void (gate = deferred)),
    release: Effect.suspend(() => {
      const held = gate
      gate = undefined
      return held === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(held, undefined))
    }),
    delay: (duration) => Effect.sync(() => void (delay = Duration.toMillis(duration))),
    dropInbound: (n, fits = () => true) =>
      Effect.sync(() => {
        drop = n
        dropFits = fits
      }),
    swapInbound: Effect.sync(() => void (swap = true)),
    counts: Effect.sync(() => ({ connects, cuts, inbound, outbound }))
  }
  return Context.make(Connector, { connect, address: inner.address }).pipe(Context.add(Faults, faults))
}

/**
 * Puts faults between a client and the connector below it.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { ArcpClient } from "effect-arcp/client"
 * import { FaultyTransport, TestArcp } from "effect-arcp/testing"
 *
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
 *
 * it.effect("survives a drop", () =>
 *   Effect.gen(function* () {
 *     const client = yield* ArcpClient
 *     const faults = yield* FaultyTransport.Faults
 *     const job = yield* client.submit("echo", "hello")
 *     yield* faults.cut
 *     return yield* job.result
 *   }).pipe(Effect.provide(TestArcp.layer(EchoLive)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Connector | Faults, never, Connector> = Layer.effectContext(
  Effect.zipWith(Connector, Tap, make)
)

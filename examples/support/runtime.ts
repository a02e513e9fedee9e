/**
 * Where an example's client connects: to the runtime at `ARCP_URL`, with the token `ARCP_TOKEN`, or else to a runtime in the same
 * process, on a free port of this machine, that hosts the agents that the example names.
 */
import { NodeContext } from "@effect/platform-node"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient, type ClientOptions } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { type Connector, Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Config, Console, Effect, Layer, Logger, LogLevel, Option, Redacted } from "effect"

const ownToken = "example-token"

/** The token of the example's client. */
export const token: Effect.Effect<Redacted.Redacted> = Config.redacted("ARCP_TOKEN").pipe(
  Effect.orElseSucceed(() => Redacted.make(ownToken))
)

/** A runtime in this process: agents, a store, who may connect, and where it listens. */
const own = <E>(agents: Layer.Layer<never, E, NodeContext.NodeContext>) =>
  ArcpRuntime.layer({ name: "example" }).pipe(
    Layer.provide(agents),
    Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
    Layer.provide(
      Layer.unwrapEffect(Effect.map(token, (own) => Authenticator.layerBearer({ [Redacted.value(own)]: "you" })))
    ),
    Layer.provide(MemoryStore.layer),
    Layer.provide(NodeContext.layer),
    // an example says itself what happens; of the runtime's log it shows what goes wrong
    Layer.provide(Logger.minimumLogLevel(LogLevel.Warning))
  )

/** The way to the runtime at `ARCP_URL`, or to one in this process that hosts these agents. */
export const transport = <E>(agents: Layer.Layer<never, E, NodeContext.NodeContext>): Layer.Layer<Connector, unknown> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const url = yield* Config.option(Config.nonEmptyString("ARCP_URL"))
      if (Option.isSome(url)) {
        yield* Console.log(`the runtime at ${url.value}`)
        return WebSocketClient.layer({ url: url.value })
      }
      const client = Effect.gen(function* () {
        const { address } = yield* Server
        yield* Console.log(`a runtime of this example's own, at ${address}`)
        return WebSocketClient.layer({ url: address })
      })
      return Layer.unwrapEffect(client).pipe(Layer.provide(own(agents)))
    })
  )

/** A client of the runtime at `ARCP_URL`, or of one in this process that hosts these agents. */
export const client = <E>(
  agents: Layer.Layer<never, E, NodeContext.NodeContext>,
  options: ClientOptions = {}
): Layer.Layer<ArcpClient, unknown> =>
  ArcpClient.layer({ auth: { token }, ...options }).pipe(Layer.provide(transport(agents)))

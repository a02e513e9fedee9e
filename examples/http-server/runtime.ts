/** The runtime that each of the three servers has beside its own pages. */
import type { AddressInfo } from "node:net"
import type { Server as HttpServer } from "node:http"
import { Agent } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import type { Server } from "effect-arcp/transport"
import { Effect, Layer, Schema } from "effect"

export class Greet extends Agent.make("greet", { input: Schema.String, output: Schema.String }) {}

/** A runtime on a server that is there already; its name says on which. */
export const runtimeOn = <E, R>(name: string, server: Layer.Layer<Server, E, R>) =>
  ArcpRuntime.layer({ name }).pipe(
    Layer.provide(Greet.toLayer((who) => Effect.succeed(`hello, ${who}`))),
    Layer.provide(server),
    Layer.provide(Authenticator.layerBearer({ "example-token": "you" })),
    Layer.provide(Layer.fresh(MemoryStore.layer))
  )

/** Listens on a free port until the end; which one it is. */
export const listening = (server: HttpServer) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
    }),
    () => Effect.sync(() => void server.close())
  )

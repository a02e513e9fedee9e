/**
 * Hosts the same agents in two runtimes of one program, one for everybody and one for the staff, with a client object for each.
 *
 * It shows: the two share the layer of their agents and nothing else: not tokens, not jobs, not artifacts; and that one runtime can listen
 * on several transports (`Servers.mergeAll`), where a job of one is seen from the other. It brings its own runtimes.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server, Servers } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Chunk, Console, Context, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { claim } from "./support/claim.js"

class Note extends Agent.make("note", { input: Schema.String, output: Schema.String }) {}

/** The one thing that both are given. */
const NoteLive = Note.toLayer((text) =>
  Effect.map(Job.artifact(new TextEncoder().encode(text), { contentType: "text/plain" }), ({ uri }) => uri)
)

/** A runtime on this server, with a store and a token of its own; where it listens. */
const start = <E, R>(name: string, token: string, server: Layer.Layer<Server, E, R>) =>
  ArcpRuntime.layer({ name }).pipe(
    Layer.provide(NoteLive),
    Layer.provideMerge(server),
    // Layers are shared by reference, and a runtime does not start with a store that another one has.
    Layer.provide(Layer.fresh(MemoryStore.layer)),
    Layer.provide(Authenticator.layerBearer({ [token]: "you" }))
  )

class Staff extends Context.Tag("Staff")<Staff, typeof Server.Service>() {}

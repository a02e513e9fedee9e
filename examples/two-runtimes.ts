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
import { Chunk, Console, Context, Effect, Layer, Logger, LogLevel, Redacted, Schema, Stream } from "effect"
import { claim } from "./support/claim.js"

class Note extends Agent.make("note", { input: Schema.String, output: Schema.String }) {}

/** The one thing that both are given. */
const NoteLive = Note.toLayer((text) =>
  Effect.map(Job.artifact(new TextEncoder().encode(text), { contentType: "text/plain" }), ({ uri }) => uri)
)

const addresses = new Map<string, ReadonlyArray<string>>()

/** A runtime on this server, with a store and a token of its own. */
const runtime = <E, R>(name: string, token: string, server: Layer.Layer<Server, E, R>) =>
  Layer.effectDiscard(Effect.map(Server, ({ address }) => addresses.set(name, address.split(", ")))).pipe(
    Layer.provideMerge(ArcpRuntime.layer({ name })),
    Layer.provide(NoteLive),
    Layer.provide(server),
    // A layer is built once in a program. Each is to have a store of its own; with one for both they would not start.
    Layer.provide(Layer.fresh(MemoryStore.layer)),
    Layer.provide(Authenticator.layerBearer({ [token]: "you" }))
  )

const port = () => WebSocketServer.layer({ port: 0 })
const Runtimes = Layer.merge(
  runtime("everybody", "token-1", port()),
  runtime("staff", "token-2", Servers.mergeAll(port(), port()))
)

const connect = (url: string | undefined, token: string) =>
  ArcpClient.layer({ auth: { token: Redacted.make(token) } }).pipe(
    Layer.provide(WebSocketClient.layer({ url: url ?? "" })),
    Layer.build,
    Effect.map(Context.get(ArcpClient))
  )

const program = Effect.gen(function* () {
  const [everybodyAt, staffAt] = [addresses.get("everybody") ?? [], addresses.get("staff") ?? []]
  yield* Console.log(`everybody at ${everybodyAt.join()}\nstaff at ${staffAt.join(" and ")}`)

  const everybody = yield* connect(everybodyAt[0], "token-1")
  const staff = yield* connect(staffAt[0], "token-2")
  const names = yield* Effect.forEach([everybody, staff], ({ runtime }) => Effect.map(runtime, ({ name }) => name))
  const job = yield* staff.submit(Note, "for the staff only")
  const uri = yield* job.result
  const { bytes } = yield* staff.artifacts.fetch(uri)
  yield* Console.log(`${job.jobId} of the staff's runtime left "${new TextDecoder().decode(bytes)}"`)

  const listed = (arcp: typeof ArcpClient.Service) =>
    Effect.map(
      Stream.runCollect(arcp.listJobs()),
      Chunk.map(({ job_id }) => job_id)
    )
  const noJob = yield* Effect.flip(everybody.subscribe(job.jobId, { history: true }))
  const noArtifact = yield* Effect.flip(everybody.artifacts.fetch(uri))
  const noEntry = yield* Effect.flip((yield* connect(everybodyAt[0], "token-2")).connected)
  const other = yield* connect(staffAt[1], "token-2")

  yield* claim("both host the agent, each under its own name", names.join() === "everybody,staff")
  yield* claim("a token of one does not open the other", noEntry._tag === "Unauthenticated")
  yield* claim(
    "a job of one is not in the other, though both call its owner “you”",
    noJob._tag === "JobNotFound" &&
      Chunk.isEmpty(yield* listed(everybody)) &&
      Chunk.contains(yield* listed(staff), job.jobId)
  )
  yield* claim("nor is its artifact", noArtifact._tag === "JobNotFound")
  yield* claim(
    "one runtime on two transports is one: its job is there on the other, too",
    Chunk.contains(yield* listed(other), job.jobId)
  )
})

// The runtime logs who looks on at whose job; here only what goes wrong is of interest.
const main = program.pipe(Effect.scoped, Effect.provide(Runtimes), Logger.withMinimumLogLevel(LogLevel.Warning))
NodeRuntime.runMain(Effect.timeout(main, "30 seconds"))

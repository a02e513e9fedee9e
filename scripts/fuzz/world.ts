/** A runtime under test, as the package is published: its agents do what their inputs say, within bounds. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cause, Context, Effect, Exit, Layer, Logger, LogLevel, Metric, Schema, Scope, Stream } from "effect"
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { VendorError } from "effect-arcp/protocol"
import { ArcpRuntime, JobScheduler, Limits, Metrics } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { Connector, MemoryTransport, Server } from "effect-arcp/transport"
import { WebSocketServer } from "effect-arcp/transport/ws"
import { type Open, overConnector, overSocket } from "./channel.js"

/** Where a world keeps what it keeps, and how it is reached. */
export interface WorldOptions {
  readonly transport: "memory" | "socket"
  readonly store: "memory" | "sqlite"
  /** Bad frames in a row that end a connection; absent: none do. */
  readonly badFramesInARow?: number
}

/** What lives in a runtime. */
export interface Living {
  readonly sessions: number
  readonly connections: number
  readonly running: number
  readonly pending: number
}

/** A runtime that runs. */
export interface World {
  readonly open: Open
  readonly living: () => Living
  /** What the runtime logged as an error: nothing that a peer sends may be one. */
  readonly errors: Array<string>
  readonly end: () => Promise<void>
}

/** Bearers by principal; the last one is the innocent's. */
export const principals = ["alice", "bob", "carol", "dave", "erin", "frank"] as const
export const innocent = "innocent"
export const bearerOf = (principal: string): string => `secret-of-${principal}`

/** Seconds for which a session outlives its connection. */
const resumeWindow = 4

const numberOf = (input: unknown, field: string, most: number): number => {
  const value = typeof input === "object" && input !== null ? (input as Record<string, unknown>)[field] : undefined
  return typeof value === "number" && value > 0 ? Math.min(Math.floor(value), most) : 0
}
const fieldOf = (input: unknown, field: string): unknown =>
  typeof input === "object" && input !== null ? (input as Record<string, unknown>)[field] : undefined
const textOf = (input: unknown, field: string): string => {
  const value = fieldOf(input, field)
  return typeof value === "string" ? value : ""
}

/** Says everything that an agent can say, with the input as what is said. */
const talk = (input: unknown) =>
  Effect.gen(function* () {
    const job = yield* Job
    const say = [
      () => job.log(textOf(input, "text")),
      () => job.thought(JSON.stringify(input) ?? ""),
      () => job.status(textOf(input, "kind"), textOf(input, "text")),
      () =>
        job.metric({ name: "n", value: fieldOf(input, "n") as number, dimensions: input as Record<string, unknown> }),
      () => job.progress({ current: fieldOf(input, "n") as number, message: textOf(input, "text") }),
      () => job.event("x-vendor.fuzz.said", input),
      () => job.event(textOf(input, "kind"), input),
      () => Effect.flatMap(job.toolCall("search", input), (id) => job.toolResult(id, { result: input })),
      () => job.artifactRef({ uri: textOf(input, "text"), contentType: "text/plain" })
    ]
    for (let i = 0; i < numberOf(input, "n", 40); i++) yield* Effect.ignore(say[i % say.length]!())
    return input
  })

class Typed extends Agent.make("typed", {
  input: Schema.Struct({ n: Schema.Number, text: Schema.optional(Schema.String) }),
  output: Schema.Struct({ n: Schema.Number })
}) {}

const hosted = (name: string, run: (input: unknown) => Effect.Effect<unknown, unknown, Job>) => Agent.untyped(name, run)

const agents = Layer.mergeAll(
  hosted("echo", Effect.succeed),
  hosted("talk", talk),
  hosted("chunks", (input) =>
    Job.streamResult(
      Stream.map(Stream.range(1, numberOf(input, "n", 20)), (i) => (i % 2 === 0 ? `${i}é` : new Uint8Array([i, 255]))),
      { encoding: "base64" }
    )
  ),
  hosted("fail", (input) =>
    Effect.fail(
      textOf(input, "text") === "" ? input : new VendorError({ code: "NO_LUCK", message: textOf(input, "text") })
    )
  ),
  hosted("die", (input) => Effect.die(input)),
  hosted("spend", (input) =>
    Effect.gen(function* () {
      for (let i = 0; i < numberOf(input, "n", 10); i++) yield* Job.spend("cost.work", textOf(input, "amount"))
      return yield* Job.remaining
    })
  ),
  hosted("delegate", (input) =>
    Job.delegate(textOf(input, "agent"), fieldOf(input, "input"), { lease: fieldOf(input, "lease") as never })
  ),
  hosted("handoff", (input) => Job.handoff(textOf(input, "agent"), fieldOf(input, "input"))),
  hosted("tool", (input) => Job.tool("work", input, Effect.succeed(input))),
  hosted("step", (input) => Job.step(textOf(input, "text"), Schema.Unknown, Effect.succeed(input))),
  Typed.toLayer(({ n }) => Effect.succeed({ n })),
  hosted("pause", (input) => Effect.as(Effect.sleep(numberOf(input, "pause", 20)), input)),
  // Ends for nothing but a cancel, or what ends it at last.
  hosted("keep", () => Effect.zipRight(Job.log("kept"), Effect.sleep(300)))
)

const limits = (badFramesInARow: number) =>
  Limits.layer({
    badFramesInARow,
    failedAuthentications: Number.POSITIVE_INFINITY,
    failedAuthenticationsPerAddress: Number.POSITIVE_INFINITY,
    unauthenticatedConnections: Number.POSITIVE_INFINITY,
    messagesPerSecond: Number.POSITIVE_INFINITY,
    // What has ended goes soon, so that what is held does not depend on how long a run goes on.
    retainEndedJobs: 40,
    retainEndedFor: "1 second",
    keyLifetime: "2 seconds",
    retainArtifactsFor: "1 second",
    retainArtifactsAtMost: "2 seconds",
    sweepEvery: "500 millis",
    historyEvents: 200,
    artifactsPerPrincipal: 100,
    runningJobs: 60,
    runningJobsPerPrincipal: 30,
    pendingJobs: 60,
    jobsPerPrincipal: 80,
    childrenPerJob: 3,
    delegationDepth: 3,
    delegationsPerJob: 6,
    steps: 20,
    cancelGrace: "1 second",
    leaseGrace: "100 millis"
  })

/** The one agent that is to die; that it did is logged. */
const isMeant = (message: string): boolean => message.includes("the agent die@1.0.0 failed unexpectedly")

/** What a runtime may say as a warning or less is not kept. */
const collecting = (errors: Array<string>) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      if (LogLevel.lessThan(logLevel, LogLevel.Error) || errors.length > 100) return
      const text = `${String(message)} ${Cause.isEmpty(cause) ? "" : Cause.pretty(cause)}`.slice(0, 2_000)
      if (!isMeant(text)) errors.push(text)
    })
  )

let worlds = 0

/** Starts a runtime. */
export const openWorld = async (options: WorldOptions): Promise<World> => {
  const name = `fuzz-${++worlds}`
  const errors: Array<string> = []
  const scope = await Effect.runPromise(Scope.make())
  const folder = options.store === "sqlite" ? mkdtempSync(join(tmpdir(), "arcp-fuzz-")) : undefined
  const beneath = Layer.mergeAll(
    options.transport === "socket" ? WebSocketServer.layer({ port: 0 }) : MemoryTransport.layerEncoded,
    folder === undefined ? MemoryStore.layer : SqliteStore.layer({ filename: join(folder, "arcp.db") }),
    Authenticator.layerBearer(
      Object.fromEntries([...principals, innocent].map((principal) => [bearerOf(principal), principal]))
    )
  )
  const layer = ArcpRuntime.layerWithConcerns({ name, resumeWindow: `${resumeWindow} seconds`, drainTime: 0 }).pipe(
    Layer.provide(agents),
    Layer.provide(limits(options.badFramesInARow ?? Number.POSITIVE_INFINITY)),
    Layer.provideMerge(beneath),
    Layer.provide(collecting(errors))
  )
  const context: Context.Context<JobScheduler | Server> = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  const scheduler = Context.get(context, JobScheduler)
  const connector = Context.getOption(context as unknown as Context.Context<Connector>, Connector)
  const gauge = (metric: Metric.Metric.Gauge<number>): number =>
    Effect.runSync(Metric.value(Metric.tagged(metric, "runtime", name))).value
  return {
    open:
      connector._tag === "Some" && options.transport === "memory"
        ? overConnector(connector.value)
        : overSocket(Context.get(context, Server).address),
    living: () => ({
      sessions: gauge(Metrics.sessions),
      connections: gauge(Metrics.connections),
      ...scheduler.counts()
    }),
    errors,
    end: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
    }
  }
}

import { createHash } from "node:crypto"
import { join } from "node:path"
import {
  Command,
  CommandExecutor,
  FetchHttpClient,
  FileSystem,
  HttpClient,
  HttpClientError,
  HttpPlatform,
  HttpServer,
  KeyValueStore,
  Path,
  Socket,
  SocketServer,
  Terminal,
  Worker,
  WorkerRunner
} from "@effect/platform"
import { SystemError } from "@effect/platform/Error"
import { NodeContext, NodeHttpClient, NodeSocket } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Data, Effect, Either, Layer, Schema, type Scope, Stream } from "effect"
import { deniedCause } from "../../src/agent/Denied.js"
import { ambient } from "../../src/agent/Guard.js"
import { guardedKeys, withheld } from "../../src/agent/internal/reach.js"
import { Agent, AgentRegistry, guard, type GuardOptions, Job, type JobService } from "../../src/agent/index.js"
import { AgentName } from "../../src/protocol/index.js"
import { BudgetExhausted, InternalError, LeaseExpired, PermissionDenied } from "../../src/protocol/Errors.js"
import { failure, gateOf, refused } from "./gates.js"
import { server } from "./httpServers.js"
import { makeTree, temporaryRoot } from "./trees.js"

const NodeLive = Layer.mergeAll(NodeContext.layer, NodeHttpClient.layer)

class Mailer extends Context.Tag("test/Mailer")<Mailer, { readonly send: Effect.Effect<string> }>() {}

/** The services of a handler whose agent was built with these. */
const guardedContext = <R>(context: Context.Context<R>, lease: Parameters<typeof gateOf>[0], options?: GuardOptions) =>
  guard(context as unknown as Context.Context<never>, gateOf(lease), options)

const serviceOf = <I, S>(context: Context.Context<never>, tag: Context.Tag<I, S>): S | undefined =>
  context.unsafeMap.get(tag.key) as S | undefined

describe("§9.3 an agent of ordinary code", () => {
  // What follows knows nothing of leases.
  const summarize = (input: { readonly path: string; readonly url: string }) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const text = yield* fs.readFileString(input.path)
      const extra = yield* HttpClient.get(input.url).pipe(Effect.flatMap((response) => response.text))
      const target = path.join(path.dirname(input.path), "summary.txt")
      yield* fs.writeFileString(target, `${text}, ${extra}`)
      return { summary: createHash("sha256").update(text).digest("hex").slice(0, 8), target }
    })

  class Summarize extends Agent.make("summarize", {
    input: Schema.Struct({ path: Schema.String, url: Schema.String }),
    output: Schema.Struct({ summary: Schema.String, target: Schema.String })
  }) {}

  const hosted = Layer.provide(AgentRegistry.layer, Layer.provide(Summarize.toLayer(summarize), NodeLive))

  /** Runs the agent as a runtime does, under a lease. */
  const run = (lease: Parameters<typeof gateOf>[0], input: { readonly path: string; readonly url: string }) =>
    Effect.gen(function* () {
      const registry = yield* AgentRegistry
      const agent = Either.getOrThrow(registry.resolve(Either.getOrThrow(AgentName.parse("summarize"))))
      const gate = gateOf(lease)
      return yield* agent.run(input, (services) => guard(services, gate))
    }).pipe(Effect.provideService(Job, { jobId: "job" } as JobService), Effect.scoped)

  it.scopedLive("§9.3 is held to its lease", () =>
    Effect.gen(function* () {
      const root = yield* temporaryRoot
      makeTree(root)
      const { origin, seen } = yield* server()
      const lease = {
        "fs.read": [`${root}/in/**`],
        "fs.write": [`${root}/in/summary.txt`],
        "net.fetch": [`${origin}/api/**`]
      }
      const input = { path: `${root}/in/a`, url: `${origin}/api/x` }
      expect(yield* run(lease, input)).toMatchObject({ target: `${root}/in/summary.txt` })
      // The fiber that runs the agent has the real services at hand. The agent has not.
      const raw = yield* FileSystem.FileSystem
      expect(yield* raw.readFileString(`${root}/in/summary.txt`)).toBe("alpha, GET /api/x")

      for (const [changed, code] of [
        [{ path: `${root}/out/secret` }, "SystemError"],
        [{ path: `${root}/in/to-secret` }, "SystemError"],
        [{ path: `${root}/in/sub/b` }, "SystemError"],
        [{ url: `${origin}/secret` }, "RequestError"]
      ] as const) {
        const error = yield* refused(run(lease, { ...input, ...changed }))
        expect(error).toMatchObject({ _tag: code })
      }
      expect(seen.map(({ line }) => line)).toEqual(["GET /api/x", "GET /api/x"])
      yield* refused(run({}, input))
    }).pipe(Effect.provide(Layer.merge(hosted, NodeLive)))
  )
})

describe("guard", () => {
  it.scopedLive("§9.3 guards files and HTTP, and keeps paths and the author's own", () =>
    Effect.gen(function* () {
      const root = yield* temporaryRoot
      makeTree(root)
      const mailer = { send: Effect.succeed("sent") }
      const services = Context.add(
        yield* Effect.context<FileSystem.FileSystem | HttpClient.HttpClient | Path.Path | Scope.Scope>(),
        Mailer,
        mailer
      )
      const store = yield* Effect.provide(KeyValueStore.KeyValueStore, KeyValueStore.layerMemory)
      const context = guardedContext(
        Context.add(services, KeyValueStore.KeyValueStore, store),
        { "fs.read": ["/**"] },
        {
          fileSystem: { cwd: `${root}/in` }
        }
      )
      expect(serviceOf(context, Mailer)).toBe(mailer)
      expect(serviceOf(context, Path.Path)).toBe(Context.get(services, Path.Path))
      expect(serviceOf(context, KeyValueStore.KeyValueStore)).toBe(store)
      const fs = serviceOf(context, FileSystem.FileSystem)!
      expect(yield* fs.readFileString("a")).toBe("alpha")
      yield* refused(fs.writeFileString("a", "x"))
      yield* refused(serviceOf(context, HttpClient.HttpClient)!.get("https://allowed.example/"))
      // The agent's own context is as it was.
      yield* Context.get(services, FileSystem.FileSystem).writeFileString(join(root, "in/a"), "mine")
    }).pipe(Effect.provide(NodeLive))
  )

  it.effect("§9.3 makes up no service that was not there", () =>
    Effect.sync(() => {
      const context = guardedContext(Context.make(Mailer, { send: Effect.succeed("sent") }), {})
      expect([...context.unsafeMap.keys()]).toEqual([Mailer.key])
    })
  )

  it.effect("§9.3 sifts what a handler's fiber has inherited", () =>
    Effect.gen(function* () {
      const inherited = Context.add(yield* Effect.context<FileSystem.FileSystem | HttpClient.HttpClient>(), Mailer, {
        send: Effect.succeed("sent")
      })
      const keys = [...ambient(inherited).unsafeMap.keys()]
      expect(keys).toContain(Mailer.key)
      expect(keys).toContain(Path.Path.key)
      for (const key of [...withheld, FileSystem.FileSystem.key, HttpClient.HttpClient.key])
        expect(keys).not.toContain(key)
      expect(keys).not.toContain(CommandExecutor.CommandExecutor.key)
    }).pipe(Effect.provide(NodeLive))
  )

  it.scopedLive("§9.2 starts no processes, and says how they could be", () =>
    Effect.gen(function* () {
      const services = yield* Effect.context<CommandExecutor.CommandExecutor>()
      const context = guardedContext(services, { "tool.call": ["**"] })
      const executor = serviceOf(context, CommandExecutor.CommandExecutor)!
      const command = Command.make("echo", "hello")
      for (const effect of [
        executor.start(command),
        executor.exitCode(command),
        executor.string(command),
        executor.lines(command),
        Stream.runDrain(executor.stream(command)),
        Stream.runDrain(executor.streamLines(command)),
        executor.string(Command.pipeTo(command, Command.make("cat")))
      ] as ReadonlyArray<Effect.Effect<unknown, unknown, Scope.Scope>>) {
        const error = yield* refused(effect)
        expect(error).toMatchObject({
          _tag: "SystemError",
          reason: "PermissionDenied",
          module: "Command",
          method: "start"
        })
        expect(String(error)).toContain("hand CommandExecutor over openly")
      }
      const open = guardedContext(services, {}, { unguarded: [CommandExecutor.CommandExecutor] })
      expect(yield* serviceOf(open, CommandExecutor.CommandExecutor)!.string(command)).toBe("hello\n")
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.effect("§9.3 withholds whatever else reaches outside, unless it is named", () =>
    Effect.sync(() => {
      const tags: ReadonlyArray<{ readonly key: string }> = [
        Terminal.Terminal,
        Socket.Socket,
        Socket.WebSocket,
        Socket.WebSocketConstructor,
        SocketServer.SocketServer,
        NodeSocket.NetSocket,
        Worker.PlatformWorker,
        Worker.Spawner,
        Worker.WorkerManager,
        WorkerRunner.PlatformRunner,
        HttpServer.HttpServer,
        HttpPlatform.HttpPlatform,
        FileSystem.WatchBackend,
        FetchHttpClient.Fetch,
        NodeHttpClient.HttpAgent,
        NodeHttpClient.Dispatcher
      ]
      // The keys are spelled out in the source: they must be those of the tags.
      expect([...withheld].toSorted()).toEqual(tags.map(({ key }) => key).toSorted())
      expect(guardedKeys).toEqual(
        [FileSystem.FileSystem, HttpClient.HttpClient, CommandExecutor.CommandExecutor].map(({ key }) => key)
      )
      const services = Context.unsafeMake<never>(new Map(tags.map(({ key }) => [key, { key }])))
      expect(guardedContext(services, {}).unsafeMap.size).toBe(0)
      for (const tag of tags) {
        expect([...guardedContext(services, {}, { unguarded: [tag] }).unsafeMap.keys()]).toEqual([tag.key])
      }
    })
  )

  it.scopedLive("§9.3 hands over as they are the services that are named", () =>
    Effect.gen(function* () {
      const services = yield* Effect.context<FileSystem.FileSystem | HttpClient.HttpClient>()
      const context = guardedContext(services, {}, { unguarded: [FileSystem.FileSystem, HttpClient.HttpClient] })
      expect(serviceOf(context, FileSystem.FileSystem)).toBe(Context.get(services, FileSystem.FileSystem))
      expect(serviceOf(context, HttpClient.HttpClient)).toBe(Context.get(services, HttpClient.HttpClient))
    }).pipe(Effect.provide(NodeLive))
  )

  it.effect("§9.3 the client keeps the fetch that it was given, and the handler does not get it", () =>
    Effect.gen(function* () {
      const calls: Array<string> = []
      const fake = ((url) => {
        calls.push(String(url))
        return globalThis.Promise.resolve(new Response("faked"))
      }) as typeof fetch
      const services = Context.add(yield* Effect.context<HttpClient.HttpClient>(), FetchHttpClient.Fetch, fake)
      const context = guardedContext(services, { "net.fetch": ["https://allowed.example/**"] })
      expect(serviceOf(context, FetchHttpClient.Fetch)).toBeUndefined()
      const http = serviceOf(context, HttpClient.HttpClient)!
      expect(yield* Effect.flatMap(http.get("https://allowed.example/a"), ({ text }) => text)).toBe("faked")
      yield* refused(http.get("https://evil.example/"))
      expect(calls).toEqual(["https://allowed.example/a"])
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

describe("deniedCause", () => {
  const denial = new PermissionDenied({ message: "no" })
  const platform = (cause: unknown) =>
    new SystemError({ reason: "PermissionDenied", module: "FileSystem", method: "open", cause })

  it("§12 finds a denial wherever it lies in a chain of causes", () => {
    class Own extends Data.TaggedError("Own")<{ readonly cause: unknown }> {}
    for (const denied of [denial, new LeaseExpired({ message: "late" }), new BudgetExhausted({ message: "spent" })]) {
      expect(deniedCause(denied)).toBe(denied)
      expect(deniedCause(platform(denied))).toBe(denied)
      expect(deniedCause(new Own({ cause: platform(denied) }))).toBe(denied)
      expect(deniedCause(new Error("own", { cause: new Own({ cause: denied }) }))).toBe(denied)
    }
  })

  it("§12 finds nothing where no lease said no", () => {
    const loop: { cause?: unknown } = {}
    loop.cause = loop
    let deep: unknown = denial
    for (let i = 0; i < 40; i++) deep = { cause: deep }
    const others = [
      undefined,
      null,
      1,
      "PermissionDenied",
      {},
      loop,
      deep,
      platform(undefined),
      platform(new Error("EACCES")),
      new InternalError({ message: "x" }),
      { _tag: "PermissionDenied" }
    ]
    for (const other of others) expect(deniedCause(other)).toBeUndefined()
  })

  it.scopedLive("§12 a denial that ran through an agent's code is still found", () =>
    Effect.gen(function* () {
      const context = guardedContext(yield* Effect.context<FileSystem.FileSystem | HttpClient.HttpClient>(), {})
      const exit = yield* Effect.exit(Effect.orDie(serviceOf(context, FileSystem.FileSystem)!.readFile("/etc/passwd")))
      const defect = exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined
      expect(deniedCause(defect)?.code).toBe("PERMISSION_DENIED")
      const error = failure(
        yield* Effect.exit(serviceOf(context, HttpClient.HttpClient)!.get("https://a.example/?token=t0p"))
      )
      expect(HttpClientError.isHttpClientError(error)).toBe(true)
      expect(deniedCause(error)?.code).toBe("PERMISSION_DENIED")
      expect(`${error}`).not.toContain("t0p")
    }).pipe(Effect.provide(NodeLive))
  )
})

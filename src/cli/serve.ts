/** `arcp serve`: a runtime on a WebSocket port, or on stdin and stdout. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { anonymous, Authenticator, type AuthenticatorService, bearer } from "../auth/Authenticator.js"
import { Ids } from "../protocol/Ids.js"
import { ArcpRuntime } from "../runtime/index.js"
import { MemoryStore } from "../store/index.js"
import { SqliteStore } from "../store/sqlite.js"
import { Server } from "../transport/Connection.js"
import { StdioTransport, WebSocketServer } from "../transport/node.js"
import { type Exit, failed, usage } from "./errors.js"
import { loadAgents, loadDemo } from "./modules.js"

const options = {
  host: Options.text("host").pipe(
    Options.withDescription("the address to listen on"),
    Options.withDefault("127.0.0.1")
  ),
  port: Options.integer("port").pipe(
    Options.withDescription("the port to listen on; 0 picks a free one"),
    Options.withDefault(7777)
  ),
  path: Options.text("path").pipe(Options.withDescription("the path of the endpoint"), Options.withDefault("/arcp")),
  stdio: Options.boolean("stdio").pipe(Options.withDescription("serve one client on stdin and stdout, no port")),
  token: Options.text("token").pipe(
    Options.withDescription("a bearer token and whose it is, as TOKEN=PRINCIPAL; repeatable"),
    Options.repeated
  ),
  anonymous: Options.boolean("anonymous").pipe(
    Options.withDescription("admit clients without a token; each session is a principal of its own")
  ),
  store: Options.text("store").pipe(
    Options.withDescription("a SQLite file, so that jobs and sessions outlive the runtime; in memory when absent"),
    Options.optional
  ),
  storeKey: Options.text("store-key-env").pipe(
    Options.withDescription(
      "the environment variable that holds the key with which the store is encrypted: at least 32 random bytes, in any spelling"
    ),
    Options.optional
  ),
  agents: Options.text("agents").pipe(
    Options.withDescription("a module that exports agent layers; repeatable"),
    Options.repeated
  ),
  drain: Options.integer("drain").pipe(
    Options.withDescription("seconds that running jobs get when the program is told to stop (SIGTERM, SIGINT)"),
    Options.withDefault(10)
  ),
  demo: Options.boolean("demo").pipe(Options.withDescription("host the demo agents"))
}

const parseTokens = (tokens: ReadonlyArray<string>): Effect.Effect<Readonly<Record<string, string>>, Exit> =>
  Effect.gen(function* () {
    const table: Record<string, string> = Object.create(null) as Record<string, string>
    for (const [i, entry] of tokens.entries()) {
      const at = entry.lastIndexOf("=")
      // The token itself is never printed.
      if (at <= 0 || at === entry.length - 1) {
        return yield* usage(`--token: number ${i + 1} is not of the form TOKEN=PRINCIPAL`)
      }
      table[entry.slice(0, at)] = entry.slice(at + 1)
    }
    return table
  })

/** The same server, telling when its connections have ended. */
const untilGone = (server: Layer.Layer<Server>, gone: Deferred.Deferred<void>): Layer.Layer<Server> =>
  Layer.map(server, (context) => {
    const inner = Context.get(context, Server)
    return Context.make(Server, {
      ...inner,
      connections: Stream.ensuring(inner.connections, Deferred.succeed(gone, undefined))
    })
  })

export const serve = Command.make("serve", options, (args) =>
  Effect.gen(function* () {
    if (args.token.length === 0 && !args.anonymous) {
      return yield* usage(
        "nobody could connect: give --token TOKEN=PRINCIPAL (repeatable), or --anonymous to admit everybody"
      )
    }
    if (args.agents.length === 0 && !args.demo) {
      return yield* usage("there is nothing to run: give --agents MODULE, or --demo for the demo agents")
    }
    if (!args.path.startsWith("/")) return yield* usage("--path: must begin with /")
    if (args.port < 0 || args.port > 65_535) return yield* usage("--port: must be between 0 and 65535")
    if (args.drain < 0) return yield* usage("--drain: must not be negative")
    const tokens = yield* parseTokens(args.token)
    const modules = yield* Effect.forEach(args.agents, loadAgents)
    const agents = [...modules.flat(), ...(args.demo ? yield* loadDemo : [])]
    const ways: Array<AuthenticatorService | Effect.Effect<AuthenticatorService, never, Ids>> = [
      ...(args.token.length === 0 ? [] : [bearer(tokens)]),
      ...(args.anonymous ? [anonymous] : [])
    ]
    const gone = yield* Deferred.make<void>()
    const server = args.stdio
      ? untilGone(StdioTransport.layerServer(), gone)
      : WebSocketServer.layer({ host: args.host, port: args.port, path: args.path })
    const ready = Layer.effectDiscard(
      Effect.flatMap(Server, ({ address }) =>
        Console.error(args.stdio ? "serving on stdio" : `listening on ${address}`)
      )
    )
    if (Option.isSome(args.storeKey) && Option.isNone(args.store)) {
      return yield* usage("--store-key-env: there is no store to encrypt; give --store FILE")
    }
    // Never on the command line, where every process of the machine can read it.
    const encryptionKey = Option.isNone(args.storeKey)
      ? undefined
      : yield* Effect.mapError(Config.redacted(Config.nonEmptyString(args.storeKey.value)), () =>
          usage(`--store-key-env: the environment variable ${Option.getOrThrow(args.storeKey)} is not set`)
        )
    const store = Option.match(args.store, {
      onNone: () => MemoryStore.layer,
      onSome: (filename) => SqliteStore.layer({ filename, encryptionKey })
    })
    const hosted = agents.reduce<Layer.Layer<never, unknown, never>>(
      (all, layer) => Layer.merge(all, layer as Layer.Layer<never, unknown, never>),
      Layer.empty
    )
    const runtime = ready.pipe(
      Layer.provideMerge(ArcpRuntime.layer({ name: "arcp", drainTime: args.drain * 1000 })),
      Layer.provide(hosted),
      Layer.provide(Layer.provide(Authenticator.layerFirstOf(ways), Ids.layer)),
      Layer.provide(store),
      Layer.provide(server)
    )
    // With --stdio the program ends with its one client.
    return yield* Effect.raceFirst(Layer.launch(runtime), Deferred.await(gone)).pipe(
      Effect.mapError((error) =>
        failed(
          error !== null && typeof error === "object" && "message" in error ? String(error.message) : String(error)
        )
      )
    )
  })
).pipe(Command.withDescription("Host agents: on a WebSocket port, or on stdin and stdout"))

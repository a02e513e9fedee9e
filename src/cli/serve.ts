/** `arcp serve`: a runtime on a WebSocket port, or on stdin and stdout. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { anonymous, Authenticator, type AuthenticatorService, bearer } from "../auth/Authenticator.js"
import { Ids } from "../protocol/Ids.js"
import { ArcpRuntime, LeasePolicy } from "../runtime/index.js"
import { MemoryStore } from "../store/index.js"
import { SqliteStore } from "../store/sqlite.js"
import { Server } from "../transport/Connection.js"
import { StdioTransport, WebSocketServer } from "../transport/node.js"
import { failed, usage } from "./errors.js"
import { loadAgents, loadDemo } from "./modules.js"
import { policyOf } from "./policy.js"
import { serveTokens, takeVariable } from "./tokens.js"
import { visible } from "./visible.js"

const options = {
  tokenFile: Options.text("token-file").pipe(
    Options.withDescription(
      "a file of bearer tokens and whose they are, one TOKEN=PRINCIPAL a line; the environment variable ARCP_TOKENS may hold the same"
    ),
    Options.optional
  ),
  token: Options.text("token").pipe(
    Options.withDescription(
      "TOKEN=PRINCIPAL, for trials: other users of this machine can see it until the program has overwritten its title; repeatable"
    ),
    Options.repeated,
    Options.map((tokens) => tokens.map((token) => Redacted.make(token)))
  ),
  anonymous: Options.boolean("anonymous").pipe(
    Options.withDescription("admit clients without a token; each session is a principal of its own")
  ),
  allow: Options.text("allow").pipe(
    Options.withDescription(
      "what jobs may be granted at most, as CAPABILITY=PATTERN, such as fs.read=/data/**; repeatable. Without it and the next two: tool.call, and for --demo the demo's own folder"
    ),
    Options.repeated
  ),
  allowFile: Options.text("allow-file").pipe(
    Options.withDescription(
      'a JSON file of what each principal\'s jobs may be granted: {"alice": {"fs.read": ["/data/**"]}, "bob": "any", "*": {}}'
    ),
    Options.optional
  ),
  allowAny: Options.boolean("allow-any").pipe(
    Options.withDescription("grant jobs whatever they ask for, but /proc, /sys and /dev")
  ),
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
    // Secrets are taken from the environment before any agents' module is loaded.
    const tokens = yield* serveTokens(args)
    const encryptionKey = Option.isNone(args.storeKey) ? undefined : yield* takeVariable(args.storeKey.value)
    if (tokens.size === 0 && !args.anonymous) {
      return yield* usage(
        "no client could connect: pass --token-file FILE or set ARCP_TOKENS (one TOKEN=PRINCIPAL a line), pass --token TOKEN=PRINCIPAL, or --anonymous to admit clients without a token"
      )
    }
    if (args.agents.length === 0 && !args.demo) {
      return yield* usage("there is nothing to run: give --agents MODULE, or --demo for the demo agents")
    }
    if (!args.path.startsWith("/")) return yield* usage("--path: must begin with /")
    if (args.port < 0 || args.port > 65_535) return yield* usage("--port: must be between 0 and 65535")
    if (!(args.drain >= 0 && Number.isSafeInteger(args.drain))) {
      return yield* usage("--drain: must be a whole number of seconds, 0 or greater")
    }
    if (Option.isSome(args.storeKey) && Option.isNone(args.store)) {
      return yield* usage("--store-key-env: there is no store to encrypt; give --store FILE")
    }
    // Never on the command line, where every process of the machine can read it.
    if (Option.isSome(args.storeKey) && encryptionKey === undefined) {
      return yield* usage(`--store-key-env: the environment variable ${args.storeKey.value} is not set`)
    }
    const modules = yield* Effect.forEach(args.agents, loadAgents)
    const demo = args.demo ? yield* loadDemo : undefined
    const agents = [...modules.flat(), ...(demo?.agents ?? [])]
    const policy = yield* policyOf(args, { agents: args.agents.length > 0, demoFolder: demo?.folder })
    yield* Effect.forEach(policy.notice, (line) => Console.error(`arcp: ${visible(line)}`), { discard: true })
    const ways: Array<AuthenticatorService | Effect.Effect<AuthenticatorService, never, Ids>> = [
      ...(tokens.size === 0 ? [] : [bearer(tokens)]),
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
      Layer.provide(server),
      Layer.provide(LeasePolicy.layer({ allowed: policy.allowed }))
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

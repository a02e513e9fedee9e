/** What `arcp serve` does: a runtime on a WebSocket port, or on stdin and stdout. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { anonymous, Authenticator, type AuthenticatorService, bearer } from "../auth/Authenticator.js"
import { Ids } from "../protocol/Ids.js"
import * as Text from "../protocol/Text.js"
import { ArcpRuntime, LeasePolicy } from "../runtime/index.js"
import * as MemoryStore from "../store/MemoryStore.js"
import * as Sealer from "../store/Sealer.js"
import { Server, TransportError } from "../transport/Connection.js"
import * as StdioTransport from "../transport/StdioTransport.js"
import type { LayerOptions } from "../transport/WebSocketServer.js"
import { auditOf } from "./auditing.js"
import { Exit, failed, usage } from "./errors.js"
import { usedFile } from "./files.js"
import { loadAgents, loadDemo } from "./modules.js"
import { sqlite, webSocket } from "./optional.js"
import { policyOf } from "./policy.js"
import type { ServeArgs } from "./serveOptions.js"
import { keyNotSet } from "./storeKeys.js"
import { serveTokens, takeVariable } from "./tokens.js"
import { clearText, hostsOf, notEmpty, urlPath, wholeNumber } from "./values.js"
import { visible } from "./visible.js"

const listen = (options: LayerOptions) =>
  Layer.unwrapEffect(Effect.map(webSocket, ({ WebSocketServer }) => WebSocketServer.layer(options)))

/** Whether a port could not be opened since the address is not one of this machine. */
const noSuchAddress = (error: unknown): boolean =>
  error instanceof TransportError &&
  error.operation === "listen" &&
  ["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN"].includes(String(Text.property(error.cause, "code")))

/** Says where clients find the runtime, once they do. */
const ready = (stdio: boolean): Layer.Layer<never, never, Server> =>
  Layer.effectDiscard(
    Effect.flatMap(Server, ({ address }) => Console.error(stdio ? "serving on stdio" : `listening on ${address}`))
  )

/** All agents in one layer. */
const hosting = (agents: ReadonlyArray<unknown>): Layer.Layer<never, unknown, never> =>
  agents.reduce<Layer.Layer<never, unknown, never>>(
    (all, layer) => Layer.merge(all, layer as Layer.Layer<never, unknown, never>),
    Layer.empty
  )

/** The agents of the command line: those of its modules, and the demo agents where it names none or asks for them. */
const hosted = (args: { readonly agents: ReadonlyArray<string>; readonly demo: boolean }) =>
  Effect.gen(function* () {
    const modules = yield* Effect.forEach(args.agents, loadAgents)
    const demo = args.demo || args.agents.length === 0 ? yield* loadDemo : undefined
    if (demo !== undefined) {
      yield* Console.error(
        `arcp: hosting the demo agents${args.demo ? "" : ", since no --agents is given"}: ${demo.names.join(", ")}`
      )
    }
    // What several modules export is hosted once.
    return { agents: [...new Set([...modules.flat(), ...(demo?.agents ?? [])])], demoFolder: demo?.folder }
  })

/** Hosts the agents until the program is told to stop. */
export const serveAgents = (args: ServeArgs) =>
  Effect.gen(function* () {
    // Before anything of the agents' modules runs: stdout carries frames and nothing else.
    if (args.stdio) yield* StdioTransport.takeStdout
    // Secrets are taken from the environment before any agents' module is loaded.
    const tokens = yield* serveTokens(args)
    const encryptionKey = Option.isNone(args.storeKeyEnv) ? undefined : yield* takeVariable(args.storeKeyEnv.value)
    if (tokens.size === 0 && !args.anonymous) {
      return yield* usage(
        "no client could connect: pass --token-file FILE or set ARCP_TOKENS (one TOKEN=PRINCIPAL a line), pass --bearer TOKEN --principal WHO or --token TOKEN=PRINCIPAL, or --anonymous to admit clients without a token"
      )
    }
    const path = yield* urlPath("path", args.path)
    const port = yield* wholeNumber("port", args.port, 0, 65_535)
    const drain = yield* wholeNumber("drain", args.drain, 0, 86_400)
    const host = yield* notEmpty("host", args.host, "an address of this machine")
    const allowedHosts = args.stdio ? undefined : yield* hostsOf(host, args.allowedHost)
    if (Option.isSome(args.store) && args.store.value !== ":memory:") {
      yield* usedFile("store", args.store.value, "the path of a SQLite file")
    }
    const audit = yield* auditOf(args.audit)
    if (Option.isSome(args.storeKeyEnv) && Option.isNone(args.store)) {
      return yield* usage("--store-key-env: there is no store to encrypt; give --store FILE")
    }
    if (Option.isSome(args.storeKeyEnv) && encryptionKey === undefined) {
      return yield* keyNotSet("store-key-env", args.storeKeyEnv.value)
    }
    const strong = Sealer.ofKey(encryptionKey, "open", Sealer.replaceIt)
    if (Either.isLeft(strong)) return yield* usage(`--store-key-env: ${strong.left.message}`)
    // What is not installed is reported before any agents' module is loaded.
    if (!args.stdio) yield* webSocket
    const clear = args.stdio ? undefined : clearText(host)
    if (clear !== undefined) yield* Console.error(clear)
    if (Option.isSome(args.store)) yield* sqlite
    const { agents, demoFolder } = yield* hosted(args)
    const policy = yield* policyOf(args, { agents: args.agents.length > 0, demoFolder })
    yield* Effect.forEach(policy.notice, (line) => Console.error(`arcp: ${visible(line)}`), { discard: true })
    const ways: Array<AuthenticatorService | Effect.Effect<AuthenticatorService, never, Ids>> = [
      ...(tokens.size === 0 ? [] : [bearer(tokens)]),
      ...(args.anonymous ? [anonymous] : [])
    ]
    const store = Option.match(args.store, {
      onNone: () => MemoryStore.layer,
      onSome: (filename) =>
        Layer.unwrapEffect(Effect.map(sqlite, ({ SqliteStore }) => SqliteStore.layer({ filename, encryptionKey })))
    })
    const runtime = ready(args.stdio).pipe(
      Layer.provideMerge(ArcpRuntime.layer({ name: "arcp", drainTime: drain * 1000 })),
      Layer.provide(hosting(agents)),
      Layer.provide(Layer.provide(Authenticator.layerFirstOf(ways), Ids.layer)),
      Layer.provide(store),
      Layer.provide(audit),
      Layer.provide(LeasePolicy.layer({ allowed: policy.allowed }))
    )
    // With --stdio the program ends with its one client.
    const serving = args.stdio
      ? StdioTransport.launch(runtime)
      : Layer.launch(Layer.provide(runtime, listen({ host, port, path, allowedHosts })))
    return yield* serving.pipe(
      Effect.mapError((error) =>
        error instanceof Exit
          ? error
          : noSuchAddress(error)
            ? usage(`--host must be an address of this machine, not ${JSON.stringify(host)}`)
            : failed(Text.ofUnknown(error))
      )
    )
  })

/**
 * Which services of a context reach outside of a job, by their keys (ARCP 1.1 §9.1). `Guard` has the rules.
 *
 * By key and not by tag, so that neither an agent loads servers and workers in order not to have them, nor a client that has an
 * agent's definition the platform's services.
 */
import * as Context from "effect/Context"
import { jobKey } from "./jobKey.js"

/** What the HTTP clients of the platform look for when they send. The client keeps it; the handler does not get it. */
export const clientKeys: ReadonlyArray<string> = [
  "@effect/platform/FetchHttpClient/Fetch",
  "@effect/platform-node/Http/NodeClient/HttpAgent",
  "@effect/platform-node/NodeHttpClient/Dispatcher"
]

/** The keys of services that no handler gets, but by name. */
export const withheld: ReadonlySet<string> = new Set([
  ...clientKeys,
  "@effect/platform/FileSystem/WatchBackend",
  "@effect/platform/HttpPlatform",
  "@effect/platform/HttpServer",
  "@effect/platform/Socket",
  "@effect/platform/Socket/WebSocket",
  "@effect/platform/Socket/WebSocketConstructor",
  "@effect/platform/SocketServer",
  "@effect/platform/Terminal",
  "@effect/platform/Runner/PlatformRunner",
  "@effect/platform/Worker/PlatformWorker",
  "@effect/platform/Worker/Spawner",
  "@effect/platform/Worker/WorkerManager",
  "@effect/platform-node/NodeSocket/NetSocket"
])

const ours = "effect-arcp/"
const clientKey = "effect-arcp/client/ArcpClient"
// With it a handler would build layers into the runtime's own, and so get at what those have made.
const memoKey = "effect/Layer/CurrentMemoMap"

// What a test provides to its agents, such as a gateway in memory, is the test's own.
const testing = "effect-arcp/testing/"

/** Whether a key is one of the runtime's, which `unguarded` cannot release. */
export const isRuntimes = (key: string): boolean =>
  (key.startsWith(ours) && key !== jobKey && key !== clientKey && !key.startsWith(testing)) || key === memoKey

/** What was provided to a handler or a tool, without what is the runtime's. */
export const sift = (services: Context.Context<never>, withhold: ReadonlyArray<object> = []): Context.Context<never> =>
  Context.unsafeMake(
    new Map(
      [...services.unsafeMap].filter(([key, service]) => !isRuntimes(key) && !withhold.includes(service as object))
    )
  )

/** The keys of services that `guard` bounds. */
export const guardedKeys: ReadonlyArray<string> = [
  "@effect/platform/FileSystem",
  "@effect/platform/HttpClient",
  "@effect/platform/CommandExecutor"
]

const isInherited = (key: string): boolean =>
  !isRuntimes(key) && key !== clientKey && !withheld.has(key) && !guardedKeys.includes(key)

/**
 * What a handler may see of the context of the fiber that runs it: all but the runtime's services and the platform's that reach
 * outside. A fiber inherits the context in which the runtime was started, where they lie unguarded; a handler has its own from
 * `guard`.
 */
export const ambient = <R>(context: Context.Context<R>, withhold: ReadonlyArray<object> = []): Context.Context<R> =>
  Context.unsafeMake(
    new Map(
      [...context.unsafeMap].filter(([key, service]) => isInherited(key) && !withhold.includes(service as object))
    )
  )

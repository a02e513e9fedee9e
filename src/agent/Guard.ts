/**
 * From the services that an agent was built with to those that its handler gets (ARCP 1.1 §9.1, §9.3).
 *
 * The platform's services that reach outside of the process come guarded by the job's lease, refuse, or are not there at all.
 * Such a service is given to a handler as it is only where the agent's author says so, by name: `unguarded`. What the author
 * made is the author's to answer for, and is kept; so is a `KeyValueStore`, wherever it keeps its values.
 *
 * | service of `@effect/platform` | a handler's |
 * |---|---|
 * | `FileSystem` | guarded: `fs.read`, `fs.write` |
 * | `HttpClient` | guarded: `net.fetch` |
 * | `CommandExecutor` | refuses every start, and says what to do |
 * | `Terminal`, sockets, servers, workers and their runners, `HttpPlatform`, file watchers, the `fetch` function, HTTP agents and dispatchers | not there |
 * | `Path`, `KeyValueStore`, `Etag.Generator`, references | kept |
 *
 * Of this library's own services a handler gets its `Job`, and an `ArcpClient` that its author provided. The others are the
 * runtime's: its store, its credentials, its agents. They are withheld whatever the author says, and so is a `SqlClient` that the
 * runtime's store is built on.
 *
 * This holds ordinary code to its lease. It is no sandbox: code that imports `node:fs` itself is not held by it.
 */
import * as CommandExecutor from "@effect/platform/CommandExecutor"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { PermissionDenied } from "../protocol/Errors.js"
import { Guarded } from "./CallContext.js"
import { platformDenied } from "./Denied.js"
import type { Gate } from "./Gate.js"
import * as GuardedFileSystem from "./GuardedFileSystem.js"
import * as GuardedHttpClient from "./GuardedHttpClient.js"
import { clientKeys, isRuntimes, withheld } from "./internal/reach.js"
import { Resolver } from "./Resolver.js"

export { ambient } from "./internal/reach.js"

/**
 * Ways to guard services that only one platform has. A runtime finds those of its platform itself.
 *
 * @since 0.1.0
 * @category options
 */
export interface GuardDrivers {
  /** Guards a file system, or returns undefined where it is not one that the driver knows: then {@link GuardedFileSystem} does. */
  readonly fileSystem?:
    | ((
        fs: FileSystem.FileSystem,
        gate: Gate,
        options?: GuardedFileSystem.GuardedFileSystemOptions | undefined
      ) => FileSystem.FileSystem | undefined)
    | undefined
}

/**
 * How the services of a handler are guarded.
 *
 * @since 0.1.0
 * @category options
 */
export interface GuardOptions {
  /** Tags of services that the handler gets as they are: the author vouches for what it does with them. */
  readonly unguarded?: ReadonlyArray<{ readonly key: string }> | undefined
  /** Services that no handler gets under any key, such as the `SqlClient` of the runtime's store. */
  readonly withhold?: ReadonlyArray<object> | undefined
  /** Options of the guarded file system. */
  readonly fileSystem?: GuardedFileSystem.GuardedFileSystemOptions | undefined
  /** Guards of one platform, in the place of those that work everywhere. Default: none. */
  readonly drivers?: GuardDrivers | undefined
  /** Options of the guarded HTTP client. */
  readonly http?: GuardedHttpClient.GuardedHttpClientOptions | undefined
}

/** A `CommandExecutor` that starts nothing. No lease names processes, so no lease can cover one (§9.2). */
const refusingExecutor: CommandExecutor.CommandExecutor = CommandExecutor.makeExecutor((command) =>
  Effect.fail(
    platformDenied(
      "Command",
      "start",
      command._tag === "StandardCommand" ? command.command : "|",
      new PermissionDenied({
        message:
          "a job may not start processes: no lease covers them; its agent's author can hand CommandExecutor over openly, as an unguarded service",
        details: { service: CommandExecutor.CommandExecutor.key }
      })
    )
  )
)

/**
 * The services of one job's handler: those that its agent was built with, bounded by the job's gate.
 *
 * @example
 * ```ts
 * import { CommandExecutor } from "@effect/platform"
 * import { Context } from "effect"
 * import { type Gate, guard } from "effect-arcp/agent"
 *
 * declare const services: Context.Context<never>
 * declare const gate: Gate
 * const mine = guard(services, gate, { unguarded: [CommandExecutor.CommandExecutor] })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const guard = (services: Context.Context<never>, gate: Gate, options?: GuardOptions): Context.Context<never> => {
  const kept = new Map<string, unknown>()
  for (const [key, service] of guardedBy(services, options)) {
    kept.set(key, service instanceof Guarded ? service.make(gate) : service)
  }
  return Context.unsafeMake(kept)
}

/** As {@link guard}, for all jobs of an agent at once: what has to be bounded by a job's gate says how. */
export const guardedBy = (services: Context.Context<never>, options?: GuardOptions): Map<string, unknown> => {
  const open = new Set(options?.unguarded?.map(({ key }) => key))
  const kept = new Map<string, unknown>()
  const ofClient = new Map<string, unknown>()
  for (const [key, service] of services.unsafeMap) {
    if (isRuntimes(key) || options?.withhold?.includes(service as object) === true) continue
    if (clientKeys.includes(key)) ofClient.set(key, service)
    if (open.has(key) || !withheld.has(key)) kept.set(key, service)
  }
  const replace = <I, S extends object>(tag: Context.Tag<I, S>, by: (service: S) => Guarded | S) => {
    if (kept.has(tag.key) && !open.has(tag.key)) kept.set(tag.key, by(kept.get(tag.key) as S))
  }
  replace(
    FileSystem.FileSystem,
    (fs) =>
      new Guarded(
        (gate) =>
          options?.drivers?.fileSystem?.(fs, gate, options.fileSystem) ??
          GuardedFileSystem.make(fs, gate, options?.fileSystem)
      )
  )
  replace(HttpClient.HttpClient, (client) => {
    const mine = HttpClient.transformResponse(
      client,
      Effect.mapInputContext((context: Context.Context<never>) =>
        Context.unsafeMake(new Map([...ofClient, ...context.unsafeMap]))
      )
    )
    const http = { ...options?.http, resolver: services.unsafeMap.get(Resolver.key) ?? options?.http?.resolver }
    return new Guarded((gate) => GuardedHttpClient.make(mine, gate, http))
  })
  replace(CommandExecutor.CommandExecutor, () => refusingExecutor)
  return kept
}

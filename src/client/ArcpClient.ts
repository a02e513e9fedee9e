/**
 * A client of a runtime: one session that outlives its connections (ARCP 1.1 §6).
 *
 * Responsibility: connecting, resuming and replacing the session by itself, and the calls that a program makes on it.
 * Handles, streams and calls survive a drop; a call fails when it was refused or when the client has ended for good.
 *
 * Order: one supervisor fiber owns the connection; frames are handled in the order of their arrival, each in one step.
 *
 * Races closed here: a reply that is faster than its waiter (requests are registered before they are sent); events before
 * their handle (kept); a submit in flight during a drop (repeated under its idempotency key, so it is one job).
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Ids } from "../protocol/Ids.js"
import type { Connector } from "../transport/Connection.js"
import type { ArcpClientService } from "./ArcpClientService.js"
import type { ClientOptions } from "./ClientOptions.js"
import { optionsOf } from "./internal/configured.js"
import { start } from "./internal/start.js"

/**
 * A client of one runtime.
 *
 * @example
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { ArcpClient } from "effect-arcp/client"
 * import { WebSocketClient } from "effect-arcp/transport/ws"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* ArcpClient
 *   const job = yield* client.submit("echo", { text: "hello" })
 *   return yield* job.result
 * }).pipe(
 *   Effect.provide(ArcpClient.layer({ auth: { token: Redacted.make("secret") } })),
 *   Effect.provide(WebSocketClient.layer({ url: "wss://agents.example/arcp" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class ArcpClient extends Context.Tag("effect-arcp/client/ArcpClient")<ArcpClient, ArcpClientService>() {
  /** Connects in the background; calls wait for the session. Closing the scope closes the session. */
  static readonly layer = (options: ClientOptions = {}): Layer.Layer<ArcpClient, never, Connector> =>
    Layer.provide(ArcpClient.layerNoIds(options), Ids.layer)

  /** As {@link layer}, with the ids given: a seeded layer makes every id of a test the same in every run. */
  static readonly layerNoIds = (options: ClientOptions = {}): Layer.Layer<ArcpClient, never, Connector | Ids> =>
    Layer.scoped(ArcpClient, start(options))

  /**
   * As {@link layer}, with the values that the configuration sets, and the rest from `options`. Fails with a `ConfigError` that names the
   * key where a value is not valid.
   *
   * | key | default |
   * |---|---|
   * | `ARCP_TOKEN` (secret) | none: an anonymous client |
   * | `ARCP_CLIENT_CONNECT_TIMEOUT` | `10 seconds` |
   * | `ARCP_CLIENT_HANDSHAKE_TIMEOUT` | `10 seconds` |
   * | `ARCP_CLIENT_CLOSE_TIMEOUT` | `2 seconds` |
   * | `ARCP_CLIENT_REQUEST_TIMEOUT` | `30 seconds` |
   * | `ARCP_CLIENT_BACKOFF` | `100 millis` |
   * | `ARCP_CLIENT_MAX_BACKOFF` | `10 seconds` |
   * | `ARCP_CLIENT_MAX_ATTEMPTS` | `Infinity` |
   */
  static readonly layerConfig = (
    options: ClientOptions = {}
  ): Layer.Layer<ArcpClient, ConfigError.ConfigError, Connector> =>
    Layer.unwrapEffect(Effect.map(optionsOf(options), ArcpClient.layer))

  /**
   * A client as a value: several of them live in one program, each with its own connector and options. Connects in the background;
   * the scope's end closes the session. Ids come from the platform.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { ArcpClient } from "effect-arcp/client"
   * import { WebSocketClient } from "effect-arcp/transport/ws"
   *
   * const both = Effect.gen(function* () {
   *   const east = yield* ArcpClient.make().pipe(Effect.provide(WebSocketClient.layer({ url: "wss://east.example/arcp" })))
   *   const west = yield* ArcpClient.make().pipe(Effect.provide(WebSocketClient.layer({ url: "wss://west.example/arcp" })))
   *   return [yield* east.agents, yield* west.agents]
   * })
   * ```
   */
  static readonly make = (
    options: ClientOptions = {}
  ): Effect.Effect<ArcpClientService, never, Scope.Scope | Connector> => Effect.provide(start(options), Ids.layer)

  /**
   * A tag of its own for one of several clients. `name` tells them apart, so it must be unique in the program.
   *
   * @example
   * ```ts
   * import { Layer } from "effect"
   * import { ArcpClient } from "effect-arcp/client"
   * import { WebSocketClient } from "effect-arcp/transport/ws"
   *
   * class East extends ArcpClient.Tag("East")<East>() {}
   * const EastLive = East.layer().pipe(Layer.provide(WebSocketClient.layer({ url: "wss://east.example/arcp" })))
   * ```
   */
  static readonly Tag =
    <const Name extends string>(name: Name) =>
    <Self>(): ClientTag<Self, `effect-arcp/client/${Name}`> => {
      const key: `effect-arcp/client/${Name}` = `effect-arcp/client/${name}`
      const tag = Context.Tag(key)<Self, ArcpClientService>()
      const layerNoIds = (options: ClientOptions = {}): Layer.Layer<Self, never, Connector | Ids> =>
        Layer.scoped(tag, start(options))
      const layer = (options: ClientOptions = {}): Layer.Layer<Self, never, Connector> =>
        Layer.provide(layerNoIds(options), Ids.layer)
      const layerConfig = (options: ClientOptions = {}): Layer.Layer<Self, ConfigError.ConfigError, Connector> =>
        Layer.unwrapEffect(Effect.map(optionsOf(options), layer))
      return Object.assign(tag, { layer, layerConfig, layerNoIds })
    }
}

/**
 * The tag of one of several clients; see {@link ArcpClient.Tag}.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientTag<Self, Key extends string> extends Context.TagClass<Self, Key, ArcpClientService> {
  /** As {@link ArcpClient.layer}, for this client. */
  readonly layer: (options?: ClientOptions) => Layer.Layer<Self, never, Connector>
  /**
   * As {@link ArcpClient.layerConfig}, for this client. Several clients have the same keys: give each a place of its own in the
   * configuration, as `ConfigProvider.nested` does.
   */
  readonly layerConfig: (options?: ClientOptions) => Layer.Layer<Self, ConfigError.ConfigError, Connector>
  /** As {@link ArcpClient.layerNoIds}, for this client. */
  readonly layerNoIds: (options?: ClientOptions) => Layer.Layer<Self, never, Connector | Ids>
}

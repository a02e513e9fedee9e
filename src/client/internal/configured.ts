/**
 * The options of a client out of the configuration.
 *
 * Responsibility: the keys that `ArcpClient.layerConfig` lists. What is set there counts before what the program says.
 */
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Configured from "../../protocol/Configured.js"
import type { ClientOptions } from "../ClientOptions.js"

const configured = Configured.all({
  token: Configured.secret("ARCP_TOKEN"),
  connectTimeout: Configured.duration("ARCP_CLIENT_CONNECT_TIMEOUT", "duration"),
  handshakeTimeout: Configured.duration("ARCP_CLIENT_HANDSHAKE_TIMEOUT", "duration"),
  closeTimeout: Configured.duration("ARCP_CLIENT_CLOSE_TIMEOUT", "duration"),
  requestTimeout: Configured.duration("ARCP_CLIENT_REQUEST_TIMEOUT", "duration"),
  backoff: Configured.duration("ARCP_CLIENT_BACKOFF", "duration"),
  maxBackoff: Configured.duration("ARCP_CLIENT_MAX_BACKOFF", "duration"),
  maxAttempts: Configured.number("ARCP_CLIENT_MAX_ATTEMPTS", "countOrZero")
})

/** The options of a client: what is set, and the rest from `given`. */
export const optionsOf = (given: ClientOptions): Effect.Effect<ClientOptions, ConfigError.ConfigError> =>
  Effect.map(configured, ({ token, ...rest }) => ({
    ...given,
    ...rest,
    ...(token === undefined ? {} : { auth: { ...given.auth, token } })
  }))

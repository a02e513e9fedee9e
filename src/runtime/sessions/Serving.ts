/**
 * Serving connections (ARCP 1.1 §5–§7): the service over the three parts of a connection's life. `Handshake` gives it a session,
 * `Connection` reads it, `Requests` answers what is read.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Authenticator } from "../../auth/Authenticator.js"
import type { Ids } from "../../protocol/Ids.js"
import type { Restrictions } from "../../transport/Connection.js"
import type { Artifacts } from "../artifacts/Artifacts.js"
import type { Credentials } from "../credentials/Credentials.js"
import type { JobScheduler } from "../jobs/JobScheduler.js"
import type { Deadlines } from "../kernel/Deadlines.js"
import type { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import type { BackPressure } from "../log/BackPressure.js"
import { type Serve, serving } from "./Connection.js"
import * as Handshake from "./Handshake.js"
import type { Heartbeats } from "./Heartbeats.js"
import * as Requests from "./Requests.js"
import type { Presence } from "./Presence.js"
import type { Subscriptions } from "./Subscriptions.js"

/** Serves connections. */
export class Serving extends Context.Tag("effect-arcp/runtime/Serving")<
  Serving,
  {
    /** How connections are served from now on, each until it ends or the scope closes. */
    readonly serve: Effect.Effect<Serve, never, Scope.Scope>
    /** How servers treat peers that have not been authenticated. */
    readonly restrictions: Restrictions
  }
>() {
  static readonly layer: Layer.Layer<
    Serving,
    never,
    | Authenticator
    | Presence
    | JobScheduler
    | Subscriptions
    | Heartbeats
    | Deadlines
    | Ids
    | BackPressure
    | Artifacts
    | Credentials
    | RuntimeInfo
  > = Layer.effect(
    Serving,
    Effect.gen(function* () {
      const handshake = yield* Handshake.make
      const { serve } = yield* serving(handshake, yield* Requests.make)
      return { serve, restrictions: handshake.restrictions }
    })
  )
}

/**
 * What the fibers of one client share: the one state object behind `supervisor`, `connection`, `reading` and `workers`.
 *
 * Responsibility: the parts and how they are put together; the rules are in the parts. Only synchronous code changes them,
 * so that no fiber sees a part half changed.
 */
import type * as Context from "effect/Context"
import type { Connector } from "../../transport/Connection.js"
import { Ends } from "./attempt.js"
import type { Core } from "./core.js"
import { InFlight } from "./inFlight.js"
import { Lag } from "./lag.js"
import { Lifetime } from "./lifetime.js"
import { Notices } from "./notices.js"
import type { SupervisorOptions } from "./options.js"
import { Pace } from "./pace.js"
import { Signal } from "./signal.js"
import { Succession } from "./succession.js"

/** The state of one client beside that of its session; each part changes its own fields. */
export interface Shared {
  readonly core: Core
  readonly connector: Context.Tag.Service<Connector>
  readonly options: SupervisorOptions
  readonly ends: Ends
  readonly inFlight: InFlight
  readonly lag: Lag
  readonly lifetime: Lifetime
  readonly notices: Notices
  readonly pace: Pace
  readonly succession: Succession
  /** Something is queued for the connection. */
  readonly toSend: Signal
  /** Something has been processed that is not acknowledged. */
  readonly toAcknowledge: Signal
}

/** The state of a client that has not connected yet. */
export const makeShared = (
  core: Core,
  connector: Context.Tag.Service<Connector>,
  options: SupervisorOptions
): Shared => {
  const notices = new Notices()
  const lifetime = new Lifetime(core, notices, options.onEnd)
  const inFlight = new InFlight(core, options.requestTimeout, options.times.mono)
  return {
    core,
    connector,
    options,
    ends: new Ends(),
    inFlight,
    lag: new Lag(core),
    lifetime,
    notices,
    pace: new Pace(options),
    succession: new Succession(core, inFlight, notices, lifetime, options),
    toSend: new Signal(),
    toAcknowledge: new Signal()
  }
}

/** What the parts of the sessions' room share: the services that they are made of, taken whole. */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { ArcpError } from "../../../protocol/Errors.js"
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import type { IdsService } from "../../../protocol/Ids.js"
import type { Store } from "../../../store/Store.js"
import type { Auditor } from "../../kernel/Auditing.js"
import type { Deadlines } from "../../kernel/Deadlines.js"
import { errorFrame } from "../../kernel/ErrorFrame.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import type { RuntimeInfo } from "../../kernel/RuntimeInfo.js"
import type { BackPressure } from "../../log/BackPressure.js"
import type { EventLog } from "../../log/EventLog.js"
import type { ReadContext } from "../../log/Pump.js"
import type { SessionLog } from "../../log/SessionLog.js"
import type { SessionsService } from "../Sessions.js"

/** The services. */
export interface SessionsContext {
  readonly store: Context.Tag.Service<Store>
  readonly eventLog: Context.Tag.Service<EventLog>
  readonly deadlines: Context.Tag.Service<Deadlines>
  readonly ids: IdsService
  readonly info: Context.Tag.Service<RuntimeInfo>
  readonly limits: LimitsShape
  readonly meter: MeterShape
  readonly backPressure: Context.Tag.Service<BackPressure>
  readonly reading: ReadContext
  /** What decides on sessions. */
  readonly decided: SessionsService
  /** Undefined where nothing is recorded. */
  readonly audit: Auditor | undefined
  readonly runFork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  /** Whether what is sent may be cut by time ({@link "../../kernel/Turn.js"}). */
  readonly timed: boolean
}

/** The `session.error` that tells a session what is wrong with it, and with no request of it. */
export const sessionError = (
  { deadlines, ids }: SessionsContext,
  { sessionId }: SessionLog,
  error: ArcpError
): RawEnvelope => errorFrame({ id: ids.unsafeUlid(deadlines.wall()), session_id: sessionId }, error)

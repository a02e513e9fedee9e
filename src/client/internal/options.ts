/**
 * The options of a client's parts: features, bounds, times, ids and the clock, with every default filled in.
 *
 * Responsibility: the types alone. What the program may leave out is in `ClientOptions`; `defaults` fills it in.
 */
import type * as Redacted from "effect/Redacted"
import type { Bounds } from "./bounds.js"
import type { HelloOptions } from "./hello.js"
import type { PaceOptions } from "./pace.js"

/** The client's two times, in milliseconds. */
export interface Times {
  /** Elapsed: it never goes back, and does not jump where the machine's clock is set. For every wait and time-out. */
  readonly mono: () => number
  /** Since the epoch, for what is written into messages. */
  readonly wall: () => number
}

/** Bounds and ids that the core needs. */
export interface CoreOptions {
  /** The features that are offered (§6.2). */
  readonly features: ReadonlyArray<string>
  /** How much of each job is kept. */
  readonly bounds: Bounds
  readonly newId: () => string
  readonly newTraceId: () => string
  readonly times: Times
}

/** What the owner of the connections needs; times are milliseconds. */
export interface SupervisorOptions extends HelloOptions, PaceOptions {
  readonly connectTimeout: number
  readonly handshakeTimeout: number
  readonly closeTimeout: number
  readonly requestTimeout: number
  readonly ackEvery: number
  readonly ackBytes: number
  readonly ackInterval: number
  readonly resume:
    | { readonly sessionId: string; readonly resumeToken: Redacted.Redacted<string>; readonly lastEventSeq: number }
    | undefined
  readonly times: Times
  /** Called once, when the client has ended. */
  readonly onEnd: () => void
}

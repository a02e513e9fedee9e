/**
 * What the parts of a client are given: features, bounds, times, ids and the clock, with every default filled in.
 *
 * Responsibility: the types, which the parts share, and the bounds of one job. What the program may leave out is
 * `ClientOptions`; `defaults` makes these of it.
 */
import type * as Redacted from "effect/Redacted"
import { type Bounds, defaultBounds } from "./bounds.js"
import type { HelloOptions } from "./hello.js"
import type { PaceOptions } from "./pace.js"

/** Bounds and ids that the core needs. */
export interface CoreOptions {
  /** The features that are offered (§6.2). */
  readonly features: ReadonlyArray<string>
  readonly eventBuffer: number
  /** Encoded bytes of one job's events that are kept. Default 64 MiB. */
  readonly eventBufferBytes?: number | undefined
  /** Encoded bytes of a streamed result that are kept. Default 512 MiB. */
  readonly maxResultBytes?: number | undefined
  readonly newId: () => string
  readonly newTraceId?: (() => string) | undefined
  readonly now: () => number
}

/** How much of each job is kept. */
export const boundsOf = ({ eventBuffer, eventBufferBytes, maxResultBytes }: CoreOptions): Bounds => ({
  events: eventBuffer,
  bytes: eventBufferBytes ?? defaultBounds.bytes,
  result: maxResultBytes ?? defaultBounds.result
})

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
  readonly now: () => number
  /** Called once, when the client has ended. */
  readonly onEnd: () => void
}

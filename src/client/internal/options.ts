/** What a client's state machine is given: features, bounds, ids and the clock. */
import { type Bounds, defaultBounds } from "./bounds.js"

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

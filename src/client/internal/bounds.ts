/** How much of a job a client keeps. */
export interface Bounds {
  /** Events of one job that wait for a consumer. */
  readonly events: number
  /** As {@link Bounds.events}, in encoded bytes (UTF-16 code units of their frames, where frames come encoded). */
  readonly bytes: number
  /** Encoded bytes of a streamed result that are kept for `result`. */
  readonly result: number
}

export const defaultBounds: Bounds = { events: 16_384, bytes: 67_108_864, result: 536_870_912 }

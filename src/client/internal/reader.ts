/**
 * A stream's position in what a job has: its events, or the chunks of its result.
 *
 * Two marks differ: `at` is what was handed out (back-pressure counts it), `done` is what was handed out before the last pull
 * (only that is known to be processed: a pull says that the chunk before it has ended).
 */
export interface Reader {
  /** The next position to hand out. */
  at: number
  /** Every position before it has been processed. */
  done: number
  /** Encoded bytes handed out. */
  bytes: number
  /** The session number at `done`, while that has been handed out and is not processed; else 0. */
  held: number
  /** Where the held chunk is among the job's events; of readers of chunks. */
  place: number
  /** The session number of the last position before `done`; 0 where there is none. */
  last: number
  /** The session number of the last position before `at`. */
  lastOut: number
  /** Gaps that it has reported. */
  gaps: number
}

export const makeReader = (at: number, bytes: number): Reader => ({
  at,
  done: at,
  bytes,
  held: 0,
  place: 0,
  last: 0,
  lastOut: 0,
  gaps: 0
})

/** The stream pulls: what it was handed before is processed. */
export const pulled = (reader: Reader): void => {
  reader.done = reader.at
  reader.last = reader.lastOut
  reader.held = 0
}

/** The stream is handed the positions up to `at`, whose numbers begin with `first` and end with `last`. */
export const handed = (reader: Reader, at: number, bytes: number, first: number, last: number): void => {
  reader.at = at
  reader.bytes = bytes
  reader.held = first
  reader.lastOut = last
}

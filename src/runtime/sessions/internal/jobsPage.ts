/**
 * One page of a listing as the text of its frame: rows are encoded once, and the page ends before the row that would make the
 * frame too large (ARCP 1.1 §6.6).
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Message from "../../../protocol/Message.js"
import type { JobInfo } from "../../../protocol/Session.js"
import type { StoredJob } from "../../../store/Store.js"

/** The rows of a page, each as JSON text, and the last job that is shown where more may follow. */
export interface Page {
  readonly rows: ReadonlyArray<string>
  readonly moreAfter: string | undefined
}

/** How much a page may hold. */
export interface PageBounds {
  readonly rows: number
  /** Bytes of all rows, with the commas between them. */
  readonly bytes: number
}

/** A page reads at most about this much from the store (in UTF-16 code units): jobs are stored with their inputs, which no row shows. */
const maxRead = 16_777_216

/** Jobs that are read at a time: few at first, then as many as should fit into {@link stepRead} by what has been seen. */
const firstStep = 8
const maxStep = 256
const stepRead = 1_048_576

const sizeOf = ({ record }: StoredJob): number => record.input.length + record.accepted.length + record.lease.length

/**
 * Gathers a page. `read` returns at most `limit` jobs behind a job, in the order of their ids. A page that has any job to show has at
 * least one, so that cursors always lead on.
 */
export const gather = <E, J extends StoredJob>(
  after: string | undefined,
  bounds: PageBounds,
  read: (after: string | undefined, limit: number) => Effect.Effect<ReadonlyArray<J>, E>,
  row: (job: J) => JobInfo
): Effect.Effect<Page, E> =>
  Effect.gen(function* () {
    const rows: Array<string> = []
    let last = after
    let bytes = 0
    let seen = 0
    for (;;) {
      const want = bounds.rows - rows.length
      const mean = rows.length === 0 ? 0 : seen / rows.length
      const step = rows.length === 0 ? firstStep : Math.max(1, Math.min(maxStep, Math.floor(stepRead / (mean + 1))))
      // One more than is shown, to know whether there is more.
      const limit = Math.min(step, want + 1)
      const found = yield* read(last, limit)
      for (const job of found) {
        const text = JSON.stringify(row(job))
        const size = Buffer.byteLength(text) + 1
        if (rows.length > 0 && (rows.length >= bounds.rows || bytes + size > bounds.bytes || seen >= maxRead)) {
          return { rows, moreAfter: last }
        }
        rows.push(text)
        bytes += size
        seen += sizeOf(job)
        last = job.record.jobId
      }
      if (found.length < limit) return { rows, moreAfter: undefined }
    }
  })

/** The frame of a page: the head as {@link Message.runtime} makes it, with the rows as they are. */
export interface Frame {
  /** Bytes that are left for rows in a frame of so many bytes. */
  readonly room: (frameBytes: number) => number
  readonly text: (rows: ReadonlyArray<string>, nextCursor: string | null) => string
}

const opening = '"jobs":['
/** Bytes of the longest end of a frame, cursor included. */
const endBytes = 128

/** The frame of the reply to a request. */
export const frame = (head: Message.Head, requestId: string): Frame => {
  const empty = JSON.stringify(
    Message.runtime("session.jobs", head, { request_id: requestId, jobs: [], next_cursor: null })
  )
  const start = empty.slice(0, empty.lastIndexOf(opening) + opening.length)
  return {
    room: (frameBytes) => Math.max(0, frameBytes - Buffer.byteLength(start) - endBytes),
    text: (rows, nextCursor) => `${start}${rows.join(",")}],"next_cursor":${JSON.stringify(nextCursor)}}}`
  }
}

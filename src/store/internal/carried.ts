/**
 * Deliveries that are kept with their segment.
 *
 * Responsibility: nearly every event goes to the one session that owns its job, in the batch that brings it. A row of `arcp_deliveries` for it has
 * three b-trees, of which one is written at random places; two columns of the segment's own row have one, which grows at its end. A delivery
 * is carried where it comes with its segments, and has all of them and nothing else. Others (to observers, of a part, of what was there
 * before) have rows of their own. Reads ask both.
 *
 * SQLite puts the rest of a long row on overflow pages, and a query for the columns at its end has to read them all. Long segments therefore
 * carry no delivery.
 */
import type { LoadedBatch, LoadedSegment } from "../Payload.js"
import type { Delivery } from "../Store.js"

/** Characters of the payloads of a segment that carries a delivery: of three bytes each, and encrypted, they still fit a page of 4 KiB. */
const maxCarrying = 960

const isShort = ({ payloads }: LoadedSegment): boolean => {
  let size = 0
  for (const payload of payloads) {
    size += payload.length + 1
    if (size > maxCarrying) return false
  }
  return true
}

/** The deliveries of a batch that segments carry, by their segments, and the others. */
export interface Carried {
  readonly by: ReadonlyMap<LoadedSegment, Delivery>
  readonly others: ReadonlyArray<Delivery>
}

const none: ReadonlyMap<LoadedSegment, Delivery> = new Map()

const keyOf = (jobId: string, firstSeq: number): string => `${firstSeq} ${jobId}`

/** That part of a delivery that is a segment. */
const partOf = (delivery: Delivery, { firstSeq, lastSeq }: LoadedSegment): Delivery => ({
  ...delivery,
  firstSeq: delivery.firstSeq + (firstSeq - delivery.firstJobSeq),
  lastSeq: delivery.firstSeq + (lastSeq - delivery.firstJobSeq),
  firstJobSeq: firstSeq
})

/** The segments that a delivery consists of; undefined where it is not made of whole ones that come with it and carry nothing yet. */
const partsOf = (
  delivery: Delivery,
  starts: ReadonlyMap<string, LoadedSegment>,
  by: ReadonlyMap<LoadedSegment, Delivery>
): ReadonlyArray<LoadedSegment> | undefined => {
  const parts: Array<LoadedSegment> = []
  const last = delivery.firstJobSeq + (delivery.lastSeq - delivery.firstSeq)
  for (let next = delivery.firstJobSeq; next <= last; ) {
    const segment = starts.get(keyOf(delivery.jobId, next))
    if (segment === undefined || segment.lastSeq > last || by.has(segment)) return undefined
    parts.push(segment)
    next = segment.lastSeq + 1
  }
  return parts
}

/** Which deliveries of a batch its segments carry. One that is made of several segments is carried in as many parts. */
export const carriedOf = ({ deliveries, segments }: Pick<LoadedBatch, "segments" | "deliveries">): Carried => {
  if (deliveries.length === 0 || segments.length === 0) return { by: none, others: deliveries }
  const starts = new Map<string, LoadedSegment>()
  for (const segment of segments) if (isShort(segment)) starts.set(keyOf(segment.jobId, segment.firstSeq), segment)
  const by = new Map<LoadedSegment, Delivery>()
  const others: Array<Delivery> = []
  for (const delivery of deliveries) {
    const parts = partsOf(delivery, starts, by)
    if (parts === undefined) others.push(delivery)
    else if (parts.length === 1) by.set(parts[0]!, delivery)
    else for (const part of parts) by.set(part, partOf(delivery, part))
  }
  return { by, others }
}

/** A query for deliveries, by a condition on their own rows and one on those of segments. */
export const deliveriesWhere = (ofRows: string, ofSegments: string): string =>
  `SELECT session_id, first_seq, last_seq, job_id, first_job_seq FROM arcp_deliveries WHERE ${ofRows}
   UNION ALL
   SELECT session_id, session_seq - (last_seq - first_seq), session_seq, job_id, first_seq FROM arcp_segments
   WHERE ${ofSegments}`

/** A condition on segments of one job. Not `session_id = ?`, with which a database may look for them among all that the session was given. */
export const carriedFor = "COALESCE(session_id, '') = ?"

/** The highest number that a session was given: an expression, NULL where there is none. */
export const highestOf = (sessionId: string): string =>
  `(SELECT MAX(n) FROM (
    SELECT MAX(d.last_seq) AS n FROM arcp_deliveries d WHERE d.session_id = ${sessionId}
    UNION ALL
    SELECT MAX(g.session_seq) FROM arcp_segments g WHERE g.session_id = ${sessionId}
  ) AS given)`

/** Writes the highest number of each session that `condition` selects into the session's row. To be run before deliveries are deleted. */
export const keepingNumbers = (condition: string): string => `UPDATE arcp_sessions
  SET last_seq = ${highestOf("arcp_sessions.session_id")}
  WHERE session_id IN (${condition}) AND last_seq < ${highestOf("arcp_sessions.session_id")}`

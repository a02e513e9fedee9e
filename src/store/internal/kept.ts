/**
 * How much is kept of a job, which retention bounds: its record, its steps and its events.
 *
 * Responsibility: the one measure of every store of this package, in bytes of UTF-8 of the texts as they are written, before they are encrypted.
 * A database keeps it beside each row, so that what it counts is the same in the process that has written it, in a later one, and with a key.
 */
import { Buffer } from "node:buffer"
import type { Payload } from "../Payload.js"
import type { JobRecord, StepRecord } from "../Store.js"

const bytesOf = (text: string | undefined): number => (text === undefined ? 0 : Buffer.byteLength(text, "utf8"))

/** A job's record: its input, its lease with the constraints, and what was answered to its submit. Ids and numbers are a few bytes, and do not count. */
export const recordSize = (record: JobRecord): number =>
  bytesOf(record.input) +
  bytesOf(record.lease) +
  bytesOf(record.leaseConstraints) +
  bytesOf(record.accepted) +
  bytesOf(record.idempotencyKey) +
  bytesOf(record.traceContext)

/** A step: its name and its result. */
export const stepSize = ({ name, value }: StepRecord): number => bytesOf(name) + bytesOf(value)

/** The payloads of a segment as a row, with one byte between two of them. */
export const segmentSize = (payloads: ReadonlyArray<Payload>): number => {
  let size = Math.max(0, payloads.length - 1)
  for (let i = 0; i < payloads.length; i++) {
    const payload = payloads[i]!
    size += typeof payload === "string" ? Buffer.byteLength(payload, "utf8") : payload.byteLength
  }
  return size
}

/**
 * A bounded queue of audit records in which nothing is lost without a trace: what does not fit, or could not be written, is counted, and an
 * `audit.lost` record stands in its place in the order.
 *
 * Order: records of one run keep the order of their numbers. What is lost of a run is one stretch, so that the number of the `audit.lost`
 * record (the last one lost) and its count say which records are missing.
 *
 * Records of what anonymous principals did have a part of the room: a client without a token, however often it is refused something, pushes out
 * no record of others.
 */
import { isAnonymous } from "../../protocol/AnonymousIds.js"
import type { AuditRecord } from "./AuditRecord.js"

interface Lost {
  readonly count: number
  readonly last: AuditRecord
}

/** The part of the room that records of anonymous principals have together. */
const guestShare = 0.5

const isGuests = ({ principal }: AuditRecord): boolean => principal !== undefined && isAnonymous(principal)

const countOf = (record: AuditRecord): number => (record.type === "audit.lost" ? record.count : 1)

/** By run: a file may be the trail of several. */
const tally = (lost: Map<string, Lost>, record: AuditRecord): void => {
  const before = lost.get(record.run)?.count ?? 0
  lost.set(record.run, { count: before + countOf(record), last: record })
}

const told = (lost: ReadonlyMap<string, Lost>): ReadonlyArray<AuditRecord> =>
  Array.from(lost.values(), ({ count, last: { run, runtime, seq, ts, v } }) => ({
    v,
    run,
    runtime,
    seq,
    ts,
    type: "audit.lost",
    count
  }))

/** The queue. */
export class AuditBuffer {
  private records: Array<AuditRecord> = []
  /** Of these, those of anonymous principals. */
  private guests = 0
  private readonly lost = new Map<string, Lost>()
  private readonly capacity: number
  private readonly onLost: (record: AuditRecord) => void

  /** `onLost` is called once for each record that is lost. */
  constructor(capacity: number, onLost: (record: AuditRecord) => void = () => undefined) {
    this.capacity = capacity
    this.onLost = onLost
  }

  /** How many wait, with what is to be told of those that are lost. */
  get size(): number {
    return this.records.length + this.lost.size
  }

  /** Adds a record, or counts it where there is no room. */
  offer(record: AuditRecord): void {
    const guest = isGuests(record)
    if (this.records.length >= this.capacity || (guest && this.guests >= Math.ceil(this.capacity * guestShare))) {
      if (record.type !== "audit.lost") this.onLost(record)
      return tally(this.lost, record)
    }
    this.tell()
    this.records.push(record)
    if (guest) this.guests++
  }

  /** Records that were taken could not be written: what stands for them comes first. */
  failed(taken: ReadonlyArray<AuditRecord>): void {
    const lost = new Map<string, Lost>()
    for (const record of taken) {
      if (record.type !== "audit.lost") this.onLost(record)
      tally(lost, record)
    }
    this.records.unshift(...told(lost))
  }

  /** Takes so many of the oldest. */
  take(max: number): ReadonlyArray<AuditRecord> {
    if (this.records.length < max) this.tell()
    if (this.records.length <= max) {
      const all = this.records
      this.records = []
      this.guests = 0
      return all
    }
    const taken = this.records.splice(0, max)
    for (const record of taken) if (isGuests(record)) this.guests--
    return taken
  }

  private tell(): void {
    if (this.lost.size === 0) return
    this.records.push(...told(this.lost))
    this.lost.clear()
  }
}

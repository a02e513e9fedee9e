/**
 * When the log of a SQLite file is written back into the file.
 *
 * Responsibility: bounds the work of one checkpoint by what has been written since the last one, so that none holds up the event loop for long.
 * SQLite's own, which counts pages of the log and runs inside of a COMMIT, stays as the last resort.
 *
 * Order: what was written counts when it is written. From {@link bound} on, the log is flushed to the disk by another thread, and then written
 * back in a step of its own. A checkpoint flushes the log first, so most of its wait is over by then. From twice as much on nothing is waited
 * for, so the log is bounded also where the event loop gets no turn.
 *
 * Races: commits go on while the log is flushed; the checkpoint flushes what they have added. A checkpoint cannot run inside a transaction:
 * what is written next asks for it again. What fails is left to the next one, since the log has everything: it changes when a commit is in the
 * file, and never whether it is durable.
 */
import { close, fdatasync, open } from "node:fs"

/** Bytes written from which on the log is written back: some 10 ms of a disk of today. */
export const bound = 4_194_304

/** What a row costs beside its bytes: it changes pages of its own, of which many are changed again before they are written back. */
const perRow = 512

/** The size of a statement's parameters, and of the row that they are. */
export const weightOf = (params: ReadonlyArray<unknown>): number => {
  let bytes = perRow
  for (const param of params) {
    if (typeof param === "string") bytes += param.length
    else if (param instanceof Uint8Array) bytes += param.byteLength
  }
  return bytes
}

/** What is asked of the database. */
export interface Log {
  /** Where the log is. */
  readonly filename: string
  /** Writes the log back. May throw. */
  readonly checkpoint: () => void
  readonly inTransaction: () => boolean
}

/** Writes the log of one database back. */
export class WriteBack {
  private readonly log: Log
  private pending = 0
  private due = false
  private closed = false
  private fd: number | undefined

  constructor(log: Log) {
    this.log = log
  }

  /** So many bytes have been written. Never throws. */
  readonly wrote = (bytes: number): void => {
    this.pending += bytes
    if (this.pending < bound) return
    if (this.pending >= bound * 2) return this.now()
    if (this.due || this.closed) return
    this.due = true
    this.flush()
  }

  /** Nothing is written back from now on. The database itself does so when it is closed. */
  readonly close = (): void => {
    this.closed = true
    // One that is being flushed is closed behind that.
    if (!this.due) this.closeFile()
  }

  private now(): void {
    if (this.closed || this.log.inTransaction()) return
    this.pending = 0
    try {
      this.log.checkpoint()
    } catch {
      // The log has everything, and the next one tries again. Where the disk fails, commits fail and say so.
    }
  }

  // edge: the disk is waited for by a thread of Node's, and then the event loop

  private flush(): void {
    if (this.fd !== undefined) return fdatasync(this.fd, this.flushed)
    // The log is never locked, so a descriptor of its own takes no lock from SQLite when it is closed.
    open(this.log.filename, "r+", (error, fd) => {
      if (error !== null) return this.flushed()
      this.fd = fd
      fdatasync(fd, this.flushed)
    })
  }

  /** Whether or not it could be: the checkpoint flushes it too. */
  private readonly flushed = (): void => {
    this.due = false
    if (this.closed) return this.closeFile()
    if (this.pending >= bound) this.now()
  }

  private closeFile(): void {
    if (this.fd === undefined) return
    close(this.fd)
    this.fd = undefined
  }
}

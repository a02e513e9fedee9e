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
export const perRow = 512

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
  /** Writes the log back. May throw. */
  readonly checkpoint: () => void
  readonly inTransaction: () => boolean
  /** Flushes the log to the disk meanwhile, and calls back in a later turn, whether or not it could be flushed. */
  readonly flush: (done: () => void) => void
  /** Nothing is flushed any more. */
  readonly close: () => void
}

/** Writes the log of one database back. */
export class WriteBack {
  private readonly log: Log
  private pending = 0
  private due = false
  private closed = false

  constructor(log: Log) {
    this.log = log
  }

  /** So many bytes have been written. Never throws. */
  readonly wrote = (bytes: number): void => {
    this.pending += bytes
    if (this.pending < bound || this.closed) return
    if (this.pending >= bound * 2) return this.now()
    if (this.due) return
    this.due = true
    this.log.flush(this.flushed)
  }

  /** Nothing is written back from now on. The database itself does so when it is closed. */
  readonly close = (): void => {
    this.closed = true
    if (!this.due) this.log.close()
  }

  private now(): void {
    if (this.log.inTransaction()) return
    this.pending = 0
    try {
      this.log.checkpoint()
    } catch {
      // The log has everything, and the next one tries again. Where the disk fails, commits fail and say so.
    }
  }

  private readonly flushed = (): void => {
    this.due = false
    if (this.closed) return this.log.close()
    // It may have been written back meanwhile.
    if (this.pending >= bound) this.now()
  }
}

/** Flushes the log of a file: the disk is waited for by a thread of Node's. */
export const flushing = (filename: string): Pick<Log, "flush" | "close"> => {
  // edge: the file system
  let fd: number | undefined
  return {
    flush: (done) => {
      if (fd !== undefined) return fdatasync(fd, done)
      // SQLite never locks the log, so closing this descriptor releases none of its locks.
      open(filename, "r+", (error, opened) => {
        if (error !== null) return done()
        fd = opened
        fdatasync(opened, done)
      })
    },
    close: () => {
      if (fd !== undefined) close(fd)
      fd = undefined
    }
  }
}

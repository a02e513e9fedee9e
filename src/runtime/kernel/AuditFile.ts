/**
 * An audit trail in a file: NDJSON, one record a line, appended (ARCP 1.1 §14).
 *
 * Order: records wait in memory for `flushInterval` at most, or until there are 1,024 of them; then one write has them all, and a sync where
 * that is asked for. The end of the scope writes what is left.
 *
 * Rotation: before each write the file at the path is compared with the one that is open. Where it was renamed or removed, the open one is
 * closed and the path opened anew, so that no signal is needed.
 *
 * Races and failures: a line that an earlier process or a failed write has left torn is ended when the file is opened, so that it is a bad
 * line of its own. A write that fails after a part is continued at the beginning of the first line that is not whole. While nothing can be
 * written, records are kept up to `capacity`; what comes then is counted, and an `audit.lost` record is written in its place.
 */
import { type PlatformError, SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { check as checkOptions } from "../../protocol/Options.js"
import * as Text from "../../protocol/Text.js"
import { AuditBuffer } from "./AuditBuffer.js"
import { type AuditRecord, toLine } from "./AuditRecord.js"
import { atEnd } from "./AtEnd.js"
import { auditFailures, auditLost, makeMeter, type MeterShape } from "./Metrics.js"

/**
 * How an audit trail is written to a file.
 *
 * @since 0.2.0
 * @category options
 */
export interface AuditFileOptions {
  /**
   * How long a record waits for its write, at most. Default 1 second. A process that is killed loses what was not written; a trail that ends
   * with its scope loses nothing.
   */
  readonly flushInterval?: Duration.DurationInput | undefined
  /**
   * Records that are kept while the file cannot be written. Default 65,536. Those that come then are lost: counted in `arcp_audit_lost`, and
   * told by an `audit.lost` record in their place.
   */
  readonly capacity?: number | undefined
  /** Whether each write is flushed to the disk (fsync) before the next: what was written survives a loss of power. Default false. */
  readonly sync?: boolean | undefined
}

/** So many records are one write. */
const batch = 1_024

/** The longest pause between attempts to write, in milliseconds. */
const longestPause = 30_000

/** Milliseconds for the last write. */
const lastWrite = 5_000

const newLine = 0x0a

interface Opened {
  readonly file: FileSystem.File
  readonly scope: Scope.CloseableScope
  /** What tells it from another file at its path. */
  readonly identity: string
}

const identityOf = ({ dev, ino }: FileSystem.File.Info): string => `${dev}:${Option.getOrElse(ino, () => -1)}`

/** What can be appended to without waiting for a reader; of a folder the system says that it is one. */
const appendable: ReadonlySet<FileSystem.File.Type> = new Set(["File", "CharacterDevice", "Directory"])

/** A pipe that nobody reads would hold a thread of the process in its opening or in a write, and with it the end of the process. */
const checkType = (path: string, type: FileSystem.File.Type): Effect.Effect<void, PlatformError> =>
  appendable.has(type)
    ? Effect.void
    : new SystemError({
        reason: "BadResource",
        module: "FileSystem",
        method: "open",
        pathOrDescriptor: path,
        description: `an audit trail is a file, and this is none (${type})`
      })

/** Whether a file of this size ends within a line. */
const isTorn = (
  fs: FileSystem.FileSystem,
  path: string,
  { size, type }: FileSystem.File.Info
): Effect.Effect<boolean, PlatformError> =>
  type !== "File" || size === FileSystem.Size(0)
    ? Effect.succeed(false)
    : Effect.scoped(
        Effect.gen(function* () {
          const file = yield* fs.open(path, { flag: "r" })
          yield* file.seek(size - FileSystem.Size(1), "start")
          const last = yield* file.readAlloc(1)
          return Option.isSome(last) && last.value[0] !== newLine
        })
      )

const opening = (fs: FileSystem.FileSystem, path: string): Effect.Effect<Opened, PlatformError> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    return yield* Effect.gen(function* () {
      const there = yield* Effect.option(fs.stat(path))
      if (Option.isSome(there)) yield* checkType(path, there.value.type)
      const torn = Option.isSome(there) && (yield* isTorn(fs, path, there.value))
      const file = yield* Scope.extend(fs.open(path, { flag: "a", mode: 0o600 }), scope)
      if (torn) yield* file.writeAll(Uint8Array.of(newLine))
      return { file, scope, identity: identityOf(yield* file.stat) }
    }).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))
  })

/** The bytes of records, as far as they have not been written. */
interface Unwritten {
  readonly records: ReadonlyArray<AuditRecord>
  readonly bytes: Uint8Array
}

const utf8 = new TextEncoder()

const unwritten = (records: ReadonlyArray<AuditRecord>): Unwritten => ({
  records,
  bytes: utf8.encode(records.map((record) => `${toLine(record)}\n`).join(""))
})

/** The file and what is to be written to it. One fiber writes. */
class AuditFile {
  readonly buffer: AuditBuffer
  private readonly fs: FileSystem.FileSystem
  private readonly path: string
  private readonly sync: boolean
  private readonly meters = new Map<string, MeterShape>()
  private opened: Opened | undefined = undefined
  private left: Unwritten | undefined = undefined

  constructor(fs: FileSystem.FileSystem, path: string, { capacity = 65_536, sync = false }: AuditFileOptions) {
    this.fs = fs
    this.path = path
    this.sync = sync
    this.buffer = new AuditBuffer(capacity, (record) => this.meter(record).count(auditLost))
  }

  /** How many records have not been written. */
  get size(): number {
    return this.buffer.size + (this.left?.records.length ?? 0)
  }

  /** Opens the file, where it is not open or is not the one at its path any more. */
  readonly open: Effect.Effect<FileSystem.File, PlatformError> = Effect.gen(this, function* () {
    const { opened } = this
    if (opened !== undefined) {
      const there = yield* Effect.option(this.fs.stat(this.path))
      if (Option.isSome(there) && identityOf(there.value) === opened.identity) return opened.file
      yield* this.close
    }
    const next = yield* opening(this.fs, this.path)
    this.opened = next
    return next.file
  })

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const { opened } = this
    this.opened = undefined
    return opened === undefined ? Effect.void : Scope.close(opened.scope, Exit.void)
  })

  /** Writes what there is. */
  readonly flush: Effect.Effect<void, PlatformError | string> = Effect.gen(this, function* () {
    for (;;) {
      this.left ??= unwritten(this.buffer.take(batch))
      if (this.left.records.length === 0) {
        this.left = undefined
        return
      }
      yield* this.write(this.left)
      this.left = undefined
      yield* Effect.yieldNow()
    }
  })

  private write({ bytes, records }: Unwritten): Effect.Effect<void, PlatformError | string> {
    let at = 0
    return Effect.gen(this, function* () {
      const file = yield* this.open
      while (at < bytes.length) {
        const written = Number(yield* file.write(bytes.subarray(at)))
        if (!(written > 0)) return yield* Effect.fail("nothing was written")
        at += written
      }
      if (this.sync) yield* file.sync
    }).pipe(
      Effect.onError(() => {
        // What is whole is there; the torn line is written again.
        this.left = { records, bytes: bytes.subarray(at === 0 ? 0 : bytes.lastIndexOf(newLine, at - 1) + 1) }
        this.meter(records[0]!).count(auditFailures)
        return this.close
      })
    )
  }

  /** At the end: what could not be written is lost. */
  giveUp(): number {
    const { size } = this
    for (const record of [...(this.left?.records ?? []), ...this.buffer.take(Number.POSITIVE_INFINITY)]) {
      if (record.type !== "audit.lost") this.meter(record).count(auditLost)
    }
    this.left = undefined
    return size
  }

  private meter({ runtime }: AuditRecord): MeterShape {
    const found = this.meters.get(runtime) ?? makeMeter(runtime)
    this.meters.set(runtime, found)
    return found
  }
}

/** When the file is written. */
interface Turns {
  readonly filled: Effect.Latch
  readonly many: Effect.Latch
  readonly closed: Deferred.Deferred<void>
}

const pauseAfter = (failures: number): number => Math.min(longestPause, 1_000 * 2 ** Math.min(failures - 1, 20))

/** Writes until the scope closes and nothing is left, or the last write has failed. */
const writing = (file: AuditFile, path: string, interval: number, { closed, filled, many }: Turns) =>
  Effect.gen(function* () {
    let failures = 0
    for (;;) {
      yield* Effect.raceFirst(filled.await, Deferred.await(closed))
      const wait =
        failures === 0 ? Effect.raceFirst(Effect.sleep(interval), many.await) : Effect.sleep(pauseAfter(failures))
      yield* Effect.raceFirst(wait, Deferred.await(closed))
      const isLast = yield* Deferred.isDone(closed)
      filled.unsafeClose()
      many.unsafeClose()
      const exit = yield* Effect.exit(file.flush)
      if (Exit.isSuccess(exit)) {
        if (failures > 0) yield* Effect.logWarning(`the audit trail ${path} is written again`)
        failures = 0
        if (isLast && file.size === 0) return
      } else {
        filled.unsafeOpen()
        if (++failures === 1) {
          yield* Effect.logError(`the audit trail ${path} could not be written: ${Text.ofCause(exit.cause, 512)}`)
        }
        if (isLast) return
      }
    }
  })

/** @internal What writes records to a file until the scope closes; the file is open when this succeeds. */
export const fileWriter = (
  path: string,
  options: AuditFileOptions
): Effect.Effect<
  (records: ReadonlyArray<AuditRecord>) => Effect.Effect<void>,
  PlatformError,
  FileSystem.FileSystem | Scope.Scope
> => {
  checkOptions("Audit.layerNdjson", options, { flushInterval: "duration", capacity: "count" })
  const interval = Duration.toMillis(options.flushInterval ?? "1 second")
  return Effect.gen(function* () {
    const file = new AuditFile(yield* FileSystem.FileSystem, path, options)
    yield* file.open
    const filled = yield* Effect.makeLatch()
    const many = yield* Effect.makeLatch()
    const closed = yield* Deferred.make<void>()
    const writer = yield* Effect.forkDaemon(
      Effect.interruptible(writing(file, path, interval, { filled, many, closed }))
    )
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        yield* Deferred.succeed(closed, undefined)
        const done = yield* atEnd(Effect.timeoutOption(Fiber.await(writer), lastWrite))
        if (Option.isNone(done)) yield* Fiber.interruptFork(writer)
        else yield* file.close
        const lost = file.giveUp()
        if (lost > 0)
          yield* Effect.logError(`the audit trail ${path} ends without ${lost} records, which could not be written`)
      })
    )
    return (records) =>
      Effect.sync(() => {
        for (const record of records) file.buffer.offer(record)
        filled.unsafeOpen()
        if (file.buffer.size >= batch) many.unsafeOpen()
      })
  })
}

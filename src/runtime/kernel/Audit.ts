/**
 * The audit trail of a runtime as a service: where the records of `AuditRecord` go, and a stream of them.
 *
 * Responsibility: what a program puts in the place of no trail. The runtime's side, which makes the records, is `Auditing`; the file is
 * `AuditFile`.
 *
 * Order: records of one runtime come in the order of their numbers, and a batch is given away when the one before it has been taken.
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { check as checkOptions } from "../../protocol/Options.js"
import { AuditBuffer } from "./AuditBuffer.js"
import { type AuditFileOptions, fileWriter } from "./AuditFile.js"
import { type AuditRecord, shownFields, toLine } from "./AuditRecord.js"

/**
 * Takes records away: writes them, sends them on. The runtime calls it with one batch at a time, of 256 records at most, and waits for it
 * beside everything else. What it fails with, throws or dies of is logged at the level Error, and the batch is told as lost; after 10 seconds
 * it is interrupted, and is not called again before it has ended. Behind a batch that was not taken it has a pause of a second, which grows to
 * 30 seconds while it takes none.
 *
 * @since 0.2.0
 * @category types
 */
export type AuditWrite = (records: ReadonlyArray<AuditRecord>) => Effect.Effect<void, unknown>

/**
 * Where the audit trail goes (ARCP 1.1 §14).
 *
 * @since 0.2.0
 * @category services
 */
export interface AuditService {
  /** Takes records of a runtime. */
  readonly write: AuditWrite
  /**
   * The records from now on, until the layer is released. A reader that is `capacity` records behind (default 4,096) loses what comes then,
   * and reads an `audit.lost` record in its place; the runtime never waits for it. Throws a `RangeError` where `capacity` is no whole
   * number above 0.
   */
  readonly records: (capacity?: number) => Stream.Stream<AuditRecord>
}

/**
 * What {@link Audit.layerMemory} keeps.
 *
 * @since 0.2.0
 * @category services
 */
export interface AuditMemoryService {
  /** The records so far, oldest first. */
  readonly kept: Effect.Effect<ReadonlyArray<AuditRecord>>
  /** The first record that fits, of those that are kept and those to come. */
  readonly first: (fits: (record: AuditRecord) => boolean) => Effect.Effect<AuditRecord>
}

/**
 * The audit trail of a test.
 *
 * @since 0.2.0
 * @category services
 */
export class AuditMemory extends Context.Tag("effect-arcp/runtime/AuditMemory")<AuditMemory, AuditMemoryService>() {}

/** Readers of one trail, each with a queue of its own. */
class Readers {
  private readonly open = new Set<{ readonly buffer: AuditBuffer; readonly filled: Effect.Latch }>()
  private over = false

  give(records: ReadonlyArray<AuditRecord>): void {
    for (const { buffer, filled } of this.open) {
      for (const record of records) buffer.offer(record)
      filled.unsafeOpen()
    }
  }

  end(): void {
    this.over = true
    for (const { filled } of this.open) filled.unsafeOpen()
  }

  stream(capacity: number): Stream.Stream<AuditRecord> {
    return Stream.unwrapScoped(
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const reader = { buffer: new AuditBuffer(capacity), filled: Effect.unsafeMakeLatch(this.over) }
            this.open.add(reader)
            return reader
          }),
          (reader) => Effect.sync(() => void this.open.delete(reader))
        ),
        ({ buffer, filled }) =>
          Stream.repeatEffectChunkOption(
            Effect.flatMap(filled.await, () => {
              const taken = buffer.take(Number.POSITIVE_INFINITY)
              if (taken.length === 0 && this.over) return Effect.fail(Option.none<never>())
              if (!this.over) filled.unsafeClose()
              return Effect.succeed(Chunk.unsafeFromArray(taken))
            })
          )
      )
    )
  }
}

const defaultCapacity = 4_096

/** How many records `layerMemory` keeps by default. */
const defaultKept = 65_536

const make = (write: AuditWrite): Effect.Effect<AuditService, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Readers()),
      (readers) => Effect.sync(() => readers.end())
    ),
    (readers): AuditService => ({
      write: (records) =>
        Effect.suspend(() => {
          readers.give(records)
          return write(records)
        }),
      records: (capacity = defaultCapacity) => {
        checkOptions("Audit.records", { capacity }, { capacity: "count" })
        return readers.stream(capacity)
      }
    })
  )

const inMemory = (capacity: number): Layer.Layer<Audit | AuditMemory> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const kept: Array<AuditRecord> = []
      let waiting: Array<() => void> = []
      const audit = yield* make((records) =>
        Effect.sync(() => {
          kept.push(...records)
          if (kept.length > capacity) kept.splice(0, kept.length - capacity)
          const looks = waiting
          waiting = []
          for (const look of looks) look()
        })
      )
      const first: AuditMemoryService["first"] = (fits) =>
        Effect.async((resume) => {
          const look = (): void => {
            const found = kept.find(fits)
            if (found === undefined) waiting.push(look)
            else resume(Effect.succeed(found))
          }
          look()
          return Effect.sync(() => {
            waiting = waiting.filter((other) => other !== look)
          })
        })
      return Context.make(Audit, audit).pipe(Context.add(AuditMemory, { kept: Effect.sync(() => [...kept]), first }))
    })
  )

/**
 * Where the audit trail of a runtime goes: who was admitted and refused, what leases denied, what became of credentials (ARCP 1.1 §14).
 * Provide a layer of it to `ArcpRuntime`. Without one there is no trail, and it costs nothing.
 *
 * A record is made after its act and handed over in the background; no client waits for it. So a process that is killed loses what was handed
 * over in the last moments: the records of a run are numbered, and a new start is a new `run`.
 *
 * @example
 * ```ts
 * import { NodeFileSystem } from "@effect/platform-node"
 * import { ArcpRuntime, Audit } from "effect-arcp/runtime"
 * import { Layer } from "effect"
 *
 * const Main = ArcpRuntime.layer({ name: "demo" }).pipe(
 *   Layer.provide(Audit.layerNdjson("/var/log/arcp/audit.ndjson")),
 *   Layer.provide(NodeFileSystem.layer)
 * )
 * ```
 *
 * @since 0.2.0
 * @category services
 */
export class Audit extends Context.Tag("effect-arcp/runtime/Audit")<Audit, AuditService>() {
  /** A service over a function that takes records away, with the stream of them; it ends with the scope. */
  static readonly make: (write: AuditWrite) => Effect.Effect<AuditService, never, Scope.Scope> = make

  /** A trail that a function of the program takes away, as to a collector of its own. */
  static readonly layer = (write: AuditWrite): Layer.Layer<Audit> => Layer.scoped(Audit, make(write))

  /** A trail for those who read its stream alone. */
  static readonly layerStream: Layer.Layer<Audit> = Layer.scoped(
    Audit,
    make(() => Effect.void)
  )

  /**
   * A trail in memory, for tests: the newest `capacity` records (default 65,536). Throws a `RangeError` where `capacity` is no whole number
   * above 0.
   */
  static readonly layerMemory = (capacity: number = defaultKept): Layer.Layer<Audit | AuditMemory> => {
    checkOptions("Audit.layerMemory", { capacity }, { capacity: "count" })
    return inMemory(capacity)
  }

  /**
   * A trail that becomes log lines of the level Info, each with the record's fields as annotations and its type as the message. Lists, and
   * texts with control characters or others that could end or disguise a line, are annotated as JSON.
   */
  static readonly layerLogger: Layer.Layer<Audit> = Layer.scoped(
    Audit,
    make((records) =>
      Effect.forEach(records, ({ type, ...fields }) => Effect.annotateLogs(Effect.logInfo(type), shownFields(fields)), {
        discard: true
      })
    )
  )

  /**
   * A trail that is appended to a file, a record a line. The file is made with mode 0600; what is there is kept. Fails where it cannot be
   * opened at the start. `AuditFileOptions` says when it is written, and what becomes of what cannot be.
   */
  static readonly layerNdjson = (
    path: string,
    options: AuditFileOptions = {}
  ): Layer.Layer<Audit, PlatformError.PlatformError, FileSystem.FileSystem> =>
    Layer.scoped(Audit, Effect.flatMap(fileWriter(path, options), make))

  /** A record as one line of NDJSON, without its end: control characters and others that could end or disguise a line are escaped. */
  static readonly toLine: (record: AuditRecord) => string = toLine
}

/**
 * How a runtime states what it did (ARCP 1.1 §14): the parts of it add records here, and the program's `Audit` is given them.
 *
 * Responsibility: number, time and cleaning of each record; the bounded queue between the runtime and the program's service; and that the
 * service can do what it likes without holding anything up.
 *
 * Order: a record is added in the step of its act, behind it. Records are given away in the order of their numbers, one batch at a time, by a
 * fiber of its own that begins behind the step that adds.
 *
 * Cost: where the program provides no `Audit` there is no `Auditor`, and a part that asks for it finds `undefined`: one branch for each
 * act. Events of jobs are no acts.
 *
 * Races and failures: a service that throws, dies or fails loses its batch, one that does not return is interrupted and not called again
 * before it has ended. It has a pause that grows, and what it lost is told by an `audit.lost` record before the next.
 */
import { Buffer } from "node:buffer"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type { Hide } from "../../agent/HiddenSpan.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import { elapsedOf } from "../../protocol/Elapsed.js"
import * as Text from "../../protocol/Text.js"
import { atEnd } from "./AtEnd.js"
import { Audit, type AuditService } from "./Audit.js"
import { AuditBuffer } from "./AuditBuffer.js"
import type { AuditRecord, Draft } from "./AuditRecord.js"
import { auditLost, Meter, type MeterShape } from "./Metrics.js"
import { RefusalRates } from "./RefusalRates.js"
import { forHandlers } from "./Turn.js"

/** Records that wait for the program's service. */
const capacity = 8_192
/** Records that are given to it at a time. */
const batch = 256
/** Milliseconds that it has for them. */
const writeTime = 10_000
/** The longest pause behind a batch that was not taken, in milliseconds; the first is a second. */
const longestPause = 30_000
/** Milliseconds for what is left at the end of the runtime. */
const lastWords = 5_000

/** Bytes of a text in a record; ids of principals may have 1,024 code units. */
const textBytes = 1_024
const idBytes = 4_096
/** Texts of a list, and bytes of each. */
const maxItems = 32
const itemBytes = 256
/** What of a text is looked at: what a filter of credentials reads, and one unit more, so that it sees the cut. */
const looked = 131_073

/** Milliseconds after which the number of refusals that were left out is recorded, unless the peer's next refusal came first. */
const omittedTime = 10_000

const same: Hide = (text) => text

/** A bounded text of its own: a piece of a text would keep the whole in memory. */
const cut = (text: string, bytes: number, hide: Hide): string => {
  const shown = Text.fitting(hide(text.length > looked ? text.slice(0, looked) : text), bytes)
  return text.length <= 64 ? shown : Buffer.from(shown, "utf8").toString("utf8")
}

/** Fields whose text others have a part in. No other is cleaned: a peer that shows an address as its token would hide the address. */
const free: ReadonlySet<string> = new Set([
  "agent",
  "client_name",
  "client_version",
  "detail",
  "endpoint",
  "expires_at",
  "profile",
  "request_id",
  "target",
  "trace_id"
])

const cleaned = (key: string, value: unknown, hide: Hide): unknown =>
  typeof value === "string"
    ? cut(value, key === "principal" || key === "owner" ? idBytes : textBytes, free.has(key) ? hide : same)
    : Array.isArray(value)
      ? value.slice(0, maxItems).map((item) => cut(String(item), itemBytes, hide))
      : value

/** Records the acts of one runtime. Its operations need no `this`. */
export interface Auditor {
  /**
   * Adds a record; returns at once. `hide` takes out of its texts what they may not show. Of the refusals of one peer, more than 600 at once,
   * or 10 a second, are counted instead (`RefusalRates`).
   */
  readonly add: (draft: Draft, hide?: Hide) => void
}

/** The parts that the runtime's fibers are made of here. */
interface Uses {
  readonly audit: AuditService
  readonly clock: Clock.Clock
  readonly meter: MeterShape
  readonly runtime: string
  readonly run: string
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** The trail of one runtime. */
class Trail implements Auditor {
  private readonly uses: Uses
  private readonly waiting: AuditBuffer
  private readonly rates: RefusalRates
  /** Whether a fiber waits to record what was left out. */
  private telling = false
  private seq = 0
  private draining = false
  /** Batches in a row that were not taken. */
  private failures = 0
  private readonly ended = Deferred.unsafeMake<void>(FiberId.none)
  private readonly idle = Deferred.unsafeMake<void>(FiberId.none)

  constructor(uses: Uses) {
    this.uses = uses
    this.waiting = new AuditBuffer(capacity, () => uses.meter.count(auditLost))
    this.rates = new RefusalRates(elapsedOf(uses.clock))
  }

  readonly add = (draft: Draft, hide: Hide = same): void => {
    const admitted = this.rates.admit(draft)
    if (admitted === undefined) {
      if (this.telling) return
      this.telling = true
      return this.uses.fork(this.tellLater)
    }
    if (admitted.before !== undefined) this.put(this.stamped(admitted.before, same))
    this.put(this.stamped(draft, hide))
  }

  private put(record: AuditRecord): void {
    this.waiting.offer(record)
    if (this.draining) return
    this.draining = true
    this.uses.fork(this.drain)
  }

  /** Gives away what is left, within a bound. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    this.tellOmitted()
    this.telling = true
    Deferred.unsafeDone(this.ended, Effect.void)
    if (!this.draining) return Effect.void
    return Effect.flatMap(atEnd(Effect.timeoutOption(Deferred.await(this.idle), lastWords)), (done) =>
      Option.isSome(done) ? Effect.void : this.giveUp
    )
  })

  private readonly giveUp: Effect.Effect<void> = Effect.suspend(() => {
    const left = this.waiting.take(Number.POSITIVE_INFINITY).filter(({ type }) => type !== "audit.lost").length
    if (left === 0) return Effect.void
    this.uses.meter.count(auditLost, left)
    return Effect.logError(`the audit service has not taken ${left} records at the end of the runtime`)
  })

  private tellOmitted(): void {
    for (const draft of this.rates.tellAll()) this.put(this.stamped(draft, same))
  }

  /** Records what was left out after `omittedTime`. At the end of the runtime `end` does so at once. */
  private readonly tellLater: Effect.Effect<void> = Effect.suspend(() =>
    Effect.map(Effect.timeoutOption(Deferred.await(this.ended), omittedTime), (over) => {
      if (Option.isSome(over)) return
      this.telling = false
      this.tellOmitted()
    })
  )

  private stamped(draft: Draft, hide: Hide): AuditRecord {
    const { clock, run, runtime } = this.uses
    const record: Record<string, unknown> = {
      v: 1,
      run,
      runtime,
      seq: ++this.seq,
      ts: formatTimestamp(clock.unsafeCurrentTimeMillis()),
      type: draft.type
    }
    for (const [key, value] of Object.entries(draft)) {
      if (value !== undefined && key !== "type") record[key] = cleaned(key, value, hide)
    }
    return record as unknown as AuditRecord
  }

  private readonly drain: Effect.Effect<void> = Effect.suspend(() => {
    const records = this.waiting.take(batch)
    if (records.length > 0) return Effect.flatMap(this.give(records), (taken) => (taken ? this.drain : this.pause))
    return this.rest
  })

  private readonly rest: Effect.Effect<void> = Effect.suspend(() => {
    this.draining = false
    return Deferred.isDone(this.ended).pipe(
      Effect.flatMap((over) => (over ? Effect.asVoid(Deferred.succeed(this.idle, undefined)) : Effect.void))
    )
  })

  /** Behind a batch that was not taken: what it was is told with the next, and at the end of the runtime not at all. */
  private readonly pause: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(Deferred.isDone(this.ended), (over) =>
      over
        ? Effect.zipRight(this.giveUp, this.rest)
        : Effect.zipRight(
            Effect.raceFirst(
              Effect.sleep(Math.min(longestPause, 1_000 * 2 ** Math.min(this.failures - 1, 20))),
              Deferred.await(this.ended)
            ),
            this.drain
          )
    )
  )

  /** Whether the program's service has taken them. */
  private give(records: ReadonlyArray<AuditRecord>): Effect.Effect<boolean> {
    const { audit } = this.uses
    return Effect.gen(this, function* () {
      // A copy, as what is given away may be changed.
      const given = [...records]
      const call = yield* Effect.forkDaemon(Effect.interruptible(Effect.suspend(() => audit.write(given))))
      const exit = yield* Effect.timeoutOption(Fiber.await(call), writeTime)
      if (Option.isSome(exit) && Exit.isSuccess(exit.value)) {
        this.failures = 0
        return true
      }
      this.waiting.failed(records)
      if (++this.failures === 1) yield* complaint(Option.getOrUndefined(exit))
      if (Option.isNone(exit)) {
        yield* Fiber.interruptFork(call)
        yield* Fiber.await(call)
      }
      return false
    })
  }
}

const complaint = (exit: Exit.Exit<void, unknown> | undefined): Effect.Effect<void> => {
  const why =
    exit === undefined || Exit.isSuccess(exit)
      ? `it has not returned within ${writeTime} ms`
      : Cause.isInterruptedOnly(exit.cause)
        ? "it was interrupted"
        : Text.ofCause(exit.cause, 512)
  return Effect.logError(`the audit service could not take records: ${why}`)
}

const make = (runtime: string, audit: AuditService) =>
  Effect.gen(function* () {
    const services = yield* Effect.runtime<never>()
    const fork = Runtime.runFork(services)
    const lane = forHandlers(services)
    const trail = new Trail({
      audit,
      runtime,
      run: globalThis.crypto.randomUUID(),
      clock: yield* Effect.clock,
      meter: yield* Meter,
      // Behind the step that adds, and beside the agents.
      fork: (effect) => {
        const behind = Effect.zipRight(Effect.yieldNow(), effect)
        fork(lane === undefined ? behind : Effect.withScheduler(behind, lane))
      }
    })
    yield* Effect.addFinalizer(() => trail.end)
    return trail
  })

const off: Auditor | undefined = undefined

/** What records the runtime's acts; undefined where the program has no `Audit`. */
export class Auditing extends Context.Reference<Auditing>()("effect-arcp/runtime/Auditing", {
  defaultValue: (): Auditor | undefined => undefined
}) {
  /** Over the program's `Audit`, if there is one. What is left when the scope closes is given to it. */
  static readonly layer = (runtime: string): Layer.Layer<Auditing> =>
    Layer.scoped(
      Auditing,
      Effect.flatMap(Effect.serviceOption(Audit), (audit) =>
        Option.isNone(audit) ? Effect.succeed(off) : make(runtime, audit.value)
      )
    )
}

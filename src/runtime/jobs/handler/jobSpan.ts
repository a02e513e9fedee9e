/** The span of a job's handler (ARCP 1.1 §11, 1.0 §11): a child of the caller's, where the submit brought one. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Amounts } from "../../../authority/Amount.js"
import { toText } from "../BudgetText.js"
import { nameOf, type Running } from "../Running.js"

const spanName = "arcp.job"
const budgetAttribute = "arcp.budget.remaining"

const parentOf = ({ live }: Running): Tracer.ExternalSpan => {
  const { traceContext: trace } = live.values
  return Tracer.externalSpan({
    traceId: live.traceId,
    spanId: trace?.parentSpanId ?? live.traceId.slice(16),
    sampled: trace?.sampled ?? true
  })
}

const attributesOf = ({ agent, lease, live }: Running): Readonly<Record<string, unknown>> => ({
  "arcp.job_id": live.jobId,
  "arcp.session_id": live.ownerSessionId,
  "arcp.agent": nameOf(agent),
  "arcp.lease.capabilities": Object.keys(lease.wire).join(","),
  "arcp.lease.expires_at": lease.constraints?.expires_at
})

/** Makes the span by the program's tracer. */
export const traced = (running: Running): Effect.Effect<Tracer.Span> =>
  Effect.makeSpan(spanName, {
    parent: parentOf(running),
    attributes: attributesOf(running),
    captureStackTrace: false
  })

/** Ends a span, which has then what is left of the budget. */
export const ended = (
  span: Tracer.Span,
  exit: Exit.Exit<unknown, unknown>,
  counters: () => Amounts
): Effect.Effect<void> =>
  Effect.zipWith(Effect.clock, FiberRef.get(FiberRef.currentTracerTimingEnabled), (clock, isTimed) => {
    const left = toText(counters())
    if (left !== undefined) span.attribute(budgetAttribute, left)
    if (span.status._tag !== "Ended") span.end(isTimed ? clock.unsafeCurrentTimeNanos() : 0n, exit)
  })

/**
 * The span of a job where no tracer looks at it, for what the handler and the spans below it may ask: each part is made when it is
 * asked for.
 */
export class UntracedSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name = spanName
  readonly kind = "internal"
  readonly context: Context.Context<never> = Context.empty()
  readonly sampled = true
  readonly traceId: string
  private readonly running: Running
  private readonly startedAt: number
  private readonly newId: () => string
  private id: string | undefined = undefined
  private up: Option.Option<Tracer.AnySpan> | undefined = undefined
  private known: Map<string, unknown> | undefined = undefined
  private linked: ReadonlyArray<Tracer.SpanLink> = noLinks
  private over: { readonly endTime: bigint; readonly exit: Exit.Exit<unknown, unknown> } | undefined = undefined

  /** `startedAt` in milliseconds since the epoch; `newId` answers 16 hex digits. */
  constructor(running: Running, startedAt: number, newId: () => string) {
    this.running = running
    this.traceId = running.live.traceId
    this.startedAt = startedAt
    this.newId = newId
  }

  get spanId(): string {
    return (this.id ??= this.newId())
  }

  get parent(): Option.Option<Tracer.AnySpan> {
    return (this.up ??= Option.some(parentOf(this.running)))
  }

  get attributes(): Map<string, unknown> {
    return (this.known ??= new Map(Object.entries(attributesOf(this.running))))
  }

  get links(): ReadonlyArray<Tracer.SpanLink> {
    return this.linked
  }

  get status(): Tracer.SpanStatus {
    const startTime = BigInt(Math.round(this.startedAt)) * 1_000_000n
    return this.over === undefined ? { _tag: "Started", startTime } : { _tag: "Ended", startTime, ...this.over }
  }

  attribute(key: string, value: unknown): void {
    this.attributes.set(key, value)
  }

  /** Nobody reads it: a span has no way to be asked for its events. */
  event(): void {}

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    this.linked = [...this.linked, ...links]
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    this.over = { endTime, exit }
  }

  /** Ends the span. The remaining budget is added only where the attributes have been read. */
  finish(now: number, exit: Exit.Exit<unknown, unknown>, counters: () => Amounts): void {
    const left = this.known === undefined ? undefined : toText(counters())
    if (left !== undefined) this.attribute(budgetAttribute, left)
    if (this.over === undefined) this.end(BigInt(Math.round(now)) * 1_000_000n, exit)
  }
}

const noLinks: ReadonlyArray<Tracer.SpanLink> = []

/**
 * Job events: the ten kinds of ARCP 1.1 §8.2, vendor kinds and kinds that this version does not know.
 *
 * `fromWire` is the hot path of a client: it reads by the guards of `EventGuards`, so that an event costs no Schema interpretation.
 */
import * as Schema from "effect/Schema"
import { isPriority, type Priority } from "./Envelope.js"
import type { Bodies } from "./EventBodies.js"
import { delegateBody, isBody } from "./EventGuards.js"
import type { CoreEventKind } from "./ExtensionName.js"
import { JobId } from "./Ids.js"
import { optional } from "./Fields.js"

export {
  ArtifactRef,
  type Bodies,
  bodies,
  Delegate,
  Log,
  Metric,
  Progress,
  ResultChunk,
  Status,
  Thought,
  ToolCall,
  ToolResult
} from "./EventBodies.js"
export { type LogLevel, logLevels } from "./EventGuards.js"

/**
 * The payload of `job.event` (§8.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const EventPayload = Schema.Struct({
  /** The kind (§8.2). */
  kind: Schema.NonEmptyString,
  /** When it was emitted: ISO 8601, UTC. */
  ts: optional(Schema.String),
  /** The body, by its kind. */
  body: Schema.optional(Schema.Unknown)
})

/**
 * The payload of `job.event` (§8.1).
 *
 * @since 0.1.0
 * @category models
 */
export type EventPayload = typeof EventPayload.Type

/**
 * What every event has.
 *
 * @since 0.1.0
 * @category models
 */
export interface EventBase {
  /** The job that emitted it. */
  readonly jobId: JobId
  /** Its number in the receiving session (§8.3). */
  readonly seq: number
  /** When it was emitted, as the runtime wrote it; empty where the runtime gave none. */
  readonly ts: string
  /** The priority that the agent gave it; absent where it gave none, or one that is not known here. */
  readonly priority?: Priority | undefined
}

/**
 * An event of a core kind.
 *
 * @since 0.1.0
 * @category models
 */
export type CoreEvent = {
  readonly [K in CoreEventKind]: EventBase & { readonly _tag: K; readonly kind: K; readonly body: Bodies[K] }
}[CoreEventKind]

/**
 * An event of any other kind, or of a kind whose body breaks its schema (`malformed`), be it a core one or one that the agent declares:
 * passed through as data, never an error (ARCP 1.0 §8.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface OtherEvent extends EventBase {
  readonly _tag: "other"
  /** The kind as it came. */
  readonly kind: string
  /** The body as it came, unchecked. */
  readonly body: unknown
  /** Whether the kind is known and the body breaks its schema. */
  readonly malformed: boolean
}

/**
 * What a job emits, as a client sees it. Branch on `_tag`.
 *
 * @since 0.1.0
 * @category models
 */
export type JobEvent = CoreEvent | OtherEvent

/**
 * An event of a kind that the job's agent declares, its body decoded.
 *
 * @since 0.1.0
 * @category types
 */
export type VendorEvent<Events> = {
  readonly [K in keyof Events & string]: EventBase & {
    readonly _tag: K
    /** The declared kind; the same as `_tag`. */
    readonly kind: K
    /** The body, decoded by the agent's Schema. */
    readonly body: Events[K] extends Schema.Schema.AnyNoContext ? Schema.Schema.Type<Events[K]> : unknown
  }
}[keyof Events & string]

/**
 * Whether `kind` is one of the ten kinds of §8.2.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isCoreKind = (kind: string): kind is CoreEventKind => Object.hasOwn(isBody, kind)

/**
 * The event that a `job.event` payload stands for, with its envelope's priority. Never fails: what does not fit is an {@link OtherEvent}.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromWire = (id: string, seq: number, payload: EventPayload, priority?: unknown): JobEvent => {
  const jobId = JobId(id)
  if (priority !== undefined && isPriority(priority)) return { ...fromWire(jobId, seq, payload), priority }
  const { kind } = payload
  // A payload may come undecoded.
  const ts = typeof payload.ts === "string" ? payload.ts : ""
  if (!isCoreKind(kind)) return { _tag: "other", kind, jobId, seq, ts, body: payload.body, malformed: false }
  if (!isBody[kind](payload.body)) {
    const alias = kind === "delegate" ? delegateBody(payload.body) : payload.body
    if (alias !== payload.body) return fromWire(jobId, seq, { ...payload, body: alias })
    return { _tag: "other", kind, jobId, seq, ts, body: payload.body, malformed: true }
  }
  if (kind === "log") {
    const body = payload.body as Bodies["log"]
    const level = body.level.toLowerCase()
    return { _tag: kind, kind, jobId, seq, ts, body: level === body.level ? body : { ...body, level } }
  }
  return { _tag: kind, kind, jobId, seq, ts, body: payload.body } as CoreEvent
}

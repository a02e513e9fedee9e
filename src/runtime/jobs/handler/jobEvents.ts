/**
 * What a job's handler emits: checks an event, serialises it once and hands it to the log.
 *
 * Order: events have the order of the calls. What belongs to an event (an open call, a charge) happens in the step in which it is queued.
 *
 * Races closed here: once the job is ending, every call interrupts its fiber: nothing follows the terminal message.
 *
 * This is the hot path: one closure and one payload per event, no fiber and no span.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import { InvalidRequest } from "../../../protocol/Errors.js"
import { type LogLevel, logLevels } from "../../../protocol/Event.js"
import * as Text from "../../../protocol/Text.js"
import type { SegmentClass } from "../../../store/Store.js"
import * as FrameSize from "../../kernel/FrameSize.js"
import { eventPayload, prioritizedPayload } from "../../kernel/Payload.js"
import { pauseIfOver } from "../../kernel/Turn.js"
import type { JobLog } from "../../log/JobLog.js"
import type { Engine } from "../internal/engine.js"
import type { Running } from "../Running.js"
import { chunkPayload, type ResultChunk } from "./chunkPayload.js"
import { currentPriority } from "./priorities.js"
import { secretsOf } from "./secrets.js"

/** Emits the events of one job. */
export class JobEvents {
  readonly running: Running
  readonly engine: Engine
  private readonly live: JobLog
  private readonly room: number
  private readonly emit: Engine["eventLog"]["emit"]
  private readonly now: () => number

  constructor(running: Running, engine: Engine) {
    this.running = running
    this.engine = engine
    this.live = running.live
    this.room = FrameSize.bodyRoom(engine.limits)
    this.emit = engine.eventLog.emit
    this.now = engine.deadlines.wall
  }

  /** A new id of this prefix. */
  newId(prefix: string): string {
    return `${prefix}_${this.engine.ids.unsafeUlid(this.now())}`
  }

  /** A line of the job's log: what the `Job` service has as its own. */
  readonly log = (message: string, level: LogLevel = "info"): Effect.Effect<void, InvalidRequest> =>
    logLevels.includes(level)
      ? Effect.suspend(() => this.pushed("event", "log", { level, message: this.shown(message) }))
      : Effect.fail(new InvalidRequest({ message: "log.level: must be one of debug, info, warn, error" }))

  /** A line without the values of the job's credentials: observers read it who may not see them (§14). */
  private shown(message: string): string {
    const { engine, running } = this
    // User code may pass anything.
    if (!engine.credentials.available || typeof message !== "string") return message
    return secretsOf(engine, running)?.hide(message) ?? message
  }

  /** Emits an event of the class that most have. */
  event(kind: string, body: unknown, then?: () => void): Effect.Effect<void, InvalidRequest> {
    return this.push("event", kind, body, then)
  }

  /** Emits an event; `then` runs in the same step in which it is queued. */
  push(cls: SegmentClass, kind: string, body: unknown, then?: () => void): Effect.Effect<void, InvalidRequest> {
    return Effect.suspend(() => this.pushed(cls, kind, body, then))
  }

  /** Emits an event in this step; what is left is what its emitter waits for. */
  private pushed(
    cls: SegmentClass,
    kind: string,
    body: unknown,
    then?: () => void
  ): Effect.Effect<void, InvalidRequest> {
    if (this.live.ending) return Effect.interrupt
    const queued = this.queueAs(cls, kind, body)
    if (typeof queued !== "boolean") return Effect.fail(queued)
    if (then !== undefined) then()
    return this.paced(queued)
  }

  /** Emits a chunk of a streamed result. */
  pushChunk(chunk: ResultChunk): Effect.Effect<void> {
    const { live } = this
    return live.ending ? Effect.interrupt : this.paced(this.emit(live, "chunk", chunkPayload(this.now(), chunk)))
  }

  /** Queues an event now, without waiting for room; undefined where the job emits no more. */
  queue(kind: string, body: unknown): boolean | InvalidRequest | undefined {
    return this.live.ending ? undefined : this.queueAs("event", kind, body)
  }

  /** Whether an event can be queued now and its emitter would not have to wait for anything. */
  hasRoom(): boolean {
    const { engine, live } = this
    const { queuedBytes, queuedEvents } = engine.limits
    return live.queuedEvents < queuedEvents && live.queuedBytes < queuedBytes && this.throttled() === undefined
  }

  /** What an emitter waits for where an owner is behind. A job that is being stopped waits for no reader: its finalizers may emit. */
  private throttled(): Effect.Effect<void> | undefined {
    const { engine, live, running } = this
    const { ackLag, ackLagBytes } = engine.limits
    return live.isAhead(ackLag, ackLagBytes) && running.stop === undefined
      ? engine.backPressure.throttle(live)
      : undefined
  }

  /** Queues an event now, or returns what is wrong with it; a boolean is whether there is room for more. */
  private queueAs(cls: SegmentClass, kind: string, body: unknown): boolean | InvalidRequest {
    const { live, room } = this
    const json = Text.toJson(body)
    if (json._tag === "NotJson") return new InvalidRequest({ message: `${kind}: the body is not JSON: ${json.why}` })
    if (json._tag === "Absent") return new InvalidRequest({ message: `${kind}: the body is not JSON` })
    const { text } = json
    // What `toJSON` makes of an object need not be one.
    if (!text.startsWith("{")) return new InvalidRequest({ message: `${kind}: the body must be a JSON object (§8.1)` })
    if (!FrameSize.fits(text, room)) {
      this.engine.meter.reached("eventPayload")
      return new InvalidRequest({
        message: `${kind}: the event has ${Buffer.byteLength(text)} bytes, at most ${room} are allowed: keep it as an artifact, or stream it as the result`
      })
    }
    const priority = live.prioritized ? currentPriority() : undefined
    return this.emit(
      live,
      cls,
      priority === undefined
        ? eventPayload(JSON.stringify(kind), this.now(), text)
        : prioritizedPayload(priority, JSON.stringify(kind), this.now(), text)
    )
  }

  /** What an emitter waits for once its event is queued. */
  private paced(hasRoom: boolean): Effect.Effect<void> {
    const { engine, live } = this
    const throttle = this.throttled()
    if (throttle !== undefined) return Effect.zipRight(throttle, engine.eventLog.room(live))
    return hasRoom ? (pauseIfOver() ?? Effect.void) : engine.eventLog.room(live)
  }
}

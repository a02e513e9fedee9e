/**
 * An {@link Endpoint} over a Stream and a Sink of a program's own.
 *
 * Responsibility: three fibers. The reader runs the Stream into the endpoint and stops while the endpoint is held. The writer runs what is
 * sent into the Sink, chunk by chunk. The keeper waits for the first reason to end and carries the end out.
 *
 * Order of the end: what was sent goes through the Sink, which then ends; the program's `close` is called; the Stream is interrupted. Each
 * step is bounded by the same time. An end that is not ours skips the first step.
 *
 * Races closed:
 * - The first reason to end counts: a Sink that breaks while the Stream ends changes nothing.
 * - Whatever the program's code does (fails, dies, hangs, cannot be interrupted), it is an end with a reason, and the keeper goes on.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Text from "../../protocol/Text.js"
import { BadFrame, closeCodes, type CloseInfo, ConnectionClosed, type Inbound } from "../Connection.js"
import type { ConnectionStreams } from "../ConnectionStreams.js"
import { Endpoint, frameText } from "./Endpoint.js"
import { Inbox } from "./Inbox.js"

/** All of it set; sizes are UTF-8 bytes at most, see {@link weight}. */
export interface Settings {
  readonly maxFrameBytes: number
  readonly highWaterBytes: number
  readonly inboundBytes: number
  readonly closeTimeout: Duration.DurationInput
}

/** A connection that runs, and the wait for everything of it to be released. */
export interface Opened {
  readonly endpoint: Endpoint
  readonly released: Effect.Effect<void>
}

/** The weight of a waiting frame besides its text, and that of an object, whose size is not known. */
const overhead = 64
const objectWeight = 1024

const weight = (frame: Inbound): number =>
  typeof frame === "string" ? frame.length + overhead : frame instanceof BadFrame ? overhead : objectWeight

/** Whether a text has at most so many UTF-8 bytes. A code unit has three at most, and one at least. */
const fits = (text: string, bytes: number): boolean => {
  if (text.length * 3 <= bytes) return true
  if (text.length > bytes) return false
  let size = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    // a surrogate is half of four bytes
    if (unit > 0x7f) size += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1
  }
  return size <= bytes
}

/** How the exit of one of the program's parts ends the connection. */
const infoOf = (part: string, cause: Cause.Cause<unknown>): CloseInfo => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) {
    const error = failure.value
    if (Text.isInstance(error, ConnectionClosed)) {
      const code = Text.property(error, "code")
      return {
        code: Number.isInteger(code) ? (code as number) : closeCodes.abnormal,
        reason: Text.textProperty(error, "reason", 123) ?? ""
      }
    }
    return { code: closeCodes.abnormal, reason: `${part} failed: ${Text.ofUnknown(error, 90)}` }
  }
  const defect = Cause.dieOption(cause)
  return Option.isSome(defect)
    ? { code: closeCodes.internal, reason: `${part} died: ${Text.ofUnknown(defect.value, 90)}` }
    : { code: closeCodes.abnormal, reason: `${part} was interrupted` }
}

/** Runs an effect of the program, at most for `limit`. Its failures are ignored; one that cannot be interrupted is not waited for. */
export const bounded = <A, E, R>(
  effect: () => Effect.Effect<A, E, R>,
  limit: Duration.DurationInput
): Effect.Effect<void, never, R> =>
  Effect.suspend(effect).pipe(
    Effect.interruptible,
    Effect.disconnect,
    Effect.exit,
    Effect.timeoutOption(limit),
    Effect.interruptible,
    Effect.asVoid
  )

/** What waits for the Sink, and what the Sink works on: both count until the Sink asks for more. */
class Outbox {
  private readonly texts: Inbox<string>
  private readonly onRoom: () => void
  private taken = 0

  constructor(onRoom: () => void) {
    this.texts = new Inbox()
    this.onRoom = onRoom
  }

  get waiting(): number {
    return this.texts.size + this.taken
  }

  get ended(): boolean {
    return this.texts.ended
  }

  push(texts: ReadonlyArray<string>): void {
    for (const text of texts) this.texts.push(text, weight(text))
  }

  end(): void {
    this.texts.end()
  }

  private readonly next: Effect.Effect<Chunk.Chunk<string>, Option.Option<never>> = Effect.suspend(() => {
    this.taken = 0
    this.onRoom()
    return Effect.flatMap(this.texts.pull, (texts) => {
      if (texts === undefined) return Effect.fail(Option.none())
      this.taken = texts.reduce((sum, text) => sum + weight(text), 0)
      return Effect.succeed(Chunk.unsafeFromArray(texts))
    })
  })

  readonly stream: Stream.Stream<string> = Stream.suspend(() => Stream.repeatEffectChunkOption(this.next))
}

/** The first reason to end: our own close, which flushes, or one that is not ours, which does not. */
type Reason = "ours" | CloseInfo

/**
 * The parts of a pair, each read once, in a guard: it is the program's own value. One that cannot be read is a pair whose Stream dies, so
 * that its connection ends, and nothing else.
 */
const partsOf = <E, R>(pair: ConnectionStreams<E, R>): ConnectionStreams<E, R> => {
  try {
    const { close, inbound, outbound, peer } = pair
    const { remoteAddress, secure, transport } = peer
    return {
      close: typeof close === "function" ? (info) => close.call(pair, info) : undefined,
      inbound,
      outbound,
      peer: {
        transport,
        secure: secure === true,
        remoteAddress: typeof remoteAddress === "string" ? remoteAddress : undefined
      }
    }
  } catch (defect) {
    const inbound = Stream.die(new Error(Text.ofUnknown(defect)))
    return { inbound, outbound: Sink.drain, peer: { transport: "streams", secure: false } }
  }
}

/** The endpoint of a pair, without its fibers. */
const assemble = (pair: ConnectionStreams<unknown, unknown>, settings: Settings, reason: Deferred.Deferred<Reason>) => {
  const outbox = new Outbox(() => endpoint.flushed())
  // set while the endpoint is held
  let gate: Effect.Latch | undefined = undefined
  let limit = settings.maxFrameBytes
  const endpoint: Endpoint = new Endpoint(
    {
      write: (frames) => {
        if (outbox.ended) return false
        // all are encoded before the first is handed over: a frame that cannot be encoded sends none
        outbox.push(frames.map(frameText))
        return true
      },
      waiting: () => outbox.waiting,
      hold: () => {
        gate ??= Effect.unsafeMakeLatch()
      },
      release: () => {
        gate?.unsafeOpen()
        gate = undefined
      },
      shut: () => Deferred.unsafeDone(reason, Effect.succeed("ours" as const)),
      limitFrames: (bytes) => {
        limit = Math.min(settings.maxFrameBytes, bytes ?? settings.maxFrameBytes)
      }
    },
    {
      transport: pair.peer.transport,
      secure: pair.peer.secure,
      highWater: settings.highWaterBytes,
      inboundBound: settings.inboundBytes
    }
  )
  endpoint.remoteAddress = pair.peer.remoteAddress
  const push = (frame: Inbound): void => {
    if (typeof frame === "string" && !fits(frame, limit)) {
      endpoint.startClose(closeCodes.tooBig, `a frame is larger than ${limit} bytes`)
    } else endpoint.push(frame, weight(frame))
  }
  const pass: Effect.Effect<void> = Effect.suspend(() => gate?.await ?? Effect.void)
  return { endpoint, outbox, pass, push }
}

/** Starts to run a pair. Nothing ends it but its own end: the caller closes the endpoint and waits for `released`. */
export const open = <E, R>(given: ConnectionStreams<E, R>, settings: Settings): Effect.Effect<Opened, never, R> =>
  Effect.gen(function* () {
    const { closeTimeout } = settings
    const pair = partsOf(given)
    const reason = yield* Deferred.make<Reason>()
    const end = (info: CloseInfo): void => Deferred.unsafeDone(reason, Effect.succeed(info))
    const { endpoint, outbox, pass, push } = assemble(pair as ConnectionStreams<unknown, unknown>, settings, reason)
    const closeNormally = (): void => void endpoint.startClose(closeCodes.normal, "")

    // A value that is not a Stream, or not a Sink, throws when it is run.
    const reading = yield* Effect.suspend(() =>
      Stream.runForEachChunk(pair.inbound, (chunk) =>
        Effect.suspend(() => {
          for (const frame of chunk) push(frame)
          return pass
        })
      )
    ).pipe(
      Effect.zipRight(
        Effect.suspend(() => {
          // the peer sends nothing more; the frames that it sent may still be read and answered, within the close time-out
          if (endpoint.isOpen) endpoint.endInbound(closeNormally)
          return Effect.sleep(closeTimeout)
        })
      ),
      Effect.zipRight(Effect.sync(closeNormally)),
      Effect.interruptible,
      Effect.forkDaemon
    )
    const writing = yield* Effect.suspend(() => Stream.run(outbox.stream, pair.outbound)).pipe(
      Effect.interruptible,
      Effect.forkDaemon
    )
    reading.addObserver((exit) => {
      if (Exit.isFailure(exit)) end(infoOf("the inbound stream", exit.cause))
    })
    writing.addObserver((exit) => {
      if (Exit.isFailure(exit)) end(infoOf("the outbound sink", exit.cause))
      else if (!outbox.ended) end({ code: closeCodes.abnormal, reason: "the outbound sink has ended" })
    })

    const keeper = Effect.gen(function* () {
      const first = yield* Deferred.await(reason)
      outbox.end()
      if (first === "ours") yield* bounded(() => Fiber.join(writing), closeTimeout)
      else endpoint.end(first.code, first.reason)
      yield* Fiber.interruptFork(writing)
      const { close } = pair
      if (close !== undefined) yield* bounded(() => close(endpoint.outcome), closeTimeout)
      yield* Fiber.interruptFork(reading)
      endpoint.end(closeCodes.abnormal, "")
      yield* bounded(() => Fiber.interruptAll([reading, writing]), closeTimeout)
    })
    const keeping = yield* Effect.forkDaemon(Effect.interruptible(keeper))
    return { endpoint, released: Effect.asVoid(Fiber.await(keeping)) }
  })

/** {@link open} within a scope, whose end closes the connection with 1000 and waits for its release. */
export const scoped = <E, R>(
  pair: ConnectionStreams<E, R>,
  settings: Settings
): Effect.Effect<Endpoint, never, Scope.Scope | R> =>
  Effect.map(
    Effect.acquireRelease(open(pair, settings), ({ endpoint, released }) =>
      Effect.zipRight(endpoint.close(closeCodes.normal, ""), released)
    ),
    ({ endpoint }) => endpoint
  )

/**
 * A client's lifetime: from its first welcome to its end, which comes once.
 *
 * Responsibility: the reason of the end, for every later call; fails everything that waits when the end comes.
 *
 * Order: the reason is stored, then calls and jobs fail, then the status is published. Races: a client that is closed while it
 * ends by itself: the first end counts, and the other waits for it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { ArcpError } from "../../protocol/Errors.js"
import { ClientClosed, type ClientError } from "../ClientError.js"
import type { Core } from "./core.js"
import type { Notices } from "./notices.js"

export type Failure = ArcpError | ClientError

/** The lifetime of one client. `onEnd` is called once, when it has ended. */
export class Lifetime {
  private readonly core: Core
  private readonly notices: Notices
  private readonly onEnd: () => void
  private closing = false
  private why: Failure | undefined = undefined
  private readonly firstWelcome = Deferred.unsafeMake<void, Failure>(FiberId.none)
  private readonly confirmed = Deferred.unsafeMake<void>(FiberId.none)
  private readonly finished = Deferred.unsafeMake<void>(FiberId.none)

  constructor(core: Core, notices: Notices, onEnd: () => void) {
    this.core = core
    this.notices = notices
    this.onEnd = onEnd
  }

  /** Whether the program has asked for the end. */
  get isClosing(): boolean {
    return this.closing
  }

  /** Why the client has ended; undefined while it has not. */
  get ended(): Failure | undefined {
    return this.why
  }

  /** Waits for the first welcome; fails once the client has ended. */
  readonly connected: Effect.Effect<void, Failure> = Effect.flatMap(Deferred.await(this.firstWelcome), () =>
    this.why === undefined ? Effect.void : Effect.fail(this.why)
  )

  /** Waits for the end. */
  readonly over: Effect.Effect<void> = Deferred.await(this.finished)

  /** A session is open. */
  welcomed(): void {
    Deferred.unsafeDone(this.firstWelcome, Effect.void)
  }

  /** The program asks for the end. Returns whether it is the first to do so. */
  close(): boolean {
    if (this.closing || this.why !== undefined) return false
    this.closing = true
    return true
  }

  /** The runtime has closed the session that was to be closed. */
  closed(): void {
    Deferred.unsafeDone(this.confirmed, Effect.void)
  }

  /** Waits until the runtime has closed the session, at most so many milliseconds. */
  confirmation(timeout: number): Effect.Effect<void> {
    // A finalizer is uninterruptible: without this the time-out would have no effect.
    return Effect.asVoid(Effect.timeoutOption(Effect.interruptible(Deferred.await(this.confirmed)), timeout))
  }

  /** Ends the client unless it has ended: with an error, or because it was closed. */
  end(error: Failure | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.why !== undefined) return Effect.void
      this.why = error ?? new ClientClosed({ message: "the client has been closed" })
      this.core.end(this.why)
      this.onEnd()
      // Nothing reads the answer to a polite close from here on.
      this.closed()
      Deferred.unsafeDone(this.firstWelcome, Effect.fail(this.why))
      return Effect.zipRight(
        this.notices.set(error === undefined ? { _tag: "Closed" } : { _tag: "Closed", error }),
        Deferred.succeed(this.finished, undefined)
      )
    })
  }
}

/**
 * How long a client waits before its next connection.
 *
 * The wait grows with each connection that has brought nothing, whether it was refused, or was welcomed and then lost. It starts
 * again after real progress only, which the supervisor reports: a runtime that welcomes and then closes is not asked ten times
 * a second.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type { LostConnection } from "../ClientStatus.js"

/** The program's schedule, else a wait that doubles. Times are milliseconds. */
export interface PaceOptions {
  readonly backoff: number
  readonly maxBackoff: number
  readonly maxAttempts: number
  readonly retry: Schedule.Schedule<unknown, LostConnection> | undefined
}

/** The waits of one client. */
export class Pace {
  /** How many connections in a row have brought nothing. */
  attempt = 0
  private state: unknown
  private readonly options: PaceOptions

  constructor(options: PaceOptions) {
    this.options = options
    this.state = options.retry?.initial
  }

  /** A connection has brought something. */
  progressed(): void {
    this.attempt = 0
    this.state = this.options.retry?.initial
  }

  /** A connection has ended without progress. Returns the wait before the next one; none where the client gives up. */
  next(code: number, reason: string): Effect.Effect<Option.Option<Duration.Duration>> {
    return Effect.suspend(() => {
      const { backoff, maxAttempts, maxBackoff, retry } = this.options
      this.attempt++
      if (this.attempt > maxAttempts) return Effect.succeedNone
      if (retry !== undefined) return this.scheduled(retry, { code, reason, attempt: this.attempt })
      const longest = Math.min(backoff * 2 ** (this.attempt - 1), maxBackoff)
      return Effect.map(Random.next, (drawn) =>
        Option.some(Duration.millis(Math.round(longest / 2 + (longest / 2) * drawn)))
      )
    })
  }

  private scheduled(
    retry: Schedule.Schedule<unknown, LostConnection>,
    lost: LostConnection
  ): Effect.Effect<Option.Option<Duration.Duration>> {
    return Effect.flatMap(Effect.clock, (clock) => {
      // Schedules count what has passed: not by wall time, which may be set meanwhile.
      const now = Number(clock.unsafeCurrentTimeNanos()) / 1e6
      return Effect.map(retry.step(now, lost, this.state), ([state, , decision]) => {
        this.state = state
        return ScheduleDecision.isDone(decision)
          ? Option.none()
          : Option.some(Duration.millis(Math.max(0, ScheduleIntervals.start(decision.intervals) - now)))
      })
    })
  }
}

/**
 * Slow consumers slow the agent, not the process (ARCP 1.1 §6.5, §13.2).
 *
 * Responsibility: a job one of whose owners negotiated `ack`, and has fallen further behind than `Limits.ackLag` events or
 * `Limits.ackLagBytes`, says so once in a `status {phase: "back_pressure"}` and its `emit` waits until the lag is at half of
 * both marks. What has been emitted goes
 * out meanwhile; only the agent waits.
 *
 * Order: the event that met the mark comes first, then the status, then whatever the agent emits once it goes on.
 *
 * Races and deadlocks closed here: an acknowledgement between the check and the wait is not missed, since a wait looks
 * whether its episode is still on; an owner that leaves holds no job; of several owners the slowest counts; a job that
 * is being stopped waits for no owner, so that its finalizers can emit; the terminal message never passes here. Only
 * owners count: an observer that is behind slows no agent. A session that negotiated `ack` is measured from its start:
 * one that never acknowledges is a slow reader, for the patience at the longest. One without `ack` is not measured, since its
 * lag says nothing.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { InternalError, toWire } from "../../protocol/Errors.js"
import { Ids } from "../../protocol/Ids.js"
import * as Message from "../../protocol/Message.js"
import { check as checkOptions } from "../../protocol/Options.js"
import { closeCodes } from "../../transport/Connection.js"
import { type Deadline, Deadlines } from "../kernel/Deadlines.js"
import type { JobLog } from "./JobLog.js"
import type { SessionLog } from "./SessionLog.js"
import { eventPayload } from "../kernel/Payload.js"
import { EventLog } from "./EventLog.js"
import { Limits } from "../kernel/Limits.js"
import * as Metrics from "../kernel/Metrics.js"

/** What takes a job's events, and what slows the job down. */
export type Emitting = EventLog | BackPressure

/**
 * What happens to a session whose acknowledgements are further behind than `Limits.ackLag`.
 *
 * @since 0.1.0
 * @category services
 */
export interface SlowConsumersShape {
  /**
   * - `throttle`: its agents wait in `emit` until it has caught up to half the mark.
   * - `buffer`: nothing; what it has not read is kept up to `Limits.bufferedEvents`.
   * - `disconnect`: it gets `session.error INTERNAL_ERROR` and its connection is closed (1013). It can resume; what it is
   *   replayed then does not count, so that it can catch up.
   */
  readonly policy: "throttle" | "buffer" | "disconnect"
  /**
   * Milliseconds that agents wait for a session that acknowledges nothing at all, though it is connected. Then they go on
   * as with `buffer` until it acknowledges again, so that no client can hold an agent for ever.
   */
  readonly patience: number
}

/**
 * Changes of the policy for slow consumers.
 *
 * @since 0.1.0
 * @category options
 */
export interface SlowConsumersOptions {
  /** Default `"throttle"`. */
  readonly policy?: SlowConsumersShape["policy"] | undefined
  /** {@link SlowConsumersShape.patience}; zero: agents never wait for such a session. Default ten minutes. */
  readonly patience?: Duration.DurationInput | undefined
}

/** Agents wait, at most ten minutes for a reader that does not move. */
const defaults: SlowConsumersShape = { policy: "throttle", patience: 600_000 }

/**
 * What to do about slow consumers (§6.5). Without a layer: `throttle`, with a patience of ten minutes.
 *
 * @since 0.1.0
 * @category references
 */
export class SlowConsumers extends Context.Reference<SlowConsumers>()("effect-arcp/runtime/SlowConsumers", {
  defaultValue: (): SlowConsumersShape => defaults
}) {
  /** The defaults with some of them changed. Throws where the patience is not a duration. */
  static readonly layer = (changes: SlowConsumersOptions = {}): Layer.Layer<never> => {
    checkOptions("SlowConsumers", changes, { patience: "duration" })
    const patience = Duration.toMillis(changes.patience ?? defaults.patience)
    return Layer.succeed(SlowConsumers, { policy: changes.policy ?? defaults.policy, patience }) as Layer.Layer<never>
  }
}

/** The time from when a session met the mark until it is at half of it. */
interface Episode {
  readonly session: SessionLog
  /** The jobs that have said so, with the emitters of each that wait. */
  readonly jobs: Map<JobLog, Set<() => void>>
  patience: Deadline | undefined
  /** Whether the patience has run out: no emitter waits until the next acknowledgement. */
  givenUp: boolean
}

/** Slows agents whose owner has fallen behind. */
export class BackPressure extends Context.Tag("effect-arcp/runtime/BackPressure")<
  BackPressure,
  {
    /** What the job's emitter has to wait for after an event; undefined, after one comparison, where it may go on. */
    readonly throttle: (job: JobLog) => Effect.Effect<void> | undefined
    /** The session has acknowledged more than before, or has resumed with what it has seen. */
    readonly acknowledged: (session: SessionLog) => void
    /** The session is no longer connected: its emitters go on. */
    readonly left: (session: SessionLog) => void
    /** The job is being stopped or has ended: its emitters go on. */
    readonly release: (job: JobLog) => void
  }
>() {
  static readonly layer: Layer.Layer<BackPressure, never, EventLog | Deadlines | Ids> = Layer.effect(
    BackPressure,
    Effect.gen(function* () {
      const eventLog = yield* EventLog
      const deadlines = yield* Deadlines
      const ids = yield* Ids
      const { ackLag, ackLagBytes } = yield* Limits
      const meter = yield* Metrics.Meter
      const { patience, policy } = yield* SlowConsumers
      const episodes = new Map<SessionLog, Episode>()
      /** The episodes that each waiting job is in: one for each owner that it waits for. */
      const held = new Map<JobLog, Set<Episode>>()
      /** Jobs that wait for no one any more. */
      const free = new WeakSet<JobLog>()

      const lagOf = (session: SessionLog): number => session.seq - session.ackedSeq
      const bytesOf = (session: SessionLog): number => session.bytes - session.ackedBytes

      const meet = (session: SessionLog): void => {
        meter.count(Metrics.slowConsumers)
        meter.reached(lagOf(session) > ackLag ? "ackLag" : "ackLagBytes")
      }

      const leave = (episode: Episode, job: JobLog): void => {
        const waiting = episode.jobs.get(job)
        episode.jobs.delete(job)
        const all = held.get(job)
        all?.delete(episode)
        if (all?.size === 0) held.delete(job)
        if (waiting !== undefined) for (const resume of [...waiting]) resume()
      }

      const release = (job: JobLog): void => {
        free.add(job)
        for (const episode of [...(held.get(job) ?? [])]) leave(episode, job)
      }

      const releaseAll = (episode: Episode): void => {
        episode.patience?.cancel()
        for (const job of [...episode.jobs.keys()]) leave(episode, job)
      }

      const end = (episode: Episode): void => {
        episodes.delete(episode.session)
        releaseAll(episode)
      }

      /** The patience counts from now. */
      const wait = (episode: Episode): void => {
        episode.patience?.cancel()
        if (!Number.isFinite(patience)) return
        episode.patience = deadlines.schedule(deadlines.mono() + patience, () => {
          episode.givenUp = true
          releaseAll(episode)
        })
      }

      const begin = (session: SessionLog): Episode => {
        const episode: Episode = { session, jobs: new Map(), patience: undefined, givenUp: false }
        episodes.set(session, episode)
        meet(session)
        wait(episode)
        return episode
      }

      const disconnect = (session: SessionLog): void => {
        const { link } = session
        if (link === undefined || link.closing !== undefined) return
        const lag = session.seq - Math.max(session.ackedSeq, link.since)
        const bytes = session.bytes - Math.max(session.ackedBytes, link.sinceBytes)
        if (lag <= ackLag && bytes <= ackLagBytes) return
        meet(session)
        link.post(
          Message.runtime(
            "session.error",
            { id: ids.unsafeUlid(deadlines.wall()), session_id: session.sessionId },
            toWire(
              new InternalError({
                message: `the session has not acknowledged ${lag} events of ${bytes} bytes, at most ${ackLag} of ${ackLagBytes} are allowed: resume it`,
                details: { reason: "slow_consumer", lag, bytes }
              })
            )
          )
        )
        link.end(closeCodes.tryAgainLater, "slow consumer")
      }

      const slow = (job: JobLog, owner: SessionLog): Effect.Effect<void> | undefined => {
        const { link } = owner
        // A client that is away, or about to be, slows no agent: its resume brings what it has missed.
        if (link === undefined || link.closing !== undefined || job.ending || !owner.features.has("ack")) {
          return undefined
        }
        if (policy === "disconnect") {
          disconnect(owner)
          return undefined
        }
        const episode = episodes.get(owner) ?? begin(owner)
        if (episode.givenUp) return undefined
        let waiting = episode.jobs.get(job)
        if (waiting === undefined) {
          waiting = new Set()
          episode.jobs.set(job, waiting)
          const all = held.get(job)
          if (all === undefined) {
            held.set(job, new Set([episode]))
            const body = { phase: "back_pressure", message: `consumer lag ${lagOf(owner)} events` }
            eventLog.emit(job, "event", eventPayload('"status"', deadlines.wall(), JSON.stringify(body)))
          } else all.add(episode)
        }
        const mine = waiting
        return Effect.async<void>((resume) => {
          // It may have been released between the check and here.
          if (episode.jobs.get(job) !== mine) return resume(Effect.void)
          const waiter = () => resume(Effect.void)
          mine.add(waiter)
          return Effect.sync(() => void mine.delete(waiter))
        })
      }

      const throttle = (job: JobLog): Effect.Effect<void> | undefined => {
        const { owners } = job
        for (let i = 0; i < owners.length; i++) {
          const owner = owners[i]!
          if (owner.seq - owner.ackedSeq <= ackLag && owner.bytes - owner.ackedBytes <= ackLagBytes) continue
          const wait = slow(job, owner)
          if (wait === undefined) continue
          // One after the other: together that is the slowest of them.
          return owners.length === 1
            ? wait
            : Effect.zipRight(
                wait,
                Effect.suspend(() => (free.has(job) ? undefined : throttle(job)) ?? Effect.void)
              )
        }
        return undefined
      }

      return {
        throttle: policy === "buffer" ? () => undefined : throttle,
        acknowledged: (session) => {
          const episode = episodes.get(session)
          if (episode === undefined) return
          const caughtUp = lagOf(session) <= Math.floor(ackLag / 2) && bytesOf(session) <= Math.floor(ackLagBytes / 2)
          if (episode.givenUp || caughtUp || !session.features.has("ack")) end(episode)
          else wait(episode)
        },
        left: (session) => {
          const episode = episodes.get(session)
          if (episode !== undefined) end(episode)
        },
        release
      }
    })
  )
}

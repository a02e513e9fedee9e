/**
 * What operators watch: the queues of the runtime, and which of its limits are reached. Effect `Metric`s in the process's
 * registry; an exporter (such as `@effect/opentelemetry`, or `Metric.snapshot`) is the program's own layer.
 *
 * Nothing is counted for each event: the log counts batches, everything else changes with sessions, jobs and refusals.
 *
 * Every metric of a runtime carries the tag `runtime`, the name of the runtime: `Metric.tagged(Metrics.sessions, "runtime", "admin")`
 * reads one of them. Two runtimes of one process count apart where their names differ. Runtimes of one name count together, and
 * their gauges show whichever changed last.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricLabel from "effect/MetricLabel"
import type { JobStatus } from "../../protocol/Session.js"
import type { LimitsShape } from "./Limits.js"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })

/**
 * Sessions that are connected or can be resumed.
 *
 * @since 0.1.0
 * @category metrics
 */
export const sessions = gauge("arcp_sessions", "Sessions that are connected or can be resumed")

/**
 * Connections that have a session.
 *
 * @since 0.1.0
 * @category metrics
 */
export const connections = gauge("arcp_connections", "Connections that have a session")

/**
 * Resumes that found their session (§6.3).
 *
 * @since 0.1.0
 * @category metrics
 */
export const resumes = counter("arcp_session_resumes", "Resumes that found their session")

/**
 * Messages that could not be read, or were none for a runtime; answered with `INVALID_REQUEST`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const badMessages = counter("arcp_bad_messages", "Messages that could not be read, or were none for a runtime")

/**
 * Connections given up for want of heartbeats (§6.4).
 *
 * @since 0.1.0
 * @category metrics
 */
export const heartbeatsLost = counter("arcp_heartbeats_lost", "Connections given up for want of heartbeats")

/**
 * Jobs that run.
 *
 * @since 0.1.0
 * @category metrics
 */
export const runningJobs = gauge("arcp_jobs_running", "Jobs that run")

/**
 * Jobs that wait for a slot.
 *
 * @since 0.1.0
 * @category metrics
 */
export const pendingJobs = gauge("arcp_jobs_pending", "Jobs that wait for a slot")

/**
 * Changes and events that wait for the store, as of the last batch.
 *
 * @since 0.1.0
 * @category metrics
 */
export const journalQueue = gauge("arcp_journal_queue", "Changes and events in the batch that was written last")

/**
 * Events that have been stored.
 *
 * @since 0.1.0
 * @category metrics
 */
export const events = counter("arcp_events_stored", "Events that have been stored")

/**
 * How long the store takes for a batch, in milliseconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const commitTime = Metric.histogram(
  "arcp_commit_milliseconds",
  MetricBoundaries.exponential({ start: 0.25, factor: 2, count: 16 }),
  "How long the store takes for a batch, in milliseconds"
)

/**
 * Batches that the store refused, and those that it has not answered to in `storeTime`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const storeFailures = counter(
  "arcp_store_failures",
  "Batches that the store refused or did not answer to in time"
)

/**
 * Episodes in which a consumer's lag slowed agents or ended its connection (§6.5).
 *
 * @since 0.1.0
 * @category metrics
 */
export const slowConsumers = counter("arcp_slow_consumers", "Episodes in which a consumer's lag slowed its agents")

/**
 * Records of the audit trail that were lost: there was no room for them, or the program's `Audit` or its file did not take them.
 *
 * @since 0.2.0
 * @category metrics
 */
export const auditLost = counter("arcp_audit_lost", "Records of the audit trail that were lost")

/**
 * Writes to an audit trail's file that failed; what they had is tried again.
 *
 * @since 0.2.0
 * @category metrics
 */
export const auditFailures = counter("arcp_audit_write_failures", "Writes to an audit trail's file that failed")

const jobsEnded = counter("arcp_jobs_ended", "Jobs that have ended, by status")
const limitReached = counter("arcp_limit_reached", "How often a bound was reached, by its name in Limits")

type Labels = ReadonlyArray<MetricLabel.MetricLabel>

/**
 * What the metrics of one runtime are updated with. Its operations need no `this`.
 *
 * @since 0.1.0
 * @category services
 */
export interface MeterShape {
  /** Counts one, or so many. */
  readonly count: (metric: Metric.Metric.Counter<number>, by?: number) => void
  /** Shows a value. */
  readonly show: (metric: Metric.Metric.Gauge<number>, value: number) => void
  /** Adds a value to a histogram. */
  readonly record: (metric: Metric.Metric.Histogram<number>, value: number) => void
  /** Counts a job's end by its status (`arcp_jobs_ended`). */
  readonly ended: (status: JobStatus) => void
  /** Counts that a bound was reached (`arcp_limit_reached`). */
  readonly reached: (limit: keyof LimitsShape) => void
  /** The answer of a bound that was reached, counted. */
  readonly reaching: <A>(limit: keyof LimitsShape, answer: A) => A
}

/**
 * The meter of the runtime with this name. A metric finds its place in the registry by the identity of the labels: they are made
 * once, so that an update builds no key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMeter = (runtime: string): MeterShape => {
  const labels: Labels = [MetricLabel.make("runtime", runtime)]
  const counterBy = <K extends string>(metric: Metric.Metric.Counter<number>, tag: string) => {
    const made = new Map<K, Labels>()
    return (value: K): void => {
      let own = made.get(value)
      if (own === undefined) {
        own = [...labels, MetricLabel.make(tag, value)]
        made.set(value, own)
      }
      metric.unsafeUpdate(1, own)
    }
  }
  const reached = counterBy<keyof LimitsShape>(limitReached, "limit")
  return {
    count: (metric, by = 1) => metric.unsafeUpdate(by, labels),
    show: (metric, value) => metric.unsafeUpdate(value, labels),
    record: (metric, value) => metric.unsafeUpdate(value, labels),
    ended: counterBy<JobStatus>(jobsEnded, "status"),
    reached,
    reaching: (limit, answer) => {
      reached(limit)
      return answer
    }
  }
}

/**
 * The meter of the runtime at hand; `ArcpRuntime` provides it under the runtime's name.
 *
 * @since 0.1.0
 * @category references
 */
export class Meter extends Context.Reference<Meter>()("effect-arcp/runtime/Meter", {
  defaultValue: (): MeterShape => makeMeter("effect-arcp")
}) {
  /** The meter of a runtime. Its gauges go back to zero at its end: a later runtime of that name does not show its sessions and jobs. */
  static readonly layer = (runtime: string): Layer.Layer<Meter> =>
    Layer.scoped(
      Meter,
      Effect.acquireRelease(
        Effect.sync(() => makeMeter(runtime)),
        ({ show }) =>
          Effect.sync(() => {
            for (const each of [sessions, connections, runningJobs, pendingJobs, journalQueue]) show(each, 0)
          })
      )
    )
}

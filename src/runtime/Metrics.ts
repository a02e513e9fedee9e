/**
 * What operators watch: the queues of the runtime, and which of its limits are reached. Effect `Metric`s in the process's
 * registry; an exporter (such as `@effect/opentelemetry`, or `Metric.snapshot`) is the program's own layer.
 *
 * Nothing is counted for each event: the journal counts batches, everything else changes with sessions, jobs and refusals.
 * Two runtimes in one process count together, and their gauges show whichever changed last.
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import type { JobStatus } from "../protocol/Session.js"
import type { LimitsShape } from "./Limits.js"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })

/** Sessions that are connected or can be resumed. */
export const sessions = gauge("arcp_sessions", "Sessions that are connected or can be resumed")
/** Connections that have a session. */
export const connections = gauge("arcp_connections", "Connections that have a session")
/** Resumes that found their session (§6.3). */
export const resumes = counter("arcp_session_resumes", "Resumes that found their session")
/** Messages that could not be read, or were none for a runtime; answered with `INVALID_REQUEST`. */
export const badMessages = counter("arcp_bad_messages", "Messages that could not be read, or were none for a runtime")
/** Connections given up for want of heartbeats (§6.4). */
export const heartbeatsLost = counter("arcp_heartbeats_lost", "Connections given up for want of heartbeats")
/** Jobs that run. */
export const runningJobs = gauge("arcp_jobs_running", "Jobs that run")
/** Jobs that wait for a slot. */
export const pendingJobs = gauge("arcp_jobs_pending", "Jobs that wait for a slot")
/** Changes and events that wait for the store, as of the last batch. */
export const journalQueue = gauge("arcp_journal_queue", "Changes and events in the batch that was written last")
/** Events that have been stored. */
export const events = counter("arcp_events_stored", "Events that have been stored")
/** How long the store takes for a batch, in milliseconds. */
export const commitTime = Metric.histogram(
  "arcp_commit_milliseconds",
  MetricBoundaries.exponential({ start: 0.25, factor: 2, count: 16 }),
  "How long the store takes for a batch, in milliseconds"
)
/** Batches that the store refused, and those that it has not answered to in `storeTime`. */
export const storeFailures = counter(
  "arcp_store_failures",
  "Batches that the store refused or did not answer to in time"
)
/** Episodes in which a consumer's lag slowed agents or ended its connection (§6.5). */
export const slowConsumers = counter("arcp_slow_consumers", "Episodes in which a consumer's lag slowed its agents")

const jobsEnded = counter("arcp_jobs_ended", "Jobs that have ended, by status")
const limitReached = counter("arcp_limit_reached", "How often a bound was reached, by its name in Limits")

/** One metric for each value of a tag, made once. */
const tagged = <K extends string>(metric: Metric.Metric.Counter<number>, tag: string) => {
  const made = new Map<K, Metric.Metric.Counter<number>>()
  return (value: K): void => {
    let one = made.get(value)
    if (one === undefined) {
      one = Metric.tagged(metric, tag, value)
      made.set(value, one)
    }
    one.unsafeUpdate(1, [])
  }
}

/** Counts a job's end by its status (`arcp_jobs_ended`). */
export const ended: (status: JobStatus) => void = tagged(jobsEnded, "status")

/** Counts that a bound was reached (`arcp_limit_reached`). */
export const reached: (limit: keyof LimitsShape) => void = tagged(limitReached, "limit")

/** The answer of a bound that was reached, counted. */
export const reaching = <A>(limit: keyof LimitsShape, answer: A): A => {
  reached(limit)
  return answer
}

/** Counts one, or so many. */
export const count = (metric: Metric.Metric.Counter<number>, by = 1): void => metric.unsafeUpdate(by, [])

/** Shows a value. */
export const show = (metric: Metric.Metric.Gauge<number>, value: number): void => metric.unsafeUpdate(value, [])

/**
 * Every bound of the runtime, with its default. What happens when one is reached is said at each.
 *
 * A `Context.Reference`: without a layer the defaults hold, `Limits.layer({ … })` changes some of them.
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Artifact from "../../protocol/Artifact.js"
import * as Configured from "../../protocol/Configured.js"
import { check as checkOptions } from "../../protocol/Options.js"
import * as Text from "../../protocol/Text.js"

/**
 * The bounds as the runtime reads them; {@link LimitsOptions} is what a program writes. Times are milliseconds, sizes are bytes of UTF-8 (counted as UTF-16 code units where that is cheaper and nothing is sent
 * of it).
 *
 * @since 0.1.0
 * @category options
 */
export interface LimitsShape {
  /** Time for the first frame of a connection; then it is closed (1008). */
  readonly handshakeTimeout: number
  /** Bad frames in a row before the connection is closed (1008). */
  readonly badFramesInARow: number
  /** Levels of nesting in a message; deeper is `INVALID_REQUEST`. */
  readonly jsonDepth: number
  /** Bytes of one frame from a peer that has not been authenticated; a larger one closes its connection (1009). */
  readonly unauthenticatedFrameBytes: number
  /**
   * Connections in all whose peer has not been authenticated, those that are being authenticated or refused included. The next
   * one is refused: 429 at the upgrade, else `INTERNAL_ERROR` and 1013; but from an address that has fewer than another it takes the place of
   * the one there that has been silent for longest.
   */
  readonly unauthenticatedConnections: number
  /**
   * As {@link unauthenticatedConnections}, from one remote address: an IPv4 address, or the /64 network of an IPv6 address. Peers
   * on the loopback interface, and peers without an address, have the bound in all only.
   */
  readonly unauthenticatedPerAddress: number
  /**
   * Failed authentications in all within a minute. Beyond it, addresses that had one of them are refused until the minute is
   * over; other addresses are not.
   */
  readonly failedAuthentications: number
  /**
   * Failed authentications of one remote address within a minute; beyond it the address is refused until the minute is over. The
   * loopback interface has the bound in all only.
   */
  readonly failedAuthenticationsPerAddress: number
  /**
   * What all anonymous principals together may have of the bounds in all, in percent: of {@link sessions}, {@link runningJobs},
   * {@link runningJobsPerAgent} or an agent's own, {@link pendingJobs}, {@link artifacts}, {@link artifactBytesTotal} and
   * {@link responseBytes}, of {@link unauthenticatedConnections} while their sessions are being opened, and of {@link retainEndedJobs} and
   * {@link retainEndedBytes} where one of the two is passed. The rest is for principals that have presented a credential. At the share
   * they are refused as at the bound itself, and their jobs wait. From 100 on nothing is reserved; of a bound of one, never, nor where every
   * principal is anonymous (`AuthenticatorService.onlyAnonymous`).
   *
   * @since 0.2.0
   */
  readonly anonymousShare: number
  /**
   * Connections over a network of anonymous principals, from their hello to their end; the next one is refused with `INTERNAL_ERROR`
   * and closed (1013). At most {@link anonymousShare} of the transport's `maxConnections`, where it says how many those are. Without effect
   * where every principal is anonymous.
   *
   * @since 0.2.0
   */
  readonly anonymousConnections: number
  /**
   * Connected or resumable anonymous sessions that were opened from one remote address, which counts as for
   * {@link unauthenticatedPerAddress}; the next hello is refused with `INTERNAL_ERROR`.
   *
   * @since 0.2.0
   */
  readonly anonymousSessionsPerAddress: number
  /**
   * Encoded bytes of one frame that the runtime sends, its envelope included; at least 4,096. ARCP announces no frame size, and other
   * implementations read at most 1 MiB. A page of a listing ends before the job that would exceed it, chunks are cut, and what cannot
   * be divided fails: {@link eventPayload}, {@link inlineResult}. Bytes of artifacts are exempt ({@link artifactBytes}).
   */
  readonly maxFrameBytes: number
  /** Replies of one connection that have not been sent; the connection is not read meanwhile. */
  readonly replies: number
  /** As {@link replies}, in bytes. */
  readonly replyBytes: number
  /**
   * Connected or resumable sessions of one principal; the next hello is refused with `INTERNAL_ERROR`. As many of its connections, or 64 if
   * that is more, may be authenticated and not have their session yet.
   */
  readonly sessionsPerPrincipal: number
  /** Connected or resumable sessions in all; the next hello is refused with `INTERNAL_ERROR`. */
  readonly sessions: number
  /**
   * Time without a message but heartbeats and acknowledgements after which a session without jobs and observations may
   * go (§14): not by itself, but to make room where one of the two bounds above is reached. It gets `session.error
   * INTERNAL_ERROR` and its connection is closed (1013).
   */
  readonly idleSession: number
  /**
   * Messages of one connection in a second; beyond it the connection is read no faster, so that the peer's socket fills. It may
   * send ten times as many at once after a rest.
   */
  readonly messagesPerSecond: number
  /** Submitted jobs of one principal that run or wait; the next submit is refused with `INTERNAL_ERROR`. */
  readonly jobsPerPrincipal: number
  /** Running jobs in all; further ones wait as `pending`. Of this and the other bounds in all {@link anonymousShare} reserves a part. */
  readonly runningJobs: number
  /** Running jobs of one principal; further ones wait. */
  readonly runningJobsPerPrincipal: number
  /** Running jobs of one agent; further ones wait. An agent's own option counts before this. */
  readonly runningJobsPerAgent: number
  /** Jobs that wait; the next submit that would have to wait is refused with `INTERNAL_ERROR`. */
  readonly pendingJobs: number
  /** Observed jobs of one session; the next subscribe is refused with `INTERNAL_ERROR`. */
  readonly subscriptionsPerSession: number
  /** Requests of one connection that are being answered at a time; the connection is not read meanwhile. */
  readonly concurrentRequests: number
  /** Jobs in one page of a listing. */
  readonly listPage: number
  /**
   * Encoded bytes of an inline result as JSON; a larger one ends the job with `INTERNAL_ERROR` and `details.permanent`, a streamed
   * result is the way. At most what fits a frame: by default 1,024 bytes less than {@link maxFrameBytes}.
   */
  readonly inlineResult: number
  /**
   * Encoded bytes of one event's body as JSON; a larger one fails the agent's call with `InvalidRequest`. At most what fits a frame,
   * as {@link inlineResult}.
   */
  readonly eventPayload: number
  /**
   * Decoded bytes of one result chunk (§14); a longer one is cut. A chunk that does not fit a frame once it is encoded is cut
   * as well, never inside a character.
   */
  readonly resultChunk: number
  /** Decoded size of a streamed result; a larger one ends the job with `INTERNAL_ERROR` (§14). */
  readonly resultTotal: number
  /** Durable steps of one job; the next one fails with `InvalidRequest`. */
  readonly steps: number
  /** Size of a durable step's result as JSON; a larger one fails the step with `InvalidRequest`. */
  readonly stepResult: number
  /**
   * Bytes that one `readFile` or `readFileString` of a handler takes; a larger file fails the call with `BadResource` and can be
   * streamed.
   */
  readonly fileBytes: number
  /**
   * Decoded bytes of HTTP responses that a handler's guarded client reads at a time; a body that finds no room fails with a
   * `ResponseError` whose `cause` is a `ResponseRoomFull`.
   */
  readonly responseBytesPerJob: number
  /** As {@link responseBytesPerJob}, of all jobs: a job never holds more of them than are left for the others. */
  readonly responseBytes: number
  /** Events of one job that wait to be written; the agent's next `emit` waits. */
  readonly queuedEvents: number
  /** Bytes of one job that wait to be written; the agent's next `emit` waits. */
  readonly queuedBytes: number
  /** Events of a job that are kept for history once they are acknowledged. */
  readonly historyEvents: number
  /** Bytes of events of a job that are kept for history once they are acknowledged. */
  readonly historyBytes: number
  /** Events that are kept for a session that has not acknowledged them; older ones go, and a resume from before them is `RESUME_WINDOW_EXPIRED`. */
  readonly bufferedEvents: number
  /** As {@link bufferedEvents}, in bytes. */
  readonly bufferedBytes: number
  /** How far a reader that acknowledges may fall behind before its agents are slowed (§6.5); `SlowConsumers` says how. */
  readonly ackLag: number
  /** As {@link ackLag}, in bytes. */
  readonly ackLagBytes: number
  /** How long a cancelled agent may take to unwind (§7.4). */
  readonly cancelGrace: number
  /** How long a job may go on after its lease has expired before it is stopped, at most a second (§14); operations fail at once. */
  readonly leaseGrace: number
  /** How many levels deep jobs are delegated, and how often a job is handed over (§10); the next one is `PERMISSION_DENIED`. */
  readonly delegationDepth: number
  /** Delegated jobs of one job at a time; the next one is `PERMISSION_DENIED`. */
  readonly childrenPerJob: number
  /** Delegated jobs of one job in all; the next one is `PERMISSION_DENIED`. */
  readonly delegationsPerJob: number
  /** How long an idempotency key counts (§7.2). */
  readonly keyLifetime: number
  /** How long an ended job can be listed and observed. */
  readonly retainEndedFor: number
  /** How many ended jobs are kept; beyond it the oldest ends go, of anonymous principals first where they have more than their share. */
  readonly retainEndedJobs: number
  /**
   * How many bytes of ended jobs are kept, in UTF-8: of their inputs, leases, answers to their submits, steps, events and results; beyond it as
   * for {@link retainEndedJobs}.
   */
  readonly retainEndedBytes: number
  /**
   * Bytes of one artifact; a larger one is refused with `INTERNAL_ERROR` and `details.permanent`. The default fits the
   * transports' frames of 4 MiB as base64; with more, raise their frame limits on both sides.
   */
  readonly artifactBytes: number
  /** Artifacts of one principal; the next one is refused with `INTERNAL_ERROR`. */
  readonly artifactsPerPrincipal: number
  /** Bytes of artifacts of one principal; what goes beyond is refused with `INTERNAL_ERROR`. */
  readonly artifactBytesPerPrincipal: number
  /** Artifacts in all; the next one is refused with `INTERNAL_ERROR`. */
  readonly artifacts: number
  /** Bytes of artifacts in all; what goes beyond is refused with `INTERNAL_ERROR`. */
  readonly artifactBytesTotal: number
  /** How long an artifact is kept where its owner does not say. */
  readonly retainArtifactsFor: number
  /** The longest time that an artifact can be kept; whoever asks for more gets this. */
  readonly retainArtifactsAtMost: number
  /** How often what has outlived its retention is removed. */
  readonly sweepEvery: number
  /**
   * How long a store may take to answer. A read that takes longer is given up; while a commit does, requests that would be
   * written after it are refused (`INTERNAL_ERROR`) and events wait.
   */
  readonly storeTime: number
}

/**
 * The names of the bounds that are times.
 *
 * @since 0.1.0
 * @category models
 */
export type TimeLimit =
  | "handshakeTimeout"
  | "idleSession"
  | "cancelGrace"
  | "leaseGrace"
  | "keyLifetime"
  | "retainEndedFor"
  | "retainArtifactsFor"
  | "retainArtifactsAtMost"
  | "sweepEvery"
  | "storeTime"

/** Whether a time may be zero: with an interval of zero nothing would get through. */
const times: { readonly [Name in TimeLimit]: "duration" | "interval" } = {
  handshakeTimeout: "interval",
  idleSession: "duration",
  cancelGrace: "duration",
  leaseGrace: "duration",
  keyLifetime: "duration",
  retainEndedFor: "duration",
  retainArtifactsFor: "interval",
  retainArtifactsAtMost: "interval",
  sweepEvery: "interval",
  storeTime: "interval"
}

/**
 * Changes of the bounds: counts and sizes are numbers, times are durations (a number counts as milliseconds).
 *
 * @since 0.1.0
 * @category options
 */
export type LimitsOptions = {
  readonly [Name in keyof LimitsShape]?: (Name extends TimeLimit ? Duration.DurationInput : number) | undefined
}

/** @internal The defaults. */
export const defaults: LimitsShape = {
  handshakeTimeout: 10_000,
  badFramesInARow: 5,
  jsonDepth: 64,
  unauthenticatedFrameBytes: 65_536,
  unauthenticatedConnections: 1_024,
  unauthenticatedPerAddress: 64,
  failedAuthentications: 1_024,
  failedAuthenticationsPerAddress: 32,
  anonymousShare: 50,
  anonymousConnections: 2_048,
  anonymousSessionsPerAddress: 1_000,
  maxFrameBytes: 1_000_000,
  replies: 1_024,
  replyBytes: 4_194_304,
  sessionsPerPrincipal: 1_000,
  sessions: 20_000,
  idleSession: 600_000,
  messagesPerSecond: 10_000,
  jobsPerPrincipal: 5_000,
  runningJobs: 1_000,
  runningJobsPerPrincipal: 256,
  runningJobsPerAgent: 1_000,
  pendingJobs: 10_000,
  subscriptionsPerSession: 1_000,
  concurrentRequests: 64,
  listPage: 1_000,
  inlineResult: 998_976,
  eventPayload: 998_976,
  resultChunk: 998_976,
  resultTotal: 1_073_741_824,
  steps: 10_000,
  stepResult: 1_048_576,
  fileBytes: 268_435_456,
  responseBytesPerJob: 134_217_728,
  responseBytes: 536_870_912,
  queuedEvents: 512,
  queuedBytes: 1_048_576,
  historyEvents: 10_000,
  historyBytes: 67_108_864,
  bufferedEvents: 100_000,
  bufferedBytes: 268_435_456,
  ackLag: 8_192,
  ackLagBytes: 16_777_216,
  cancelGrace: 30_000,
  leaseGrace: 1_000,
  delegationDepth: 8,
  childrenPerJob: 64,
  delegationsPerJob: 10_000,
  keyLifetime: 86_400_000,
  retainEndedFor: 86_400_000,
  retainEndedJobs: 10_000,
  retainEndedBytes: 1_073_741_824,
  artifactBytes: Artifact.defaultMaxBytes,
  artifactsPerPrincipal: 1_000,
  artifactBytesPerPrincipal: 268_435_456,
  artifacts: 100_000,
  artifactBytesTotal: 4_294_967_296,
  retainArtifactsFor: 86_400_000,
  retainArtifactsAtMost: 604_800_000,
  sweepEvery: 30_000,
  storeTime: 30_000
}

/** @internal What is left of a frame for its envelope and for what is around a result, the body of an event or the data of a chunk. */
export const frameHeadroom = 1_024

/** An error without details fits such a frame, whatever it answers. */
const leastFrameBytes = 4_096

/**
 * The bounds that hold.
 *
 * @example
 * ```ts
 * import { Limits } from "effect-arcp/runtime"
 *
 * const LimitsLive = Limits.layer({ handshakeTimeout: "5 seconds" })
 * ```
 *
 * @since 0.1.0
 * @category references
 */
export class Limits extends Context.Reference<Limits>()("effect-arcp/runtime/Limits", {
  defaultValue: (): LimitsShape => defaults
}) {
  /**
   * The defaults with some of them changed. Throws a `RangeError` that names the first invalid bound. What is not named of
   * `inlineResult`, `eventPayload` and `resultChunk` follows from `maxFrameBytes`.
   */
  static readonly layer = (changes: LimitsOptions = {}): Layer.Layer<never> =>
    Layer.succeed(Limits, limitsOf(changes)) as Layer.Layer<never>

  /**
   * {@link Limits.layer}, with the bounds that the configuration sets, and the rest from `changes`. The key of a bound is `ARCP_LIMIT_` and
   * its name in capitals: `ARCP_LIMIT_HANDSHAKE_TIMEOUT` (`10 seconds`), `ARCP_LIMIT_RUNNING_JOBS` (`1000`); the defaults are those of
   * {@link LimitsShape}. Times are durations (`5 seconds`; a number counts as milliseconds), `Infinity` is no bound. Fails with a
   * `ConfigError` that names the key where a value is not valid.
   */
  static readonly layerConfig = (changes: LimitsOptions = {}): Layer.Layer<never, ConfigError.ConfigError> =>
    Layer.unwrapEffect(Effect.map(configured, (values) => Limits.layer({ ...changes, ...values })))
}

/** The key of a bound in the configuration. */
const keyOf = (name: string): string => `ARCP_LIMIT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

const leastOf = (name: string): number => (mayBeZero.has(name) ? 0 : name === "maxFrameBytes" ? leastFrameBytes : 1)

/** A bound that is not set has no entry. */
const configured = Effect.suspend(() => {
  const keys: Record<string, Configured.Configured<number | Duration.Duration>> = {}
  for (const name of Object.keys(defaults)) {
    keys[name] = isTime(name)
      ? Configured.duration(keyOf(name), times[name])
      : Configured.number(keyOf(name), mayBeZero.has(name) ? "countOrZero" : "count", leastOf(name))
  }
  return Effect.map(Configured.all(keys), (values) => values as LimitsOptions)
})

const isTime = (name: string): name is TimeLimit => Object.hasOwn(times, name)

/** All bounds, with times in milliseconds. */
const limitsOf = (changes: LimitsOptions): LimitsShape => {
  checkOptions("Limits", changes, times)
  const changed: { -readonly [Name in keyof LimitsShape]?: number } = {}
  for (const name of Object.keys(changes) as ReadonlyArray<keyof LimitsShape>) {
    const value = changes[name]
    if (value === undefined) continue
    if (isTime(name)) {
      changed[name] = Math.ceil(Duration.toMillis(value))
      continue
    }
    const least = leastOf(name)
    if (value !== Number.POSITIVE_INFINITY && !(Number.isInteger(value) && Number(value) >= least)) {
      // edge: a layer that is made from a wrong number is a mistake of its program, not a failure of the running one
      throw new RangeError(
        `Limits: ${name} must be a whole number, at least ${least}; it is ${Text.ofUnknown(value, 64)}`
      )
    }
    changed[name] = Number(value)
  }
  const payload = (changed.maxFrameBytes ?? defaults.maxFrameBytes) - frameHeadroom
  return { ...defaults, inlineResult: payload, eventPayload: payload, resultChunk: payload, ...changed }
}

/** Bounds that may forbid what they bound; with 0 the others would let nothing through at all. */
const mayBeZero: ReadonlySet<string> = new Set([
  "pendingJobs",
  "subscriptionsPerSession",
  "ackLag",
  "ackLagBytes",
  "delegationDepth",
  "childrenPerJob",
  "delegationsPerJob",
  "retainEndedJobs",
  "retainEndedBytes",
  "artifacts",
  "artifactsPerPrincipal",
  "historyEvents",
  "historyBytes",
  "steps"
])

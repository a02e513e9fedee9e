/**
 * The wiring of a runtime: every concern's layer over those that it uses, with the program's own in the place of the runtime's
 * (`replace`), and the loop that accepts connections.
 *
 * Order: budgets, leases, job scheduler, subscriptions, sessions; each is built over those before it, so that a replacement is what the
 * later ones see. A replacement is built over the default of its own tag.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { AgentRegistry } from "../../agent/AgentRegistry.js"
import { ToolRegistry } from "../../agent/ToolRegistry.js"
import type { Authenticator } from "../../auth/Authenticator.js"
import { coreFeatures, extendedFeatures, type Feature } from "../../protocol/Features.js"
import type { Ids } from "../../protocol/Ids.js"
import { check as checkOptions } from "../../protocol/Options.js"
import { packageName, packageVersion } from "../../protocol/Package.js"
import * as Rows from "../../store/Rows.js"
import { Store } from "../../store/Store.js"
import { Server } from "../../transport/Connection.js"
import { Artifacts } from "../artifacts/Artifacts.js"
import * as KeptArtifacts from "../artifacts/KeptArtifacts.js"
import { Credentials } from "../credentials/Credentials.js"
import * as Accounts from "../jobs/Accounts.js"
import * as Admission from "../jobs/Admission.js"
import type { Budgets } from "../jobs/Budgets.js"
import { JobEngine } from "../jobs/JobEngine.js"
import { JobRunner } from "../jobs/JobRunner.js"
import type { JobScheduler } from "../jobs/JobScheduler.js"
import * as LeaseChecks from "../jobs/LeaseChecks.js"
import type { Leases } from "../jobs/Leases.js"
import { patientScheduler, soundLeases } from "../jobs/PatientJobs.js"
import * as Rotations from "../jobs/Rotations.js"
import { atEnd } from "../kernel/AtEnd.js"
import { Auditing } from "../kernel/Auditing.js"
import { claim } from "../kernel/Claims.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { SubmitsWait } from "../kernel/Foreign.js"
import { Meter } from "../kernel/Metrics.js"
import { patientStore } from "../kernel/Patience.js"
import { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import { scheduled } from "../kernel/Turn.js"
import { withTotalUserCode } from "../kernel/UserCode.js"
import { BackPressure } from "../log/BackPressure.js"
import { EventLog } from "../log/EventLog.js"
import { recoverLogs } from "../log/Recovery.js"
import * as Retention from "../log/Retention.js"
import type { Replacements, ReplacingOptions, RuntimeOptions } from "../RuntimeOptions.js"
import { unreserved, warnedAuthenticator } from "../sessions/AnonymousAccess.js"
import { Heartbeats } from "../sessions/Heartbeats.js"
import * as KnownSessions from "../sessions/KnownSessions.js"
import * as Observing from "../sessions/Observing.js"
import { patientSessions, patientSubscriptions } from "../sessions/PatientSessions.js"
import { Presence } from "../sessions/Presence.js"
import { Serving } from "../sessions/Serving.js"
import type { Sessions } from "../sessions/Sessions.js"
import type { Subscriptions } from "../sessions/Subscriptions.js"

const defaultFeatures: ReadonlyArray<Feature> = [...coreFeatures, ...extendedFeatures]

/** Milliseconds that the welcome can tell: an endless time has no number in JSON. */
const millis = (duration: Duration.DurationInput): number =>
  Math.min(Duration.toMillis(duration), Number.MAX_SAFE_INTEGER)

const checked = (options: RuntimeOptions): RuntimeOptions => {
  checkOptions("ArcpRuntime", options, {
    heartbeatInterval: "interval",
    resumeWindow: "duration",
    drainTime: "duration"
  })
  return options
}

/** What is offered: never what the layers at hand cannot keep. */
const infoLayer = (options: RuntimeOptions): Layer.Layer<RuntimeInfo, never, AgentRegistry | Artifacts | Credentials> =>
  Layer.effect(
    RuntimeInfo,
    Effect.gen(function* () {
      const registry = yield* AgentRegistry
      const can: Partial<Record<Feature, boolean>> = {
        artifacts: (yield* Artifacts).available,
        provisioned_credentials: (yield* Credentials).available
      }
      return {
        name: options.name ?? packageName,
        version: options.version ?? packageVersion,
        features: (options.features ?? defaultFeatures).filter((feature) => can[feature] ?? true),
        heartbeatInterval: millis(options.heartbeatInterval ?? "30 seconds"),
        resumeWindow: millis(options.resumeWindow ?? "10 minutes"),
        peers: options.peers ?? "auto",
        agents: registry.inventory
      }
    })
  )

/** Takes up what an earlier process left, then accepts connections until the scope closes. */
const accepting = (
  options: RuntimeOptions
): Layer.Layer<never, never, Server | Serving | Presence | Credentials | Deadlines | Store | JobRunner | EventLog> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const server = yield* Server
      yield* claim("server", server)
      const serving = yield* Serving
      const presence = yield* Presence
      const store = yield* Store
      const runner = yield* JobRunner
      const rows = yield* Effect.orDie(Rows.decoded(store).recover)
      // Each room its own, in this order, and before any connection is accepted.
      const logs = yield* Effect.orDie(recoverLogs(store, rows, (yield* Deadlines).mono()))
      yield* presence.adopt(logs.sessions)
      // Values of an earlier process are gone with it: they are revoked, and jobs that run again get new ones.
      yield* Effect.orDie((yield* Credentials).recover(rows.jobs.map(({ record }) => record.jobId)))
      yield* Effect.orDie(runner.recover(logs.jobs))
      // Made before the finalizer, so that it ends after it: connections end politely before they are interrupted.
      const serve = yield* serving.serve
      const eventLog = yield* EventLog
      const drainTime = Duration.toMillis(options.drainTime ?? "10 seconds")
      yield* server.restrict?.(serving.restrictions) ?? Effect.void
      // Before the finalizer, which then runs first: at the end new sessions are refused before anything is waited for.
      yield* server.connections.pipe(
        Stream.runForEach((connection) => Effect.sync(() => serve(connection))),
        Effect.forkScoped
      )
      yield* Effect.addFinalizer(() =>
        Effect.all(
          [
            server.stopAccepting,
            presence.stopAdmitting,
            runner.drain(drainTime),
            // What cannot be written now is written, or reported, by the log's own end.
            Effect.ignore(atEnd(Effect.timeout(eventLog.flush, "5 seconds"))),
            presence.shutdown
          ],
          { discard: true }
        )
      )
    })
  )

/** The runtime's own services, for its tests too. */
export type Concerns =
  | Artifacts
  | BackPressure
  | Budgets
  | Credentials
  | Deadlines
  | Heartbeats
  | JobRunner
  | JobScheduler
  | EventLog
  | Leases
  | Presence
  | RuntimeInfo
  | Serving
  | Sessions
  | Subscriptions

/** The runtime's own layer, or the one in its place: built over the own one, which it finds under its own tag. */
const replaced = <I, R>(
  own: Layer.Layer<I, never, R>,
  by: Layer.Layer<I, unknown, unknown> | undefined
): Layer.Layer<I, never, R> =>
  // What else it fails with and needs is in the type of the whole (`ReplaceError`, `ReplaceContext`).
  by === undefined ? own : Layer.provide(by as Layer.Layer<I>, own)

/** The layers that are given. A misspelt name is refused: the runtime would use its own concern without a word. */
const givenIn = ({ replace = {} }: ReplacingOptions<Replacements>): Replacements => {
  const names: Readonly<Record<keyof Replacements, true>> = {
    budgets: true,
    leases: true,
    jobScheduler: true,
    subscriptions: true,
    sessions: true
  }
  const unknown = Object.keys(replace).find((name) => !Object.hasOwn(names, name))
  // edge: as for other options, when the layer is made
  if (unknown !== undefined) throw new RangeError(`ArcpRuntime: replace.${unknown}: there is no such concern`)
  return replace
}

/** Every concern, without the loop that accepts connections. */
export const concerns = (
  options: ReplacingOptions<Replacements>
): Layer.Layer<Concerns, never, Ids | Store | Authenticator> => {
  const by = givenIn(options)
  return Serving.layer.pipe(
    Layer.provide(Layer.succeed(SubmitsWait, by.jobScheduler !== undefined)),
    Layer.provideMerge(Layer.mergeAll(Heartbeats.layer, Presence.layer)),
    Layer.provideMerge(patientSessions(replaced(KnownSessions.layer, by.sessions), by.sessions !== undefined)),
    Layer.provideMerge(
      patientSubscriptions(replaced(Observing.layer, by.subscriptions), by.subscriptions !== undefined)
    ),
    Layer.provideMerge(Rotations.layer),
    Layer.provideMerge(
      Layer.provide(
        Layer.mergeAll(
          patientScheduler(replaced(Admission.layer, by.jobScheduler), by.jobScheduler !== undefined),
          JobRunner.layer
        ),
        JobEngine.layer
      )
    ),
    Layer.provideMerge(Layer.mergeAll(BackPressure.layer, infoLayer(checked(options)))),
    Layer.provideMerge(soundLeases(replaced(LeaseChecks.layer, by.leases), by.leases !== undefined)),
    Layer.provideMerge(Layer.mergeAll(replaced(Accounts.layer, by.budgets), Credentials.layer(options.credentials))),
    Layer.provideMerge(Layer.mergeAll(EventLog.layer, KeptArtifacts.layer)),
    Layer.provideMerge(Deadlines.layer),
    Layer.provide(Layer.mergeAll(AgentRegistry.layer, ToolRegistry.layer, patientStore, warnedAuthenticator())),
    // Beneath all that records: what is left of it is given away last.
    Layer.provide(Auditing.layer(options.name ?? packageName)),
    Layer.provide(Meter.layer(options.name ?? packageName)),
    Layer.provide(unreserved),
    withTotalUserCode,
    scheduled
  )
}

/** The runtime over the given ids, with its concerns. */
export const running = (
  options: ReplacingOptions<Replacements>
): Layer.Layer<Concerns, never, Ids | Server | Store | Authenticator> =>
  Layer.merge(accepting(options), Layer.provide(Retention.layer, unreserved)).pipe(
    withTotalUserCode,
    scheduled,
    Layer.provideMerge(concerns(options)),
    Layer.fresh
  )

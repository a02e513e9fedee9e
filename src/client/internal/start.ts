/**
 * Puts a client together: its state, the owner of its connections, and the calls on both.
 *
 * Order: children are ready before the first connection, and the supervisor runs before the calls exist: it connects in a fiber
 * of its own, and reads no frame in this step.
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InvalidRequest } from "../../protocol/Errors.js"
import { elapsedOf } from "../../protocol/Elapsed.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import { Ids, type IdsService } from "../../protocol/Ids.js"
import { Connector, type TransportError } from "../../transport/Connection.js"
import type { ArcpClientService } from "../ArcpClientService.js"
import * as Artifacts from "../Artifacts.js"
import type { ClientOptions } from "../ClientOptions.js"
import type { Call } from "./call.js"
import { makeCall } from "./calls.js"
import * as checks from "./checks.js"
import { makeChildren } from "./children.js"
import { Core } from "./core.js"
import { settingsOf } from "./defaults.js"
import { changesOf, factsOfSession } from "./facts.js"
import { handles } from "./handles.js"
import { makeListing } from "./listing.js"
import type { Times } from "./options.js"
import { makeSubmit } from "./submit.js"
import { supervise } from "./supervisor.js"

/** Replaces the transport where the options are invalid: an `InvalidRequest` ends the client at its first attempt. */
const refusing = (wrong: InvalidRequest): Context.Tag.Service<Connector> => ({
  connect: Effect.fail(wrong as unknown as TransportError),
  address: "nowhere"
})

/** Pings the runtime; returns the round-trip time. */
const makePing = (call: Call, ids: IdsService, { mono, wall }: Times): ArcpClientService["ping"] =>
  Effect.suspend(() => {
    const start = mono()
    const now = wall()
    const nonce = `p_${ids.unsafeUlid(now)}`
    return call("session.ping", { nonce, sent_at: formatTimestamp(now) }, () => Duration.millis(mono() - start), {
      nonce,
      features: ["heartbeat"]
    })
  })

/** A client that connects in the background; the scope's end closes its session. */
export const start = (given: ClientOptions): Effect.Effect<ArcpClientService, never, Scope.Scope | Connector | Ids> =>
  Effect.gen(function* () {
    const wrong = checks.optionsProblem(given)
    // With invalid options the client ends at once, and every call on it fails with that error.
    const options = wrong === undefined ? given : checks.withoutNumbers(given)
    const ids = yield* Ids
    const clock = yield* Effect.clock
    const times: Times = { mono: elapsedOf(clock), wall: () => clock.unsafeCurrentTimeMillis() }
    const children = makeChildren()
    const settings = settingsOf(options, ids, times, children.end)
    const core = new Core(settings.core)
    core.registry.cursor.inherit(options.resume)
    const connector = yield* Connector
    const session = yield* supervise(core, wrong === undefined ? connector : refusing(wrong), settings.supervisor)
    const call = makeCall(core, session, settings.maxFrameBytes)
    const { attach, observed, submitted, subscribe, unsubscribe } = handles(core, call, session, {
      opened: (job) => core.registry.opened(job),
      taken: () => {
        session.consumed()
        core.registry.cursor.touch()
      }
    })
    core.intake.whenChild((accepted) => {
      const job = core.adopt(accepted.job_id, { _tag: "observer", from: 0 })
      children.announce(observed<unknown, unknown, never, never, {}>(job, accepted, {}))
    })
    const facts = () => factsOfSession(core)
    return {
      submit: makeSubmit(core, call, session, ids, submitted) as ArcpClientService["submit"],
      listJobs: makeListing(call),
      subscribe,
      attach,
      unsubscribe,
      artifacts: Artifacts.make(call, settings.maxArtifactBytes),
      ping: makePing(call, ids, times),
      status: session.status,
      connected: session.connected,
      runtime: Effect.map(session.connected, () => ({ ...core.terms.runtime })),
      agents: Effect.map(session.connected, () =>
        core.terms.agents.map((agent) => ({ name: agent.name, versions: agent.versions ?? [], default: agent.default }))
      ),
      features: Effect.map(session.connected, () => core.features),
      children: children.stream,
      session: Effect.sync(facts),
      sessionChanges: changesOf(core.registry.cursor, facts, () => session.ended() !== undefined),
      close: session.close
    }
  })

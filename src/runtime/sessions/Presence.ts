/**
 * Presence: the connections of sessions (ARCP 1.1 §6).
 *
 * Responsibility: opening, resuming, taking over, leaving and expiry of sessions, as `Sessions` decides on them. What is sent
 * to them, and under which numbers, is the log's.
 *
 * Order: the welcome is the first frame of a connection; replayed and live events follow it, in one sequence.
 *
 * Races closed here: see `internal/opening.ts`, `internal/attach.ts` and `internal/table.ts`. A token that was replaced counts until
 * the client has shown, over the connection that was welcomed with the new one, that it holds the new one.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { Principal } from "../../auth/Principal.js"
import type { ArcpError } from "../../protocol/Errors.js"
import { Ids } from "../../protocol/Ids.js"
import type { Hello, ResumeRequest } from "../../protocol/Session.js"
import { Store } from "../../store/Store.js"
import { closeCodes, type Connection } from "../../transport/Connection.js"
import { shuttingDown } from "../kernel/Refusals.js"
import { atEnd } from "../kernel/AtEnd.js"
import { Auditing } from "../kernel/Auditing.js"
import { Deadlines } from "../kernel/Deadlines.js"
import * as FrameSize from "../kernel/FrameSize.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import { isTimed } from "../kernel/Turn.js"
import type { PeerKind } from "../kernel/Peers.js"
import { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import { pause } from "../kernel/Turn.js"
import { BackPressure, type Emitting } from "../log/BackPressure.js"
import { EventLog } from "../log/EventLog.js"
import type { Outbox } from "../log/Outbox.js"
import type { SessionLog } from "../log/SessionLog.js"
import { lastWords } from "./internal/attach.js"
import { leftBy } from "./internal/audited.js"
import type { Attached } from "./internal/attached.js"
import type { SessionsContext } from "./internal/context.js"
import { inventory } from "./internal/inventory.js"
import { open, resume } from "./internal/opening.js"
import { SessionTable } from "./internal/table.js"
import { Sessions } from "./Sessions.js"

export type { Attached } from "./internal/attached.js"

/** Milliseconds for the events that a client has not been sent when the runtime stops; it finds the rest at its resume. */
const flushTime = 2_000

/** The client has sent a frame: it holds the token of the last welcome. */
const confirm = ({ decided, eventLog }: SessionsContext, { link, session, tokenHash }: Attached): void => {
  if (session.link !== link || session.head.previousTokenHash === undefined) return
  let confirmed = false
  eventLog.change({
    write: (batch) => {
      const { head } = session
      // A later welcome has another token, which this client has not shown.
      confirmed = head.tokenHash === tokenHash
      if (confirmed) batch.head(session, { ...head, previousTokenHash: undefined })
    },
    committed: () => {
      if (confirmed) decided.confirm(session.sessionId)
    }
  })
}

/** The connection has ended; the session can be resumed for its window. */
const leave = (
  { audit, backPressure, decided, eventLog }: SessionsContext,
  table: SessionTable,
  { link, session }: Attached
): void => {
  link.left()
  if (session.link !== link) return
  session.disconnect()
  table.connected(-1)
  backPressure.left(session)
  if (session.removed) return
  audit?.add(leftBy(session, link))
  session.seen(Math.max(session.lastSeenAt, link.lastIn, link.lastOut))
  eventLog.change({ write: (batch) => batch.session(session) })
  table.expireLater(session)
  decided.left(session.sessionId)
}

/** Sends every client what there is, then ends its connection, telling it to come back later. */
const endAll = (table: SessionTable): Effect.Effect<void> =>
  Effect.suspend(() => {
    const links = [...table.all].flatMap(({ link }) => (link === undefined ? [] : [link]))
    const end = (link: Outbox) => link.end(closeCodes.goingAway, "the runtime is shutting down")
    const each = (link: Outbox) =>
      Effect.zipRight(
        Effect.timeoutOption(link.flushed, flushTime),
        Effect.suspend(() => {
          end(link)
          return link.connection.closed
        })
      )
    return atEnd(
      Effect.timeoutOption(Effect.forEach(links, each, { concurrency: "unbounded", discard: true }), lastWords)
    ).pipe(
      // Connections that are still open by now are ended, whatever they have not been sent.
      Effect.zipRight(Effect.sync(() => links.forEach(end)))
    )
  })

/** Says which agents no welcome has room for. */
const warnOfOmitted = ({ info, limits }: SessionsContext): Effect.Effect<void> => {
  const { agents_omitted: omitted } = inventory(info.agents(), true, limits.maxFrameBytes)
  return omitted === undefined
    ? Effect.void
    : Effect.logWarning(`welcomes leave out ${omitted} agents: raise Limits.maxFrameBytes to show all`)
}

const makeContext = Effect.gen(function* () {
  const store = yield* Store
  const deadlines = yield* Deadlines
  const ids = yield* Ids
  const limits = yield* Limits
  const runFork = Runtime.runFork(yield* Effect.runtime<never>())
  const bounds = {
    payload: FrameSize.payloadRoom(limits),
    result: FrameSize.resultRoom(limits, FrameSize.summaryBytes)
  }
  const context: SessionsContext = {
    store,
    eventLog: yield* EventLog,
    deadlines,
    ids,
    info: yield* RuntimeInfo,
    limits,
    meter: yield* Meter,
    backPressure: yield* BackPressure,
    reading: { store, ids, mono: deadlines.mono, wall: deadlines.wall, bounds },
    decided: yield* Sessions,
    audit: yield* Auditing,
    runFork,
    timed: yield* isTimed
  }
  return context
})

/** Takes up a session of an earlier process, where it can still be resumed. */
const adopt = ({ decided, deadlines }: SessionsContext, table: SessionTable, session: SessionLog): void => {
  const { createdAt, previousTokenHash, principal, tokenHash } = session.head
  const { sessionId } = session
  // The time while the runtime was down does not count.
  const lastSeenAt = deadlines.wall()
  const window = decided.adopt({ sessionId, principal, tokenHash, previousTokenHash, createdAt, lastSeenAt })
  table.add(session, window ?? 0)
  if (window === undefined) table.remove(session, "expired")
  else table.expireLater(session)
}

/** Keeps the sessions' connections. */
export class Presence extends Context.Tag("effect-arcp/runtime/Presence")<
  Presence,
  {
    /** Opens a session and posts its welcome (§6.2). */
    readonly open: (
      connection: Connection,
      principal: Principal,
      hello: Hello,
      peer: PeerKind
    ) => Effect.Effect<Attached, ArcpError, Scope.Scope>
    /** Resumes a session and posts its welcome (§6.3). A failure leaves the session as it is. */
    readonly resume: (
      connection: Connection,
      principal: Principal,
      request: ResumeRequest,
      hello: Hello,
      peer: PeerKind
    ) => Effect.Effect<Attached, ArcpError, Scope.Scope>
    /** The client has sent its first message: it holds the token of the welcome. */
    readonly confirm: (attached: Attached) => void
    /** The connection has ended; the session can be resumed for its window. */
    readonly leave: (attached: Attached) => void
    /** Adopts the sessions of an earlier process: their clients may come back. */
    readonly adopt: (sessions: ReadonlyArray<SessionLog>) => Effect.Effect<void>
    /** Refuses new sessions and resumes from now on: the runtime is stopping. Clients that are connected stay. */
    readonly stopAdmitting: Effect.Effect<void>
    /** Sends every client what there is, then ends its connection, telling it to come back later; within 5 seconds. */
    readonly shutdown: Effect.Effect<void>
    readonly count: () => number
  }
>() {
  static readonly layer: Layer.Layer<Presence, never, Sessions | Store | Emitting | Deadlines | Ids | RuntimeInfo> =
    Layer.effect(
      Presence,
      Effect.gen(function* () {
        const context = yield* makeContext
        const table = new SessionTable(context)
        yield* warnOfOmitted(context)
        let stopping = false
        const admitting = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.suspend((): Effect.Effect<A, E | ArcpError, R> => (stopping ? Effect.fail(shuttingDown) : effect))

        const stopAdmitting = Effect.sync(() => {
          stopping = true
        })

        return {
          open: (connection, principal, hello, peer) =>
            admitting(open(context, table, { connection, principal, hello, peer })),
          resume: (connection, principal, request, hello, peer) =>
            admitting(resume(context, table, { connection, principal, hello, peer }, request)),
          confirm: (attached) => confirm(context, attached),
          leave: (attached) => leave(context, table, attached),
          adopt: Effect.forEach(
            (session) =>
              Effect.zipRight(
                Effect.sync(() => adopt(context, table, session)),
                pause
              ),
            {
              discard: true
            }
          ),
          stopAdmitting,
          shutdown: Effect.zipRight(stopAdmitting, endAll(table)),
          count: () => table.size
        }
      })
    )
}

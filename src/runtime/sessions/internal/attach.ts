/**
 * Giving a session to a connection (ARCP 1.1 §6.2, §6.3).
 *
 * Order: the welcome is the first frame of a connection; events follow it, because one pump reads the session's log from the
 * connection's cursor.
 *
 * Races closed here: of two connections that resume one session the later one has it, and the earlier is told and closed. Retention may remove
 * what a resume asks for while the session's new token is being stored: it is looked at again in the step in which the connection gets the session.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { PermissionDenied, ResumeWindowExpired } from "../../../protocol/Errors.js"
import { closeCodes, type Connection } from "../../../transport/Connection.js"
import type { PeerKind } from "../../kernel/Peers.js"
import { Outbox } from "../../log/Outbox.js"
import { pumped, sourceOf } from "../../log/Pump.js"
import type { SessionLog } from "../../log/SessionLog.js"
import type { Attached } from "./attached.js"
import { takenOver } from "./audited.js"
import { type SessionsContext, sessionError } from "./context.js"
import type { SessionTable } from "./table.js"
import { welcome } from "./welcome.js"

/** Milliseconds for what is in the outbox when a connection is to end; then it ends, also if the peer does not read. */
export const lastWords = 5_000

/** The sending side of a connection whose client has the events up to a number. */
const linkTo = ({ deadlines, limits, runFork }: SessionsContext, connection: Connection, cursor: number): Outbox =>
  new Outbox(connection, cursor, deadlines.mono(), limits, ({ code, reason }) =>
    deadlines.schedule(deadlines.mono() + lastWords, () => void runFork(connection.close(code, reason)))
  )

/** Tells an earlier connection that its session is another's now. */
const takeOver = (context: SessionsContext, session: SessionLog, previous: Outbox, next: Connection): void => {
  const error = new PermissionDenied({
    message: "the session was resumed on another connection",
    details: { reason: "taken_over" }
  })
  context.audit?.add(takenOver(session, previous, next))
  previous.watch(undefined)
  previous.post(sessionError(context, session, error))
  previous.end(closeCodes.policy, "taken over")
}

/** What a connection brings. */
export interface Arrival {
  readonly connection: Connection
  readonly peer: PeerKind
  /** The last event that the client has. */
  readonly cursor: number
  readonly token: string
  readonly tokenHash: string
}

/** What a resume is told that asks for events which are gone. */
export const goneBehind = (session: SessionLog, cursor: number): ResumeWindowExpired =>
  new ResumeWindowExpired({
    message: `resume.last_event_seq: events after ${cursor} are gone`,
    details: { oldest_resumable: session.floorSeq }
  })

/** Gives the session to the connection, and posts its welcome. Fails where events behind the cursor are gone. */
export const attach = (
  context: SessionsContext,
  table: SessionTable,
  session: SessionLog,
  { connection, cursor, peer, token, tokenHash }: Arrival
): Effect.Effect<Attached, ResumeWindowExpired, Scope.Scope> =>
  Effect.suspend(() => {
    // They were there when the resume was judged; from here on they are owed, and stay.
    if (cursor < session.floorSeq) return Effect.fail(goneBehind(session, cursor))
    const { deadlines, ids, info, limits, reading, runFork, timed } = context
    const link = linkTo(context, connection, cursor)
    const previous = session.link
    session.connect(link, peer)
    link.replays(session.seq, session.bytes)
    if (previous === undefined) table.connected(1)
    else takeOver(context, session, previous, connection)
    const now = deadlines.wall()
    link.post(welcome(info, session, token, ids.unsafeUlid(now), now, table.windowOf(session), limits.maxFrameBytes))
    return Effect.as(pumped(sourceOf(session, reading), link, runFork, timed), { session, link, tokenHash })
  })

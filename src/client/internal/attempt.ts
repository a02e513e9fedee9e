/**
 * What the end of a connection means: come back, or give up, since what answers there is no runtime, refuses without a word, or
 * cannot take what this side has to send.
 *
 * A session that the runtime refuses by a message is judged where that message is read. Here is what no message says.
 */
import * as Cause from "effect/Cause"
import { InvalidRequest, oneLine } from "../../protocol/Errors.js"
import { closeCodes } from "../../transport/Connection.js"
import { SessionEnded } from "../ClientError.js"
import { textOf } from "./text.js"

/** How one connection ended. */
export type Outcome<E> =
  | { readonly _tag: "again"; readonly code: number; readonly reason: string }
  | { readonly _tag: "end"; readonly error: E }

/** The outcome after a fault on this side, which another connection would meet again. */
export const broken = (cause: Cause.Cause<unknown>): { readonly _tag: "end"; readonly error: SessionEnded } => ({
  _tag: "end",
  error: new SessionEnded({
    reason: "gave_up",
    message: oneLine(`the client failed unexpectedly: ${textOf(Cause.squash(cause))}`)
  })
})

/** The outcome of an attempt that opened no connection, or whose transport failed. */
export const failed = (cause: Cause.Cause<unknown>): Outcome<InvalidRequest> => {
  const error = Cause.squash(cause)
  // Options that no hello can carry: the next hello would fail in the same way.
  return error instanceof InvalidRequest
    ? { _tag: "end", error }
    : {
        _tag: "again",
        code: Cause.isDie(cause) ? closeCodes.internal : closeCodes.abnormal,
        reason: Cause.isDie(cause) ? `the transport failed: ${textOf(error)}` : textOf(error)
      }
}

/** What is known of the connection of the moment. */
export class Attempt {
  /** Whether there was a connection. */
  opened = false
  /** Whether a frame came. */
  heard = false
  /** Why the first frame cannot be read. */
  garbage: string | undefined = undefined
  welcomedAt: number | undefined = undefined
  /** Whether this side gave the handshake up. */
  gaveUp = false
  /** What the runtime said last that answers no request. */
  remark: string | undefined = undefined

  /** There is a connection. */
  opens(): void {
    this.opened = true
  }

  /** The first frame has come. `garbage`: why it cannot be read. */
  hears(garbage: string | undefined): void {
    this.heard = true
    this.garbage = garbage
  }

  /** This side has stopped waiting for the welcome. */
  givesUp(): void {
    this.gaveUp = true
  }

  /** A reason with what the runtime said before. */
  because(reason: string): string {
    return this.remark === undefined ? reason : reason === "" ? this.remark : `${reason} (${this.remark})`
  }
}

/** Connections in a row that another protocol answers before the client ends. */
const maxGarbled = 3
/** Connections that are closed without a word, before any welcome, before the client ends. */
const maxBare = 5
/** Connections in a row that 1009 ends, without a request that could be the reason, before the client ends. */
const maxTooBig = 3
/** Close codes by which a runtime says that it is worth coming back: going away, service restart, try again later. */
const comeBack: ReadonlySet<number> = new Set([closeCodes.goingAway, 1012, closeCodes.tryAgainLater])

/** Counts ends of one kind in a row. */
export class Ends {
  private garbled = 0
  private bare = 0
  private tooBig = 0

  /** A connection has brought something. */
  progressed(): void {
    this.garbled = this.bare = this.tooBig = 0
  }

  /**
   * Judges the end of a connection that no message of the runtime explains. `blamed`: a request has been found that ended it.
   * `everWelcomed`: this client has had a session.
   */
  judge(attempt: Attempt, code: number, reason: string, blamed: boolean, everWelcomed: boolean): Outcome<SessionEnded> {
    const end = (why: SessionEnded["reason"], message: string): Outcome<SessionEnded> => ({
      _tag: "end",
      error: new SessionEnded({ reason: why, message })
    })
    if (attempt.garbage !== undefined && attempt.welcomedAt === undefined) {
      // The transport may know more of what came.
      const why = reason === "" ? attempt.garbage : `${attempt.garbage}; ${reason}`
      return ++this.garbled < maxGarbled
        ? { _tag: "again", code, reason: `the first frame cannot be read: ${why}` }
        : end("incompatible", `what answers is not a runtime of ARCP 1.x: ${why}`)
    }
    if (attempt.heard) this.garbled = this.bare = 0
    if (code === closeCodes.tooBig && !blamed) {
      if (++this.tooBig >= maxTooBig) {
        return end(
          "gave_up",
          `${maxTooBig} connections in a row ended since a frame was too large (close 1009): raise maxFrameBytes of the transport on the side that reads it${reason === "" ? "" : `; the last one said: ${reason}`}`
        )
      }
    }
    const bare = attempt.opened && !attempt.heard && !everWelcomed && !attempt.gaveUp && !comeBack.has(code)
    if (bare && ++this.bare >= maxBare) {
      return end(
        "refused",
        `the runtime closed ${maxBare} connections without a word, the last one with ${code}${reason === "" ? "" : `, ${reason}`}: check the address, and the token`
      )
    }
    return { _tag: "again", code, reason }
  }
}

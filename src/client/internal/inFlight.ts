/**
 * What has been sent on the connection of the moment and lies unanswered: how long, and whether it ends connections.
 *
 * Responsibility: no request waits without end on a live session (`requestTimeout`), and no request is sent again and again that
 * ends its connection each time, such as one that is larger than the peer reads (close 1009).
 *
 * The time of a request counts from its writing, anew after each resume, and not while there is no session: a client that is
 * away fails nothing.
 */
import { InvalidRequest } from "../../protocol/Errors.js"
import { closeCodes } from "../../transport/Connection.js"
import { RequestTimeout } from "../ClientError.js"
import { notNegotiated } from "./call.js"
import type { Core } from "./core.js"
import * as encode from "./encode.js"
import type { Pending } from "./match.js"

/** The shortest time between two looks, in milliseconds. */
const shortest = 10
/** Connections that a request may have ended before it is blamed for that, where the close code does not say so. */
const maxStrikes = 3
/** A request below this many bytes is not blamed without a close code that says so: any connection may be lost. */
const suspicious = 32_768
/** A refused size below this does not say what the peer reads: more may have been in the frame, or another one was meant. */
const telling = 16_384

/** The unanswered requests of one client. */
export class InFlight {
  /** The smallest size that the runtime of this session has refused, in bytes. */
  private refused = Number.POSITIVE_INFINITY
  private readonly core: Core
  private readonly now: () => number
  /** Milliseconds for each request that does not say more. */
  readonly requestTimeout: number

  constructor(core: Core, requestTimeout: number, now: () => number) {
    this.core = core
    this.requestTimeout = requestTimeout
    this.now = now
  }

  /** A connection begins: nothing has been sent on it. */
  begin(): void {
    for (const pending of this.core.pending.values()) {
      pending.sent = false
      pending.writtenAt = undefined
    }
  }

  /** A new session is another runtime's, perhaps. */
  forget(): void {
    this.refused = Number.POSITIVE_INFINITY
  }

  /** A session is open: a request that needs a feature which the session lacks fails, and is not sent. */
  welcomed(): void {
    const { features, pending } = this.core
    for (const [id, { failed, features: needed, recovers, type }] of pending) {
      // Each connection looks for silent jobs anew.
      if (recovers === true && type === "session.list_jobs") pending.delete(id)
      const missing = notNegotiated(type, needed, features)
      if (missing === undefined) continue
      pending.delete(id)
      failed(missing)
    }
  }

  /** These have been handed to the transport. */
  written(requests: ReadonlyArray<Pending>): void {
    const at = this.now()
    for (const pending of requests) pending.writtenAt = at
  }

  /** Fails what has waited too long. Returns the milliseconds until the next look. */
  expire(remark: string | undefined): number {
    const { core } = this
    const now = this.now()
    let next = this.requestTimeout
    for (const [id, pending] of core.pending) {
      // What is asked about silent jobs has bounds of its own (see `silence`).
      if (pending.writtenAt === undefined || (pending.recovers === true && pending.type !== "job.submit")) continue
      const timeout = Math.max(this.requestTimeout, pending.timeout ?? 0) * (pending.isAbandoned === true ? 2 : 1)
      const left = pending.writtenAt + timeout - now
      if (left > 0) next = Math.min(next, left)
      else {
        if (pending.isAbandoned === true) core.pending.delete(id)
        else core.abandon(pending)
        pending.failed(
          new RequestTimeout({
            request: pending.type,
            timeout,
            message: `the runtime did not answer ${pending.type} within ${timeout} ms${remark === undefined ? "" : `; it said: ${remark}`}`
          })
        )
      }
    }
    return Math.max(shortest, next)
  }

  /** Why a request cannot be sent to this runtime; undefined where it can. */
  refusal(request: string): InvalidRequest | undefined {
    return request.length * 3 < this.refused || encode.frameBytes(request) < this.refused
      ? undefined
      : new InvalidRequest({
          message: `payload: the runtime reads no frame of ${this.refused} bytes; it closed the connection with 1009 when one was sent`
        })
  }

  /**
   * A connection has ended. Fails the request that ended it, if one did: after 1009 the largest that lay unanswered, else one
   * that is large and has been lost with {@link maxStrikes} connections in a row. Returns whether one was found.
   */
  ended(code: number, progressed: boolean): boolean {
    const tooBig = code === closeCodes.tooBig
    if (progressed && !tooBig) return false
    let largest: readonly [id: string, pending: Pending, bytes: number] | undefined
    for (const [id, pending] of this.core.pending) {
      if (pending.sent !== true || pending.isAbandoned === true) continue
      const bytes = encode.frameBytes(pending.request)
      if (largest === undefined || bytes > largest[2]) largest = [id, pending, bytes]
    }
    if (largest === undefined) return false
    const [id, pending, bytes] = largest
    if (!tooBig) {
      if (bytes < suspicious) return false
      pending.strikes = (pending.strikes ?? 0) + 1
      if (pending.strikes < maxStrikes) return false
    }
    this.core.pending.delete(id)
    const why = tooBig
      ? "a frame was too large for the connection (close 1009)"
      : `${maxStrikes} connections in a row ended`
    pending.failed(
      new InvalidRequest({
        message: `payload: ${why} when ${pending.type} of ${bytes} bytes had been sent; it is not sent again`
      })
    )
    if (tooBig && bytes >= telling) {
      this.refused = Math.min(this.refused, bytes)
      for (const [other, { failed, request }] of this.core.pending) {
        const refusal = this.refusal(request)
        if (refusal === undefined) continue
        this.core.pending.delete(other)
        failed(refusal)
      }
    }
    return true
  }
}

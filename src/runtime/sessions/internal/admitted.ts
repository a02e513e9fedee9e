/**
 * Peers whose principal is known: how many may be on their way to a session, and how many connections anonymous ones may hold
 * (ARCP 1.1 §14).
 *
 * Of those on their way each principal with a credential has a number of its own, and anonymous ones have a part of the strangers' bound
 * together. Anonymous connections count from their hello to their end, since each takes one of the transport's.
 */
import type { Principal } from "../../../auth/Principal.js"
import { anonymousShare } from "../../kernel/AnonymousShare.js"
import { count } from "../../kernel/Counts.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import { isGuest } from "./room.js"
import { isLocal, type Peer } from "./strangers.js"

/** Connections of a principal that may be on their way, however few sessions it may have. */
const leastOpening = 64

const guestsFull = "anonymous connections have all the room that they may have; present a token, or try again later"
const manyAtOnce = "too many of your connections are opening sessions; try again later"

/** The peers of one runtime that have been authenticated. */
export class Admitted {
  private readonly limits: LimitsShape
  private readonly meter: MeterShape
  /** Anonymous connections over a network. */
  private readonly guests = new Set<Peer>()
  /** Whose session is not there yet, and what each counts for: a principal, or undefined for the anonymous ones together. */
  private readonly opening = new Map<Peer, string | undefined>()
  private readonly openingOf = new Map<string, number>()
  private guestsOpening = 0

  constructor(limits: LimitsShape, meter: MeterShape) {
    this.limits = limits
    this.meter = meter
  }

  /** Counts a connection until {@link opened} and {@link leave}; why it is refused where it is. */
  enter(connection: Peer, principal: Principal): string | undefined {
    return isGuest(principal) ? this.enterGuest(connection) : this.enterHolder(connection, principal.id)
  }

  /** Its session is there. */
  opened(connection: Peer): void {
    if (!this.opening.has(connection)) return
    const principal = this.opening.get(connection)
    this.opening.delete(connection)
    if (principal === undefined) this.guestsOpening--
    else count(this.openingOf, principal, -1)
  }

  /** It has been refused, or has ended. Harmless when it is not counted. */
  leave(connection: Peer): void {
    this.opened(connection)
    this.guests.delete(connection)
  }

  private enterGuest(connection: Peer): string | undefined {
    if (isLocal(connection)) return undefined
    const { limits, meter } = this
    if (this.guests.size >= limits.anonymousConnections) {
      return meter.reaching("anonymousConnections", guestsFull)
    }
    if (this.guestsOpening >= anonymousShare(limits, limits.unauthenticatedConnections)) {
      return meter.reaching("anonymousShare", guestsFull)
    }
    this.guests.add(connection)
    this.opening.set(connection, undefined)
    this.guestsOpening++
    return undefined
  }

  private enterHolder(connection: Peer, principal: string): string | undefined {
    if (isLocal(connection)) return undefined
    if ((this.openingOf.get(principal) ?? 0) >= Math.max(leastOpening, this.limits.sessionsPerPrincipal)) {
      return this.meter.reaching("sessionsPerPrincipal", manyAtOnce)
    }
    this.opening.set(connection, principal)
    count(this.openingOf, principal, 1)
    return undefined
  }
}

/**
 * Which bound a new session would pass, and which sessions make room for it (ARCP 1.1 §14).
 *
 * Responsibility: the counts of sessions (in all, anonymous ones, of each principal, of each address of anonymous ones) and the bounds on
 * them. Anonymous principals have a part of the bound in all, and make room among themselves: a client that needs no token, however many
 * sessions it leaves behind, takes nothing from those that have one.
 */
import type { Principal } from "../../../auth/Principal.js"
import { isAnonymous } from "../../../protocol/AnonymousIds.js"
import { anonymousShare } from "../../kernel/AnonymousShare.js"
import { count } from "../../kernel/Counts.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { SessionPeer } from "../Sessions.js"
import type { Known } from "./resuming.js"
import { addressKey, isLocal } from "./strangers.js"

/** A session, and the address that it counts for: undefined where none is known, as after a restart. */
export interface Counted extends Known {
  readonly address: string | undefined
}

/** Whether no credential vouches for a principal. */
export const isGuest = ({ anonymous, id }: Principal): boolean => anonymous || isAnonymous(id)

/** The address that a session of a principal counts for. */
export const addressOf = (principal: Principal, peer: SessionPeer): string | undefined =>
  isGuest(principal) && !isLocal(peer) ? addressKey(peer.remoteAddress) : undefined

/** A bound that a new session is under. */
export interface Bound {
  readonly limit: keyof LimitsShape
  readonly max: number
  /** How many there are. */
  readonly used: number
  /** Whether a session is one of those. */
  readonly counts: (session: Counted) => boolean
  /** Whether a session of those may go for the new one, those that fit the first of these before those that fit the next. */
  readonly gives: ReadonlyArray<(session: Counted) => boolean>
  /** Whose it is, of anonymous clients: all of them, or those of an address. Undefined: it is for others. */
  readonly guests: string | undefined
  readonly message: string
}

const any = (): boolean => true
const guest = ({ principal }: Counted): boolean => isGuest(principal)

/** The counts. */
export class Room {
  private readonly limits: LimitsShape
  private all = 0
  private guests = 0
  private readonly perPrincipal = new Map<string, number>()
  private readonly perAddress = new Map<string, number>()

  constructor(limits: LimitsShape) {
    this.limits = limits
  }

  enter(session: Counted): void {
    this.change(session, 1)
  }

  leave(session: Counted): void {
    this.change(session, -1)
  }

  /** The bounds of a new session, from the narrowest on. */
  boundsOf(principal: Principal, address: string | undefined): ReadonlyArray<Bound> {
    const { limits } = this
    const isMine = (session: Counted): boolean => session.principal.id === principal.id
    const mine: Bound = {
      limit: "sessionsPerPrincipal",
      max: limits.sessionsPerPrincipal,
      used: this.perPrincipal.get(principal.id) ?? 0,
      counts: isMine,
      gives: [isMine],
      guests: undefined,
      message: `you have ${limits.sessionsPerPrincipal} sessions already; close one`
    }
    const inAll: Bound = {
      limit: "sessions",
      max: limits.sessions,
      used: this.all,
      counts: any,
      gives: isGuest(principal) ? [guest] : [guest, any],
      guests: isGuest(principal) ? "all" : undefined,
      message: `${limits.sessions} sessions are open already; try again later`
    }
    return isGuest(principal) ? [mine, ...this.guestBounds(address), inAll] : [mine, inAll]
  }

  private guestBounds(address: string | undefined): ReadonlyArray<Bound> {
    const { limits } = this
    const atAddress = (session: Counted): boolean => session.address === address
    const share: Bound = {
      limit: "anonymousShare",
      max: anonymousShare(limits, limits.sessions),
      used: this.guests,
      counts: guest,
      gives: [guest],
      guests: "all",
      message: "anonymous sessions have all the room that they may have; present a token, or try again later"
    }
    if (address === undefined) return [share]
    const { anonymousSessionsPerAddress: max } = limits
    const used = this.perAddress.get(address) ?? 0
    const message = `${max} anonymous sessions of this address are open already; try again later`
    const own = { max, used, counts: atAddress, gives: [atAddress], guests: `address ${address}`, message }
    return [{ limit: "anonymousSessionsPerAddress", ...own }, share]
  }

  private change(session: Counted, by: 1 | -1): void {
    this.all += by
    if (guest(session)) this.guests += by
    count(this.perPrincipal, session.principal.id, by)
    if (session.address !== undefined) count(this.perAddress, session.address, by)
  }
}

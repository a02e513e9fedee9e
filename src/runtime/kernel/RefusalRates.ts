/**
 * How many refusals of one peer are recorded one by one.
 *
 * Responsibility: refusals cost their peer nothing, so a trail without a bound is a disk that a peer can fill, and records of others that find no
 * room. Acts that were done are not bounded here: the limits of the runtime bound them.
 *
 * Order: what was left out is asked for before the next refusal of the same peer, and once more when the time is up.
 */
import { anonymousPrefix, isAnonymous } from "../../protocol/AnonymousIds.js"
import type { Draft } from "./AuditRecord.js"

/** Refusals that are recorded one by one: at once, and each second. */
const atOnce = 600
const perSecond = 10
/** Peers that have a bound of their own; those beyond share one. */
const maxPeers = 1_024

/** Peers without a session together; principals without a token together; principals that found no place. A principal's id has no NUL. */
const strangers = "\u0000strangers"
const others = "\u0000others"

interface Rate {
  left: number
  at: number
  omitted: number
}

/** The peer whose refusal this is; undefined for acts that were done, and for refusals that other limits bound. */
const refusedTo = (draft: Draft): string | undefined => {
  switch (draft.type) {
    case "authentication.failed":
      // The limits of failed authentications bound the others. An attempt that could not be judged does not count there.
      return draft.reason === "unavailable" ? strangers : undefined
    case "session.refused":
      return peerOf(draft.principal)
    case "lease.narrowed":
      return draft.outcome === "refused" ? peerOf(draft.principal) : undefined
    case "job.refused":
    case "job.cancel_refused":
    case "lease.denied":
    case "budget.exhausted":
    case "subscription.refused":
      return peerOf(draft.principal)
    default:
      return undefined
  }
}

const peerOf = (principal: string | undefined): string =>
  principal === undefined ? strangers : isAnonymous(principal) ? anonymousPrefix : principal

/** What says how many were left out. */
const toldOf = (peer: string, count: number): Draft =>
  peer === strangers
    ? { type: "session.refusals_omitted", count }
    : peer === anonymousPrefix || peer === others
      ? { type: "refusals.omitted", count, anonymous: peer !== others }
      : { type: "refusals.omitted", count, anonymous: false, principal: peer }

/** The bounds of one trail. */
export class RefusalRates {
  private readonly rates = new Map<string, Rate>()
  /** Those of which something was left out. */
  private readonly untold = new Set<string>()
  private readonly elapsed: () => number

  constructor(elapsed: () => number) {
    this.elapsed = elapsed
  }

  /** Whether a record is made of it, and what is to be told before; otherwise it is counted. */
  admit(draft: Draft): { readonly before: Draft | undefined } | undefined {
    const peer = refusedTo(draft)
    if (peer === undefined) return { before: undefined }
    const { key, rate } = this.rateOf(peer)
    const now = this.elapsed()
    rate.left = Math.min(atOnce, rate.left + ((now - rate.at) * perSecond) / 1_000)
    rate.at = now
    if (rate.left < 1) {
      rate.omitted++
      this.untold.add(key)
      return undefined
    }
    rate.left--
    return { before: this.told(key) }
  }

  /** What was left out and not told. */
  tellAll(): ReadonlyArray<Draft> {
    return [...this.untold].flatMap((peer) => this.told(peer) ?? [])
  }

  private told(peer: string): Draft | undefined {
    if (!this.untold.delete(peer)) return undefined
    const rate = this.rates.get(peer)!
    const count = rate.omitted
    rate.omitted = 0
    return toldOf(peer, count)
  }

  private rateOf(peer: string): { readonly key: string; readonly rate: Rate } {
    const found = this.rates.get(peer)
    if (found !== undefined) return { key: peer, rate: found }
    if (this.rates.size >= maxPeers) this.forget()
    const key = this.rates.size >= maxPeers ? others : peer
    const shared = this.rates.get(key)
    if (shared !== undefined) return { key, rate: shared }
    const rate = { left: atOnce, at: this.elapsed(), omitted: 0 }
    this.rates.set(key, rate)
    return { key, rate }
  }

  /** Those that have their whole bound again are as if they had never come. */
  private forget(): void {
    const now = this.elapsed()
    for (const [peer, { at, left }] of this.rates)
      if (!this.untold.has(peer) && left + ((now - at) * perSecond) / 1_000 >= atOnce) this.rates.delete(peer)
  }
}

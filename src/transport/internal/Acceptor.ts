/**
 * The accepting side of a transport: connections waiting to be taken, connections open, and the stop.
 *
 * Race closed: what arrives after the stop is refused by whoever calls `accept`; what arrived before it is still delivered.
 */
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import { closeCodes, type Connection, type Restrictions } from "../Connection.js"
import type { Endpoint } from "./Endpoint.js"
import { Inbox } from "./Inbox.js"

export class Acceptor {
  private readonly inbox = new Inbox<Connection>()
  private readonly open = new Set<Endpoint>()
  readonly connections: Stream.Stream<Connection> = this.inbox.stream
  /** What holds for peers that have not been authenticated. */
  restrictions: Restrictions | undefined

  get stopped(): boolean {
    return this.inbox.ended
  }

  /** How many are open, or ended before anyone took them. */
  get count(): number {
    return Math.max(this.open.size, this.inbox.length)
  }

  /** Offers a connection. False once stopped. */
  accept(endpoint: Endpoint): boolean {
    if (this.inbox.ended) return false
    this.open.add(endpoint)
    if (this.restrictions !== undefined) endpoint.restrict(this.restrictions.frameBytes)
    endpoint.onEnd(() => this.open.delete(endpoint))
    this.inbox.push(endpoint)
    return true
  }

  /** Restricts peers that have not been authenticated: those that wait, and those that come. */
  readonly restrict = (restrictions: Restrictions): Effect.Effect<void> =>
    Effect.sync(() => {
      this.restrictions = restrictions
      for (const endpoint of this.open) endpoint.restrict(restrictions.frameBytes)
    })

  /** No more connections; `connections` ends. */
  stop(): void {
    this.inbox.end()
  }

  /** Stops, and ends what is open with 1001, each within its transport's bound. */
  readonly shutdown: Effect.Effect<void> = Effect.suspend(() => {
    this.stop()
    return Effect.forEach(
      [...this.open],
      (endpoint) => endpoint.close(closeCodes.goingAway, "the server is shutting down"),
      {
        concurrency: "unbounded",
        discard: true
      }
    )
  })
}

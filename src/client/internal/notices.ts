/**
 * What the reader of a connection reports to the program: statuses, and warnings for its log.
 *
 * Responsibility: frames are handled synchronously, where nothing can be published; their statuses and warnings are kept here
 * until `publish` is run, after each chunk of frames.
 *
 * Order: statuses are published in the order in which they were found, before warnings.
 */
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ClientStatus } from "../ClientStatus.js"
import { Broadcast } from "./broadcast.js"
import * as Fibers from "./fibers.js"

/** The notices of one client. */
export class Notices {
  private status: ClientStatus = { _tag: "Connecting" }
  private readonly published = new Broadcast<ClientStatus>(Number.POSITIVE_INFINITY)
  private readonly statuses: Array<ClientStatus> = []
  private readonly warnings: Array<string> = []

  /** The status and every later one, up to the client's end. */
  readonly changes: Stream.Stream<ClientStatus> = this.published.stream(() => [this.status])

  /** A status that the next `publish` sets. */
  found(status: ClientStatus): void {
    this.statuses.push(status)
  }

  /** A line that the next `publish` logs. */
  warn(message: string): void {
    this.warnings.push(message)
  }

  /** Sets a status now. After the client's end there is no other. */
  set(status: ClientStatus): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.status._tag === "Closed") return
      this.status = status
      this.published.publish(status)
      if (status._tag === "Closed") this.published.end()
    })
  }

  /** Publishes what was found. */
  readonly publish: Effect.Effect<void> = Effect.suspend(() =>
    this.statuses.length === 0 && this.warnings.length === 0
      ? Effect.void
      : Effect.zipRight(
          Effect.forEach(this.statuses.splice(0), (status) => this.set(status), { discard: true }),
          Effect.forEach(this.warnings.splice(0), Fibers.warn, { discard: true })
        )
  )
}

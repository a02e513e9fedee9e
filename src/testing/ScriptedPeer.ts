/**
 * A peer that says exactly what a test tells it to, on either side of the wire.
 *
 * As a client it dials a runtime; as a runtime it accepts a client. It keeps everything that came, hands it out in
 * order, and fails with what did come when something else was expected. It does nothing by itself: no heartbeat, no
 * acknowledgement.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Envelope from "../protocol/Envelope.js"
import { Ids } from "../protocol/Ids.js"
import {
  BadFrame,
  type CloseInfo,
  type Connection,
  type ConnectionClosed,
  Connector,
  Server,
  type TransportError
} from "../transport/Connection.js"

/**
 * What was expected did not come. `seen` names what did.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedFrame extends Data.TaggedError("UnexpectedFrame")<{
  /** The type that was waited for. */
  readonly expected: string
  /** The types of all frames that came, in order. */
  readonly seen: ReadonlyArray<string>
}> {
  /** One line with what was expected and what came. */
  override get message(): string {
    return `expected ${this.expected}, the connection ended after: ${this.seen.join(", ") || "nothing"}`
  }
}

/**
 * A connection under a test's command.
 *
 * @since 0.1.0
 * @category services
 */
export interface ScriptedPeer {
  /** The connection under command. */
  readonly connection: Connection
  /** Everything received so far, in order. */
  readonly seen: () => ReadonlyArray<Envelope.RawEnvelope>
  /** Sends a message; answers its id. Head fields such as `session_id` and `job_id` go in `head`. */
  readonly send: (type: string, payload?: object, head?: object) => Effect.Effect<string, ConnectionClosed>
  /** Sends text as it is, valid or not. */
  readonly sendText: (text: string) => Effect.Effect<void, ConnectionClosed>
  /**
   * The next frame of this type that `fits`, from the last one that was taken on; those before it are passed over. Waits
   * for it; fails when the connection ends first.
   */
  readonly expect: (
    type: string,
    fits?: (frame: Envelope.RawEnvelope) => boolean
  ) => Effect.Effect<Envelope.RawEnvelope, UnexpectedFrame>
  /** Waits for the end of the connection. */
  readonly ended: Effect.Effect<CloseInfo>
  /** Ends the connection with this code and reason. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
}

/**
 * Takes a connection under command.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (connection: Connection): Effect.Effect<ScriptedPeer, never, Scope.Scope | Ids> =>
  Effect.gen(function* () {
    const ids = yield* Ids
    const seen: Array<Envelope.RawEnvelope> = []
    let waiting: Array<() => void> = []
    let ended = false
    let at = 0
    const wake = (): void => {
      const all = waiting
      waiting = []
      for (const waiter of all) waiter()
    }
    yield* Stream.runForEachChunk(connection.inbound, (chunk) =>
      Effect.sync(() => {
        for (const frame of chunk) {
          if (frame instanceof BadFrame) continue
          const envelope = typeof frame === "string" ? Envelope.fromText(frame) : Envelope.fromUnknown(frame)
          if (Either.isRight(envelope)) seen.push(envelope.right)
        }
        wake()
      })
    ).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          ended = true
          wake()
        })
      ),
      Effect.forkScoped
    )
    return {
      connection,
      seen: () => seen,
      send: (type, payload = {}, head = {}) =>
        Effect.flatMap(ids.ulid, (id) =>
          Effect.as(connection.send([JSON.stringify({ arcp: Envelope.version, id, type, ...head, payload })]), id)
        ),
      sendText: (text) => connection.send([text]),
      expect: (type, fits = () => true) =>
        Effect.async((resume) => {
          const look = (): void => {
            while (at < seen.length) {
              const frame = seen[at++]
              if (frame !== undefined && frame.type === type && fits(frame)) return resume(Effect.succeed(frame))
            }
            if (ended) {
              return resume(Effect.fail(new UnexpectedFrame({ expected: type, seen: seen.map((frame) => frame.type) })))
            }
            waiting.push(look)
          }
          look()
          return Effect.sync(() => {
            waiting = waiting.filter((waiter) => waiter !== look)
          })
        }),
      ended: connection.closed,
      close: connection.close
    }
  })

/**
 * Dials, as a client.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ScriptedPeer } from "effect-arcp/testing"
 *
 * const greet = Effect.gen(function* () {
 *   const peer = yield* ScriptedPeer.dial
 *   yield* peer.send("session.hello", { auth: { token: "secret" } })
 *   return yield* peer.expect("session.welcome")
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const dial: Effect.Effect<ScriptedPeer, TransportError, Connector | Ids | Scope.Scope> = Effect.flatMap(
  Connector,
  (connector) => Effect.flatMap(connector.connect, make)
)

/**
 * Every client that connects, as a runtime.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { ScriptedPeer } from "effect-arcp/testing"
 *
 * const runtime = Stream.runForEach(ScriptedPeer.accept, (peer) =>
 *   Effect.gen(function* () {
 *     yield* peer.expect("session.hello")
 *     yield* peer.send("session.welcome", { resume_token: "token", capabilities: {} }, { session_id: "sess_1" })
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const accept: Stream.Stream<ScriptedPeer, never, Server | Ids | Scope.Scope> = Stream.unwrap(
  Effect.map(Server, ({ connections }) => Stream.mapEffect(connections, make))
)

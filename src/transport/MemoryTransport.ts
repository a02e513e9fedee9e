/**
 * Connections inside one process: for tests, and for a client and a runtime that live together.
 *
 * Responsibility: a linked pair of connections, and a server and a connector that hand such pairs to each other. No
 * timer, no I/O: everything moves by fibers alone, so `TestClock` drives what is built on it.
 *
 * Two kinds. *By reference* hands frames over as they are: fastest, and nothing is copied. *Encoded* passes every object
 * through its JSON text, as a network would: what JSON cannot carry shows in the test.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { check as checkOptions } from "../protocol/Options.js"
import { closeCodes, type Connection, Connector, Server, TransportError } from "./Connection.js"
import { plainFrame } from "./FrameParts.js"
import { Acceptor } from "./internal/Acceptor.js"
import { Endpoint, frameText } from "./internal/Endpoint.js"

/**
 * How a memory transport behaves.
 *
 * @since 0.1.0
 * @category options
 */
export interface MemoryOptions {
  /** Whether object frames pass through their JSON text. Default: false. */
  readonly encoded?: boolean | undefined
  /** How many frames may wait unread, in each direction, before `send` suspends. Default: 1024. */
  readonly capacity?: number | undefined
}

const checked = (options: MemoryOptions): MemoryOptions => {
  checkOptions("MemoryTransport", options, { capacity: "size" })
  return options
}

/** Both ends of a new connection. Either end's close ends both. */
const link = (options: MemoryOptions): readonly [client: Endpoint, server: Endpoint] => {
  const capacity = Math.max(1, options.capacity ?? 1024)
  const carry = options.encoded === true ? frameText : plainFrame
  const end = (self: () => Endpoint, peer: () => Endpoint): Endpoint =>
    new Endpoint(
      {
        write: (frames) => {
          // all are encoded before the first is handed over: a frame that cannot be encoded sends none
          const carried = frames.map(carry)
          const to = peer()
          for (const frame of carried) to.push(frame, 1)
          return true
        },
        waiting: () => peer().unread,
        hold: () => {},
        release: () => peer().flushed(),
        shut: (code, reason) => {
          peer().end(code, reason)
          self().end(code, reason)
        }
      },
      { transport: "memory", secure: true, highWater: capacity, inboundBound: capacity }
    )
  const client: Endpoint = end(
    () => client,
    () => server
  )
  const server: Endpoint = end(
    () => server,
    () => client
  )
  return [client, server]
}

/**
 * Two linked connections: what one sends the other receives.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makePair = (
  options: MemoryOptions = {}
): Effect.Effect<readonly [client: Connection, server: Connection]> => Effect.sync(() => link(checked(options)))

/**
 * A server and a connector of that server.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: MemoryOptions = {}
): Effect.Effect<Context.Context<Server | Connector>, never, Scope.Scope> =>
  Effect.gen(function* () {
    checked(options)
    const acceptor = new Acceptor()
    yield* Effect.addFinalizer(() => acceptor.shutdown)
    const connect: Effect.Effect<Connection, TransportError, Scope.Scope> = Effect.uninterruptible(
      Effect.gen(function* () {
        const [client, server] = link(options)
        if (!acceptor.accept(server)) {
          return yield* new TransportError({
            operation: "connect",
            message: "could not connect to memory: the server has stopped"
          })
        }
        yield* Effect.addFinalizer(() => client.close(closeCodes.normal, ""))
        return client
      })
    )
    return Context.make(Server, {
      connections: acceptor.connections,
      stopAccepting: Effect.sync(() => acceptor.stop()),
      address: "memory:"
    }).pipe(Context.add(Connector, { connect, address: "memory:" }))
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: MemoryOptions): Layer.Layer<Server | Connector> => Layer.scopedContext(make(options))

/**
 * A server and its connector; frames are handed over as they are.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Server | Connector> = layerWith({})

/**
 * A server and its connector; every object frame passes through its JSON text.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { Authenticator } from "effect-arcp/auth"
 * import { ArcpClient } from "effect-arcp/client"
 * import { ArcpRuntime } from "effect-arcp/runtime"
 * import { MemoryStore } from "effect-arcp/store"
 * import { MemoryTransport } from "effect-arcp/transport"
 *
 * const Both = ArcpClient.layer().pipe(
 *   Layer.provide(ArcpRuntime.layer()),
 *   Layer.provide(Agent.untyped("echo", (input) => Effect.succeed(input))),
 *   Layer.provide(MemoryTransport.layerEncoded),
 *   Layer.provide([Authenticator.layerAnonymous, MemoryStore.layer])
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEncoded: Layer.Layer<Server | Connector> = layerWith({ encoded: true })

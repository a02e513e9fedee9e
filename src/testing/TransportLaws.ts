/**
 * What every transport must do (the contract of `Connection`, `Connector` and `Server`; ARCP 1.1 §4, 1.0 §4.3), as {@link Law}s.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Connection, ConnectionClosed, Connector, type Frame, Server } from "../transport/Connection.js"
import { ensure, failsWith, laws, type Rule, rule, same } from "./internal/check.js"
import {
  accept,
  envelope,
  flood,
  floodFrame,
  inBatches,
  isFlood,
  pair,
  readerOf,
  receives,
  settled,
  takeFrom,
  texts
} from "./internal/frames.js"
import type { Law, LawOptions } from "./Law.js"

/**
 * What a transport cannot do, which the laws then do not ask for.
 *
 * @since 0.1.0
 * @category options
 */
export interface TransportLawOptions extends LawOptions {
  /** Whether close codes and reasons reach the peer; if not, the peer of a clean end sees 1000. Default: true. */
  readonly codes?: boolean | undefined
  /** The code that the server sees when the client closes with this one. Default: the same. */
  readonly clientCode?: ((code: number) => number) | undefined
  /** Whether a server can be held back by its client (the browser's WebSocket cannot do that). Default: true. */
  readonly clientHoldsBack?: boolean | undefined
  /** Whether the transport takes one connection only, such as a pair of pipes. Default: false. */
  readonly single?: boolean | undefined
  /** Whether frames that are objects arrive as the same object, and not as their JSON text. Default: false. */
  readonly byReference?: boolean | undefined
}

type Both = Server | Connector

const carriesFrames: ReadonlyArray<Rule<Both>> = [
  rule(
    "§4 carries frames in order, both ways at once, whatever the batches",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const up = texts("up", 1000)
      const down = texts("down", 1000)
      const sending = (from: Connection, all: ReadonlyArray<string>) =>
        Effect.forEach(inBatches(all), from.send, { discard: true })
      yield* Effect.all(
        [sending(client, up), sending(server, down), receives("server", server, up), receives("client", client, down)],
        { concurrency: "unbounded", discard: true }
      )
    })
  ),
  rule(
    "§4 carries frames in the order of the calls when several fibers send",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const lanes = [0, 1, 2, 3]
      const sending = Effect.forEach(
        lanes,
        (lane) => Effect.forEach(texts(`lane${lane}`, 200), (text) => client.send([text, text]), { discard: true }),
        { concurrency: "unbounded", discard: true }
      )
      const [all] = yield* Effect.all([takeFrom(server, lanes.length * 200 * 2), sending], { concurrency: 2 })
      for (const lane of lanes) {
        const own = all.filter((frame) => String(frame).includes(`lane${lane}`))
        yield* same(
          `the frames of fiber ${lane}`,
          own,
          texts(`lane${lane}`, 200).flatMap((text) => [text, text])
        )
      }
      const torn = all.findIndex((frame, i) => i % 2 === 0 && frame !== all[i + 1])
      yield* ensure(torn < 0, "the frames of one send side by side", `another frame is between frames ${torn} and on`)
    })
  ),
  rule(
    "§4 carries frames that the client sends before anyone has taken the connection",
    Effect.gen(function* () {
      const { connect } = yield* Connector
      const client = yield* connect
      yield* client.send(['"first"'])
      yield* client.send(['"second"', '"third"'])
      const server = yield* accept
      yield* server.send(['"welcome"'])
      yield* same("what the server received", yield* takeFrom(server, 3), ['"first"', '"second"', '"third"'])
      yield* same("what the client received", yield* takeFrom(client, 1), ['"welcome"'])
    })
  ),
  rule(
    "§4 carries frames of 1 MiB and more, both ways",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      // a chunk of 1 MiB in base64 with its envelope, and one of multi-byte characters
      const large = [JSON.stringify({ data: "QUJD".repeat(350_000) }), JSON.stringify({ data: "€".repeat(400_000) })]
      const atServer = yield* Effect.fork(takeFrom(server, 2))
      const atClient = yield* Effect.fork(takeFrom(client, 2))
      yield* client.send(large)
      yield* server.send(large)
      for (const [who, fiber] of [
        ["server", atServer],
        ["client", atClient]
      ] as const) {
        const got = yield* Fiber.join(fiber)
        // the text itself is too long for a message
        yield* ensure(
          got.every((frame, i) => frame === large[i]),
          `the ${who} to receive both large frames as they were sent`,
          `frames of ${got.map((frame) => String(frame).length).join(" and ")} characters, with other text`
        )
      }
    })
  ),
  rule(
    "§4 carries nothing for an empty batch",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* client.send([])
      yield* client.send(["1"])
      yield* same("what the server received", yield* takeFrom(server, 1), ["1"])
    })
  )
]

const carriesObjects = (byReference: boolean): Rule<Both> =>
  rule(
    byReference
      ? "§4 carries frames that are objects as they are"
      : "§4 carries frames that are objects as their JSON text",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const sent = [envelope("1"), envelope("2")]
      yield* client.send(sent)
      const got = yield* takeFrom(server, 2)
      if (!byReference) {
        return yield* same(
          "what the server received",
          got,
          sent.map((frame) => JSON.stringify(frame))
        )
      }
      yield* ensure(got[0] === sent[0] && got[1] === sent[1], "the very objects that were sent", "others")
    })
  )

const carriesApart: Rule<Both> = rule(
  "§4 carries the frames of many connections apart from each other",
  Effect.gen(function* () {
    const { connect } = yield* Connector
    const { connections } = yield* Server
    yield* Stream.runForEach(connections, (server) =>
      Effect.forkScoped(
        Stream.runForEachChunk(server.inbound, (frames) =>
          Effect.ignore(server.send(Chunk.toReadonlyArray(frames) as ReadonlyArray<Frame>))
        )
      )
    ).pipe(Effect.forkScoped)
    yield* Effect.forEach(
      Array.from({ length: 8 }, (_, i) => i),
      (i) =>
        Effect.gen(function* () {
          const client = yield* connect
          yield* client.send(texts(`own${i}`, 50))
          yield* same(`the echo of connection ${i}`, yield* takeFrom(client, 50), texts(`own${i}`, 50))
        }),
      { concurrency: "unbounded", discard: true }
    )
  })
)

/** Sends the flood from one side, and returns once the sender does not go on. */
const suspended = (from: Connection) =>
  Effect.gen(function* () {
    const sent = yield* Ref.make(0)
    const sender = yield* Effect.fork(
      Effect.forEach(
        Array.from({ length: flood }, (_, i) => i),
        (i) =>
          Effect.zipRight(
            from.send([floodFrame(i)]),
            Ref.update(sent, (n) => n + 1)
          ),
        { discard: true }
      )
    )
    const stopped = yield* settled(sent)
    yield* ensure(
      stopped < flood,
      "the sender to wait while the peer does not read",
      `it has sent all ${flood} frames of 64 KiB`
    )
    const exit = yield* Fiber.poll(sender)
    yield* ensure(Option.isNone(exit), "the sender to wait, not to fail", Option.getOrUndefined(exit))
    return { sender, stopped }
  })

const holdsBack = (
  name: string,
  choose: (both: { client: Connection; server: Connection }) => [Connection, Connection]
) =>
  rule<Both>(
    name,
    Effect.gen(function* () {
      const [from, to] = choose(yield* pair)
      const { sender } = yield* suspended(from)
      yield* isFlood(yield* takeFrom(to, flood))
      yield* Fiber.join(sender)
    })
  )

const backPressure = (clientHoldsBack: boolean): ReadonlyArray<Rule<Both>> => [
  holdsBack("§4 suspends a client whose server does not read, then loses nothing", (_) => [_.client, _.server]),
  ...(clientHoldsBack
    ? [holdsBack("§4 suspends a server whose client does not read, then loses nothing", (_) => [_.server, _.client])]
    : []),
  rule(
    "§4 sends nothing of a send that was interrupted while it waited",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const { sender, stopped } = yield* suspended(client)
      yield* Fiber.interrupt(sender)
      const last = yield* Effect.fork(client.send(['"last"']))
      const got = yield* takeFrom(server, stopped + 1)
      yield* isFlood(got.slice(0, stopped))
      yield* ensure(got[stopped] === '"last"', "the next send right behind the sends that had returned", got[stopped])
      yield* Fiber.join(last)
    })
  ),
  rule(
    "§4 fails a suspended send when this side closes",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const { sender } = yield* suspended(client)
      yield* Effect.fork(Stream.runDrain(server.inbound))
      yield* client.close(1000, "enough")
      yield* failsWith("the suspended send", Fiber.join(sender), "ConnectionClosed")
      yield* same("closed of the client", yield* client.closed, { code: 1000, reason: "enough" })
    })
  ),
  rule(
    "§4 fails a suspended send when the other side closes",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const { sender } = yield* suspended(client)
      yield* server.close(1000, "enough")
      yield* failsWith("the suspended send", Fiber.join(sender), "ConnectionClosed")
    })
  )
]

const endsWithCodes = (codes: boolean, clientCode: (code: number) => number): ReadonlyArray<Rule<Both>> => [
  rule(
    "§4 ends with the client's code and reason",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const reading = yield* Effect.fork(Stream.runDrain(server.inbound))
      yield* client.close(1008, "no entry: ünwanted")
      yield* same("closed of the client", yield* client.closed, { code: 1008, reason: "no entry: ünwanted" })
      yield* Fiber.join(reading)
      const atServer = yield* server.closed
      yield* codes
        ? same("closed of the server", atServer, { code: clientCode(1008), reason: "no entry: ünwanted" })
        : same("the code at the server", atServer.code, 1000)
    })
  ),
  rule(
    "§4 ends with the server's code and reason",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const reading = yield* Effect.fork(Stream.runDrain(client.inbound))
      yield* server.close(1013, "come back later")
      yield* same("closed of the server", yield* server.closed, { code: 1013, reason: "come back later" })
      yield* Fiber.join(reading)
      const atClient = yield* client.closed
      yield* codes
        ? same("closed of the client", atClient, { code: 1013, reason: "come back later" })
        : same("the code at the client", atClient.code, 1000)
    })
  )
]

const ends: ReadonlyArray<Rule<Both>> = [
  rule(
    "§4 ends after the frames that were sent before",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* server.send(texts("last", 500))
      yield* Effect.fork(server.close(1000, "done"))
      const reader = yield* readerOf(client)
      yield* same("what the client received", yield* reader.rest, texts("last", 500))
      yield* same("the code at the client", (yield* client.closed).code, 1000)
    })
  ),
  rule(
    "§4 ends once: the first close counts, later ones are harmless",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* Effect.fork(Stream.runDrain(server.inbound))
      yield* Effect.all([client.close(1000, "first"), client.close(1011, "second")], { concurrency: 2 })
      yield* client.close(1008, "third")
      yield* same("closed of the client", yield* client.closed, { code: 1000, reason: "first" })
      yield* server.closed
      yield* server.close(1011, "too late")
      yield* same("the code at the server", (yield* server.closed).code, 1000)
    })
  ),
  rule(
    "§4 ends, and then sending fails on both sides, at once",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* Effect.fork(Stream.runDrain(server.inbound))
      yield* client.close(1000, "bye")
      const failure = yield* failsWith("a send of the client after its close", client.send(["1"]), "ConnectionClosed")
      yield* same("its error", failure, new ConnectionClosed({ code: 1000, reason: "bye" }))
      yield* server.closed
      yield* failsWith("a send of the server after the end", server.send(["1"]), "ConnectionClosed")
    })
  ),
  rule(
    "§4 ends in bounded time though nobody reads",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* server.send(texts("unread", 100))
      yield* client.close(1000, "")
      yield* same("the code at the client", (yield* client.closed).code, 1000)
      yield* server.close(1000, "")
      yield* server.closed
    })
  ),
  rule(
    "§4 ends when the connector's scope closes",
    Effect.gen(function* () {
      const { connect } = yield* Connector
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(connect, scope)
      const server = yield* accept
      const reading = yield* Effect.fork(Stream.runDrain(server.inbound))
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(reading)
      yield* same("the code at the server", (yield* server.closed).code, 1000)
      yield* same("the code at the client", (yield* client.closed).code, 1000)
    })
  ),
  rule(
    "§4 ends for every fiber that waits for it, also one that begins to wait later",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* Effect.fork(Stream.runDrain(server.inbound))
      const waiting = yield* Effect.forEach([client, client, server, server], ({ closed }) => Effect.fork(closed))
      yield* client.close(1000, "bye")
      const infos = yield* Effect.forEach(waiting, (fiber) => Fiber.join(fiber))
      yield* same("closed of the client", [infos[0], infos[1]], [yield* client.closed, yield* client.closed])
      yield* same("closed of the server", [infos[2], infos[3]], [yield* server.closed, yield* server.closed])
    })
  )
]

const serverStops = (single: boolean): Rule<Both> =>
  rule(
    "§4 the server stops accepting: what is open stays, what is new is refused",
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const service = yield* Server
      yield* service.stopAccepting
      yield* service.stopAccepting
      yield* same("connections after the stop", yield* Stream.runCount(service.connections), 0)
      yield* client.send(['"still here"'])
      yield* same("what the server received", yield* takeFrom(server, 1), ['"still here"'])
      yield* server.send(['"so am I"'])
      yield* same("what the client received", yield* takeFrom(client, 1), ['"so am I"'])
      if (single) return
      const { connect } = yield* Connector
      yield* failsWith("a connect after the stop", Effect.scoped(connect), "TransportError")
    })
  )

const serverKeeps: Rule<Both> = rule(
  "§4 the server keeps a connection that came and went before anyone took it, with its frames",
  Effect.gen(function* () {
    const { connect } = yield* Connector
    yield* Effect.scoped(Effect.flatMap(connect, (client) => client.send(['"quick"'])))
    const reader = yield* readerOf(yield* accept)
    yield* same("what the server received", yield* reader.rest, ['"quick"'])
  })
)

/** Closes a scope of its own around the layer. */
const serverCloses = <E>(layer: Layer.Layer<Both, E>, codes: boolean, single: boolean): Rule<never> =>
  rule<never>(
    "§4 the server closes what is open with 1001 when its scope closes, and its connections end",
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
      const context = yield* Scope.extend(Layer.build(Layer.fresh(layer)), scope)
      const { client, server } = yield* Effect.provide(pair, context)
      const { connections } = yield* Effect.provide(Server, context)
      const { connect } = yield* Effect.provide(Connector, context)
      const rest = yield* Effect.fork(Stream.runCount(connections))
      const reading = yield* Effect.fork(Stream.runDrain(client.inbound))
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(reading)
      yield* same("the code at the client", (yield* client.closed).code, codes ? 1001 : 1000)
      yield* same("the code at the server", (yield* server.closed).code, 1001)
      yield* same("further connections", yield* Fiber.join(rest), 0)
      if (single) return
      const failure = yield* failsWith("a connect after the end", connect, "TransportError")
      yield* same("its operation", failure.operation, "connect")
    })
  )

/**
 * The laws of a transport: `layer` is a server and a connector to it.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { transportLaws } from "effect-arcp/testing"
 * import { MemoryTransport } from "effect-arcp/transport"
 *
 * for (const law of transportLaws(MemoryTransport.layerEncoded)) it.scopedLive(law.name, () => law.check)
 * ```
 *
 * @since 0.1.0
 * @category laws
 */
export const transportLaws = <E>(
  layer: Layer.Layer<Server | Connector, E>,
  options: TransportLawOptions = {}
): ReadonlyArray<Law> => {
  const codes = options.codes ?? true
  const single = options.single ?? false
  return [
    ...laws(layer, options, [
      ...carriesFrames,
      carriesObjects(options.byReference ?? false),
      ...(single ? [] : [carriesApart]),
      ...backPressure(options.clientHoldsBack ?? true),
      ...endsWithCodes(codes, options.clientCode ?? ((code) => code)),
      ...ends,
      serverStops(single),
      serverKeeps
    ]),
    ...laws(Layer.empty, options, [serverCloses(layer, codes, single)])
  ]
}

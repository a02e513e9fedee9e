/** Connections and sessions of anonymous clients over a network, by address and together (ARCP 1.1 §14). */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Logger, LogLevel } from "effect"
import { Agent } from "../../src/agent/index.js"
import { anonymous, Authenticator, bearer, firstOf } from "../../src/auth/index.js"
import { Ids, PrincipalId } from "../../src/protocol/index.js"
import { ArcpRuntime, LeasePolicy, Limits, type LimitsShape, Metrics } from "../../src/runtime/index.js"
import { defaults } from "../../src/runtime/kernel/Limits.js"
import { Admitted } from "../../src/runtime/sessions/internal/admitted.js"
import { Strangers } from "../../src/runtime/sessions/internal/strangers.js"
import { MemoryStore } from "../../src/store/index.js"
import { Server } from "../../src/transport/Connection.js"
import { WebSocketServer } from "../../src/transport/node.js"
import { clientFrame, type Raw, rawClient, requestText } from "../transport/rawPeer.js"

const either: Layer.Layer<Authenticator> = Layer.effect(
  Authenticator,
  Effect.map(anonymous, (way) => firstOf([bearer({ "alice-token": "alice" }), way]))
).pipe(Layer.provide(Ids.layer))

const over = (limits: Partial<LimitsShape>, maxConnections = 4_096) =>
  ArcpRuntime.layer({ drainTime: 0 }).pipe(
    Layer.provide(Agent.untyped("echo", (input) => Effect.succeed(input))),
    Layer.provide(Limits.layer(limits)),
    Layer.provideMerge(
      WebSocketServer.layer({ port: 0, closeTimeout: 200, maxConnections, trustedProxies: ["127.0.0.1"] })
    ),
    Layer.provide(MemoryStore.layer),
    Layer.provide(either),
    Layer.provide(LeasePolicy.layer({ allowed: () => undefined })),
    Layer.provide(Logger.minimumLogLevel(LogLevel.None))
  )

const portOf = Effect.map(Server, ({ address }) => Number(new URL(address).port))

const helloText = (token: string) =>
  JSON.stringify({
    arcp: "1.1",
    id: "hello",
    type: "session.hello",
    payload: token === "" ? {} : { auth: { scheme: "bearer", token } }
  })

/** The status of the answer to an upgrade from an address. */
const upgrade = (raw: Raw, port: number, address: string) =>
  Effect.map(
    Effect.zipRight(
      Effect.sync(() => raw.write(requestText(port, { headers: [`X-Forwarded-For: ${address}`] }))),
      raw.until("\r\n\r\n")
    ),
    (answer) => Number(answer.split(" ")[1])
  )

/** Connects from an address, and is silent. */
const silent = (port: number, address: string) =>
  Effect.gen(function* () {
    const raw = yield* rawClient(port)
    expect(yield* upgrade(raw, port, address)).toBe(101)
    return raw
  })

const knock = (raw: Raw, token: string) => Effect.sync(() => raw.write(clientFrame(1, helloText(token))))

/** Opens a session from an address. */
const opened = (port: number, address: string, token: string) =>
  Effect.gen(function* () {
    const raw = yield* silent(port, address)
    yield* knock(raw, token)
    yield* raw.until("session.welcome")
    return raw
  })

/** Is refused from an address, with a text. */
const refused = (port: number, address: string, token: string, text: string) =>
  Effect.gen(function* () {
    const raw = yield* silent(port, address)
    yield* knock(raw, token)
    yield* raw.ended
    expect(raw.received.includes("INTERNAL_ERROR")).toBe(true)
    expect(raw.received.includes(text)).toBe(true)
  })

describe("§14 anonymous sessions of one address", () => {
  it.scopedLive("are bounded, dropped ones too; other addresses, and principals with a token there, are not", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const dropped = yield* opened(port, "203.0.113.9", "")
      dropped.socket.destroy()
      yield* opened(port, "203.0.113.9", "")
      yield* refused(port, "203.0.113.9", "", "2 anonymous sessions of this address")
      yield* opened(port, "198.51.100.1", "")
      yield* opened(port, "203.0.113.9", "alice-token")
    }).pipe(Effect.provide(over({ anonymousSessionsPerAddress: 2 })))
  )
})

describe("§14 anonymous connections", () => {
  it.scopedLive("are bounded until their end; principals with a token connect", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const first = yield* opened(port, "203.0.113.1", "")
      yield* opened(port, "203.0.113.2", "")
      yield* refused(port, "203.0.113.3", "", "anonymous connections have all the room")
      yield* opened(port, "203.0.113.3", "alice-token")
      first.socket.destroy()
      // Its end is seen a moment later.
      yield* Effect.retry(
        Effect.gen(function* () {
          const raw = yield* silent(port, "203.0.113.4")
          yield* knock(raw, "")
          return yield* Effect.raceFirst(
            raw.until("session.welcome"),
            Effect.zipRight(raw.ended, Effect.fail("refused"))
          )
        }),
        { times: 100 }
      )
    }).pipe(Effect.provide(over({ anonymousConnections: 2 })))
  )
})

describe("§14 connections of a transport", () => {
  it.scopedLive("anonymous ones have their share of what it accepts", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      yield* opened(port, "203.0.113.1", "")
      yield* opened(port, "203.0.113.2", "")
      yield* refused(port, "203.0.113.3", "", "anonymous connections have all the room")
      for (let n = 0; n < 2; n++) yield* opened(port, "203.0.113.3", "alice-token")
    }).pipe(Effect.provide(over({}, 5)))
  )
})

describe("§14 silent connections of one address", () => {
  it.scopedLive("make room, the oldest first, for those of an address that has fewer; nobody else's go", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const crowd = [
        yield* silent(port, "203.0.113.9"),
        yield* silent(port, "203.0.113.9"),
        yield* silent(port, "203.0.113.9"),
        yield* silent(port, "203.0.113.9")
      ]
      const raw = yield* silent(port, "198.51.100.1")
      yield* crowd[0]!.ended
      expect(crowd[0]!.received.includes("others need the room of this connection")).toBe(true)
      yield* knock(raw, "alice-token")
      yield* raw.until("session.welcome")
      yield* silent(port, "198.51.100.2")
      // Three of the first address, and one: another of the first finds no room.
      const late = yield* rawClient(port)
      expect(yield* upgrade(late, port, "203.0.113.9")).toBe(429)
      for (const one of crowd.slice(1)) {
        yield* knock(one, "alice-token")
        yield* one.until("session.welcome")
      }
    }).pipe(Effect.provide(over({ unauthenticatedConnections: 4 })))
  )
})

const peer = (remoteAddress: string | undefined, transport = "websocket") => ({ remoteAddress, transport })

describe("§14 the count of strangers", () => {
  const make = (limits: Partial<LimitsShape>) =>
    new Strangers({ ...defaults, ...limits }, () => 0, Metrics.makeMeter("strangers"))

  it("one that has said something is not displaced, nor is one of an address with as few", () => {
    const strangers = make({ unauthenticatedConnections: 4 })
    const gone: Array<number> = []
    const crowd = Array.from({ length: 4 }, () => peer("203.0.113.9"))
    crowd.forEach((one, n) => strangers.enter(one, () => gone.push(n)))
    strangers.spoke(crowd[0]!)
    expect(strangers.enter(peer("198.51.100.1"))).toBeUndefined()
    expect(gone).toEqual([1])
    // The displaced one has not ended: it holds what there is for displaced ones.
    expect(strangers.enter(peer("198.51.100.2"))).toBeDefined()
    strangers.leave(crowd[1]!)
    expect(strangers.enter(peer("198.51.100.2"))).toBeUndefined()
    expect(gone).toEqual([1, 2])
    strangers.leave(crowd[2]!)
    // Two, one and one: another of the two others would only change places.
    expect(strangers.enter(peer("198.51.100.1"))).toBeDefined()
    expect(strangers.size).toBe(4)
  })

  it("peers without an address count together for this", () => {
    const strangers = make({ unauthenticatedConnections: 3 })
    const gone: Array<string> = []
    for (let n = 0; n < 3; n++) strangers.enter(peer(undefined), () => gone.push("local"))
    expect(strangers.enter(peer("203.0.113.9"), () => gone.push("remote"))).toBeUndefined()
    expect(gone).toEqual(["local"])
  })
})

describe("§14 peers on their way to a session", () => {
  const principal = (id: string, isAnonymous = false) => ({ id: PrincipalId(id), anonymous: isAnonymous, claims: {} })
  const make = (limits: Partial<LimitsShape>) => new Admitted({ ...defaults, ...limits }, Metrics.makeMeter("admitted"))

  it("anonymous ones have their share of the strangers' room; those with a credential have a number each", () => {
    const admitted = make({ unauthenticatedConnections: 4, sessionsPerPrincipal: 1 })
    const guests = Array.from({ length: 3 }, () => peer("203.0.113.9"))
    const answers = guests.map((one, n) => admitted.enter(one, principal(`anonymous:${n}`, true)) === undefined)
    expect(answers).toEqual([true, true, false])
    const own = Array.from({ length: 65 }, () => peer("203.0.113.9"))
    expect(own.map((one) => admitted.enter(one, principal("alice")) === undefined)).toEqual(own.map((_, n) => n < 64))
    expect(admitted.enter(peer("203.0.113.9"), principal("bob"))).toBeUndefined()
    admitted.opened(guests[0]!)
    admitted.leave(own[0]!)
    expect(admitted.enter(guests[2]!, principal("anonymous:2", true))).toBeUndefined()
    expect(admitted.enter(own[64]!, principal("alice"))).toBeUndefined()
  })

  it("in this process and on standard streams nothing is counted", () => {
    const admitted = make({ anonymousConnections: 1 })
    for (let n = 0; n < 3; n++) {
      expect(admitted.enter(peer(undefined, "stdio"), principal(`anonymous:${n}`, true))).toBeUndefined()
    }
  })
})

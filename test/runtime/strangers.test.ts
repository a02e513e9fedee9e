/** What a peer may cost before it has been authenticated (ARCP 1.1 §14). */
import { PassThrough } from "node:stream"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger, LogLevel, Metric, MetricState, Ref } from "effect"
import { Agent } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime, Limits, type LimitsShape, Metrics } from "../../src/runtime/index.js"
import { addressKey, Strangers } from "../../src/runtime/sessions/internal/strangers.js"
import { defaults } from "../../src/runtime/kernel/Limits.js"
import { MemoryStore } from "../../src/store/index.js"
import { Server } from "../../src/transport/Connection.js"
import { StdioTransport, WebSocketServer } from "../../src/transport/node.js"
import { clientFrame, type Raw, rawClient, rawWebSocket, requestText } from "../transport/rawPeer.js"

const agents = Agent.untyped("echo", (input) => Effect.succeed((input as string).length))

interface Options {
  readonly limits?: Partial<LimitsShape>
  readonly server?: Partial<WebSocketServer.LayerOptions>
  readonly auth?: Layer.Layer<Authenticator>
}

const runtime = (options: Options, server: Layer.Layer<Server, unknown>) =>
  ArcpRuntime.layer({ drainTime: 0 }).pipe(
    Layer.provide(agents),
    Layer.provide(Limits.layer(options.limits ?? {})),
    Layer.provideMerge(server),
    Layer.provide(MemoryStore.layer),
    Layer.provide(options.auth ?? Authenticator.layerBearer({ "alice-token": "alice" })),
    Layer.provide(Logger.minimumLogLevel(LogLevel.None))
  )

const over = (options: Options = {}) =>
  runtime(options, WebSocketServer.layer({ port: 0, closeTimeout: 200, ...options.server }))

const portOf = Effect.map(Server, ({ address }) => Number(new URL(address).port))

const text = (type: string, payload: object) => JSON.stringify({ arcp: "1.1", id: type, type, payload })
const hello = (token = "alice-token") => text("session.hello", { auth: { scheme: "bearer", token } })

/** The code of the close frame that comes, behind whatever other frames. */
const closeCode = (raw: Raw): Effect.Effect<number> =>
  Effect.map(raw.ended, () => {
    const { received } = raw
    let at = received.indexOf("\r\n\r\n") + 4
    while (at < received.length && received[at] !== 0x88) {
      const short = received[at + 1]!
      at += short < 126 ? 2 + short : 4 + received.readUInt16BE(at + 2)
    }
    return received.readUInt16BE(at + 2)
  })

/** The status of the answer to an upgrade. */
const statusOf = (raw: Raw, port: number, headers: ReadonlyArray<string> = []) =>
  Effect.map(
    Effect.zipRight(
      Effect.sync(() => raw.write(requestText(port, { headers }))),
      raw.until("\r\n\r\n")
    ),
    (answer) => Number(answer.split(" ")[1])
  )

/** The beginning of a masked frame that announces so many bytes, and some of them. */
const begun = (announced: number, sent: number) => {
  const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
  head.writeUInt32BE(announced, 6)
  return Buffer.concat([head, Buffer.alloc(sent, 0x20)])
}

const reached = (limit: string): number => {
  const found = Metric.unsafeSnapshot().find(
    ({ metricKey }) => metricKey.name === "arcp_limit_reached" && metricKey.tags.some(({ value }) => value === limit)
  )
  return found !== undefined && MetricState.isCounterState(found.metricState) ? Number(found.metricState.count) : 0
}

describe("§14 a frame before authentication", () => {
  it.scopedLive("of more than 64 KiB closes its connection with 1009 as soon as its head has come", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const before = reached("unauthenticatedFrameBytes")
      for (const [announced, sent] of [
        [4_194_304, 0],
        [4_194_304, 1_000],
        [65_537, 10]
      ] as const) {
        const raw = yield* rawWebSocket(port)
        raw.write(begun(announced, sent))
        expect(yield* closeCode(raw)).toBe(1009)
      }
      while (reached("unauthenticatedFrameBytes") < before + 3) {
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
    }).pipe(Effect.provide(over()))
  )

  it.scopedLive("in fragments, or among control frames, is bounded alike", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const fragments = yield* rawWebSocket(port)
      fragments.write(clientFrame(1, Buffer.alloc(60_000, 0x20), { fin: false }))
      fragments.write(clientFrame(0, Buffer.alloc(6_000, 0x20), { fin: false }))
      expect(yield* closeCode(fragments)).toBe(1009)
      // Pongs that nobody asked for: the one kind of frame that is neither answered nor delivered.
      const pongs = yield* rawWebSocket(port)
      for (let n = 0; n < 2_000; n++) pongs.write(clientFrame(10, "x".repeat(120)))
      expect(yield* closeCode(pongs)).toBe(1009)
    }).pipe(Effect.provide(over()))
  )

  it.scopedLive("is bounded when it was compressed, by what it becomes", () =>
    Effect.gen(function* () {
      const { WebSocket } = yield* Effect.promise(() => import("ws"))
      const port = yield* portOf
      const code = yield* Effect.async<number>((resume) => {
        const ws = new WebSocket(`ws://127.0.0.1:${port}/arcp`, { perMessageDeflate: { threshold: 0 } })
        ws.on("open", () => ws.send(" ".repeat(1_000_000)))
        ws.on("close", (code) => resume(Effect.succeed(code)))
        ws.on("error", () => {})
      })
      expect(code).toBe(1009)
    }).pipe(Effect.provide(over({ server: { perMessageDeflate: true } })))
  )

  it.scopedLive("of up to 64 KiB is read; after the welcome frames of 4 MiB are", () =>
    Effect.gen(function* () {
      const raw = yield* rawWebSocket(yield* portOf)
      const short = hello()
      raw.write(clientFrame(1, short + " ".repeat(65_536 - short.length)))
      yield* raw.until("session.welcome")
      const input = "x".repeat(4_000_000)
      raw.write(clientFrame(1, text("job.submit", { agent: "echo", input })))
      yield* raw.until('"result":4000000')
    }).pipe(Effect.provide(over()))
  )

  it.scopedLive("the transport's own limit holds where it is smaller, then and later", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const early = yield* rawWebSocket(port)
      early.write(begun(2_000, 0))
      expect(yield* closeCode(early)).toBe(1009)
      const late = yield* rawWebSocket(port)
      late.write(clientFrame(1, hello()))
      yield* late.until("session.welcome")
      late.write(begun(2_000, 0))
      expect(yield* closeCode(late)).toBe(1009)
    }).pipe(Effect.provide(over({ server: { maxFrameBytes: 1_000 } })))
  )

  it.scopedLive("while an authenticator takes its time, a large one is refused, and small ones wait", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const answer = yield* Deferred.make<void>()
      const auth = Authenticator.layerBearerWith(() =>
        Effect.as(Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(answer)), "alice")
      )
      yield* Effect.gen(function* () {
        const port = yield* portOf
        const patient = yield* rawWebSocket(port)
        patient.write(
          Buffer.concat([clientFrame(1, hello()), clientFrame(1, text("session.ping", { nonce: "early" }))])
        )
        yield* Deferred.await(asked)
        const greedy = yield* rawWebSocket(port)
        greedy.write(Buffer.concat([clientFrame(1, hello()), begun(4_194_304, 100)]))
        expect(yield* closeCode(greedy)).toBe(1009)
        yield* Deferred.succeed(answer, undefined)
        yield* patient.until('"ping_nonce":"early"')
      }).pipe(Effect.provide(over({ auth })))
    })
  )

  it.scopedLive("on stdio: a line of more than 64 KiB ends the connection, later ones of 4 MiB are read", () =>
    Effect.gen(function* () {
      const streams = () => ({ input: new PassThrough(), output: new PassThrough() })
      const serve = (pair: ReturnType<typeof streams>) =>
        Layer.build(runtime({}, StdioTransport.layerServer({ ...pair, closeTimeout: 200 })))
      // Listens from here on: an output may close in the step in which something is written to its input.
      const until = (output: PassThrough, wanted: string) => {
        let all = ""
        const found = new Promise<string>((resolve) => {
          output.on("data", (bytes: Buffer) => {
            all += bytes.toString()
            if (all.includes(wanted)) resolve(all)
          })
          output.on("close", () => resolve(all))
        })
        return Effect.promise(() => found)
      }
      const greedy = streams()
      yield* serve(greedy)
      const refused = until(greedy.output, "never")
      greedy.input.write(" ".repeat(65_537))
      expect(yield* refused).toContain("the line is longer than 65536 bytes")
      const polite = streams()
      yield* serve(polite)
      const welcomed = until(polite.output, "session.welcome")
      polite.input.write(`${hello()}\n`)
      yield* welcomed
      const ended = until(polite.output, '"result":4000000')
      polite.input.write(`${text("job.submit", { agent: "echo", input: "x".repeat(4_000_000) })}\n`)
      expect(yield* ended).toContain('"result":4000000')
    })
  )
})

describe("§14 connections that have not been authenticated", () => {
  const trustedProxies = ["127.0.0.1"]
  const from = (address: string) => [`X-Forwarded-For: ${address}`]

  it.scopedLive("are bounded per address: the next upgrade is refused with 429, others' are not", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const before = reached("unauthenticatedPerAddress")
      const first = yield* rawClient(port)
      expect(yield* statusOf(first, port, from("203.0.113.9"))).toBe(101)
      const second = yield* rawClient(port)
      expect(yield* statusOf(second, port, from("203.0.113.9"))).toBe(101)
      const third = yield* rawClient(port)
      expect(yield* statusOf(third, port, from("203.0.113.9"))).toBe(429)
      expect(yield* third.ended).toContain("Retry-After: 60")
      expect(reached("unauthenticatedPerAddress")).toBe(before + 1)
      const other = yield* rawClient(port)
      expect(yield* statusOf(other, port, from("198.51.100.1"))).toBe(101)
      // One that has been authenticated, and one that has left, count no more.
      first.write(clientFrame(1, hello()))
      yield* first.until("session.welcome")
      const fourth = yield* rawClient(port)
      expect(yield* statusOf(fourth, port, from("203.0.113.9"))).toBe(101)
      fourth.write(clientFrame(1, hello("wrong")))
      yield* fourth.ended
      const fifth = yield* rawClient(port)
      expect(yield* statusOf(fifth, port, from("203.0.113.9"))).toBe(101)
    }).pipe(Effect.provide(over({ limits: { unauthenticatedPerAddress: 2 }, server: { trustedProxies } })))
  )

  it.scopedLive("are bounded in all, those whose authenticator takes its time too", () =>
    Effect.gen(function* () {
      const asked = yield* Ref.make(0)
      const auth = Authenticator.layerBearerWith(() =>
        Effect.zipRight(
          Ref.update(asked, (n) => n + 1),
          Effect.never
        )
      )
      yield* Effect.gen(function* () {
        const port = yield* portOf
        for (let n = 0; n < 3; n++) {
          const raw = yield* rawWebSocket(port)
          raw.write(clientFrame(1, hello()))
        }
        while ((yield* Ref.get(asked)) < 3) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        const late = yield* rawClient(port)
        expect(yield* statusOf(late, port)).toBe(429)
      }).pipe(Effect.provide(over({ auth, limits: { unauthenticatedConnections: 3 } })))
    })
  )

  it.scopedLive("by default from one machine: 1,000 at once are served, 2,000 half-sent frames are not kept", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const peers = yield* Effect.forEach(Array.from({ length: 1_000 }), () => rawWebSocket(port), { concurrency: 50 })
      const late = yield* Effect.forEach(Array.from({ length: 50 }), () => rawClient(port), { concurrency: 50 })
      const statuses = yield* Effect.forEach(late, (raw) => statusOf(raw, port), { concurrency: 50 })
      expect(statuses.filter((status) => status === 101).length).toBe(24)
      expect(statuses.filter((status) => status === 429).length).toBe(26)
      for (const raw of peers.slice(0, 500)) raw.write(begun(4_194_304, 200_000))
      const codes = yield* Effect.forEach(peers.slice(0, 500), closeCode, { concurrency: 50 })
      expect(new Set(codes)).toEqual(new Set([1009]))
      for (const raw of peers.slice(500)) raw.write(clientFrame(1, hello()))
      yield* Effect.forEach(peers.slice(500), (raw) => raw.until("session.welcome"), { concurrency: 50, discard: true })
      // A busy machine may need longer for so many than they have to say who they are.
    }).pipe(Effect.provide(over({ limits: { handshakeTimeout: 600_000 } })))
  )

  it.scopedLive("failed authentications of an address are bounded: then it is refused, others are not", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const before = reached("failedAuthenticationsPerAddress")
      const waiting = yield* rawClient(port)
      expect(yield* statusOf(waiting, port, from("203.0.113.9"))).toBe(101)
      for (let n = 0; n < 3; n++) {
        const raw = yield* rawClient(port)
        expect(yield* statusOf(raw, port, from("203.0.113.9"))).toBe(101)
        raw.write(clientFrame(1, hello(`wrong-${n}`)))
        expect(yield* closeCode(raw)).toBe(1008)
      }
      const late = yield* rawClient(port)
      expect(yield* statusOf(late, port, from("203.0.113.9"))).toBe(429)
      // The right token counts no more than a wrong one, on connections that are there already too.
      waiting.write(clientFrame(1, hello()))
      expect(yield* closeCode(waiting)).toBe(1013)
      expect(waiting.received.includes("too many authentications have failed")).toBe(true)
      expect(reached("failedAuthenticationsPerAddress")).toBe(before + 2)
      const other = yield* rawClient(port)
      expect(yield* statusOf(other, port, from("198.51.100.1"))).toBe(101)
      other.write(clientFrame(1, hello()))
      yield* other.until("session.welcome")
    }).pipe(Effect.provide(over({ limits: { failedAuthenticationsPerAddress: 3 }, server: { trustedProxies } })))
  )

  it.scopedLive("an authenticator that is not available, or a connection that ends, is no failed authentication", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      for (let n = 0; n < 3; n++) {
        const raw = yield* rawClient(port)
        expect(yield* statusOf(raw, port, from("203.0.113.9"))).toBe(101)
        raw.write(clientFrame(1, hello()))
        yield* raw.ended
      }
    }).pipe(
      Effect.provide(
        over({
          auth: Authenticator.layerBearerWith(() => Effect.dieMessage("the key server is down")),
          limits: { failedAuthenticationsPerAddress: 1 },
          server: { trustedProxies }
        })
      )
    )
  )
})

describe("§14 the count of strangers", () => {
  const make = (limits: Partial<LimitsShape>) => {
    const clock = { now: 1_000_000 }
    return {
      clock,
      strangers: new Strangers({ ...defaults, ...limits }, () => clock.now, Metrics.makeMeter("strangers"))
    }
  }
  const peer = (remoteAddress: string | undefined, transport = "websocket") => ({ remoteAddress, transport })

  it("counts an IPv6 peer by its /64 network, a mapped address as IPv4, and the loopback interface not at all", () => {
    for (const [address, key] of [
      ["203.0.113.9", "203.0.113.9"],
      ["::ffff:203.0.113.9", "203.0.113.9"],
      ["::FFFF:cb00:7109", "203.0.113.9"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
      ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
      ["2001:0DB8:0001:0002::9%eth0", "2001:db8:1:2::/64"],
      ["2001:db8::1", "2001:db8:0:0::/64"],
      ["fe80::1%lo", "fe80:0:0:0::/64"],
      ["127.0.0.1", undefined],
      ["127.9.9.9", undefined],
      ["::ffff:127.0.0.1", undefined],
      ["::1", undefined],
      [undefined, undefined]
    ] as const) {
      expect(addressKey(address)).toBe(key)
    }
  })

  it("a failure counts for a minute; then the address may try again", () => {
    const { clock, strangers } = make({ failedAuthenticationsPerAddress: 2 })
    strangers.failed(peer("203.0.113.9"))
    clock.now += 59_000
    strangers.failed(peer("::ffff:203.0.113.9"))
    expect(strangers.barred("203.0.113.9")).toBeDefined()
    clock.now += 1_000
    expect(strangers.barred("203.0.113.9")).toBeUndefined()
    strangers.failed(peer("203.0.113.9"))
    expect(strangers.barred("203.0.113.9")).toBeUndefined()
  })

  it("at the bound in all, addresses that failed are refused, and those that did not are not", () => {
    const { clock, strangers } = make({ failedAuthentications: 3 })
    strangers.failed(peer("203.0.113.1"))
    strangers.failed(peer("203.0.113.2"))
    strangers.failed(peer("127.0.0.1"))
    expect(strangers.barred("203.0.113.1")).toBeDefined()
    expect(strangers.barred("127.0.0.1")).toBeDefined()
    expect(strangers.barred("203.0.113.3")).toBeUndefined()
    clock.now += 60_000
    expect(strangers.barred("203.0.113.1")).toBeUndefined()
  })

  it("the loopback interface is not barred by failures of its own below the bound in all; memory and stdio never", () => {
    const { strangers } = make({ failedAuthenticationsPerAddress: 1, failedAuthentications: 100 })
    for (let n = 0; n < 99; n++) strangers.failed(peer("127.0.0.1"))
    for (let n = 0; n < 99; n++) strangers.failed(peer(undefined, "stdio"))
    expect(strangers.barred("127.0.0.1")).toBeUndefined()
  })

  it("its tables are bounded, whatever addresses come", () => {
    const { clock, strangers } = make({ unauthenticatedConnections: 10 })
    const failures = () => (strangers as unknown as { failures: Map<unknown, unknown> }).failures.size
    const perAddress = () => (strangers as unknown as { perAddress: Map<unknown, unknown> }).perAddress.size
    for (let n = 0; n < 20_000; n++)
      strangers.failed(peer(`2001:db8:${(n >> 8).toString(16)}:${(n & 255).toString(16)}::1`))
    expect(failures()).toBe(8_192)
    clock.now += 60_000
    strangers.failed(peer("203.0.113.1"))
    expect(failures()).toBe(1)
    const peers = Array.from({ length: 20 }, (_, n) => peer(`203.0.113.${n}`))
    const refused = peers.filter((one) => strangers.enter(one) !== undefined)
    expect(refused.length).toBe(10)
    expect(perAddress()).toBe(10)
    for (const one of [...peers, ...peers]) strangers.leave(one)
    expect([strangers.size, perAddress()]).toEqual([0, 0])
  })
})

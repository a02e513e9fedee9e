import { existsSync, readFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Ref, Scope, Stream, TestClock } from "effect"
import { ConnectionClosed, TransportError, WebSocketGlobal } from "../../src/transport/index.js"
import { WebSocketServer } from "../../src/transport/node.js"
import { expectBad, pair, Reader } from "./suite.js"
import { globalClient, to } from "./webSockets.js"

/** A browser's WebSocket in the test's hands. */
class Fake implements WebSocketGlobal.WebSocketLike {
  static last: Fake | undefined
  readyState = 0
  bufferedAmount = 0
  binaryType = "blob"
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  readonly sent: Array<string> = []
  readonly closes: Array<readonly [number | undefined, string | undefined]> = []
  readonly url: string
  readonly protocols: ReadonlyArray<string> | undefined
  constructor(url: string, protocols?: Array<string>) {
    this.url = url
    this.protocols = protocols
    Fake.last = this
  }
  open(): void {
    this.readyState = 1
    this.onopen?.({} as never)
  }
  receive(data: unknown): void {
    this.onmessage?.({ data } as never)
  }
  end(code: number, reason = ""): void {
    this.readyState = 3
    this.onclose?.({ code, reason } as never)
  }
  send(data: string): void {
    this.sent.push(data)
    this.bufferedAmount += data.length
  }
  close(code?: number, reason?: string): void {
    // as browsers do
    if (code !== undefined && code !== 1000 && (code < 3000 || code > 4999)) throw new Error("InvalidAccessError")
    this.readyState = 2
    this.closes.push([code, reason])
  }
}

const url = "wss://agents.example/arcp?token=s3cret"

/** Lets other fibers go on until something has happened. */
const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.zipRight(Effect.yieldNow(), until(condition))))

/** Forks a dial and waits for its socket. */
const dialling = <A, E, R>(connect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = Fake.last
    const fiber = yield* Effect.forkScoped(connect)
    yield* until(() => Fake.last !== before && Fake.last?.onopen !== null)
    return { fiber, ws: Fake.last! }
  })

const opened = (options: Partial<WebSocketGlobal.Options> = {}) =>
  Effect.gen(function* () {
    const { fiber, ws } = yield* dialling(WebSocketGlobal.make({ url, WebSocket: Fake, ...options }).connect)
    ws.open()
    return { ws, client: yield* Fiber.join(fiber) }
  })

describe("WebSocketGlobal", () => {
  it.scoped("§4 sends while there is room, else looks again by the Clock, in order", () =>
    Effect.gen(function* () {
      const { client, ws } = yield* opened({ highWaterBytes: 10, pollInterval: 20 })
      yield* client.send(["12345", "67890"])
      const done = yield* Ref.make<ReadonlyArray<string>>([])
      const later = (text: string) =>
        Effect.fork(
          Effect.zipRight(
            client.send([text]),
            Ref.update(done, (all) => [...all, text])
          )
        )
      yield* later("a")
      yield* later("b")
      yield* TestClock.adjust(1000)
      expect(ws.sent).toEqual(["12345", "67890"])
      ws.bufferedAmount = 9
      yield* TestClock.adjust(20)
      // the first fills the room again
      expect(yield* Ref.get(done)).toEqual(["a"])
      ws.bufferedAmount = 0
      yield* TestClock.adjust(20)
      expect(ws.sent).toEqual(["12345", "67890", "a", "b"])
      ws.bufferedAmount = 100
      const stuck = yield* Effect.fork(client.send(["never"]))
      yield* TestClock.adjust(20)
      ws.end(1006)
      expect(yield* Effect.flip(Fiber.join(stuck))).toBeInstanceOf(ConnectionClosed)
    })
  )

  it.scoped("§4 closes with codes that a browser may send", () =>
    Effect.gen(function* () {
      for (const [code, sent] of [
        [1000, 1000],
        [1001, 4001],
        [1008, 4008],
        [1011, 4011],
        [4321, 4321],
        [1006, 4011]
      ] as const) {
        const { client, ws } = yield* opened()
        const closing = yield* Effect.fork(client.close(code, "why"))
        yield* until(() => ws.closes.length > 0)
        expect(ws.closes).toEqual([[sent, "why"]])
        ws.end(sent, "why")
        yield* Fiber.join(closing)
        expect(yield* client.closed).toEqual({ code, reason: "why" })
      }
    })
  )

  it.scoped("§4 a close that the peer never answers ends by the Clock", () =>
    Effect.gen(function* () {
      const { client } = yield* opened({ closeTimeout: 3000 })
      const closing = yield* Effect.fork(client.close(1000, "bye"))
      yield* TestClock.adjust(2999)
      expect(closing.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      expect(yield* client.closed).toEqual({ code: 1000, reason: "bye" })
    })
  )

  it.scoped("§4 frames that nobody reads are bounded: the connection ends, what came is kept", () =>
    Effect.gen(function* () {
      const { client, ws } = yield* opened({ maxInboundBytes: 1000 })
      for (let i = 0; i < 20; i++) ws.receive("x".repeat(100))
      expect(ws.closes).toEqual([[4013, "the reader is too slow"]])
      ws.end(4013)
      expect(yield* client.closed).toEqual({ code: 1013, reason: "the reader is too slow" })
      const reader = yield* Reader.make(client)
      expect((yield* reader.rest).length).toBe(7)
    })
  )

  it.scoped("§4 a binary frame is a bad frame; a frame over the limit ends the connection", () =>
    Effect.gen(function* () {
      const { client, ws } = yield* opened({ maxFrameBytes: 10 })
      expect(ws.binaryType).toBe("arraybuffer")
      ws.receive(new ArrayBuffer(3))
      ws.receive("0123456789")
      ws.receive("0123456789A")
      ws.end(4009)
      const [bad, good, ...rest] = yield* Effect.flatMap(Reader.make(client), (reader) => reader.rest)
      expectBad(bad, /binary/)
      expect([good, ...rest]).toEqual(["0123456789"])
      expect((yield* client.closed).code).toBe(1009)
    })
  )

  it.scoped("§4 an attempt that fails, times out or is interrupted closes its socket", () =>
    Effect.gen(function* () {
      const connect = WebSocketGlobal.make({ url, WebSocket: Fake, connectTimeout: 5000, closeTimeout: 10 }).connect
      const failing = yield* dialling(connect)
      failing.ws.onerror?.({} as never)
      failing.ws.end(1006)
      const failure = yield* Effect.flip(Fiber.join(failing.fiber))
      expect(failure).toBeInstanceOf(TransportError)
      expect(failure.message).toMatch(/^could not connect to wss:\/\/agents\.example\/arcp: .*allowedOrigins/)

      const slow = yield* dialling(connect)
      yield* TestClock.adjust(5000)
      yield* until(() => slow.ws.closes.length > 0)
      expect(slow.ws.closes).toEqual([[1000, ""]])
      slow.ws.end(1006)
      expect((yield* Effect.flip(Fiber.join(slow.fiber))).message).toContain("no WebSocket within 5000 ms")

      const interrupted = yield* dialling(connect)
      const stopping = yield* Effect.fork(Fiber.interrupt(interrupted.fiber))
      yield* until(() => interrupted.ws.closes.length > 0)
      expect(interrupted.ws.closes).toEqual([[1000, ""]])
      // this peer never answers
      yield* TestClock.adjust(10)
      yield* Fiber.join(stopping)
    })
  )

  it.scoped("§4 closes with the scope, and its polling ends with it", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { client, ws } = yield* Scope.extend(opened(), scope)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* until(() => ws.closes.length > 0)
      expect(ws.closes).toEqual([[1000, ""]])
      ws.end(1000)
      yield* Fiber.join(closing)
      expect((yield* client.closed).code).toBe(1000)
    })
  )

  it.scoped("§4 says so where there is no global WebSocket", () =>
    Effect.gen(function* () {
      const holder = globalThis as { WebSocket?: unknown }
      const own = holder.WebSocket
      delete holder.WebSocket
      try {
        const failure = yield* Effect.flip(Effect.scoped(WebSocketGlobal.make({ url }).connect))
        expect(failure.message).toContain("no global WebSocket")
        holder.WebSocket = Fake
        const { fiber, ws } = yield* dialling(WebSocketGlobal.make({ url, protocols: ["arcp"] }).connect)
        expect([ws.url, ws.protocols]).toEqual([url, ["arcp"]])
        ws.end(1006)
        yield* Fiber.await(fiber)
      } finally {
        if (own !== undefined) holder.WebSocket = own
        else delete holder.WebSocket
      }
    })
  )

  it.scopedLive("§4 both ends of a real connection see the same frames, also when the client sees a slow socket", () =>
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const frames = Array.from({ length: 100 }, (_, i) => `"${i}${"x".repeat(60_000)}"`)
      const sending = yield* Effect.fork(Effect.forEach(frames, (frame) => client.send([frame]), { discard: true }))
      const reader = yield* Reader.make(server)
      expect((yield* reader.take(100)).every((frame, i) => frame === frames[i])).toBe(true)
      yield* Fiber.join(sending)
      yield* Effect.fork(Stream.runDrain(client.inbound))
      yield* server.close(1008, "no entry")
      expect(yield* client.closed).toEqual({ code: 1008, reason: "no entry" })
    }).pipe(Effect.provide(to(globalClient, WebSocketServer.layer({ port: 0 }))))
  )
})

describe("effect-arcp/transport", () => {
  it("imports nothing that a browser has not", () => {
    const seen = new Set<string>()
    const visit = (file: string): void => {
      if (seen.has(file)) return
      seen.add(file)
      for (const [, from] of readFileSync(file, "utf8")
        .replace(/\/\*[\s\S]*?\*\//g, "")
        .matchAll(/^(?:import|export)\s(?!type\s)[^"]*?from "([^"]+)"/gm)) {
        if (from!.startsWith(".")) {
          const target = resolve(dirname(file), from!.replace(/\.js$/, ".ts"))
          expect(existsSync(target)).toBe(true)
          visit(target)
        } else expect([file, from]).toEqual([file, expect.stringMatching(/^effect\//)])
      }
    }
    visit(fileURLToPath(new URL("../../src/transport/index.ts", import.meta.url)))
    expect(seen.size).toBeGreaterThan(8)
  })
})

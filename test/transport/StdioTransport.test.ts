import { createServer, type AddressInfo, type Socket } from "node:net"
import { PassThrough, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Ref, Scope, Stream } from "effect"
import { type Connection, ConnectionClosed, Connector, Server, TransportError } from "../../src/transport/index.js"
import { StdioTransport } from "../../src/transport/node.js"
import { Acceptor } from "../../src/transport/internal/Acceptor.js"
import type { Endpoint } from "../../src/transport/internal/Endpoint.js"
import { accept, expectBad, pair, Reader, settled, suite } from "./suite.js"

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url))

/** A server on one pair of pipes, and a client at their other ends. */
const pipes = (): Layer.Layer<Server | Connector> =>
  Layer.unwrapEffect(
    Effect.sync(() => {
      const up = new PassThrough()
      const down = new PassThrough()
      return Layer.merge(
        StdioTransport.layerServer({ input: up, output: down }),
        Layer.succeed(Connector, {
          connect: StdioTransport.fromStreams({ input: down, output: up }),
          address: "pipes"
        })
      )
    })
  )

suite({ name: "stdio over pipes", layer: pipes, testClock: false, codes: false, single: true })

/** Real child processes that relay their pipes to a server in the test. */
const children = (): Layer.Layer<Server | Connector> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const acceptor = new Acceptor()
      // closed by the acceptor alone
      const scope = yield* Scope.make()
      const tcp = createServer({ allowHalfOpen: true }, (socket: Socket) => {
        if (acceptor.stopped) return socket.destroy()
        // @effect-diagnostics-next-line runEffectInsideEffect:off
        const endpoint = Effect.runSync(
          Scope.extend(StdioTransport.fromStreams({ input: socket, output: socket }), scope)
        )
        return acceptor.accept(endpoint as Endpoint)
      })
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => {
          tcp.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () =>
          Effect.zipRight(
            acceptor.shutdown,
            Effect.sync(() => tcp.close())
          )
      )
      const { port } = tcp.address() as AddressInfo
      const connector = StdioTransport.makeClient({
        command: process.execPath,
        args: [fixture("relay.mjs"), String(port)],
        stderr: "ignore",
        // a relay stays as long as its server's connection, which nobody reads in some tests
        exitTimeout: 3_000
      })
      return Context.make(Server, {
        connections: acceptor.connections,
        stopAccepting: Effect.sync(() => acceptor.stop()),
        address: "children"
      }).pipe(Context.add(Connector, connector))
    })
  )

suite({ name: "stdio over a child process", layer: children, testClock: false, codes: false, single: true })

const bytes = (text: string): Buffer => Buffer.from(text, "utf8")

const serverOn = (options: StdioTransport.StreamOptions = {}) =>
  Effect.gen(function* () {
    const input = new PassThrough()
    const output = new PassThrough()
    const context = yield* Layer.build(StdioTransport.layerServer({ input, output, ...options }))
    const server = yield* Effect.provide(accept, context)
    return { input, output, server, context }
  })

describe("stdio, the child's side", () => {
  it.scopedLive("§4 reads lines however they are cut, coalesced or blank, with LF or CRLF", () =>
    Effect.gen(function* () {
      const { input, server } = yield* serverOn()
      const reader = yield* Reader.make(server)
      input.write('{"a":1}\n{"b":2}\r\n\n  \r\n{"c":')
      input.write("3}\n")
      for (const byte of bytes('{"d":"€😀"}\n')) input.write(Buffer.from([byte]))
      expect(yield* reader.take(4)).toEqual(['{"a":1}', '{"b":2}', '{"c":3}', '{"d":"€😀"}'])
    })
  )

  it.scopedLive("§4 a line with invalid UTF-8 is a bad frame, and the next line works", () =>
    Effect.gen(function* () {
      const { input, server } = yield* serverOn()
      const reader = yield* Reader.make(server)
      input.write(Buffer.concat([Buffer.from([0x22, 0xff, 0x22, 10]), bytes('"good"\n')]))
      const [bad, good] = yield* reader.take(2)
      expectBad(bad, /UTF-8/)
      expect(good).toBe('"good"')
    })
  )

  it.scopedLive("§4 a line over the limit is told, can be answered, and ends the connection with 1009", () =>
    Effect.gen(function* () {
      const { input, output, server } = yield* serverOn({ maxFrameBytes: 100 })
      input.write('"good"\n')
      for (let i = 0; i < 50; i++) input.write("xxxxxxxx")
      const reader = yield* Reader.make(server)
      const [good, bad] = yield* reader.take(2)
      expect(good).toBe('"good"')
      expectBad(bad, /longer than 100 bytes/)
      yield* server.send(['{"error":"too long"}'])
      expect(yield* reader.rest).toEqual([])
      expect((yield* server.closed).code).toBe(1009)
      expect(String(output.read())).toBe('{"error":"too long"}\n')
    })
  )

  it.scopedLive("§4 never writes a raw line break inside a frame", () =>
    Effect.gen(function* () {
      const { output, server } = yield* serverOn()
      yield* server.send([
        '{\n  "pretty": true\r\n}',
        { arcp: "1.1", id: "1", type: "t", payload: { text: "two\nlines\r\n" } }
      ])
      const lines = String(output.read()).split("\n")
      expect(lines).toHaveLength(3)
      expect(JSON.parse(lines[0]!)).toEqual({ pretty: true })
      expect(JSON.parse(lines[1]!).payload.text).toBe("two\nlines\r\n")
      expect(lines[2]).toBe("")
    })
  )

  it.scopedLive("§4 the end of the input is a clean end, after which what was asked is still answered", () =>
    Effect.gen(function* () {
      const { context, input, output, server } = yield* serverOn()
      input.end('"ask"')
      yield* Stream.runForEach(server.inbound, (frame) => server.send([`{"answer":${String(frame)}}`]))
      expect(yield* server.closed).toEqual({ code: 1000, reason: "" })
      expect(String(output.read())).toBe('{"answer":"ask"}\n')
      expect(
        yield* Effect.provide(
          Effect.flatMap(Server, (_) => Stream.runCount(_.connections)),
          context
        )
      ).toBe(0)
    })
  )

  it.scopedLive("§4 launch serves until its client has gone, then releases what it serves with", () =>
    Effect.gen(function* () {
      const [input, output] = [new PassThrough(), new PassThrough()]
      const order: Array<string> = []
      const note = (text: string) => Effect.sync(() => void order.push(text))
      const serving = Layer.scopedDiscard(
        Effect.gen(function* () {
          yield* Effect.acquireRelease(note("serves"), () => note("released"))
          const connection = yield* accept
          yield* Effect.forkScoped(Stream.runForEach(connection.inbound, (frame) => note(String(frame))))
        })
      )
      const launched = yield* Effect.fork(StdioTransport.launch(serving, { input, output }))
      input.write('{"a":1}\n{"b":2}\n')
      input.end()
      yield* Fiber.join(launched)
      expect(order).toEqual(["serves", '{"a":1}', '{"b":2}', "released"])
    })
  )

  it.scopedLive("§4 a broken pipe ends the connection and nothing else", () =>
    Effect.gen(function* () {
      const input = new PassThrough()
      const output = new Writable({
        write: (_chunk, _encoding, done) => done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))
      })
      const server = yield* Layer.build(StdioTransport.layerServer({ input, output })).pipe(
        Effect.flatMap((context) => Effect.provide(accept, context))
      )
      yield* server.send(["1"])
      expect(yield* server.closed).toEqual({ code: 1006, reason: "write EPIPE" })
      expect(yield* Effect.flip(server.send(["2"]))).toBeInstanceOf(ConnectionClosed)
      // a late one finds a listener as well
      output.emit("error", new Error("late EPIPE"))
    })
  )

  it.scopedLive("§4 a close whose peer does not read ends in bounded time", () =>
    Effect.gen(function* () {
      const never = new Writable({ write: () => {} })
      const connection = yield* StdioTransport.fromStreams(
        { input: new PassThrough(), output: never },
        { closeTimeout: 50 }
      )
      yield* connection.send(['"stuck"'])
      yield* connection.close(1000, "")
      expect((yield* connection.closed).code).toBe(1000)
    })
  )
})

const echo: StdioTransport.SpawnOptions = { command: process.execPath, args: ["--import", "tsx", fixture("echo.ts")] }

/** A child, its connection and what it says on stderr. */
const spawn = (options: StdioTransport.SpawnOptions) =>
  Effect.gen(function* () {
    const said = yield* Ref.make<ReadonlyArray<string>>([])
    const connector = StdioTransport.makeClient({
      ...options,
      stderr: (line) => Ref.update(said, (lines) => [...lines, line])
    })
    return { connect: connector.connect, said, address: connector.address }
  })

describe("stdio, the parent's side", () => {
  it.scopedLive("§4 a child that serves on its own stdin and stdout: frames, limits, and its end", () =>
    Effect.gen(function* () {
      const { connect, said } = yield* spawn(echo)
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(connect, scope)
      expect(client.transport).toBe("stdio")
      expect(client.secure).toBe(true)
      const frames = Array.from({ length: 500 }, (_, i) => JSON.stringify({ i, text: "häβ€😀" }))
      const large = JSON.stringify("x".repeat(900_000))
      yield* Effect.fork(client.send([...frames, large]))
      const reader = yield* Reader.make(client)
      const got = yield* reader.take(501)
      expect(got.slice(0, 500)).toEqual(frames)
      expect(got[500] === large).toBe(true)
      yield* Scope.close(scope, Exit.void)
      expect(yield* client.closed).toEqual({ code: 1000, reason: "" })
      expect(yield* Ref.get(said)).toEqual(["ended 1000"])
      expect(yield* Effect.flip(client.send(["1"]))).toBeInstanceOf(ConnectionClosed)
    })
  )

  it.scopedLive("§4 a child that is killed ends the connection with 1006 and says so", () =>
    Effect.gen(function* () {
      const { connect } = yield* spawn({
        command: process.execPath,
        args: ["-e", "process.stdout.write('\"last words\"\\n', () => process.kill(process.pid, 'SIGKILL'))"]
      })
      const client = yield* connect
      const reader = yield* Reader.make(client)
      expect(yield* reader.rest).toEqual(['"last words"'])
      expect(yield* client.closed).toEqual({ code: 1006, reason: "the child process was ended by SIGKILL" })
      expect(yield* Effect.flip(client.send(["1"]))).toBeInstanceOf(ConnectionClosed)
    })
  )

  it.scopedLive("§4 tells the exit code; what was printed before is read", () =>
    Effect.gen(function* () {
      for (const [code, expected] of [
        [0, 1000],
        [3, 1006]
      ] as const) {
        const { connect } = yield* spawn({
          command: process.execPath,
          args: ["-e", `process.stdout.write('"a"\\n"b"', () => process.exit(${code}))`]
        })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const client = yield* connect
            const reader = yield* Reader.make(client)
            expect(yield* reader.rest).toEqual(['"a"', '"b"'])
            const closed = yield* client.closed
            expect(closed.code).toBe(expected)
            if (code !== 0) expect(closed.reason).toBe("the child process exited with code 3")
          })
        )
      }
    })
  )

  it.scopedLive(
    "§4 a child that dies while its client waits to send fails the send; what it printed is still there",
    () =>
      Effect.gen(function* () {
        const { connect } = yield* spawn({
          command: process.execPath,
          args: ["-e", "process.stdout.write('\"up\"\\n'); setTimeout(() => process.exit(1), 300)"]
        })
        const client = yield* connect
        const sent = yield* Ref.make(0)
        const sender = yield* Effect.fork(
          Effect.forever(
            Effect.zipRight(
              client.send(["x".repeat(65_536)]),
              Ref.update(sent, (n) => n + 1)
            )
          )
        )
        expect(yield* settled(sent)).toBeLessThan(100)
        const failure = yield* Effect.flip(Fiber.join(sender))
        expect(failure).toBeInstanceOf(ConnectionClosed)
        expect(failure.reason).toContain("code 1")
        const reader = yield* Reader.make(client)
        expect(yield* reader.rest).toEqual(['"up"'])
      })
  )

  it.scopedLive("§4 stops a child by SIGTERM, then by SIGKILL", () =>
    Effect.gen(function* () {
      for (const [how, words] of [
        ["soft", []],
        ["deaf", ["ignored SIGTERM"]]
      ] as const) {
        const { connect, said } = yield* spawn({
          command: process.execPath,
          args: [fixture("stubborn.mjs"), how],
          exitTimeout: 50,
          killTimeout: 200
        })
        const [took] = yield* Effect.timed(
          Effect.scoped(
            Effect.gen(function* () {
              const client = yield* connect
              const reader = yield* Reader.make(client)
              expect(yield* reader.take(1)).toEqual(['{"ready":true}'])
            })
          )
        )
        expect(Duration.toMillis(took)).toBeLessThan(5000)
        expect(yield* Ref.get(said)).toEqual(words)
      }
    })
  )

  it.scopedLive("§4 a program that cannot be started is a typed error that says what to check", () =>
    Effect.gen(function* () {
      const { address, connect } = yield* spawn({ command: "no-such-program-here" })
      expect(address).toBe("stdio:no-such-program-here")
      const failure = yield* Effect.flip(Effect.scoped(connect))
      expect(failure).toBeInstanceOf(TransportError)
      expect(failure.operation).toBe("spawn")
      expect(failure.message).toMatch(/no such program.*PATH/)
      const { connect: denied } = yield* spawn({ command: fixture("relay.mjs") })
      expect((yield* Effect.flip(Effect.scoped(denied))).message).toMatch(/not executable/)
    })
  )

  it.scopedLive("§4 gives the child its arguments, environment and folder, and each connection its own child", () =>
    Effect.gen(function* () {
      const { connect } = yield* spawn({
        command: process.execPath,
        args: ["-e", "console.log(JSON.stringify({ pid: process.pid, cwd: process.cwd(), x: process.env.ARCP_X }))"],
        env: { ARCP_X: "y" },
        cwd: "/"
      })
      const one = yield* Effect.flatMap(connect, (client: Connection) => Stream.runCollect(client.inbound))
      const two = yield* Effect.flatMap(connect, (client: Connection) => Stream.runCollect(client.inbound))
      const [first, second] = [one, two].map((frames) => JSON.parse(String(Chunk.unsafeHead(frames))))
      expect(first).toMatchObject({ cwd: "/", x: "y" })
      expect(second.pid).not.toBe(first.pid)
    })
  )

  it.scopedLive("§4 hands stderr over line by line, also what comes last", () =>
    Effect.gen(function* () {
      const { connect, said } = yield* spawn({
        command: process.execPath,
        args: ["-e", "process.stderr.write('one\\ntw'); setTimeout(() => process.stderr.write('o\\nthree'), 20)"]
      })
      yield* Effect.scoped(Effect.flatMap(connect, (client) => client.closed))
      expect(yield* Ref.get(said)).toEqual(["one", "two", "three"])
    })
  )

  it.scopedLive(
    "§4 who is interrupted, as by SIGTERM, lets the child end by itself and hands over what it says last",
    () =>
      Effect.gen(function* () {
        const said = yield* Ref.make<ReadonlyArray<string>>([])
        const up = yield* Deferred.make<void>()
        const { connect } = StdioTransport.makeClient({
          command: process.execPath,
          args: [
            "-e",
            "process.stderr.write('up\\n'); process.stdin.resume().on('end', () => process.stderr.write('input ended\\nby\\ne'))"
          ],
          // Not at once, so that what waits for it can be seen.
          stderr: (line) =>
            Effect.zipRight(
              line === "up" ? Deferred.succeed(up, undefined) : Effect.sleep(20),
              Ref.update(said, (lines) => [...lines, line])
            )
        })
        const closed = yield* Ref.make(0)
        const using = yield* Effect.scoped(
          Effect.flatMap(connect, (client) =>
            Effect.onInterrupt(Effect.never, () =>
              Effect.forkDaemon(Effect.flatMap(client.closed, ({ code }) => Ref.set(closed, code)))
            )
          )
        ).pipe(Effect.fork)
        yield* Deferred.await(up)
        yield* Fiber.interrupt(using)
        expect(yield* Ref.get(said)).toEqual(["up", "input ended", "by", "e"])
        expect(yield* Ref.get(closed)).toBe(1000)
      })
  )
})

describe("stdio pair", () => {
  it.scopedLive("§4 is told apart from others: transport, secure, no remote address", () =>
    Effect.gen(function* () {
      const { client, server } = yield* pair
      for (const end of [client, server]) {
        expect([end.transport, end.secure, end.remoteAddress]).toEqual(["stdio", true, undefined])
      }
    }).pipe(Effect.provide(pipes()))
  )
})

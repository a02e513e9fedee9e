/** Child runtimes that misbehave: what they leave behind, what they print first, and what their end says. */
import { fileURLToPath } from "node:url"
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { BadFrame, type Connection, type Inbound } from "../../src/transport/index.js"
import { StdioTransport } from "../../src/transport/stdio.js"
import { Reader } from "./suite.js"

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url))

const node = (script: string, options: Partial<StdioTransport.SpawnOptions> = {}) =>
  StdioTransport.makeClient({ command: process.execPath, args: ["-e", script], stderr: "ignore", ...options }).connect

/** Whether a process runs; one that is dead and was not asked for does not. */
const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return process.platform !== "linux" || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

/** What a connection brings, and how it ends. */
const whole = (connection: Connection) =>
  Effect.all({
    frames: Stream.runCollect(connection.inbound).pipe(Effect.map((_) => [..._])),
    closed: connection.closed
  })

const reasonOf = (frame: Inbound | undefined): string | undefined =>
  frame instanceof BadFrame ? frame.reason : undefined

describe.skipIf(process.platform === "win32")("stdio, what a child has started", () => {
  for (const [how, pipes, left] of [
    ["polite", "ignore", "ends by SIGTERM"],
    ["polite", "inherit", "holds the child's pipes"],
    ["deaf", "inherit", "ignores SIGTERM"]
  ] as const) {
    it.scopedLive(`§4 a close ends the whole process group: a grandchild that ${left}`, () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const connect = StdioTransport.makeClient({
          command: process.execPath,
          args: [fixture("family.mjs"), how, pipes],
          stderr: "ignore",
          killTimeout: 300
        }).connect
        const client = yield* Scope.extend(connect, scope)
        const [frame] = yield* Effect.flatMap(Reader.make(client), (reader) => reader.take(1))
        const { child, grandchild } = JSON.parse(String(frame)) as { child: number; grandchild: number }
        expect([runs(child), runs(grandchild)]).toEqual([true, true])
        yield* Scope.close(scope, Exit.void)
        expect([runs(child), runs(grandchild)]).toEqual([false, false])
        expect((yield* client.closed).code).toBe(1000)
      })
    )
  }

  it.scopedLive("§4 a child that is killed leaves no grandchild behind, before its connection has ended", () =>
    Effect.gen(function* () {
      const client = yield* StdioTransport.makeClient({
        command: process.execPath,
        args: [fixture("family.mjs"), "dies", "inherit"],
        stderr: "ignore"
      }).connect
      const { closed, frames } = yield* whole(client)
      expect(closed).toEqual({ code: 1006, reason: "the child process was ended by SIGKILL" })
      expect(runs((JSON.parse(String(frames[0])) as { grandchild: number }).grandchild)).toBe(false)
    })
  )

  it.scopedLive("§4 a program that hands SIGTERM on is told once, so that what it started gets its grace", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const inner =
        "let n = 0; process.on('SIGTERM', () => { console.error('told', ++n); setTimeout(() => process.exit(), 100) }); setInterval(() => {}, 1000); console.log('{}')"
      const outer = `const { spawn } = require("node:child_process"); const c = spawn(process.execPath, ["-e", ${JSON.stringify(inner)}], { stdio: "inherit" }); process.on("SIGTERM", () => c.kill("SIGTERM")); c.on("exit", () => process.exit())`
      const connect = node(outer, {
        exitTimeout: 50,
        stderr: (line) => Effect.sync(() => said.push(line))
      })
      yield* Effect.scoped(
        Effect.flatMap(connect, (client) => Effect.flatMap(Reader.make(client), (reader) => reader.take(1)))
      )
      expect(said).toEqual(["told 1"])
    })
  )
})

describe("stdio, how long a child may take to end", () => {
  it.scopedLive("§4 a child that drains for longer than 7 seconds ends by itself, by default", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(
        node(
          "console.log('{}'); process.stdin.resume().on('end', () => setTimeout(() => console.log('{\"drained\":true}'), 7500))"
        ),
        scope
      )
      const reader = yield* Reader.make(client)
      yield* reader.take(1)
      yield* Scope.close(scope, Exit.void)
      // A child that was ended by a signal would have been reported as such: nothing of it had been told to go.
      expect(yield* client.closed).toEqual({ code: 1000, reason: "" })
    })
  )
})

describe("stdio, what comes before the first frame", () => {
  const welcome = '{"arcp":"1.1","id":"w","type":"session.welcome","session_id":"s","payload":{}}'
  const stays = "process.stdin.resume();"
  const writes = (text: string, encoding = "utf8") =>
    `${stays} process.stdout.write(Buffer.from(${JSON.stringify(text)}, "${encoding}"))`

  for (const [what, script, reason] of [
    [
      "text without a line end before a frame",
      writes(`Listening on \u001b[1mport\u001b[0m${welcome}\n`),
      'text without a line end came before the first frame: "Listening on \\u001b[1mport\\u001b[0m"; end it with a line end, or write it to stderr'
    ],
    [
      "text without a line end and nothing after it",
      writes("Listening on port 80"),
      'text without a line end came before the first frame: "Listening on port 80"; end it with a line end, or write it to stderr'
    ],
    [
      "a frame without a line end",
      writes('{"arcp":"1.1"}'),
      'the first frame has no line end: "{\\"arcp\\":\\"1.1\\"}"; write one after each frame'
    ],
    [
      "a byte-order mark",
      writes(`\ufeff${'{"arcp":"1.1"}'}\n`),
      'a byte-order mark (UTF-8) came before the first frame: "{\\"arcp\\":\\"1.1\\"}"; write UTF-8 without one'
    ],
    [
      "a byte-order mark of UTF-16",
      writes(`\ufeff${'{"arcp":"1.1"}'}\n`, "utf16le"),
      'a byte-order mark (UTF-16) came before the first frame: "{\\"arcp\\":\\"1.1\\"}"; write UTF-8 without one'
    ]
  ] as const) {
    it.scopedLive(`§4 ${what} ends the connection with a reason that quotes it`, () =>
      Effect.gen(function* () {
        const client = yield* node(script)
        const { closed, frames } = yield* whole(client)
        expect(frames.map(reasonOf)).toEqual([reason])
        expect(closed).toEqual({ code: 1002, reason })
      })
    )
  }

  it.scopedLive("§4 what is quoted is bounded", () =>
    Effect.gen(function* () {
      const client = yield* node(writes(`${"x".repeat(100_000)}${welcome}\n`))
      expect((yield* whole(client)).closed.reason.length).toBeLessThan(400)
    })
  )

  it.scopedLive("§4 whole lines of text, as of npm, do no harm", () =>
    Effect.gen(function* () {
      const client = yield* node(writes(`\n> app@1.0.0 start\n> node app.js\n\n${welcome}\n`))
      const reader = yield* Reader.make(client)
      expect(yield* reader.take(3)).toEqual(["> app@1.0.0 start", "> node app.js", welcome])
    })
  )

  it.scopedLive("§4 a client that gives up waiting for the welcome says what came in its place", () =>
    Effect.gen(function* () {
      const connector = StdioTransport.layerClient({
        command: process.execPath,
        args: ["-e", `${writes("Usage: app [options]\n")}; console.error("no command given")`],
        stderr: "ignore"
      })
      const client = yield* Effect.map(
        Layer.build(
          ArcpClient.layer({ handshakeTimeout: 1500, maxAttempts: 1, backoff: 1 }).pipe(Layer.provide(connector))
        ),
        (context) => context.unsafeMap.get(ArcpClient.key) as ArcpClient["Type"]
      )
      expect((yield* Effect.flip(client.connected)).message).toContain(
        'its stdout has "Usage: app [options]" and no frame; its stderr ends with "no command given"'
      )
    })
  )
})

describe("stdio, a child that exits at once", () => {
  it.scopedLive(
    "§4 tells the exit code and a bounded end of stderr, without control characters, however stderr is used",
    () =>
      Effect.gen(function* () {
        const script = `process.stderr.write(("x".repeat(50) + "\\n").repeat(2000) + "\\u001b[31mcannot bind\\u001b[0m\\n", () => process.exit(3))`
        const heard: Array<string> = []
        for (const stderr of ["ignore", (line: string) => Effect.sync(() => heard.push(line))] as const) {
          const client = yield* node(script, { stderr })
          const { code, reason } = (yield* whole(client)).closed
          expect(code).toBe(1006)
          expect(reason).toMatch(
            /^the child process exited with code 3 before its first frame; its stderr ends with "…[x\\n]+\\u001b\[31mcannot bind\\u001b\[0m"$/
          )
          expect(reason.length).toBeLessThan(1_200)
        }
        expect(heard.at(-1)).toBe("\u001b[31mcannot bind\u001b[0m")
      })
  )

  it.scopedLive("§4 a child that exits with 0 and without a frame says so", () =>
    Effect.gen(function* () {
      const client = yield* node("console.error('nothing to do')")
      expect((yield* whole(client)).closed).toEqual({
        code: 1000,
        reason: 'the child process has exited before its first frame; its stderr ends with "nothing to do"'
      })
    })
  )

  it.scopedLive("§4 a child that fails later quotes its stderr too", () =>
    Effect.gen(function* () {
      const client = yield* node("console.log('{}'); console.error('out of luck'); process.exitCode = 4")
      expect((yield* whole(client)).closed).toEqual({
        code: 1006,
        reason: 'the child process exited with code 4; its stderr ends with "out of luck"'
      })
    })
  )
})

/** How `arcp` ends: signals, broken pipes, and runtimes that are not there. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { createServer as createHttpServer } from "node:http"
import { createServer, type Server } from "node:net"
import { WebSocketServer } from "ws"
import { arcp, serve, shell, submitting } from "./processes.js"

const sleep = (url: string, ...args: ReadonlyArray<string>) => [
  "--url",
  url,
  "--input",
  '{"ms": 600000}',
  ...args,
  "sleep"
]

const alice = { ARCP_TOKEN: "s3cret" }
const forAlice = ["--demo", "--token", "s3cret=alice"]

const listening = (server: Server) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as { port: number }).port)))
    }),
    () => Effect.sync(() => server.close())
  )

describe("arcp submit, ended by a signal", () => {
  it.scopedLive(
    "§6.7 SIGINT is 130 and SIGTERM 143; it says that the job goes on, and the command that it names shows the job again",
    () =>
      Effect.gen(function* () {
        const { url } = yield* serve(forAlice)
        for (const [signal, code] of [
          ["SIGINT", 130],
          ["SIGTERM", 143]
        ] as const) {
          const first = yield* submitting(sleep(url), alice)
          first.kill(signal)
          const ran = yield* first.ended
          expect([ran.code, ran.out]).toEqual([code, ""])
          const [, jobId, key] =
            /^arcp: stopped: (job_\w+) goes on; to see it again, run the same command with --key (\S+)$/m.exec(
              ran.err
            ) ?? []
          expect([jobId, key]).toEqual([expect.any(String), expect.any(String)])
          const again = yield* submittingAgain(url, key!)
          expect(again.err).toContain(jobId)
        }
      }),
    60_000
  )

  /** The same command with the key, until it has told of its job. */
  const submittingAgain = (url: string, key: string) =>
    Effect.scoped(
      Effect.gen(function* () {
        const running = yield* submitting(sleep(url, "--key", key), alice, "runs sleep")
        running.kill("SIGTERM")
        return yield* running.ended
      })
    )

  it.scopedLive("without a token it says that the job cannot be seen again", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(["--demo", "--anonymous"])
      const running = yield* submitting(sleep(url))
      running.kill("SIGINT")
      const { code, err } = yield* running.ended
      expect(code).toBe(130)
      expect(err).toMatch(/^arcp: stopped: job_\w+ goes on; it was submitted without a token/m)
    })
  )

  it.scopedLive("a second signal ends it at once, while it waits for a runtime that does not answer", () =>
    Effect.gen(function* () {
      const served = yield* serve(["--demo", "--anonymous"])
      const running = yield* submitting(sleep(served.url))
      process.kill(served.pid, "SIGSTOP")
      running.kill("SIGINT")
      yield* running.says("goes on")
      running.kill("SIGTERM")
      const { code } = yield* running.ended
      process.kill(served.pid, "SIGCONT")
      // The first one alone would have ended it with 130.
      expect(code).toBe(143)
    })
  )

  it.scopedLive("before a session there is no job, and it says so", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const port = yield* listening(
        createServer((socket) => {
          socket.on("error", () => {})
          Deferred.unsafeDone(reached, Effect.void)
        })
      )
      const running = yield* submitting(["--url", `ws://127.0.0.1:${port}`, "echo"], {}, "")
      yield* Deferred.await(reached)
      running.kill("SIGINT")
      const { code, err } = yield* running.ended
      expect([code, err]).toEqual([130, "arcp: stopped: no job was submitted\n"])
    })
  )
})

describe("arcp, whose reader has gone", () => {
  it.scopedLive(
    "ends quietly with 0; where stderr alone has no reader, the result still comes",
    () =>
      Effect.gen(function* () {
        const { url } = yield* serve(["--demo", "--anonymous"])
        const counter = `arcp submit --url ${url} --json --input '{"count": 20000}' counter`
        const first = yield* shell(`${counter} | head -1`)
        expect([first.code, first.err]).toEqual([0, ""])
        expect(JSON.parse(first.out)).toMatchObject({ type: "accepted" })
        for (const line of [
          `${counter} | true`,
          "arcp serve --help | true",
          "arcp version | true",
          "arcp --help | head -1"
        ]) {
          const { code, err } = yield* shell(line)
          expect([line, code, err]).toEqual([line, 0, ""])
        }
        // Its events go to stderr, which is closed here, and the result to stdout all the same.
        const deaf = yield* shell(`{ arcp submit --url ${url} --input '{"count": 50}' counter 2>&3; } 3> >(true)`)
        expect([deaf.code, deaf.out]).toEqual([0, '{\n  "count": 50\n}\n'])
      }),
    60_000
  )

  it.scopedLive.runIf(process.platform === "linux")("a full disk is told, and is 1", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(["--demo", "--anonymous"])
      const { code, err } = yield* shell(`arcp submit --url ${url} --json --input '{"count": 5}' counter > /dev/full`)
      expect(code).toBe(1)
      expect(err).toMatch(/^arcp: stdout cannot be written: ENOSPC/m)
    })
  )
})

describe("arcp submit, without a runtime", () => {
  it.scopedLive(
    "ends with 3 in bounded time: where nothing listens, nothing answers, or what answers is something else",
    () =>
      Effect.gen(function* () {
        const silent = yield* listening(createServer((socket) => void socket.on("error", () => {})))
        const web = yield* listening(
          createServer((socket) => {
            socket.on("error", () => {})
            socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
          })
        )
        // Welcomes the connection and never the client.
        const upgrading = createHttpServer()
        const mute = new WebSocketServer({ server: upgrading })
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const socket of mute.clients) socket.terminate()
          })
        )
        const muted = yield* listening(upgrading)
        const ran = yield* Effect.forEach(
          [1, silent, web, muted],
          (port) => arcp(["submit", "--connect-timeout", "4", "--url", `ws://127.0.0.1:${port}`, "echo"]),
          { concurrency: 4 }
        )
        expect(ran.map(({ code, out }) => [code, out])).toEqual(ran.map(() => [3, ""]))
        for (const { err } of ran) expect(err).toMatch(/^arcp: no session (after|with) .+$/m)
      }),
    60_000
  )

  it.scopedLive(
    "§6.3 ends with 3 when the runtime is lost for good, and says that the job may go on",
    () =>
      Effect.gen(function* () {
        const served = yield* serve(forAlice)
        const running = yield* submitting(sleep(served.url), alice)
        process.kill(served.pid, "SIGKILL")
        const { code, err } = yield* running.ended
        expect(code).toBe(3)
        expect(err).toMatch(/job_\w+ may go on; to see it again, run the same command with --key \S+$/m)
      }),
    60_000
  )
})

/** A runtime process that is told to stop, the next one on the same file and port, and a client that sees both as one. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { ArcpClient } from "../../src/client/index.js"
import type { JobEvent } from "../../src/protocol/Event.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { bundle } from "../bundle.js"
import { scratch } from "../support/scratch.js"

const programs = bundle({ "cli/bin": "src/cli/bin.ts", lasting: "test/cli/fixtures/lasting.ts" })
const folder = scratch("arcp-restart-")

interface Process {
  readonly child: ChildProcess
  readonly url: string
  readonly exit: Effect.Effect<number | null>
}

/** `arcp serve` in a process of its own, once it listens; killed with the scope. */
const serve = (port: string) =>
  Effect.acquireRelease(
    Effect.async<Process>((resume) => {
      const child = spawn(
        process.execPath,
        [
          ...[
            join(programs, "cli/bin.js"),
            "serve",
            "--agents",
            join(programs, "lasting.js"),
            "--token",
            "s3cret=alice"
          ],
          ...["--store", join(folder, "store.db"), "--port", port, "--drain", "0"]
        ],
        { stdio: ["ignore", "ignore", "pipe"] }
      )
      const exited = Effect.runSync(Deferred.make<number | null>())
      let said = ""
      child.on("close", (code) => {
        Deferred.unsafeDone(exited, Effect.succeed(code))
        resume(Effect.die(new Error(`serve ended: ${said}`)))
      })
      child.stderr.on("data", (data) => {
        said += data
        const url = /listening on (\S+)/.exec(said)?.[1]
        if (url !== undefined) resume(Effect.succeed({ child, url, exit: Deferred.await(exited) }))
      })
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const textOf = (event: JobEvent): string =>
  event._tag === "log"
    ? event.body.message
    : event._tag === "status"
      ? (event.body.message ?? event.body.phase)
      : event._tag

describe("arcp serve, stopped by SIGTERM and started again", () => {
  it.scopedLive("§6.3 its client comes back by itself and sees every event of a job that runs again, each once", () =>
    Effect.gen(function* () {
      const first = yield* serve("0")
      const { port } = new URL(first.url)
      yield* Effect.gen(function* () {
        const client = yield* ArcpClient
        const changes = yield* client.status.pipe(
          Stream.filter(({ _tag }) => _tag === "Connected" || _tag === "Resumed" || _tag === "SessionReplaced"),
          Stream.take(2),
          Stream.runCollect,
          Effect.fork
        )
        const once = yield* client.submit("once")
        const job = yield* client.submit("lasting")
        const talks = yield* Deferred.make<void>()
        const following = yield* job.events.pipe(
          Stream.tap((event) => (textOf(event) === "1: 10" ? Deferred.succeed(talks, undefined) : Effect.void)),
          Stream.runCollect,
          Effect.fork
        )
        yield* Deferred.await(talks)
        first.child.kill("SIGTERM")
        expect(yield* first.exit).toBe(0)
        const second = yield* serve(port)
        expect(second.url).toBe(first.url)

        expect(yield* job.result).toBe(2)
        const texts = Chunk.toReadonlyArray(yield* Fiber.join(following)).map(textOf)
        const told = texts.filter((text) => text.startsWith("1: ")).length
        expect(told).toBeGreaterThanOrEqual(10)
        expect(texts).toEqual([
          "running",
          ...Array.from({ length: told }, (_, n) => `1: ${n + 1}`),
          "attempt 2, after a restart of the runtime",
          ...Array.from({ length: 20 }, (_, n) => `2: ${n + 1}`)
        ])
        // The same session, of which the first process has told all that it was to tell.
        const [connected, back] = Chunk.toReadonlyArray(yield* Fiber.join(changes))
        expect(back).toMatchObject({ _tag: "Resumed", sessionId: (connected as { sessionId: string }).sessionId })
        expect(yield* Effect.flip(once.result)).toMatchObject({
          code: "INTERNAL_ERROR",
          retryable: true,
          details: { reason: "runtime_shutdown" }
        })
        expect((yield* Stream.runCollect(once.events)).pipe(Chunk.map(textOf), Chunk.toReadonlyArray)).toEqual([
          "running"
        ])
        const jobs = Chunk.toReadonlyArray(yield* Stream.runCollect(client.listJobs()))
        expect(jobs.map(({ agent, status }) => `${agent} ${status}`)).toEqual([
          "once@1.0.0 error",
          "lasting@1.0.0 success"
        ])
        second.child.kill("SIGTERM")
        expect(yield* second.exit).toBe(0)
      }).pipe(
        Effect.provide(
          ArcpClient.layer({ auth: { token: Redacted.make("s3cret") }, backoff: 20, maxBackoff: 50 }).pipe(
            Layer.provide(WebSocketClient.layer({ url: first.url }))
          )
        )
      )
    })
  )
})

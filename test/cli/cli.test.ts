import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Layer, Redacted, Stream } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ArcpClient } from "../../src/client/index.js"
import { StdioTransport, WebSocketClient } from "../../src/transport/node.js"
import { bundle } from "../bundle.js"
import { scratch } from "../support/scratch.js"

const root = fileURLToPath(new URL("../../", import.meta.url))
// The program with its demo agents beside it, as it is built; one process, so that a kill reaches the runtime itself.
const bin = join(bundle({ "cli/bin": "src/cli/bin.ts", "examples/agents": "examples/agents.ts" }), "cli/bin.js")
const folder = scratch("arcp-cli-")

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const start = (args: ReadonlyArray<string>): ChildProcess =>
  spawn(process.execPath, [bin, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] })

const arcp = (...args: ReadonlyArray<string>): Effect.Effect<Ran> =>
  Effect.async((resume) => {
    const child = start(args)
    let out = ""
    let err = ""
    child.stdout?.on("data", (data) => (out += data))
    child.stderr?.on("data", (data) => (err += data))
    child.on("close", (code) => resume(Effect.succeed({ code, out, err })))
  })

/** Whether somebody listens there. */
const listening = (url: string): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.on("connect", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.on("error", () => resume(Effect.succeed(false)))
  })

/** A runtime in a process of its own, once it listens; killed with the scope. */
const serve = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly child: ChildProcess; readonly exit: Effect.Effect<number | null> }>(
      (resume) => {
        const child = start(["serve", ...args])
        let err = ""
        let exited: { readonly code: number | null } | undefined
        const listeners: Array<(code: number | null) => void> = []
        child.on("close", (code) => {
          exited = { code }
          for (const listener of listeners) listener(code)
          resume(Effect.die(new Error(`serve ended: ${err}`)))
        })
        child.stderr?.on("data", (data) => {
          err += data
          const url = /listening on (\S+)/.exec(err)?.[1]
          if (url === undefined) return
          resume(
            Effect.succeed({
              url,
              child,
              exit: Effect.async((done) => {
                if (exited !== undefined) done(Effect.succeed(exited.code))
                else listeners.push((code) => done(Effect.succeed(code)))
              })
            })
          )
        })
      }
    ),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

describe("arcp", () => {
  it.live("version prints the versions, as JSON too", () =>
    Effect.gen(function* () {
      const plain = yield* arcp("version")
      expect(plain.code).toBe(0)
      expect(plain.out).toContain("ARCP 1.1")
      expect(JSON.parse((yield* arcp("version", "--json")).out)).toMatchObject({ name: "effect-arcp", protocol: "1.1" })
    })
  )

  it.live(
    "what is called wrongly exits with 2 and says what to do",
    () =>
      Effect.gen(function* () {
        const nobody = yield* arcp("serve", "--demo")
        expect(nobody.code).toBe(2)
        expect(nobody.err).toContain("--token")
        const malformed = yield* arcp("serve", "--demo", "--token", "very-secret")
        expect(malformed.code).toBe(2)
        expect(malformed.err).not.toContain("very-secret")
        expect((yield* arcp("submit", "echo", "--input", "{no json")).code).toBe(2)
        expect((yield* arcp("submit", "echo", "--url", "http://x")).code).toBe(2)
        expect((yield* arcp("no-such-command")).code).toBe(2)
        expect((yield* arcp("serve", "--demo", "--anonymous", "--agents", "./no-such-module.js")).code).toBe(2)
      }),
    120_000
  )

  it.scopedLive(
    "serve and submit: events, result, failure, usage; a clean stop on SIGTERM",
    () =>
      Effect.gen(function* () {
        const { child, exit, url } = yield* serve("--demo", "--port", "0", "--token", "s3cret=alice")
        const submit = (...args: ReadonlyArray<string>) => arcp("submit", "--url", url, "--token", "s3cret", ...args)
        const input = join(folder, "input.json")
        writeFileSync(input, '{"count":2}')
        const [good, json, bad, unknown, refused] = yield* Effect.all(
          [
            submit("--input", `@${input}`, "counter"),
            submit("--input", '{"count":2}', "--key", "k1", "--json", "counter"),
            submit("--input", '{"how":"failure"}', "fail"),
            submit("nobody"),
            arcp("submit", "--url", url, "--token", "wr0ng", "echo")
          ],
          { concurrency: 2 }
        )
        expect(good.code).toBe(0)
        expect(good.err).toContain("event 2")
        expect(JSON.parse(good.out)).toEqual({ count: 2 })
        const lines = json.out
          .trim()
          .split("\n")
          .map((l) => JSON.parse(l))
        expect(lines.map((l) => l.type)).toEqual(["accepted", "event", "event", "event", "result"])
        expect(bad.code).toBe(1)
        expect(bad.err).toContain("DEMO_FAILURE")
        expect(unknown.code).toBe(1)
        expect(unknown.err).toContain("AGENT_NOT_AVAILABLE")
        expect(refused.code).toBe(1)
        expect(refused.err).toContain("UNAUTHENTICATED")
        expect(refused.err).not.toContain("wr0ng")
        child.kill("SIGTERM")
        expect(yield* exit).toBe(0)
      }),
    120_000
  )

  it.scopedLive(
    "on SIGTERM a running job gets its time and its client the result; a second SIGTERM ends at once",
    () =>
      Effect.gen(function* () {
        const [patient, hasty] = yield* Effect.all(
          [
            serve("--demo", "--anonymous", "--port", "0", "--drain", "30"),
            serve("--demo", "--anonymous", "--port", "0", "--drain", "30")
          ],
          { concurrency: 2 }
        )
        /** A submit that has been accepted, and its end. */
        const accepted = (url: string, ms: number) =>
          Effect.async<{
            readonly child: ChildProcess
            readonly end: Effect.Effect<{ readonly code: number | null; readonly out: string }>
          }>((resume) => {
            const child = start(["submit", "--url", url, "--json", "--input", JSON.stringify({ ms }), "sleep"])
            let out = ""
            child.stdout?.on("data", (data) => {
              out += data
              if (!out.includes('"accepted"')) return
              resume(
                Effect.succeed({
                  child,
                  end: Effect.async((done) => {
                    child.on("close", (code) => done(Effect.succeed({ code, out })))
                  })
                })
              )
            })
          })
        const [ends, lasts] = yield* Effect.all([accepted(patient.url, 1_500), accepted(hasty.url, 600_000)], {
          concurrency: 2
        })
        patient.child.kill("SIGTERM")
        const { code, out } = yield* ends.end
        expect(out).toContain('"result"')
        expect(code).toBe(0)
        expect(yield* patient.exit).toBe(0)
        hasty.child.kill("SIGTERM")
        // Its port is closed first: then it is draining.
        yield* Effect.repeat(Effect.zipRight(Effect.sleep(20), listening(hasty.url)), { while: (open) => open })
        hasty.child.kill("SIGTERM")
        expect(yield* hasty.exit).toBe(143)
        lasts.child.kill("SIGKILL")
      }),
    120_000
  )

  it.scopedLive(
    "§4.2 serve --stdio speaks the protocol on stdin and stdout",
    () =>
      Effect.gen(function* () {
        const client = yield* ArcpClient
        const job = yield* client.submit("counter", { count: 3 })
        const events = yield* Stream.runCollect(job.events)
        expect(Chunk.size(events)).toBe(4)
        expect(yield* job.result).toEqual({ count: 3 })
        expect((yield* client.agents).map((agent) => agent.name)).toContain("census")
      }).pipe(
        Effect.provide(
          ArcpClient.layer().pipe(
            Layer.provide(
              StdioTransport.layerClient({
                command: process.execPath,
                args: [bin, "serve", "--stdio", "--demo", "--anonymous"],
                cwd: root,
                stderr: "ignore"
              })
            )
          )
        )
      ),
    120_000
  )

  it.scopedLive(
    "§6.3 with --store, kill -9 and a new start: the same session goes on, nothing lost or repeated",
    () =>
      Effect.gen(function* () {
        const args = ["--demo", "--token", "s3cret=alice", "--store", join(folder, "restart.db")]
        const first = yield* serve(...args, "--port", "0")
        const port = new URL(first.url).port
        const connect = ArcpClient.layer({
          auth: { token: Redacted.make("s3cret") },
          backoff: 50,
          maxBackoff: 200
        }).pipe(Layer.provide(WebSocketClient.layer({ url: first.url })))
        yield* Effect.gen(function* () {
          const client = yield* ArcpClient
          const ended = yield* client.submit("counter", { count: 50 }, { idempotencyKey: "before" })
          yield* ended.result
          const running = yield* client.submit("sleep", { ms: 60_000 })
          const session = (yield* client.session)?.sessionId
          first.child.kill("SIGKILL")
          yield* first.exit
          yield* serve(...args, "--port", port)
          const error = yield* Effect.flip(running.result)
          expect(error).toMatchObject({
            code: "INTERNAL_ERROR",
            retryable: true,
            details: { reason: "runtime_restarted" }
          })
          expect((yield* client.session)?.sessionId).toBe(session)
          const again = yield* client.submit("counter", { count: 50 }, { idempotencyKey: "before" })
          expect(again.jobId).toBe(ended.jobId)
          const next = yield* client.submit("counter", { count: 10 })
          const events = Chunk.toReadonlyArray(yield* Stream.runCollect(next.events))
          expect(events.flatMap((e) => (e._tag === "log" ? [e.body.message] : []))).toEqual(
            Array.from({ length: 10 }, (_, i) => `event ${i + 1}`)
          )
          const history = yield* client.subscribe(ended.jobId, { history: true })
          expect(Chunk.size(yield* Stream.runCollect(history.events))).toBe(51)
        }).pipe(Effect.provide(connect))
      }),
    120_000
  )
})

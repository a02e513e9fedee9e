/** `arcp serve --audit`: a trail that a `kill -9`, a torn line and a restart leave readable (ARCP 1.1 §14). */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ArcpClient } from "../../src/client/index.js"
import { AuditRecord } from "../../src/runtime/index.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { scratch } from "../support/scratch.js"
import { arcp, serve } from "./processes.js"

const folder = scratch("arcp-cli-audit-")
const decode = Schema.decodeUnknownSync(AuditRecord)

const tokens = ["--token", "s3cret-of-alice=alice"]

const lines = (path: string): ReadonlyArray<string> =>
  existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : []

const recordsOf = (path: string): ReadonlyArray<AuditRecord> => lines(path).map((line) => decode(JSON.parse(line)))

/** Waits for a record in the file of another process: one turn of the event loop after the other. */
const recorded = (path: string, type: AuditRecord["type"]) =>
  Effect.repeat(
    Effect.async<boolean>(
      (resume) =>
        void setImmediate(() => resume(Effect.sync(() => recordsOf(path).some((record) => record.type === type))))
    ),
    { until: (there) => there }
  )

describe("arcp serve --audit", () => {
  it.scopedLive(
    "§14 outlives kill -9: what was written stays, a torn line spoils no other, the next start is another run",
    () =>
      Effect.gen(function* () {
        const path = join(folder, "killed.ndjson")
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { pid, url } = yield* serve([...tokens, "--audit", path])
            expect(statSync(path).mode & 0o777).toBe(0o600)
            const done = yield* arcp(["submit", "echo", "--url", url, "--token", "s3cret-of-alice"])
            expect(done.code).toBe(0)
            yield* arcp(["submit", "echo", "--url", url, "--token", "not-the-secret"])
            yield* recorded(path, "authentication.failed")
            process.kill(pid, "SIGKILL")
          })
        )
        const before = recordsOf(path)
        expect(before.map(({ type }) => type)).toEqual(expect.arrayContaining(["session.opened", "job.admitted"]))
        expect(before.map(({ seq }) => seq)).toEqual(before.map((_, i) => i + 1))
        // As where the kill came within a write.
        const torn = `{"v":1,"run":"${before[0]!.run}","seq":`
        writeFileSync(path, torn, { flag: "a" })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { url } = yield* serve([...tokens, "--audit", path])
            yield* arcp(["submit", "echo", "--url", url, "--token", "s3cret-of-alice"])
            yield* Effect.repeat(
              Effect.async<boolean>(
                (resume) => void setImmediate(() => resume(Effect.sync(() => lines(path).length >= before.length + 3)))
              ),
              { until: (there) => there }
            )
          })
        )
        const all = lines(path)
        expect(all[before.length]).toBe(torn)
        const after = all.slice(before.length + 1).map((line) => decode(JSON.parse(line)))
        expect(after.map(({ type }) => type).slice(0, 2)).toEqual(["session.opened", "job.admitted"])
        expect(after.map(({ seq }) => seq)).toEqual(after.map((_, i) => i + 1))
        expect(after[0]!.run).not.toBe(before[0]!.run)
        expect(after[0]!.principal).toBe("alice")
        expect(readFileSync(path, "utf8")).not.toMatch(/s3cret|not-the-secret/)
      })
  )

  it.scopedLive("writes everything when it is told to stop", () =>
    Effect.gen(function* () {
      const path = join(folder, "stopped.ndjson")
      const served = yield* serve([...tokens, "--drain", "0", "--audit", path])
      // A client that stays: one that leaves when its job ends could do so before the runtime closes.
      const layer = ArcpClient.layer({ auth: { token: Redacted.make("s3cret-of-alice") } })
      const client = yield* Effect.map(
        Layer.build(Layer.provide(layer, WebSocketClient.layer({ url: served.url }))),
        Context.get(ArcpClient)
      )
      yield* client.submit("sleep", { ms: 600_000 })
      process.kill(served.pid, "SIGTERM")
      yield* recorded(path, "session.closed")
      expect(recordsOf(path).at(-1)).toMatchObject({ type: "session.closed", cause: "runtime" })
    })
  )

  it.scopedLive("`-` is stderr", () =>
    Effect.gen(function* () {
      const served = yield* serve([...tokens, "--audit", "-"])
      yield* arcp(["submit", "echo", "--url", served.url, "--token", "s3cret-of-alice"])
      yield* served.says('"type":"job.admitted"')
      expect(served.out()).toBe("")
    })
  )

  it.scopedLive("what cannot be its file is refused before anything is served", () =>
    Effect.gen(function* () {
      mkdirSync(join(folder, "a-folder"))
      for (const [path, words] of [
        [join(folder, "a-folder"), "--audit must be a file"],
        [join(folder, "none", "audit.ndjson"), "does not exist: create it first"],
        ["", "--audit must not be an empty text"]
      ] as const) {
        const { code, err } = yield* arcp(["serve", ...tokens, "--port", "0", "--audit", path])
        expect(err).toContain(words)
        expect(code).toBe(2)
      }
    })
  )
})

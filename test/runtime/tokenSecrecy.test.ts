/** Tokens are secrets (ARCP 1.0 §6.2, §14): those of people and those of sessions, on the runtime's side and on the client's. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Inspectable, Layer, Logger, LogLevel, Redacted, Stream, TestClock } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Faults, layer as faulty } from "../../src/testing/FaultyTransport.js"
import { dial, hello, run } from "./peer.js"
import { world } from "./world.js"
import { scratch } from "../support/scratch.js"
import { recording } from "../support/spans.js"

const folder = scratch("arcp-tokens-")

/** Everything that is logged or traced while an effect runs, in every form in which it may be printed. */
const overheard = <A, E, R>(effect: (said: Array<string>) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const said: Array<string> = []
    const { layer, spans } = yield* recording
    const logger = Logger.make((options) => {
      said.push(
        Inspectable.toStringUnknown(options.message),
        Logger.jsonLogger.log(options),
        Logger.logfmtLogger.log(options),
        Cause.pretty(options.cause)
      )
    })
    yield* effect(said).pipe(
      Effect.scoped,
      Effect.provide(
        Layer.mergeAll(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All), layer)
      )
    )
    for (const span of spans) {
      const ended = span.status._tag === "Ended" ? span.status.exit : undefined
      said.push(
        span.name,
        JSON.stringify([...span.attributes]),
        ended?._tag === "Failure" ? Cause.pretty(ended.cause) : ""
      )
    }
    expect(said.length).toBeGreaterThan(10)
    return said.join("\n")
  })

/** A secret is found in part too. */
const tells = (text: string, secret: string) => expect(text.includes(secret.slice(3, 19)), secret).toBe(false)

const people = Authenticator.layerBearer({ "alice-secret-7Yq2Lw9Kx4": "alice", "bob-secret-0Zp5Vn8Rt3": "bob" })

describe("§14 tokens", () => {
  it.scoped("are in no frame but the welcome, no log, no span and no row of the runtime's", () =>
    Effect.gen(function* () {
      const filename = join(folder, "runtime.db")
      const secrets = ["alice-secret-7Yq2Lw9Kx4", "bob-secret-0Zp5Vn8Rt3", "wrong-secret-6Hc1Bd4Mj8"]
      const text = yield* overheard((said) =>
        Effect.gen(function* () {
          const refused = yield* dial
          yield* refused.send("session.hello", { auth: { scheme: "bearer", token: secrets[2] } })
          yield* refused.ended
          const malformed = yield* dial
          yield* malformed.send("session.hello", { auth: { scheme: "bearer", token: { secret: secrets[2] } } })
          yield* malformed.next("session.error")
          yield* malformed.drop
          const first = yield* hello({ token: secrets[0]! })
          yield* run(first, "echo")
          yield* run(first, "fail")
          yield* first.drop
          // Another person's, one that is not the session's, and the right one.
          for (const [token, resume_token] of [
            [secrets[1]!, first.token],
            [secrets[0]!, "rt_not-the-token-of-this-session"]
          ] as const) {
            const stranger = yield* dial
            yield* stranger.send("session.hello", {
              auth: { scheme: "bearer", token },
              resume: { session_id: first.sessionId, resume_token, last_event_seq: 0 }
            })
            yield* stranger.next("session.error")
            yield* stranger.ended
            said.push(JSON.stringify(stranger.seen))
          }
          const resume = { session_id: first.sessionId, resume_token: first.token, last_event_seq: 0 }
          const again = yield* hello({ token: secrets[0]!, resume })
          yield* run(again, "echo")
          secrets.push(first.token, again.token, "rt_not-the-token-of-this-session")
          for (const peer of [refused, malformed, first, again]) {
            said.push(JSON.stringify(peer.seen.filter((frame) => frame.type !== "session.welcome")))
            for (const { payload } of peer.seen) {
              if ("resume_token" in payload) said.push(JSON.stringify({ ...payload, resume_token: "" }))
            }
          }
        }).pipe(Effect.provide(world({ auth: people, store: SqliteStore.layer({ filename }) })))
      )
      const rows = readdirSync(folder)
        .filter((name) => name.startsWith("runtime.db"))
        .map((name) => readFileSync(join(folder, name)).toString("latin1"))
        .join("\n")
      expect(rows).toContain("arcp_sessions")
      for (const secret of secrets) {
        tells(text, secret)
        tells(rows, secret)
      }
    })
  )

  it.scoped("are in no log, span, status, error or printed fact of the client's", () =>
    Effect.gen(function* () {
      const secrets = ["alice-secret-7Yq2Lw9Kx4", "wrong-secret-6Hc1Bd4Mj8"]
      const clientOf = (token: string) =>
        ArcpClient.layer({ auth: { token: Redacted.make(token) } }).pipe(
          Layer.provideMerge(faulty),
          Layer.provideMerge(world({ auth: people }))
        )
      const text = yield* overheard((said) =>
        Effect.gen(function* () {
          const print = (value: unknown) =>
            said.push(String(value), JSON.stringify(value) ?? "", Inspectable.toStringUnknown(value))
          yield* Effect.gen(function* () {
            const arcp = yield* ArcpClient
            yield* Effect.forkScoped(Stream.runForEach(arcp.status, (status) => Effect.sync(() => print(status))))
            const { cut } = yield* Faults
            for (let i = 0; i < 2; i++) {
              yield* arcp.connected
              const facts = (yield* arcp.session)!
              secrets.push(Redacted.value(facts.resumeToken))
              print(facts)
              print(yield* Effect.flip(Effect.flatMap(arcp.submit("fail"), (job) => job.result)))
              yield* cut
              yield* TestClock.adjust("1 minute")
            }
          }).pipe(Effect.scoped, Effect.provide(clientOf(secrets[0]!)))
          const refused = yield* Layer.build(clientOf(secrets[1]!))
          const error = yield* Effect.flip(Context.get(refused, ArcpClient).submit("echo"))
          expect(error).toMatchObject({ code: "UNAUTHENTICATED" })
          print(error)
          yield* Effect.logError("the client failed", Cause.fail(error))
        })
      )
      expect(new Set(secrets).size).toBe(4)
      for (const secret of secrets) tells(text, secret)
    })
  )
})

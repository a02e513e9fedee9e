/**
 * Lets clients in by signed tokens (JWT) that expire, and whose client gets a new one in time.
 *
 * It shows: the runtime checks signature, audience and expiry (ARCP 1.1 §6.1); what does not fit is refused for good; a session whose
 * token runs out is resumed with a new one, and its job goes on. It brings its own runtime, and makes its keys.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Job } from "effect-arcp/agent"
import { Jwt } from "effect-arcp/auth/jwt"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Clock, Console, Context, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { exportJWK, generateKeyPair, SignJWT } from "jose"
import { claim } from "./support/claim.js"

class Count extends Agent.make("count", { input: Schema.Int, output: Schema.Int }) {}

const CountLive = Count.toLayer((to) =>
  Effect.gen(function* () {
    for (let n = 1; n <= to; n++) {
      yield* Job.progress({ current: n, total: to })
      yield* Effect.sleep("100 millis")
    }
    return to
  })
)

const runtime = (jwks: Jwt.KeySource) =>
  ArcpRuntime.layer({ name: "jwt-auth" }).pipe(
    Layer.provide(CountLive),
    Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
    Layer.provide(Jwt.layer({ keys: jwks, algorithms: ["ES256"], audience: "arcp", clockTolerance: 0 })),
    Layer.provide(MemoryStore.layer)
  )

const program = Effect.gen(function* () {
  const ours = yield* Effect.promise(() => generateKeyPair("ES256"))
  const theirs = yield* Effect.promise(() => generateKeyPair("ES256"))
  const publicKey = yield* Effect.promise(() => exportJWK(ours.publicKey))
  const services = yield* Layer.build(runtime({ jwks: { keys: [{ ...publicKey, alg: "ES256" }] } }))
  const { address } = Context.get(services, Server)

  const token = (seconds: number, audience = "arcp", { privateKey } = ours) =>
    Effect.gen(function* () {
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const jwt = new SignJWT().setProtectedHeader({ alg: "ES256" }).setSubject("alice").setAudience(audience)
      return Redacted.make(yield* Effect.promise(() => jwt.setExpirationTime(now + seconds).sign(privateKey)))
    })
  const connect = (token: Effect.Effect<Redacted.Redacted>) =>
    ArcpClient.layer({ auth: { token } }).pipe(
      Layer.provide(WebSocketClient.layer({ url: address })),
      Layer.build,
      Effect.map(Context.get(ArcpClient))
    )

  const refused = (what: string, token: Effect.Effect<Redacted.Redacted>) =>
    Effect.gen(function* () {
      const arcp = yield* connect(token)
      const outcome = yield* Effect.either(arcp.connected)
      const isRefused = outcome._tag === "Left" && outcome.left._tag === "Unauthenticated"
      yield* claim(`${what} is refused${isRefused ? `: ${outcome.left.message}` : ""}`, isRefused)
    })
  yield* refused("an expired token", token(-1))
  yield* refused("a token for another audience", token(60, "another service"))
  yield* refused("a token that another key has signed", token(60, "arcp", theirs))

  // The first token is good for two or three seconds; the client asks for the next one by itself.
  let tokens = 0
  const refreshed = Effect.suspend(() => token(++tokens === 1 ? 3 : 60))
  const arcp = yield* connect(refreshed)
  const job = yield* arcp.submit(Count, 40)
  const statuses: Array<string> = []
  yield* Effect.forkScoped(
    Stream.runForEach(arcp.status, (status) => {
      statuses.push(status._tag)
      return Console.log(`  the client: ${status._tag}${status._tag === "Disconnected" ? `, ${status.reason}` : ""}`)
    })
  )
  const counts: Array<number> = []
  yield* Stream.runForEach(job.events, (event) =>
    Effect.sync(() => void (event._tag === "progress" && counts.push(event.body.current)))
  )
  yield* Console.log(`${job.jobId} counted to ${yield* job.result} with ${tokens} tokens`)
  yield* claim(
    "the session was resumed with a new token when the first had run out",
    tokens > 1 && statuses.includes("Resumed")
  )
  yield* claim(
    "the job went on, and no event is missing",
    counts.join() === Array.from({ length: 40 }, (_, i) => i + 1).join()
  )
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.timeout("30 seconds")))

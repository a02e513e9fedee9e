/**
 * Lets clients in by API keys of its own: a key names a principal and the tenant that it belongs to.
 *
 * It shows: an `Authenticator` of one's own is one function (ARCP 1.1 §6.1); what it says of a principal is there for the policies, here
 * that a tenant sees its own jobs only (§7.6, §14); a refused key is `UNAUTHENTICATED` and final. It brings its own runtime.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { PrincipalId, Unauthenticated } from "effect-arcp/protocol"
import { ArcpRuntime, ObservationPolicy } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Context, Effect, Layer, Logger, LogLevel, Redacted, Schema, Stream } from "effect"
import { claim } from "./support/claim.js"

const hash = (text: string) => createHash("sha256").update(text).digest()

/** What a database would hold: of each key its id, whose it is, and the digest of its secret. */
interface ApiKey {
  readonly user: string
  readonly tenant: string
  readonly digest: Buffer
}
const keys = new Map<string, ApiKey>()

/** Makes a key, `ID.SECRET`; the secret is not kept. */
const issue = (tenant: string, user: string) => {
  const id = `k${keys.size + 1}`
  const secret = randomBytes(24).toString("base64url")
  keys.set(id, { tenant, user, digest: hash(secret) })
  return Redacted.make(`${id}.${secret}`)
}

let asked = 0
const noKey = hash("")
const ApiKeys = Layer.succeed(Authenticator, {
  authenticate: ({ scheme, token }) =>
    Effect.suspend(() => {
      asked++
      const [id = "", secret = ""] = token === undefined ? [] : Redacted.value(token).split(".")
      const key = keys.get(id)
      // Compared also where there is no such key, and in constant time: how long it takes tells nothing.
      const fits = timingSafeEqual(hash(secret), key?.digest ?? noKey)
      if (scheme !== "api-key" || key === undefined || !fits) {
        return new Unauthenticated({ message: "auth.token: is no valid API key" })
      }
      const { tenant, user } = key
      return Effect.succeed({ id: PrincipalId(`${tenant}/${user}`), anonymous: false, claims: { tenant } })
    })
})

/** Who is of the same tenant may look on. */
const Tenants = ObservationPolicy.layer({
  visibility: ({ claims }, owner) => (owner.startsWith(`${String(claims.tenant)}/`) ? "observe" : "nothing"),
  listed: ({ id }) => [id]
})

class WhoAmI extends Agent.make("who-am-i", { input: Schema.Null, output: Schema.String }) {}

const RuntimeLive = ArcpRuntime.layer({ name: "custom-auth" }).pipe(
  Layer.provide(WhoAmI.toLayer(() => Effect.map(Job, ({ principalId }) => principalId))),
  Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
  Layer.provide([ApiKeys, Tenants, MemoryStore.layer])
)

const connect = (token: Redacted.Redacted) =>
  Effect.gen(function* () {
    const { address } = yield* Server
    const client = ArcpClient.layer({ auth: { scheme: "api-key", token } }).pipe(
      Layer.provide(WebSocketClient.layer({ url: address }))
    )
    return Context.get(yield* Layer.build(client), ArcpClient)
  })

const program = Effect.gen(function* () {
  const acme = yield* connect(issue("acme", "ci"))
  const colleague = yield* connect(issue("acme", "ops"))
  const other = yield* connect(issue("globex", "ci"))

  const job = yield* acme.submit(WhoAmI, null)
  const who = yield* job.result
  const seenByColleague = yield* colleague.subscribe(job.jobId, { agent: WhoAmI, history: true })
  const seen = yield* seenByColleague.result
  const hidden = yield* Effect.flip(other.subscribe(job.jobId, { history: true }))
  yield* Console.log(`${job.jobId} is of ${who}; to a colleague it is shown, to another tenant not: ${hidden.message}`)

  const askedBefore = asked
  const [id] = Redacted.value(issue("acme", "guest")).split(".")
  const stranger = yield* connect(Redacted.make(`${id}.guessed`))
  const refused = yield* Effect.flip(stranger.connected)
  const statuses = yield* Stream.runCollect(stranger.status)
  yield* Console.log(`a guessed key: ${refused.message}; the client is ${[...statuses].at(-1)?._tag}`)

  yield* claim("a job belongs to the principal behind the key", who === "acme/ci")
  yield* claim("its tenant may look on, another one may not know of it", seen === who && hidden._tag === "JobNotFound")
  yield* claim("a wrong key is UNAUTHENTICATED", refused._tag === "Unauthenticated")
  yield* claim("and final: the client has given up, and asked once", asked === askedBefore + 1)
})

// The runtime logs who looks on at whose job; here only what goes wrong is of interest.
const main = program.pipe(Effect.scoped, Effect.provide(RuntimeLive), Logger.withMinimumLogLevel(LogLevel.Warning))
NodeRuntime.runMain(Effect.timeout(main, "10 seconds"))

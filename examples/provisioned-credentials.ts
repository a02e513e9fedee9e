/**
 * Gives each job a key of its own for a paid model, which is dead as soon as the job has ended, however it ended.
 *
 * It shows: a provisioner mints a key for a job, bounded by the job's lease (ARCP 1.1 §9.8); the gateway itself refuses a model or a cost
 * beyond it (§9.7); the key is in no event, no log line and no file (§14). It brings its own runtime and its own gateway.
 */
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { Ids } from "effect-arcp/protocol"
import { ArcpRuntime } from "effect-arcp/runtime"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { TestGateway } from "effect-arcp/testing"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Effect, Layer, Logger, Redacted, Schema, Stream } from "effect"
import { claim } from "./support/claim.js"

class Ask extends Agent.make("ask", {
  input: Schema.Struct({ then: Schema.Literal("return", "fail", "wait") }),
  output: Schema.String
}) {}

const AskLive = Ask.toLayer(({ then }) =>
  Effect.gen(function* () {
    const gateway = yield* TestGateway
    const [key] = yield* Job.credentials
    if (key === undefined) return yield* Effect.dieMessage("this job has no key")
    yield* Effect.logInfo("it has a key", key)
    // It tries more than it may, without a check of its own: the gateway refuses.
    const answers = yield* Effect.forEach(["large/a", "small/a", "small/b", "small/a"], (model) =>
      Effect.match(gateway.call(key.value, { model, cost: "0.30 USD" }), {
        onFailure: ({ body }) => `${model}: ${body.error.type}`,
        onSuccess: () => `${model}: done`
      })
    )
    yield* Job.status("asked", answers.join(", "))
    if (then === "wait") return yield* Effect.never
    yield* Effect.sleep("300 millis")
    if (then === "fail") return yield* Effect.fail({ message: `this upstream hates ${Redacted.value(key.value)}` })
    return answers.join(", ")
  })
)

/** One job: what was seen of it, and what its key was good for. */
const run = (then: "return" | "fail" | "wait") =>
  Effect.gen(function* () {
    const arcp = yield* ArcpClient
    const gateway = yield* TestGateway
    const lease = { "model.use": ["small/*"], "cost.budget": ["USD:0.50"] }
    const job = yield* arcp.submit(Ask, { then }, { lease })
    const secret = job.credentials[0]?.value ?? Redacted.make("none")
    // A refusal for money or model is one of a living key; a dead one is unknown, which is 401.
    const status = Effect.match(gateway.call(secret, { model: "small/a" }), {
      onFailure: (error) => error.status,
      onSuccess: () => 200
    })
    const seen: Array<string> = []
    let statusAtWork = 0
    yield* Stream.runForEach(job.events, (event) =>
      Effect.gen(function* () {
        seen.push(JSON.stringify(event))
        if (event._tag !== "status" || event.body.phase !== "asked") return
        yield* Console.log(`${job.jobId}, to ${then}: ${event.body.message}`)
        statusAtWork = yield* status
        if (then === "wait") yield* job.cancel("enough")
      })
    )
    const end = yield* Effect.match(job.result, { onFailure: (error) => error.message, onSuccess: () => "returned" })
    // The gateway is asked to revoke it behind the job's end.
    const statusAfter = yield* Effect.repeat(Effect.delay(status, "20 millis"), {
      until: (now) => now === 401,
      times: 50
    })
    yield* Console.log(`  it ended (${end}); its key: ${statusAtWork} while it ran, ${statusAfter} afterwards`)
    return { secret: Redacted.value(secret), text: [...seen, end].join("\n"), statusAtWork, statusAfter }
  })

/** All that this process logs. */
const logged: Array<string> = []
const Logs = Logger.replace(
  Logger.defaultLogger,
  Logger.map(Logger.jsonLogger, (line) => void logged.push(line))
)

const program = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "arcp-credentials-" })
  const runtime = ArcpRuntime.layer({ name: "credentials" }).pipe(
    Layer.provide(AskLive),
    Layer.provideMerge(TestGateway.layer()),
    Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
    Layer.provide([Ids.layer, SqliteStore.layer({ filename: `${folder}/arcp.db` })]),
    Layer.provide(Authenticator.layerBearer({ "owner-token": "owner" }))
  )
  const client = Layer.unwrapEffect(
    Effect.map(Server, ({ address }) =>
      ArcpClient.layer({ auth: { token: Redacted.make("owner-token") } }).pipe(
        Layer.provide(WebSocketClient.layer({ url: address }))
      )
    )
  )
  const jobs = yield* Effect.forEach(["return", "fail", "wait"] as const, run).pipe(
    Effect.provide(Layer.provideMerge(client, runtime)),
    Effect.scoped
  )

  const secrets = jobs.map(({ secret }) => secret)
  yield* claim("each job had a key of its own", new Set(secrets).size === 3 && !secrets.includes("none"))
  yield* claim(
    "the gateway refused the model that the lease does not name, and the call beyond its budget",
    jobs.every(({ text }) => text.includes("large/a: key_model_access_denied") && text.includes("budget_exceeded"))
  )
  yield* claim(
    "each key was valid while its job ran, and is dead after it: returned, failed or cancelled",
    jobs.every(({ statusAfter, statusAtWork }) => statusAtWork !== 401 && statusAfter === 401)
  )
  const files = yield* Effect.forEach(yield* fs.readDirectory(folder), (name) => fs.readFile(`${folder}/${name}`))
  const everything = [
    ...jobs.map(({ text }) => text),
    ...logged,
    ...files.map((bytes) => new TextDecoder("latin1").decode(bytes))
  ].join("\n")
  yield* claim(
    "no key is in an event, an error, a log line or a file",
    logged.some((line) => line.includes("it has a key")) && secrets.every((secret) => !everything.includes(secret))
  )
})

const main = program.pipe(Effect.scoped, Effect.provide([NodeContext.layer, Logs]), Effect.timeout("30 seconds"))
NodeRuntime.runMain(main, { disablePrettyLogger: true })

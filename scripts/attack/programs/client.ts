/** A program that drives agents, with arguments of every shape; its own arguments are a runtime's address and a way. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { ArcpClient, type ArcpClientService } from "effect-arcp/client"
import { WebSocketClient } from "effect-arcp/transport/node"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { say } from "./common.js"
import { shapeNames, shapeOf } from "./shapes.js"

const [url = "", way = "input"] = process.argv.slice(2)

// What is passed where a type is promised: the caller is plain JavaScript.
// oxlint-disable-next-line typescript/no-explicit-any
const untrue = (value: unknown): any => value

const calls: Readonly<Record<string, (client: ArcpClientService, value: unknown) => Effect.Effect<unknown, unknown>>> =
  {
    input: (client, value) => Effect.flatMap(client.submit("echo", value), ({ result }) => result),
    nested: (client, value) => Effect.flatMap(client.submit("echo", { id: [value] }), ({ result }) => result),
    lease: (client, value) => client.submit("echo", 1, { lease: untrue({ "fs.read": [value] }) }),
    expiresAt: (client, value) => client.submit("echo", 1, { expiresAt: untrue(value) }),
    key: (client, value) => client.submit("echo", 1, { idempotencyKey: untrue(value) }),
    runtime: (client, value) => client.submit("echo", 1, { maxRuntimeSec: untrue(value) }),
    trace: (client, value) => client.submit("echo", 1, { trace: untrue({ traceId: value, spanId: value }) }),
    agent: (client, value) => client.submit(untrue(value), 1),
    cancel: (client, value) => Effect.flatMap(client.submit("ticker", null), (job) => job.cancel(untrue(value))),
    list: (client, value) => Stream.runCollect(client.listJobs(untrue({ agent: value, pageSize: value }))),
    subscribe: (client, value) => client.subscribe(untrue(value)),
    from: (client, value) => client.subscribe("01J0000000000000000000000Z", { fromEventSeq: untrue(value) }),
    unsubscribe: (client, value) => client.unsubscribe(untrue(value)),
    artifact: (client, value) =>
      client.artifacts.put(new Uint8Array(3), untrue({ contentType: value, retainSeconds: value })),
    artifactBytes: (client, value) => client.artifacts.put(untrue(value), { contentType: "text/plain" }),
    fetch: (client, value) => client.artifacts.fetch(untrue(value))
  }

const guarded = (client: ArcpClientService, value: unknown) =>
  Effect.suspend(() => calls[way]!(client, value)).pipe(
    Effect.timeoutTo({ duration: "3 seconds", onSuccess: () => "ended", onTimeout: () => "nothing within 3 s" }),
    Effect.exit,
    Effect.map((exit) => (Exit.isSuccess(exit) ? exit.value : exit.cause._tag === "Fail" ? "failed" : "died"))
  )

/** A plain submit must still work. */
const plain = (client: ArcpClientService) =>
  Effect.flatMap(client.submit("echo", { plain: true }), ({ result }) => result).pipe(
    Effect.timeout("3 seconds"),
    Effect.exit,
    Effect.map((exit) => (Exit.isSuccess(exit) ? "works" : "does not work"))
  )

const main = Effect.gen(function* () {
  const client = yield* ArcpClient
  yield* client.connected
  for (const shape of shapeNames) {
    const call = yield* guarded(client, shapeOf(shape))
    const next = yield* plain(client)
    say("tried", { shape, call, next })
    if (next !== "works") break
  }
  say("done")
}).pipe(
  Effect.scoped,
  Effect.provide(
    ArcpClient.layer({ auth: { token: Redacted.make("secret") }, closeTimeout: Duration.seconds(1) }).pipe(
      Layer.provide(WebSocketClient.layer({ url }))
    )
  )
)

NodeRuntime.runMain(main)

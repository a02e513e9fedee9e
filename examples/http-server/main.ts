/**
 * Puts a runtime beside the ordinary routes of a web server, on one port: of `@effect/platform`, of plain Node, and of Express.
 *
 * It shows: the runtime has one path and leaves all others alone (ARCP 1.0 §4.1). The three servers are `platform.ts`, `node.ts` and
 * `express.ts`. It brings its own runtimes.
 */
import { get, request } from "node:http"
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { WebSocketClient } from "effect-arcp/transport/node"
import { Console, Effect, Layer, Redacted } from "effect"
import { claim } from "../support/claim.js"
import { onExpress } from "./express.js"
import { node } from "./node.js"
import { platform } from "./platform.js"
import { Greet } from "./runtime.js"

const page = (port: number, path: string) =>
  Effect.async<string>((resume) => {
    get({ port, path, agent: false }, (response) => {
      let body = ""
      response.on("data", (part) => (body += part)).on("end", () => resume(Effect.succeed(body)))
    })
  })

/** How a server answers a WebSocket's opening handshake at a path: 101 accepts it. */
const upgradeAt = (port: number, path: string) =>
  Effect.async<number>((resume) => {
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": 13,
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="
    }
    const answered = (status: number | undefined) => resume(Effect.succeed(status ?? 0))
    request({ port, path, headers, agent: false })
      .on("response", (response) => answered(response.resume().statusCode))
      .on("upgrade", (response, socket) => {
        socket.destroy()
        answered(response.statusCode)
      })
      .on("error", () => answered(0))
      .end()
  })

const greeting = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const job = yield* arcp.submit(Greet, "you there")
  return `${yield* job.result}, from ${(yield* arcp.runtime).name}`
})

const check = (name: string, port: number) =>
  Effect.gen(function* () {
    const url = `ws://127.0.0.1:${port}/arcp`
    const client = ArcpClient.layer({ auth: { token: Redacted.make("example-token") } }).pipe(
      Layer.provide(WebSocketClient.layer({ url }))
    )
    const health = yield* page(port, "/health")
    const greeted = yield* Effect.provide(greeting, client)
    const healthBehind = yield* page(port, "/health")
    const statuses = yield* Effect.forEach(["/arcp", "/health", "/other"], (path) => upgradeAt(port, path))
    yield* Console.log(`${name} on port ${port}\n  ${health}; ${greeted}; upgrades are answered ${statuses.join(", ")}`)
    yield* claim(
      `${name} answers GET /health, before and behind a job`,
      health === `${name} is well` && healthBehind === health
    )
    yield* claim(`${name} runs a job on the same port`, greeted === `hello, you there, from ${name}`)
    yield* claim(
      `${name} upgrades the runtime's path and no other`,
      statuses[0] === 101 && !statuses.slice(1).includes(101)
    )
  })

const program = Effect.gen(function* () {
  yield* check("platform", yield* platform)
  yield* check("node", yield* node)
  yield* check("express", yield* onExpress)
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.timeout("30 seconds")))

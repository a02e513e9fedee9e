/**
 * Runs the client in a browser: a page that is bundled for it drives a runtime over the browser's own WebSocket.
 *
 * It shows: the client and an agent's class need nothing of Node, and how large they are; a runtime lets in the pages of its own origin and
 * no other's (ARCP 1.1 §14). `page.ts` is the page's program, `browser.ts` says where it runs. It brings its own runtime.
 */
import { once } from "node:events"
import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { WebSocketServer } from "effect-arcp/transport/node"
import { Console, Deferred, Effect, Layer, Schema } from "effect"
import { build } from "esbuild"
import { claim } from "../support/claim.js"
import { Double } from "./agent.js"
import { open } from "./browser.js"

const DoubleLive = Double.toLayer(({ numbers }) =>
  Effect.forEach(numbers, (n, i) => Effect.as(Job.progress({ current: i + 1, total: numbers.length }), 2 * n))
)

/** The page's script. A module that a browser does not have fails here. */
const bundle = Effect.promise(() =>
  build({
    entryPoints: [fileURLToPath(new URL("page.ts", import.meta.url))],
    ...{ bundle: true, minify: true, write: false, platform: "browser", format: "iife", logLevel: "silent" }
  })
)

const Outcome = Schema.parseJson(
  Schema.Struct({ events: Schema.Array(Schema.Number), result: Schema.Array(Schema.Number), by: Schema.String })
)

/** How a WebSocket is answered that a page of another site opens. */
const foreign = (port: number) =>
  Effect.async<number>((resume) => {
    const headers = {
      ...{ Connection: "Upgrade", Upgrade: "websocket", Origin: "https://evil.example" },
      ...{ "Sec-WebSocket-Version": 13, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" }
    }
    const answered = (status = 0) => resume(Effect.succeed(status))
    request({ port, path: "/arcp", headers, agent: false })
      .on("response", (response) => answered(response.resume().statusCode))
      .on("upgrade", (response, socket) => answered((socket.destroy(), response.statusCode)))
      .end()
  })

const program = Effect.gen(function* () {
  const [script] = (yield* bundle).outputFiles
  const code = script?.text ?? ""
  yield* Console.log(`the page's script: ${code.length >> 10} KiB, ${gzipSync(code).length >> 10} KiB with gzip`)

  // One server for the page and its runtime.
  const told = yield* Deferred.make<string>()
  const server = createServer((request, response) => {
    if (request.url === "/page.js") response.end(code)
    else if (request.url !== "/outcome") response.end("<!doctype html><script src=/page.js></script>")
    else {
      response.end()
      void text(request).then((body) => Deferred.unsafeDone(told, Effect.succeed(body)))
    }
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
    () => Effect.sync(() => (server.close(), server.closeAllConnections()))
  )
  const { port } = server.address() as AddressInfo
  const runtime = ArcpRuntime.layer({ name: "browser-client" }).pipe(
    Layer.provide(DoubleLive),
    Layer.provide(WebSocketServer.layerFromServer(server)),
    Layer.provide(Authenticator.layerBearer({ "page-token": "the page" })),
    Layer.provide(MemoryStore.layer)
  )
  yield* Layer.build(runtime)

  const fs = yield* FileSystem.FileSystem
  const profile = yield* fs.makeTempDirectoryScoped({ prefix: "arcp-browser-" })
  yield* open(`http://127.0.0.1:${port}/?token=page-token`, code, profile)
  const { by, events, result } = yield* Effect.flatMap(Deferred.await(told), Schema.decode(Outcome))
  yield* Console.log(`${by}: ${result.join(", ")}`)

  yield* claim("the script asks for no module of Node", code !== "" && !/["'`]node:|\brequire\(["'`]/.test(code))
  yield* claim("in the page every event came, in order, and the result", `${events}/${result}` === "1,2,3/2,4,6")
  yield* claim("a page of another site is not let in", (yield* foreign(port)) === 403)
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(NodeContext.layer), Effect.timeout("30 seconds")))

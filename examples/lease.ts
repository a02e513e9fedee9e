/**
 * A lease is what a job may do. The code of `ordinary.ts` imports nothing of this package; hosted as an agent it is held to the
 * lease that its client asked for: files, links, pages and redirects are checked, what is outside is refused, told to the
 * client as it happens, and handled by the code as any other failure of its services.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Agent } from "effect-arcp/agent"
import { PinnedHttpClient } from "effect-arcp/agent/node"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Effect, Either, Layer, Redacted, Schema, Stream } from "effect"
import { digest } from "./ordinary.js"

class Digest extends Agent.make("digest", {
  input: Schema.Struct({ sources: Schema.Array(Schema.String), target: Schema.String }),
  output: Schema.Struct({ sources: Schema.Number })
}) {}

// All that makes an agent of it. The services that it gets are bounded by each job's lease; the client connects to checked addresses only.
const DigestLive = Digest.toLayer(({ sources, target }) =>
  Effect.map(digest(sources, target), (count) => ({ sources: count }))
).pipe(Layer.provide([NodeContext.layer, PinnedHttpClient.layer()]))

const RuntimeLive = ArcpRuntime.layer({ name: "lease" }).pipe(
  Layer.provide(DigestLive),
  Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
  Layer.provide(Authenticator.layerBearer({ "example-token": "reader" })),
  Layer.provide(MemoryStore.layer)
)

const ClientLive = Layer.unwrapEffect(
  Effect.map(Server, ({ address }) =>
    ArcpClient.layer({ auth: { token: Redacted.make("example-token") } }).pipe(
      Layer.provide(WebSocketClient.layer({ url: address }))
    )
  )
)

/** A web site with a public part, a private one, and a way from the one to the other. */
const site = Effect.acquireRelease(
  Effect.async<{ readonly origin: string; readonly served: Array<string>; readonly close: () => void }>((resume) => {
    const served: Array<string> = []
    const http = createServer((request, response) => {
      served.push(request.url ?? "")
      if (request.url === "/public/moved") response.writeHead(302, { location: "/private/page" }).end()
      else response.end(`the page ${request.url}\n`)
    })
    http.listen(0, "127.0.0.1", () => {
      const { port } = http.address() as AddressInfo
      resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, served, close: () => void http.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient
  const fs = yield* FileSystem.FileSystem
  const web = yield* site
  const root = yield* Effect.flatMap(fs.makeTempDirectoryScoped({ prefix: "arcp-lease-" }), fs.realPath)
  yield* fs.makeDirectory(`${root}/public`)
  yield* fs.makeDirectory(`${root}/out`)
  yield* fs.writeFileString(`${root}/public/notes.txt`, "notes for everybody\n")
  yield* fs.writeFileString(`${root}/key.txt`, "the key to everything\n")
  yield* fs.symlink(`${root}/key.txt`, `${root}/public/harmless.txt`)

  const sources = [
    `${root}/public/notes.txt`,
    `${web.origin}/public/page`,
    `${root}/key.txt`,
    `${root}/public/../key.txt`,
    `${root}/public/harmless.txt`,
    `${web.origin}/private/page`,
    `${web.origin}/public/moved`,
    `${web.origin.replace("127.0.0.1", "localhost")}/private/page`
  ]
  const lease = {
    "fs.read": [`${root}/public/**`],
    "fs.write": [`${root}/out/*`],
    // Any public host; on this machine, which is inside the network, only what is named.
    "net.fetch": ["http://**", `${web.origin}/public/**`]
  }
  const tidy = (text: string) => text.replaceAll(root, "").replaceAll(web.origin, "http://site")
  yield* Console.log(`the lease: ${tidy(JSON.stringify(lease))}\n`)

  const job = yield* client.submit(Digest, { sources, target: `${root}/out/digest.txt` }, { lease })
  const refusals: Array<string> = []
  yield* job.events.pipe(
    Stream.runForEach((event) => {
      if (event._tag !== "tool_result" || event.body.error === undefined) return Effect.void
      refusals.push(event.body.error.code)
      return Console.log(`refused: ${tidy(event.body.error.message)}`)
    })
  )
  yield* job.result

  const text = yield* fs.readFileString(`${root}/out/digest.txt`)
  yield* Console.log(`\nwhat the agent wrote:\n${tidy(text)}`)

  // The same code under a lease that lets it write nowhere: nobody handles that, and the job ends with the denial.
  const second = yield* client.submit(Digest, { sources: [], target: `${root}/out/digest.txt` }, { lease: {} })
  const end = yield* Effect.either(second.result)
  if (Either.isRight(end)) return yield* Effect.dieMessage("a job without a lease has written")
  yield* Console.log(`\nwithout a lease: ${end.left._tag}, ${tidy(end.left.message)}`)

  const held =
    refusals.length === 6 &&
    !text.includes("the key to everything") &&
    text.includes("notes for everybody") &&
    !web.served.includes("/private/page")
  yield* Console.log(
    `\n${refusals.length} of ${sources.length} refused, nothing got out: ${held ? "proved" : "NOT SO"}`
  )
  if (!held) return yield* Effect.dieMessage("the lease did not hold")
})

const Live = ClientLive.pipe(Layer.provideMerge(RuntimeLive), Layer.provideMerge(NodeContext.layer))

NodeRuntime.runMain(Effect.provide(Effect.scoped(program), Live))

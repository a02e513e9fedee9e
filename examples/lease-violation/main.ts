/**
 * Hosts ordinary code as an agent, and refuses what it tries to read, fetch or write beyond its client's lease.
 *
 * It shows: `ordinary.ts`, which imports nothing of this package and uses the platform's `FileSystem` and `HttpClient`. Each path, link,
 * page and redirect is checked against the lease (ARCP 1.1 §9.3). A refusal is an event for the client, and for the code a failure of
 * its services like any other. It brings a runtime and a web site of its own.
 */
import { createServer } from "node:http"
import { FileSystem, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent } from "effect-arcp/agent"
import { PinnedHttpClient } from "effect-arcp/agent/node"
import { ArcpClient } from "effect-arcp/client"
import { TestArcp } from "effect-arcp/testing"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { claim } from "../support/claim.js"
import { digest } from "./ordinary.js"

class Digest extends Agent.make("digest", {
  input: Schema.Struct({ sources: Schema.Array(Schema.String), target: Schema.String }),
  output: Schema.Struct({ sources: Schema.Number })
}) {}

// All that makes an agent of it. Its file system and HTTP client are bounded by each job's lease.
const DigestLive = Digest.toLayer(({ sources, target }) =>
  Effect.map(digest(sources, target), (count) => ({ sources: count }))
).pipe(Layer.provide([NodeContext.layer, PinnedHttpClient.layer()]))

/** The pages that the web site has been asked for; `/public/moved` leads to a private one. */
const asked: Array<string> = []
const SiteLive = HttpServer.serve(
  Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
    asked.push(url)
    return url === "/public/moved"
      ? HttpServerResponse.redirect("/private/page")
      : HttpServerResponse.text(`the page ${url}\n`)
  })
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const fs = yield* FileSystem.FileSystem
  const origin = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
  // a lease names real paths; a temporary folder may itself be a link
  const root = yield* Effect.flatMap(fs.makeTempDirectoryScoped({ prefix: "arcp-lease-" }), fs.realPath)
  yield* fs.makeDirectory(`${root}/public`)
  yield* fs.makeDirectory(`${root}/out`)
  yield* fs.writeFileString(`${root}/public/notes.txt`, "notes for all\n")
  yield* fs.writeFileString(`${root}/key.txt`, "the key to everything\n")
  yield* fs.symlink(`${root}/key.txt`, `${root}/public/link.txt`)

  const lease = {
    "fs.read": [`${root}/public/**`],
    "fs.write": [`${root}/out/*`],
    "net.fetch": [`${origin}/public/**`]
  }
  const allowed = [`${root}/public/notes.txt`, `${origin}/public/page`]
  const forbidden = [
    `${root}/key.txt`,
    `${root}/public/../key.txt`,
    `${root}/public/link.txt`,
    `${origin}/private/page`,
    `${origin}/public/moved`
  ]
  const short = (text: string) => text.replaceAll(root, "").replaceAll(origin, "http://site")
  yield* Console.log(`the lease: ${short(JSON.stringify(lease))}\n`)

  const target = `${root}/out/digest.txt`
  const job = yield* arcp.submit(Digest, { sources: [...allowed, ...forbidden], target }, { lease })
  const refusals: Array<string> = []
  yield* Stream.runForEach(job.events, (event) => {
    if (event._tag !== "tool_result" || event.body.error === undefined) return Effect.void
    refusals.push(event.body.error.code)
    return Console.log(`refused: ${short(event.body.error.message)}`)
  })
  yield* job.result
  const text = yield* fs.readFileString(target)
  yield* Console.log(`\nwhat the agent wrote:\n${short(text)}\n`)

  yield* claim(
    "everything outside the lease was refused, and told to the client",
    refusals.join() === forbidden.map(() => "PERMISSION_DENIED").join()
  )
  yield* claim(
    "the agent read what it may read, and nothing else",
    text.includes("notes for all") && text.includes("the page /public/page") && !text.includes("key to everything")
  )
  yield* claim("the private page was not even asked for", asked.join() === "/public/page,/public/moved")

  // the same code under a lease that names no folder to write to: it does not handle that failure
  const second = yield* arcp.submit(Digest, { sources: [], target: `${root}/out/second.txt` })
  const end = yield* Effect.flip(second.result)
  yield* Console.log(`without a lease: ${end._tag}, ${short(end.message)}`)

  yield* claim(
    "a refusal that the code does not handle is the job's end, and nothing was written",
    end._tag === "PermissionDenied" && !(yield* fs.exists(`${root}/out/second.txt`))
  )
}).pipe(Effect.scoped)

const Live = Layer.mergeAll(TestArcp.layer(DigestLive), SiteLive, NodeContext.layer)
NodeRuntime.runMain(program.pipe(Effect.provide(Live), Effect.timeout("1 minute")))

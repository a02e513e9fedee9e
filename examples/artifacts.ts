/**
 * Keeps bytes of a client and of an agent with the runtime, fetches them from another session, checks them and releases them.
 *
 * It shows: artifacts, which this implementation has beyond ARCP 1.1, and the event `artifact_ref` (§8.2) by which an agent names one.
 * A put with a wrong digest is rejected, and what was released is gone for every client.
 */
import { createHash } from "node:crypto"
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { Console, Effect, Option, Stream } from "effect"
import { Artifact, ArtifactLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { token, transport } from "./support/runtime.js"

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

const program = Effect.gen(function* () {
  const { artifacts, submit } = yield* ArcpClient.make({ auth: { token } })
  // another session of the same principal: what is kept is the principal's
  const { artifacts: others } = yield* ArcpClient.make({ auth: { token } })

  const bytes = new TextEncoder().encode("city,degrees\nLima,19\nOslo,4\n")
  const put = yield* artifacts.put(bytes, { contentType: "text/csv; charset=utf-8", retainSeconds: 60 })
  yield* Console.log(`put:     ${put.uri} (${put.byteSize} bytes, sha256 ${put.sha256.slice(0, 12)}…)`)
  const fetched = yield* others.fetch(put.uri)
  yield* Console.log(`fetched: ${JSON.stringify(text(fetched.bytes))}`)

  const job = yield* submit(Artifact, { text: "written by an agent" })
  const ref = yield* job.events.pipe(
    Stream.filter((event) => event._tag === "artifact_ref"),
    Stream.runHead,
    Effect.flatMap(Option.map(({ body }) => body))
  )
  const result = yield* job.result
  const ofAgent = yield* others.fetch(ref.uri)
  yield* Console.log(`the agent's: ${ref.uri} ${JSON.stringify(text(ofAgent.bytes))}`)

  const wrong = yield* Effect.flip(artifacts.put(bytes, { contentType: "text/csv", sha256: "0".repeat(64) }))
  yield* Console.log(`a wrong digest: ${wrong.message}`)

  yield* others.release(put.artifactId)
  const gone = yield* Effect.flip(artifacts.fetch(put.uri))
  yield* Console.log(`after its release: ${gone._tag}, ${gone.message}\n`)
  yield* artifacts.release(ref.uri)

  yield* claim(
    "what was put is what was fetched",
    text(fetched.bytes) === text(bytes) && fetched.contentType === put.contentType
  )
  yield* claim(
    "both sides have the digest of the bytes",
    put.sha256 === sha256(bytes) && fetched.sha256 === sha256(fetched.bytes)
  )
  yield* claim(
    "an agent's artifact is named by an event, and fetched by that name",
    text(ofAgent.bytes) === "written by an agent" && ref.sha256 === sha256(ofAgent.bytes) && result.uri === ref.uri
  )
  yield* claim("bytes that do not have the digest are rejected", wrong._tag === "InvalidRequest")
  yield* claim("what one client released is gone for the other", gone._tag === "JobNotFound")
}).pipe(Effect.scoped)

NodeRuntime.runMain(program.pipe(Effect.provide(transport(ArtifactLive)), Effect.timeout("1 minute")))

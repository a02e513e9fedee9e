import { NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Effect, Layer, Option, Redacted, Stream } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { ArcpRuntime, Limits } from "../../src/runtime/index.js"
import { ArtifactStore, FolderArtifactStore, MemoryStore, Store } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Connector } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { backends } from "./backends.js"
import { allFeatures, barrier, hello, type Peer, run } from "./peer.js"
import { world, type WorldOptions } from "./world.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-artifacts-runtime-")

const features = [...allFeatures, "artifacts"]
const b64 = (text: string | Uint8Array) => Buffer.from(text).toString("base64")
const digest = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex")

const ask = (peer: Peer, type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)
const put = (peer: Peer, data: string | Uint8Array, more: object = {}) =>
  ask(peer, "artifact.put", { content_type: "text/plain", data: b64(data), ...more })

const author = Agent.untyped("author", (input) =>
  Effect.gen(function* () {
    const { contentType = "text/csv", text } = input as { text: string; contentType?: string }
    const ref = yield* Job.artifact(new TextEncoder().encode(text), { contentType, retainSeconds: 60 })
    yield* Job.log("after")
    return ref
  })
)

/** A runtime with the agent `author`, over the given options. */
const authored = (options: WorldOptions = {}) =>
  ArcpRuntime.layer({ drainTime: 0, ...options.runtime }).pipe(
    Layer.provide(author),
    Layer.provide(Limits.layer(options.limits ?? {})),
    Layer.provideMerge(options.transport ?? MemoryTransport.layerEncoded),
    Layer.provide(options.store ?? MemoryStore.layer),
    Layer.provide(Authenticator.layerBearer({ "alice-token": "alice", "bob-token": "bob" }))
  )

const clientOf = (runtime: ReturnType<typeof authored>) =>
  ArcpClient.layer({ auth: { token: Redacted.make("alice-token") } }).pipe(Layer.provideMerge(runtime))

describe.each(backends)("artifacts over %s", (_name, options) => {
  it.scopedLive("§8.2 what is put is fetched as it was, and released once", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      expect(peer.welcome.payload.capabilities.features).toContain("artifacts")
      const ref = yield* put(peer, "hello", { content_type: "text/plain; charset=utf-8", retain_seconds: 60 })
      expect(ref.type).toBe("artifact.ref")
      const { artifact_id, expires_at } = ref.payload
      expect(artifact_id).toMatch(/^art_[0-9A-HJKMNP-TV-Z]{26}$/)
      expect(ref.payload).toMatchObject({
        uri: `arcp://artifact/${artifact_id}`,
        content_type: "text/plain; charset=utf-8",
        byte_size: 5,
        sha256: digest("hello")
      })
      expect(Number.isNaN(Date.parse(expires_at))).toBe(false)
      expect(ref.event_seq).toBeUndefined()
      const data = yield* ask(peer, "artifact.fetch", { artifact_id })
      expect(data.type).toBe("artifact.data")
      expect(data.payload).toMatchObject({
        artifact_id,
        content_type: "text/plain; charset=utf-8",
        data: b64("hello"),
        sha256: digest("hello")
      })
      const released = yield* ask(peer, "artifact.release", { artifact_id })
      expect([released.type, released.payload.artifact_id]).toEqual(["artifact.released", artifact_id])
      for (const type of ["artifact.fetch", "artifact.release"]) {
        expect((yield* ask(peer, type, { artifact_id })).payload.code).toBe("JOB_NOT_FOUND")
      }
    }).pipe(Effect.provide(world(options())))
  )

  it.scopedLive("§8.2 a foreign artifact, an unknown one and no id at all are told in the same words", () =>
    Effect.gen(function* () {
      const alice = yield* hello({ features })
      const bob = yield* hello({ features, token: "bob-token" })
      const { artifact_id } = (yield* put(alice, "mine")).payload
      const answers = []
      for (const type of ["artifact.fetch", "artifact.release"]) {
        for (const id of [artifact_id, "art_01ARZ3NDEKTSV4RRFFQ69G5FAV", "../../etc/passwd", "x"]) {
          const { code, details, message, retryable } = (yield* ask(bob, type, { artifact_id: id })).payload
          answers.push(JSON.stringify({ code, details, message, retryable }))
        }
      }
      expect(new Set(answers).size).toBe(1)
      expect(JSON.parse(answers[0]!)).toMatchObject({ code: "JOB_NOT_FOUND", retryable: false })
      // Another session of the same principal sees it, and bob has harmed nothing.
      const again = yield* hello({ features })
      expect((yield* ask(again, "artifact.fetch", { artifact_id })).payload.data).toBe(b64("mine"))
    }).pipe(Effect.provide(world(options())))
  )

  it.scopedLive("§6.2 who has not negotiated artifacts is refused, and is not offered them", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      expect(peer.welcome.payload.capabilities.features).not.toContain("artifacts")
      for (const [type, payload] of [
        ["artifact.put", { content_type: "text/plain", data: "" }],
        ["artifact.fetch", { artifact_id: "a" }],
        ["artifact.release", { artifact_id: "a" }]
      ] as const) {
        expect((yield* ask(peer, type, payload)).payload).toMatchObject({
          code: "INVALID_REQUEST",
          message: "type: the feature artifacts was not negotiated"
        })
      }
    }).pipe(Effect.provide(world(options())))
  )

  it.scopedLive("§12 a put that breaks a rule is refused naming the field, and the next one works", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const bad: ReadonlyArray<readonly [object, string]> = [
        [{ data: "aGk" }, "payload.data"],
        [{ data: "aGk=\n" }, "payload.data"],
        [{ data: "aGl=" }, "payload.data"],
        [{ data: "-_-_" }, "payload.data"],
        [{ data: "a=b=" }, "payload.data"],
        [{ content_type: "text" }, "payload.content_type"],
        [{ content_type: "" }, "payload.content_type"],
        [{ content_type: "text/plain\r\nx: y" }, "payload.content_type"],
        [{ content_type: 'text/plain; a="open' }, "payload.content_type"],
        [{ sha256: digest("other") }, "payload.sha256"],
        [{ sha256: digest("hi").toUpperCase() }, "payload.sha256"],
        [{ retain_seconds: 0 }, "payload.retain_seconds"]
      ]
      for (const [more, field] of bad) {
        const { code, message } = (yield* put(peer, "hi", more)).payload
        expect([code, message.split(":")[0]], JSON.stringify(more)).toEqual(["INVALID_REQUEST", field])
        yield* barrier(peer)
      }
      expect((yield* put(peer, "hi", { sha256: digest("hi") })).type).toBe("artifact.ref")
      expect((yield* put(peer, "", { content_type: 'a/b; x="q\\"q"; y=1' })).payload.byte_size).toBe(0)
    }).pipe(Effect.provide(world({ ...options(), limits: { badFramesInARow: 100 } })))
  )

  it.scopedLive("§14 the largest artifact passes both ways, one more byte does not, and pings are answered", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const data = new Uint8Array(3_000_000).fill(251)
      const ids: Array<string> = []
      for (let n = 0; n < 8; n++) ids.push(yield* peer.send("artifact.put", { content_type: "a/b", data: b64(data) }))
      const refs = yield* Effect.forEach(ids, peer.reply)
      expect(refs.map((ref) => ref.payload.byte_size)).toEqual(ids.map(() => 3_000_000))
      const fetches = yield* Effect.forEach(refs, (ref) =>
        peer.send("artifact.fetch", { artifact_id: ref.payload.artifact_id })
      )
      yield* barrier(peer)
      for (const id of fetches) expect((yield* peer.reply(id)).payload.data).toBe(b64(data))
      expect((yield* put(peer, new Uint8Array(3_000_001))).payload).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true,
        details: { reason: "artifact_too_large", max_bytes: 3_000_000 }
      })
      yield* barrier(peer)
    }).pipe(Effect.provide(world(options())))
  )

  it.scopedLive("§8.2 an agent's artifact is stored before it is announced, and its principal fetches it", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const end = yield* run(peer, "author", { text: "a,b" })
      expect(end.type).toBe("job.result")
      const [event, after] = peer.events().filter((f) => ["artifact_ref", "log"].includes(f.payload.kind))
      expect(after!.payload.kind).toBe("log")
      const { artifactId, expiresAt: _, ...facts } = end.payload.result
      expect(event!.payload.body).toEqual({
        uri: `arcp://artifact/${artifactId}`,
        content_type: "text/csv",
        byte_size: 3,
        sha256: digest("a,b")
      })
      expect(facts).toMatchObject({ uri: event!.payload.body.uri, byteSize: 3, sha256: digest("a,b") })
      expect((yield* ask(peer, "artifact.fetch", { artifact_id: artifactId })).payload.data).toBe(b64("a,b"))
      const bob = yield* hello({ features, token: "bob-token" })
      expect((yield* ask(bob, "artifact.fetch", { artifact_id: artifactId })).payload.code).toBe("JOB_NOT_FOUND")
      const refused = yield* run(peer, "author", { text: "x", contentType: "no type" })
      expect(refused.payload).toMatchObject({ code: "INVALID_REQUEST", final_status: "error" })
      expect(peer.events().filter((f) => f.payload.kind === "artifact_ref")).toHaveLength(1)
    }).pipe(Effect.provide(authored(options())))
  )

  it.scopedLive("§8.2 the client puts, fetches by URI and releases, and reads what a job left", () =>
    Effect.gen(function* () {
      const { artifacts, submit } = yield* ArcpClient
      const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i & 255)
      const ref = yield* artifacts.put(bytes.subarray(10), { contentType: "application/octet-stream" })
      expect(ref).toMatchObject({ byteSize: 69_990, sha256: digest(bytes.subarray(10)) })
      const found = yield* artifacts.fetch(ref.uri)
      expect(Buffer.compare(found.bytes, bytes.subarray(10))).toBe(0)
      expect(found.contentType).toBe("application/octet-stream")
      expect((yield* artifacts.fetch(ref.artifactId)).sha256).toBe(ref.sha256)
      yield* artifacts.release(ref.uri)
      expect(yield* Effect.flip(artifacts.fetch(ref.uri))).toMatchObject({ _tag: "JobNotFound" })
      expect(yield* Effect.flip(artifacts.release(ref.uri))).toMatchObject({ _tag: "JobNotFound" })
      const job = yield* submit("author", { text: "left" })
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      const uri = events.find((event) => event._tag === "artifact_ref")!.body.uri
      expect(new TextDecoder().decode((yield* artifacts.fetch(uri)).bytes)).toBe("left")
      for (const bad of [
        artifacts.put(bytes, { contentType: "nonsense" }),
        artifacts.put(bytes, { contentType: "a/b", sha256: digest("other") }),
        artifacts.put(bytes, { contentType: "a/b", retainSeconds: 0.5 }),
        artifacts.put(new Uint8Array(3_000_001), { contentType: "a/b" }),
        artifacts.fetch("arcp://artifact/"),
        artifacts.fetch("arcp://artifact/a/b"),
        artifacts.release("https://example.com/x")
      ]) {
        expect(yield* Effect.flip(bad as Effect.Effect<unknown, unknown>)).toMatchObject({ _tag: "InvalidRequest" })
      }
    }).pipe(Effect.provide(clientOf(authored(options()))))
  )
})

const folderLayer = Layer.provide(
  FolderArtifactStore.layer({ directory: join(folder, "artifacts") }),
  NodeFileSystem.layer
)

/** A store that keeps no artifacts. */
const storeOnly = (all: Context.Context<Store | ArtifactStore>) => Context.make(Store, Context.get(all, Store))

describe("artifacts: memory", () => {
  it.scoped("§14 a peer that asks for much and reads nothing costs the bytes of a few artifacts", () => {
    let reads = 0
    const ids = Array.from({ length: 50 }, (_, n) => `art_${String(n).padStart(26, "0")}`)
    const counting = Layer.effect(
      ArtifactStore,
      Effect.gen(function* () {
        const store = yield* ArtifactStore
        const data = new Uint8Array(10)
        for (const artifactId of ids) {
          yield* store.put(
            {
              artifactId,
              principalId: "alice",
              contentType: "a/b",
              byteSize: 10,
              sha256: digest(data),
              createdAt: 0,
              expiresAt: 1_000_000,
              jobId: undefined
            },
            data
          )
        }
        return { ...store, get: (id: string) => Effect.tap(store.get(id), () => Effect.sync(() => void reads++)) }
      })
    ).pipe(Layer.provide(ArtifactStore.layerMemory))
    return Effect.gen(function* () {
      const connector = yield* Connector
      const connection = yield* connector.connect
      const send = (type: string, payload: object) =>
        connection.send([JSON.stringify({ arcp: "1.1", id: ids[0], type, payload })])
      yield* send("session.hello", { auth: { scheme: "bearer", token: "alice-token" }, capabilities: { features } })
      for (const artifact_id of ids) yield* send("artifact.fetch", { artifact_id })
      yield* Effect.repeatN(Effect.yieldNow(), 5_000)
      expect(reads).toBeGreaterThan(0)
      expect(reads).toBeLessThanOrEqual(5)
      const frames = yield* Stream.runCollect(Stream.take(connection.inbound, 1 + ids.length))
      expect(frames.length).toBe(1 + ids.length)
      expect(reads).toBe(ids.length)
    }).pipe(
      Effect.provide(
        world({
          transport: MemoryTransport.layerWith({ encoded: true, capacity: 2 }),
          store: Layer.merge(MemoryStore.layer, counting)
        })
      )
    )
  })
})

describe("artifacts: stores", () => {
  it.scopedLive("§8.2 artifacts and what they count for survive a restart on a SQLite file", () =>
    Effect.gen(function* () {
      const filename = join(folder, "restart.db")
      const limits = { artifactsPerPrincipal: 1 }
      const layer = () => world({ store: SqliteStore.layer({ filename }), limits })
      const { artifact_id } = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        return (yield* put(peer, "kept")).payload as { artifact_id: string }
      }).pipe(Effect.provide(layer()), Effect.scoped)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        expect((yield* put(peer, "more")).payload).toMatchObject({ code: "INTERNAL_ERROR" })
        expect((yield* ask(peer, "artifact.fetch", { artifact_id })).payload.data).toBe(b64("kept"))
        yield* ask(peer, "artifact.release", { artifact_id })
        expect((yield* put(peer, "more")).type).toBe("artifact.ref")
      }).pipe(Effect.provide(layer()), Effect.scoped)
    })
  )

  it.scopedLive("§8.2 a folder takes the artifacts beside another store", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { artifact_id } = (yield* put(peer, "in a folder")).payload
      expect((yield* ask(peer, "artifact.fetch", { artifact_id })).payload.data).toBe(b64("in a folder"))
      const direct = yield* Effect.flatMap(ArtifactStore, (store) => store.info(artifact_id)).pipe(
        Effect.provide(folderLayer)
      )
      expect(Option.getOrThrow(direct).principalId).toBe("alice")
    }).pipe(
      Effect.provide(
        world({
          store: Layer.merge(MemoryStore.layer, folderLayer)
        })
      )
    )
  )

  it.scopedLive("§6.2 without a store nothing is offered, and an agent is told what to do", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      expect(peer.welcome.payload.capabilities.features).not.toContain("artifacts")
      const end = yield* run(peer, "author", { text: "x" })
      expect(end.payload).toMatchObject({ code: "INVALID_REQUEST" })
      expect(end.payload.message).toContain("provide an ArtifactStore")
    }).pipe(
      Effect.provide(
        authored({
          runtime: { features: ["heartbeat", "artifacts"] },
          store: Layer.map(MemoryStore.layer, (all) => storeOnly(all))
        })
      )
    )
  )

  it.scopedLive("§6.2 a client is told that the runtime does not offer artifacts", () =>
    Effect.gen(function* () {
      const { artifacts } = yield* ArcpClient
      expect(yield* Effect.flip(artifacts.fetch("a"))).toMatchObject({ _tag: "NotNegotiated", feature: "artifacts" })
    }).pipe(Effect.provide(clientOf(authored({ runtime: { features: ["heartbeat"] } }))))
  )
})

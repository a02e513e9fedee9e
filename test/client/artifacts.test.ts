import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { createHash } from "node:crypto"
import { ArcpClient } from "../../src/client/index.js"
import { Artifact, Ids } from "../../src/protocol/index.js"
import { ScriptedPeer } from "../../src/testing/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

// A scripted runtime answers no session.close, and nobody moves the clock when the scope ends.
const client = ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0 }).pipe(
  Layer.provideMerge(MemoryTransport.layerEncoded),
  Layer.provideMerge(Ids.layerSeeded(5))
)

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

/** The first client that connects, welcomed. */
const welcomed = Effect.gen(function* () {
  const [peer] = yield* Stream.runCollect(Stream.take(ScriptedPeer.accept, 1))
  const hello = yield* peer!.expect("session.hello")
  yield* peer!.send(
    "session.welcome",
    {
      resume_token: "rt_1",
      resume_window_sec: 600,
      heartbeat_interval_sec: 30,
      capabilities: { features: ["artifacts"] }
    },
    { session_id: "sess_1" }
  )
  return { peer: peer!, hello }
})

const data = { artifact_id: "a1", content_type: "text/plain", data: btoa("hello"), sha256: sha256("hello") }

describe("client artifacts", () => {
  it.scoped("§6.2 artifacts are offered by default", () =>
    Effect.gen(function* () {
      const { hello } = yield* welcomed
      expect((hello.payload.capabilities as { features: ReadonlyArray<string> }).features).toContain("artifacts")
    }).pipe(Effect.provide(client))
  )

  it.scoped("§8.2 bytes are handed out only with the digest that was told, of the artifact that was asked for", () =>
    Effect.gen(function* () {
      const { artifacts } = yield* ArcpClient
      const { peer } = yield* welcomed
      const fetched = (type: string, answer: object) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.either(artifacts.fetch("arcp://artifact/a1")))
          const request = yield* peer.expect("artifact.fetch")
          expect(request.payload).toEqual({ artifact_id: "a1" })
          yield* peer.send(type, { request_id: request.id, ...answer })
          return yield* Fiber.join(fiber)
        })
      expect(yield* fetched("artifact.data", data)).toMatchObject({
        right: { artifactId: "a1", contentType: "text/plain", bytes: new TextEncoder().encode("hello") }
      })
      for (const [type, answer] of [
        ["artifact.data", { ...data, data: btoa("hellO") }],
        ["artifact.data", { ...data, sha256: sha256("other") }],
        ["artifact.data", { ...data, data: "no base64!" }],
        ["artifact.data", { ...data, artifact_id: "a2" }],
        ["artifact.released", { artifact_id: "a1" }]
      ] as const) {
        expect(yield* fetched(type, answer)).toMatchObject({ left: { _tag: "ArtifactInvalid", artifactId: "a1" } })
      }
    }).pipe(Effect.provide(client))
  )

  it.scoped("§8.2 a put tells its digest, and a runtime that stored something else is noticed", () =>
    Effect.gen(function* () {
      const { artifacts } = yield* ArcpClient
      const { peer } = yield* welcomed
      const ref = {
        artifact_id: "a1",
        uri: "arcp://artifact/a1",
        content_type: "text/plain",
        byte_size: 5,
        sha256: sha256("hello")
      }
      const stored = (type: string, answer: object) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(
            Effect.either(artifacts.put(new TextEncoder().encode("hello"), { contentType: "text/plain" }))
          )
          const request = yield* peer.expect("artifact.put")
          expect(request.payload).toEqual({ content_type: "text/plain", data: btoa("hello"), sha256: sha256("hello") })
          yield* peer.send(type, { request_id: request.id, ...answer })
          return yield* Fiber.join(fiber)
        })
      expect(yield* stored("artifact.ref", { ...ref, expires_at: "2026-01-01T00:00:00Z" })).toMatchObject({
        right: { artifactId: "a1", uri: ref.uri, expiresAt: 1_767_225_600_000 }
      })
      expect(yield* stored("artifact.ref", ref)).toMatchObject({ right: { expiresAt: undefined } })
      for (const [type, answer] of [
        ["artifact.ref", { ...ref, sha256: sha256("other") }],
        ["artifact.ref", { ...ref, byte_size: 4 }],
        ["artifact.released", { artifact_id: "a1" }]
      ] as const) {
        expect(yield* stored(type, answer)).toMatchObject({ left: { _tag: "ArtifactInvalid" } })
      }
    }).pipe(Effect.provide(client))
  )
})

describe("artifact names", () => {
  it("§8.2 URIs and ids are read, anything else is refused", () => {
    for (const id of ["art_01ARZ3NDEKTSV4RRFFQ69G5FAV", "a", "a.b_c~d-e", "x".repeat(256)]) {
      expect(Artifact.parseId(id)).toMatchObject({ right: id })
      expect(Artifact.parseId(Artifact.toUri(id))).toMatchObject({ right: id })
    }
    for (const bad of [
      "",
      "arcp://artifact/",
      "arcp://artifact/a/b",
      "arcp://artifacts/a",
      "a b",
      "é",
      "x".repeat(257)
    ]) {
      expect(Artifact.parseId(bad)).toMatchObject({ left: { code: "INVALID_REQUEST" } })
    }
  })

  it("§8.2 content types follow RFC 9110, in linear time", () => {
    for (const good of ["a/b", "text/plain;charset=utf-8", 'a/b ; c="d;\\" e" ; f=g', "application/vnd.x+json"]) {
      expect(Artifact.isContentType(good), good).toBe(true)
    }
    for (const bad of [
      "",
      "a",
      "a/",
      "/b",
      "a/b;",
      "a/b; c",
      "a/b; c=",
      "a /b",
      "a/b\n",
      "a/b; c=é",
      `a/${"b".repeat(255)}`
    ]) {
      expect(Artifact.isContentType(bad), bad).toBe(false)
    }
    expect(Artifact.isContentType(`a/b${"; c=\\".repeat(50)}"`)).toBe(false)
  })
})

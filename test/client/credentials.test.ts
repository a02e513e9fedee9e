/** What a client does with the credentials of its job (ARCP 1.1 §9.8.1, §14). */
import { expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Inspectable, Layer, Redacted, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

const client = ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0 }).pipe(
  Layer.provideMerge(MemoryTransport.layerEncoded),
  Layer.provideMerge(Ids.layerSeeded(9))
)

it.scoped(
  "§14 values are in no text of a handle; an unknown scheme is handed on under its name, and harms no other",
  () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const accepting = yield* Stream.toPull(ScriptedPeer.accept)
      const submitting = yield* Effect.fork(arcp.submit("a"))
      const peer = Chunk.unsafeHead(yield* Effect.orDie(accepting))
      yield* peer.expect("session.hello")
      const capabilities = { features: ["provisioned_credentials"], agents: ["a"] }
      yield* peer.send("session.welcome", { resume_token: "rt", capabilities }, { session_id: "s" })
      const submit = yield* peer.expect("job.submit")
      const credentials = [
        {
          id: "cred_1",
          scheme: "bearer",
          value: "sk-first-secret",
          endpoint: "https://gw.example/v1",
          profile: "openai"
        },
        { id: "cred_2", scheme: "moon_phase", value: "sk-second-secret", endpoint: "https://gw.example/v2" }
      ]
      const head = { session_id: "s", job_id: "j" }
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1", credentials }, head)
      const job = yield* Fiber.join(submitting)
      expect(job.credentials.map(({ endpoint, id, scheme }) => ({ endpoint, id, scheme }))).toEqual(
        credentials.map(({ endpoint, id, scheme }) => ({ endpoint, id, scheme }))
      )
      expect(job.credentials.map(({ value }) => Redacted.value(value))).toEqual(["sk-first-secret", "sk-second-secret"])
      const printed = [job, job.credentials, ...job.credentials].flatMap((value) => [
        Inspectable.toStringUnknown(value),
        String(value)
      ])
      for (const text of printed) expect(text).not.toMatch(/sk-(first|second)/)
      expect(JSON.stringify(job.credentials)).not.toMatch(/sk-(first|second)/)
    }).pipe(Effect.provide(client))
)

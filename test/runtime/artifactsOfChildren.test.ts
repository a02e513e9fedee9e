import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ObservationPolicy } from "../../src/runtime/index.js"
import { backends } from "./backends.js"
import { allFeatures, eventsOf, hello, type Peer, submit } from "./peer.js"
import { world } from "./world.js"

const features = [...allFeatures, "artifacts"]

const agents = Layer.merge(
  Agent.untyped("maker", (input) =>
    Effect.map(
      Job.artifact(new TextEncoder().encode(String(input)), { contentType: "text/plain" }),
      ({ artifactId }) => ({ artifactId })
    )
  ),
  Agent.untyped("boss", (input) => Job.delegate("maker", input))
)

const ask = (peer: Peer, type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)

describe.each(backends)("artifacts of delegated jobs over %s", (_name, backend) => {
  it.scoped("§8.2 a child's artifact is announced by the child and belongs to the principal who submitted", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      // Offered by every store of this package, without a word.
      expect(peer.welcome.payload.capabilities.features).toContain("artifacts")
      const accepted = yield* submit(peer, "boss", "made below", { lease_request: { "agent.delegate": ["maker"] } })
      const child = yield* peer.next("job.accepted", (f) => f.payload.parent_job_id === accepted.job_id)
      const end = yield* peer.terminal(accepted.job_id!)
      const { artifactId } = end.payload.result
      expect(eventsOf(peer, accepted.job_id!).some((f) => f.payload.kind === "artifact_ref")).toBe(false)
      const [told] = eventsOf(peer, child.job_id!).filter((f) => f.payload.kind === "artifact_ref")
      expect(told!.payload.body).toMatchObject({ uri: `arcp://artifact/${artifactId}`, byte_size: 10 })
      const same = yield* hello({ features })
      const fetched = yield* ask(same, "artifact.fetch", { artifact_id: artifactId })
      expect(Buffer.from(fetched.payload.data, "base64").toString()).toBe("made below")
      // Who may observe the job sees the event. That does not make the artifact theirs.
      const bob = yield* hello({ features, token: "bob-token" })
      expect((yield* ask(bob, "job.subscribe", { job_id: child.job_id, history: true })).type).toBe("job.subscribed")
      yield* bob.next("job.event", (f) => f.payload.kind === "artifact_ref")
      for (const type of ["artifact.fetch", "artifact.release"]) {
        expect((yield* ask(bob, type, { artifact_id: artifactId })).payload.code).toBe("JOB_NOT_FOUND")
      }
      expect((yield* ask(peer, "artifact.release", { artifact_id: artifactId })).type).toBe("artifact.released")
    }).pipe(
      Effect.provide(
        Layer.provide(
          world({ ...backend(), agents }),
          ObservationPolicy.layer({ visibility: () => "observe", listed: () => "all" })
        )
      )
    )
  )
})

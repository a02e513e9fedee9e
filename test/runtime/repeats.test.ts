/** §7.2 A repeated submit, against the end of its job. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer } from "effect"
import { Store } from "../../src/store/Store.js"
import { backends } from "./backends.js"
import { allFeatures, eventsOf, hello, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

describe.each(backends)("repeated submits over %s", (_name, backend) => {
  it.scoped("§7.2 whose job ends while the store is read get the end, and no event twice", () =>
    Effect.gen(function* () {
      resetGates()
      const options = backend()
      const store = Context.get(yield* Layer.build(options.store!), Store)
      const read = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const slow = Layer.succeed(Store, {
        ...store,
        immediate: false,
        job: (jobId: string) =>
          Effect.tap(store.job(jobId), () => Effect.zipRight(Deferred.succeed(read, undefined), Deferred.await(go)))
      })
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: allFeatures.filter((feature) => feature !== "heartbeat") })
        const first = yield* submit(peer, "gate", { name: "end" }, { idempotency_key: "k" })
        yield* peer.next("job.event", (frame) => frame.payload.body.message === "waiting")
        const id = yield* peer.send("job.submit", { agent: "gate", input: { name: "end" }, idempotency_key: "k" })
        yield* Deferred.await(read)
        yield* Deferred.succeed(gate("end"), undefined)
        yield* peer.terminal(first.job_id!)
        yield* Deferred.succeed(go, undefined)
        expect((yield* peer.reply(id)).job_id).toBe(first.job_id)
        yield* peer.next("job.result", (frame) => frame.event_seq === 5)
        expect(eventsOf(peer, first.job_id!).map(({ payload, type }) => payload.body?.message ?? type)).toEqual(
          [undefined, "waiting", "through", "job.result", "job.result"].map((text) => text ?? "job.event")
        )
      }).pipe(Effect.provide(world({ ...options, store: slow })))
    })
  )
})

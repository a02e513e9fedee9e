import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Stream } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { ArcpClient } from "../../src/client/index.js"
import { backends } from "./backends.js"
import { resetGates, world } from "./world.js"

setFlagsFromString("--expose-gc")
const gc = runInNewContext("gc") as () => void

/** Megabytes of live objects. */
const heap = Effect.promise(async () => {
  for (let i = 0; i < 3; i++) {
    gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed / 1_048_576
})

describe.each(backends)("memory over %s", (_name, backend) => {
  it.scopedLive(
    "§6.5 stays flat over 300,000 acknowledged events",
    () =>
      Effect.gen(function* () {
        resetGates()
        const client = yield* ArcpClient
        const run = Effect.gen(function* () {
          const job = yield* client.submit("counter", { count: 50_000 })
          const seen = yield* Stream.runFold(job.events, 0, (n) => n + 1)
          expect(seen).toBe(50_001)
        })
        yield* run
        yield* run
        const before = yield* heap
        for (let i = 0; i < 4; i++) yield* run
        const after = yield* heap
        expect(after - before).toBeLessThan(12)
      }).pipe(
        Effect.provide(
          ArcpClient.layer({ auth: { token: Redacted.make("alice-token") }, eventBuffer: 1_000 }).pipe(
            Layer.provideMerge(
              world({ ...backend(), limits: { historyEvents: 1_000, retainEndedJobs: 2, sweepEvery: 50 } })
            )
          )
        )
      ),
    120_000
  )
})

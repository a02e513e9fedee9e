/** A log that holds much already, of jobs that have ended. */
import { emptyBatch, Store } from "effect-arcp/store"
import { SqliteStore } from "effect-arcp/store/sqlite"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const jobs = 1_000

const payload = (n: number): string =>
  `{"kind":"log","ts":"2026-01-01T00:00:00.000Z","body":{"level":"info","message":"event ${n}"}}`

/** Writes so many events, a row each, and the rows that say whom they were delivered to. */
export const prefill = (filename: string, events: number): Promise<void> =>
  Effect.gen(function* () {
    const store = yield* Store
    const now = yield* Clock.currentTimeMillis
    const perJob = events / jobs
    const each = Array.from({ length: perJob }, (_, i) => i + 1)
    for (let n = 0; n < jobs; n++) {
      const jobId = `job_01M8A2FCGG1SAQYYJ2AJAD${String(n).padStart(4, "0")}`
      const sessionId = "sess_01M8A2FCGG1SAQYYJ2AJADGNHT"
      yield* store.commit({
        ...emptyBatch,
        jobs: [
          {
            jobId,
            principalId: "alice",
            agent: "counter",
            version: "1.0.0",
            input: "null",
            lease: "{}",
            leaseConstraints: undefined,
            idempotencyKey: undefined,
            maxRuntimeSec: undefined,
            traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
            traceContext: undefined,
            parentJobId: undefined,
            delegateId: undefined,
            createdAt: now,
            accepted: "{}"
          }
        ],
        jobStates: [
          {
            jobId,
            status: "success",
            ownerSessionId: sessionId,
            startedAt: now,
            endedAt: now,
            lastJobSeq: perJob,
            lastOwnerSeq: (n + 1) * perJob,
            attempt: 1,
            budget: undefined,
            cancelled: undefined
          }
        ],
        segments: each.map((seq) => ({ jobId, firstSeq: seq, lastSeq: seq, class: "event", payloads: [payload(seq)] })),
        deliveries: each.map((seq) => ({
          sessionId,
          firstSeq: n * perJob + seq,
          lastSeq: n * perJob + seq,
          jobId,
          firstJobSeq: seq
        }))
      })
    }
  }).pipe(Effect.provide(SqliteStore.layer({ filename })), Effect.runPromise)

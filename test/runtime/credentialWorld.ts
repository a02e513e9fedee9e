/** A gateway and a ledger that outlive the runtimes over them, for the tests of credentials. */
import { Context, Effect, Either, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import { Lease } from "../../src/authority/index.js"
import { Ids } from "../../src/protocol/index.js"
import { Credentials, type CredentialsOptions, type IssueRequest } from "../../src/runtime/index.js"
import { CredentialLedger, MemoryStore, StoreError, unrevoked } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { TestGateway, type TestGatewayOptions } from "../../src/testing/index.js"
import { scratch } from "../support/scratch.js"

export const folder = scratch("arcp-credentials-")

export const lease = (wire: Record<string, ReadonlyArray<string>>, expiresAt?: string) =>
  Either.getOrThrow(Lease.compile(wire, expiresAt === undefined ? undefined : { expires_at: expiresAt }))

export const usual = lease(
  { "cost.budget": ["USD:2.00"], "model.use": ["tier-fast/*"], "tool.call": ["fetch.*"] },
  "1970-01-02T00:00:00Z"
)

export const request = (jobId: string, more: Partial<IssueRequest> = {}): IssueRequest => ({
  jobId,
  principalId: "alice",
  agent: "research-summarizer@1.0.0",
  lease: usual,
  remaining: Effect.succeed(usual.budget),
  ...more
})

export const durableMemory = Layer.effect(
  CredentialLedger,
  Effect.map(CredentialLedger, (ledger) => CredentialLedger.of({ ...ledger, durable: true }))
).pipe(Layer.provide(MemoryStore.layer))

export const ledgers: ReadonlyArray<readonly [string, () => Layer.Layer<CredentialLedger, StoreError>]> = [
  ["a ledger in memory", () => durableMemory],
  ["a ledger in SQLite", () => SqliteStore.layer({ filename: ":memory:", durable: true })]
]

/** Gateway and ledger, which outlive the runtimes that `start` makes. */
export const world = (
  makeLedger: () => Layer.Layer<CredentialLedger, StoreError>,
  options: TestGatewayOptions = {},
  credentials: CredentialsOptions = {}
) =>
  Effect.gen(function* () {
    const outside = yield* Layer.build(
      Layer.mergeAll(TestGateway.layer(options), makeLedger()).pipe(Layer.provideMerge(Ids.layerSeeded(7)))
    )
    const start = Effect.gen(function* () {
      const scope = yield* Scope.make()
      // the clock goes on meanwhile: what a shutdown waits for may take its time
      const stop = Effect.gen(function* () {
        const stopping = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(stopping)
      })
      yield* Effect.addFinalizer(() => stop)
      const built = yield* Layer.buildWithScope(
        Credentials.layer(credentials).pipe(Layer.provide(Layer.succeedContext(outside))),
        scope
      )
      return { credentials: Context.get(built, Credentials), stop }
    })
    return {
      gateway: Context.get(outside, TestGateway),
      ledger: Context.get(outside, CredentialLedger),
      start,
      ...(yield* start)
    }
  })

export const states = (ledger: typeof CredentialLedger.Service) =>
  Effect.map(ledger.list({ states: [...unrevoked, "revoked"], limit: 999 }), (rows) => rows.map((r) => r.state))

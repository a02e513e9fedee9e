import { describe, expect, it } from "@effect/vitest"
import {
  Context,
  Effect,
  FastCheck as fc,
  Inspectable,
  Layer,
  Logger,
  LogLevel,
  Redacted,
  TestClock,
  TestContext
} from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Ids } from "../../src/protocol/index.js"
import { CredentialProvisioner, Credentials, type Issued, ProvisionError } from "../../src/runtime/index.js"
import { CredentialLedger, MemoryStore, unrevoked } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { durableMemory, folder, request, world } from "./credentialWorld.js"
import { runs, within } from "../support/properties.js"

let files = 0

describe("what a provisioner may answer", () => {
  const answering = (answer: ReadonlyArray<Issued> | Effect.Effect<ReadonlyArray<Issued>, ProvisionError>) =>
    Effect.gen(function* () {
      const revoked: Array<string> = []
      const context = yield* Layer.build(
        Layer.mergeAll(
          durableMemory,
          Layer.succeed(CredentialProvisioner, {
            issue: () => (Effect.isEffect(answer) ? answer : Effect.succeed(answer)),
            revoke: (handle) => Effect.sync(() => void revoked.push(handle))
          })
        ).pipe(Layer.provideMerge(Ids.layerSeeded(1)))
      )
      const credentials = Context.get(
        yield* Layer.build(Credentials.layer().pipe(Layer.provide(Layer.succeedContext(context)))),
        Credentials
      )
      return { credentials, revoked, ledger: Context.get(context, CredentialLedger) }
    })

  const good: Issued = { handle: "h", value: Redacted.make("sk-secret-value"), endpoint: "https://gw.example/v1" }

  it.scoped("§9.8.1 the scheme is bearer unless it says otherwise; optional fields are left out", () =>
    Effect.gen(function* () {
      const { credentials } = yield* answering([good])
      const [credential] = yield* credentials.issue(request("job_1"))
      expect(credentials.wire("job_1")).toEqual([
        { id: credential!.id, scheme: "bearer", value: "sk-secret-value", endpoint: "https://gw.example/v1" }
      ])
    })
  )

  it.scoped.each<readonly [string, Partial<Issued>]>([
    ["an empty value", { value: Redacted.make("") }],
    ["a huge value", { value: Redacted.make("x".repeat(20_000)) }],
    ["a handle that is the value", { handle: "sk-secret-value" }],
    ["a handle that holds the value", { handle: "key:sk-secret-value" }],
    ["a handle of two lines", { handle: "a\nb" }],
    ["an endpoint that is none", { endpoint: "gateway" }],
    ["an endpoint with user information", { endpoint: "https://user:pass@gw.example" }],
    ["an endpoint that holds the value", { endpoint: "https://gw.example/sk-secret-value" }],
    ["a scheme with spaces", { scheme: "not a scheme" }],
    ["a larger budget", { constraints: { "cost.budget": ["USD:2.01"] } }],
    ["wider models", { constraints: { "model.use": ["tier-fast/**"] } }],
    ["a later expiry", { constraints: { expires_at: "1970-01-02T00:00:00.001Z" } }],
    ["a malformed expiry", { constraints: { expires_at: "tomorrow" } }]
  ])("§9.8.2 refuses and revokes %s", ([, wrong]) =>
    Effect.gen(function* () {
      const issued = { ...good, ...wrong }
      const { credentials, ledger, revoked } = yield* answering([issued])
      const error = yield* Effect.flip(credentials.issue(request("job_1")))
      expect([error.code, error.retryable, error.details?.permanent]).toEqual(["INTERNAL_ERROR", true, true])
      yield* TestClock.adjust(0)
      expect(revoked).toEqual([issued.handle])
      expect(credentials.of("job_1")).toEqual([])
      const rows = yield* ledger.list({ states: [...unrevoked, "revoked"], limit: 9 })
      expect(rows.map((r) => r.state)).toEqual(["revoked"])
      expect(JSON.stringify(rows)).not.toContain("sk-secret-value")
    })
  )

  it.scoped("§9.8.2 a value is never reused across jobs, and the job that has it keeps it", () =>
    Effect.gen(function* () {
      const { credentials, revoked } = yield* answering([good])
      yield* credentials.issue(request("job_1"))
      yield* Effect.flip(credentials.issue(request("job_2")))
      yield* TestClock.adjust(0)
      expect(revoked).toEqual([])
      expect(credentials.of("job_1")).toHaveLength(1)
      credentials.revoke("job_1")
      yield* TestClock.adjust(0)
      expect(revoked).toEqual(["h"])
      expect(yield* credentials.issue(request("job_3"))).toHaveLength(1)
    })
  )

  it.scoped("§9.8.2 a value that another job has is refused under a handle of its own too", () =>
    Effect.gen(function* () {
      let n = 0
      const { credentials, revoked } = yield* answering(Effect.sync(() => [{ ...good, handle: `h${++n}` }]))
      yield* credentials.issue(request("job_1"))
      yield* Effect.flip(credentials.issue(request("job_2")))
      yield* TestClock.adjust(0)
      expect(revoked).toEqual(["h2"])
      expect([credentials.of("job_1").length, credentials.of("job_2").length]).toEqual([1, 0])
    })
  )

  it.scoped("the submitter is told what the provisioner explains, and never its message", () =>
    Effect.gen(function* () {
      const { credentials } = yield* answering(
        new ProvisionError({ message: "internal host 10.0.0.1", explanation: "no such model", retryable: false })
      )
      const error = yield* Effect.flip(credentials.issue(request("job_1")))
      expect([error.message, error.retryable, error.details]).toEqual([
        "the job's credentials could not be provisioned: no such model",
        true,
        { permanent: true }
      ])
    })
  )

  it.scoped("without a provisioner or without a durable ledger nothing is available and nothing is issued", () =>
    Effect.gen(function* () {
      const provisioner = Layer.succeed(CredentialProvisioner, {
        issue: () => Effect.dieMessage("must not be asked"),
        revoke: () => Effect.dieMessage("must not be asked")
      })
      for (const around of [Layer.empty, provisioner, durableMemory, Layer.merge(provisioner, MemoryStore.layer)]) {
        const context = yield* Layer.build(
          Credentials.layer().pipe(Layer.provide(around), Layer.provide(Ids.layerSeeded(1)))
        )
        const credentials = Context.get(context, Credentials)
        expect(credentials.available).toBe(false)
        expect(yield* credentials.issue(request("job_1"))).toEqual([])
        expect(credentials.wire("job_1")).toEqual([])
        expect(yield* credentials.recover(["job_1"])).toEqual([])
      }
    })
  )
})

describe("secrets", () => {
  it.scoped("§14 a value is in no log, no span, no row, no error, no text and no JSON", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make((options) => {
        seen.push(Inspectable.toStringUnknown(options), String(options.message), Logger.jsonLogger.log(options))
      })
      const filename = join(folder, `${files++}.db`)
      const values: Array<string> = []
      yield* Effect.gen(function* () {
        const { credentials, gateway, stop } = yield* world(
          () => SqliteStore.layer({ filename }),
          { keysPerJob: 2 },
          { retryDelay: "1 second" }
        )
        const issued = yield* credentials.issue(request("job_1"))
        values.push(...issued.map(({ value }) => Redacted.value(value)))
        values.push(Redacted.value((yield* credentials.rotate("job_1", issued[0]!.id)).value))
        seen.push(
          String(issued),
          JSON.stringify(issued),
          Inspectable.toStringUnknown(issued),
          JSON.stringify(issued[0])
        )
        yield* gateway.refuseRevokes(true)
        yield* credentials.issue(request("job_2"))
        values.push(...credentials.wire("job_2").map(({ value }) => value))
        credentials.revoke("job_2")
        yield* gateway.failIssues(1)
        seen.push(JSON.stringify(yield* Effect.flip(credentials.issue(request("job_3")))))
        yield* TestClock.adjust("1 minute")
        seen.push(JSON.stringify(yield* credentials.failed), JSON.stringify(yield* credentials.outstanding))
        yield* stop
      }).pipe(Effect.scoped, Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      expect(new Set(values).size).toBe(5)
      const files_ = readdirSync(folder).filter((name) => join(folder, name).startsWith(filename))
      expect(files_.length).toBeGreaterThan(0)
      seen.push(...files_.map((name) => readFileSync(join(folder, name)).toString("latin1")))
      expect(seen.join("\n")).toContain("cannot be revoked")
      for (const value of values) expect(seen.join("\n")).not.toContain(value)
    })
  )

  it.scoped("§14 an error of a provisioner that quotes the value is cleaned before it is logged or stored", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make((options) => {
        seen.push(Logger.jsonLogger.log(options))
      })
      const rude = Layer.succeed(CredentialProvisioner, {
        issue: () =>
          Effect.succeed([{ handle: "h", value: Redacted.make("sk-rude"), endpoint: "https://gw.example/v1" }]),
        revoke: () => Effect.die(new TypeError("cannot delete sk-rude"))
      })
      yield* Effect.gen(function* () {
        const context = yield* Layer.build(
          Credentials.layer().pipe(
            Layer.provideMerge(durableMemory),
            Layer.provide(rude),
            Layer.provide(Ids.layerSeeded(1))
          )
        )
        const credentials = Context.get(context, Credentials)
        yield* credentials.issue(request("job_1"))
        credentials.revoke("job_1")
        yield* TestClock.adjust(0)
        const [row] = yield* credentials.outstanding
        expect(row!.lastError).toBe("the provisioner died with a TypeError")
        seen.push(JSON.stringify(row))
      }).pipe(Effect.scoped, Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      expect(seen.join("\n")).toContain("not revoked yet")
      expect(seen.join("\n")).not.toContain("sk-rude")
    })
  )
})

describe("random lives of credentials", () => {
  const step = fc.record({
    act: fc.constantFrom(
      "issue",
      "rotate",
      "end",
      "failIssues",
      "lose",
      "failRevokes",
      "slow",
      "hang",
      "release",
      "wait"
    ),
    job: fc.integer({ min: 0, max: 4 }),
    n: fc.integer({ min: 0, max: 3 })
  })
  type Step = { readonly act: string; readonly job: number; readonly n: number }

  const lives = (...acts: ReadonlyArray<readonly [string, number?]>): [Array<Step>, boolean] => [
    acts.map(([act, n]) => ({ act, job: 3, n: n ?? 0 })),
    false
  ]
  /** The answer of a rotation was lost, which seed 1144735240 came upon; and what else may happen around it. */
  const lost: ReadonlyArray<[Array<Step>, boolean]> = [
    lives(["issue"], ["wait"], ["rotate"], ["lose", 1]),
    lives(["issue"], ["wait"], ["lose", 3], ["rotate"], ["wait", 1], ["rotate"]),
    lives(["issue"], ["wait"], ["lose", 1], ["rotate"], ["wait"], ["failIssues", 3], ["wait", 3]),
    lives(["issue"], ["wait"], ["lose", 2], ["rotate"], ["wait"], ["end"]),
    lives(["issue"], ["wait"], ["hang"], ["rotate"], ["wait", 3], ["rotate"], ["wait", 3], ["rotate"]),
    lives(["issue"], ["wait"], ["slow", 2], ["rotate"], ["wait", 2], ["rotate"], ["wait", 1], ["rotate"]),
    [lives(["issue"], ["wait"], ["lose", 2], ["rotate"], ["wait"])[0], true]
  ]

  it.effect.each(["none", "new", "in place"] as const)(
    "§14 no key outlives its job once everything was retried, and each is revoked once (rotation: %s)",
    (rotation) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, restart) =>
            Effect.gen(function* () {
              const it = yield* world(() => durableMemory, { rotation, keysPerJob: 2 }, { retryMaxDelay: "10 seconds" })
              const { gateway, ledger } = it
              let { credentials, stop } = it
              for (const { act, job, n } of steps) {
                const jobId = `job_${job}`
                if (act === "issue" && credentials.of(jobId).length === 0) {
                  yield* Effect.forkDaemon(
                    credentials.issue(request(jobId, job === 0 ? {} : { parentJobId: `job_${job - 1}` }))
                  )
                } else if (act === "rotate") {
                  const [one] = credentials.of(jobId)
                  if (one !== undefined) yield* Effect.forkDaemon(credentials.rotate(jobId, one.id))
                } else if (act === "end") credentials.revoke(jobId)
                else if (act === "failIssues") yield* gateway.failIssues(n)
                else if (act === "lose") yield* gateway.loseAnswers(n)
                else if (act === "failRevokes") yield* gateway.failRevokes(n)
                else if (act === "slow") yield* gateway.slow(n * 6_000)
                else if (act === "hang") yield* gateway.hangIssues(true)
                else if (act === "release") yield* gateway.hangIssues(false)
                else yield* TestClock.adjust(n * 5_000)
              }
              yield* TestClock.adjust(0)
              yield* gateway.slow(0)
              yield* gateway.hangIssues(false)
              if (restart) {
                yield* stop
                ;({ credentials, stop } = yield* it.start)
                yield* credentials.recover([])
              }
              yield* TestClock.adjust("5 minutes")
              const held = [0, 1, 2, 3, 4].flatMap((n) => credentials.of(`job_${n}`))
              for (const { value } of held) yield* gateway.call(value, { model: "tier-fast/a" })
              expect(yield* gateway.liveKeys).toHaveLength(held.length)
              for (let n = 0; n < 5; n++) credentials.revoke(`job_${n}`)
              yield* TestClock.adjust("5 minutes")
              expect(yield* gateway.liveKeys).toEqual([])
              for (const key of yield* gateway.keys) expect(key.revocations).toBe(1)
              expect(yield* ledger.list({ states: unrevoked, limit: 9 })).toEqual([])
            }).pipe(
              Effect.scoped,
              Effect.provide(TestContext.TestContext),
              Logger.withMinimumLogLevel(LogLevel.None),
              Effect.runPromise
            )
          ),
          { numRuns: runs(150), examples: [...lost] }
        )
      ),
    within(60_000)
  )
})

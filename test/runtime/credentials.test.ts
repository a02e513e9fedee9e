import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Either, Exit, Fiber, HashMap, Layer, Logger, Redacted, Ref, TestClock } from "effect"
import { Amount } from "../../src/authority/index.js"
import { Credentials, type JobCredential } from "../../src/runtime/index.js"
import { CredentialLedger, StoreError } from "../../src/store/index.js"
import { durableMemory, lease, ledgers, request, states, usual, world } from "./credentialWorld.js"

describe.each(ledgers)("credentials with %s", (_name, makeLedger) => {
  it.scoped(
    "§13.7 a credential is bounded by the lease at the gateway, shown on the wire, and revoked at the end",
    () =>
      Effect.gen(function* () {
        const { credentials, gateway, ledger } = yield* world(makeLedger)
        expect(credentials.available).toBe(true)
        const [credential] = yield* credentials.issue(request("job_1"))
        expect(credential!.id).toMatch(/^cred_[0-9A-Z]{26}$/)
        const value = Redacted.value(credential!.value)
        expect(credentials.wire("job_1")).toEqual([
          {
            id: credential!.id,
            scheme: "bearer",
            value,
            endpoint: "https://gateway.test/v1",
            profile: "openai",
            constraints: {
              "cost.budget": ["USD:2"],
              "model.use": ["tier-fast/*"],
              expires_at: "1970-01-02T00:00:00.000Z"
            }
          }
        ])
        expect(credentials.of("job_1")).toEqual([credential])
        yield* gateway.call(value, { model: "tier-fast/a", cost: "1.999 USD" })
        const wrongModel = yield* Effect.flip(gateway.call(value, { model: "tier-slow/a" }))
        expect(Credentials.translate(wrongModel)?.code).toBe("PERMISSION_DENIED")
        yield* gateway.call(value, { model: "tier-fast/a", cost: "0.001 USD" })
        const spent = yield* Effect.flip(gateway.call(value, { model: "tier-fast/a", cost: "0.001 USD" }))
        expect(Credentials.translate(spent)?.code).toBe("BUDGET_EXHAUSTED")
        expect(yield* states(ledger)).toEqual(["live"])
        credentials.revoke("job_1")
        credentials.revoke("job_1")
        yield* TestClock.adjust(0)
        expect(credentials.of("job_1")).toEqual([])
        expect(yield* states(ledger)).toEqual(["revoked"])
        expect((yield* gateway.keys).map((key) => [key.live, key.revokeRequests])).toEqual([[false, 1]])
        const dead = yield* Effect.flip(gateway.call(value, { model: "tier-fast/a" }))
        expect(dead.status).toBe(401)
        expect(Credentials.translate(dead)).toBe(undefined)
      })
  )

  it.scoped("§9.8.3 the lease's expiry ends the key at the gateway, whatever the runtime does", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(makeLedger)
      const [credential] = yield* credentials.issue(request("job_1"))
      yield* TestClock.adjust("24 hours")
      const error = yield* Effect.flip(gateway.call(credential!.value, { model: "tier-fast/a" }))
      expect(error.body.error.type).toBe("expired_key")
    })
  )

  it.scoped("§9.8.2 a transient failure is retried with growing pauses, and the key is revoked once", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger } = yield* world(makeLedger, {}, { retryDelay: "1 second" })
      yield* credentials.issue(request("job_1"))
      yield* gateway.failRevokes(3)
      credentials.revoke("job_1")
      yield* TestClock.adjust(0)
      const waiting = yield* credentials.outstanding
      expect(waiting.map((r) => [r.state, r.attempts])).toEqual([["revoking", 1]])
      expect(waiting[0]!.lastError).toContain("as it was told to")
      yield* TestClock.adjust("700 millis")
      expect((yield* credentials.outstanding)[0]!.attempts).toBe(1)
      yield* TestClock.adjust("600 millis")
      expect((yield* credentials.outstanding)[0]!.attempts).toBe(2)
      yield* TestClock.adjust("10 seconds")
      expect(yield* states(ledger)).toEqual(["revoked"])
      expect((yield* gateway.keys).map((key) => key.revocations)).toEqual([1])
    })
  )

  it.scoped("§14 a permanent failure is logged as an error once, listed, and tried again when an operator asks", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ annotations, logLevel, message }) => {
        lines.push(`${logLevel.label} ${String(message)} ${HashMap.toEntries(annotations).join(" ")}`)
      })
      yield* Effect.gen(function* () {
        const { credentials, gateway } = yield* world(makeLedger)
        yield* gateway.refuseRevokes(true)
        const [credential] = yield* credentials.issue(request("job_1"))
        credentials.revoke("job_1")
        yield* TestClock.adjust("1 hour")
        const failed = yield* credentials.failed
        expect(failed.map((r) => [r.credentialId, r.state, r.attempts])).toEqual([[credential!.id, "failed", 1]])
        const errors = lines.filter((line) => line.startsWith("ERROR"))
        expect(errors).toHaveLength(1)
        expect(errors[0]).toContain("cannot be revoked")
        expect(errors[0]).toContain("job_1")
        yield* gateway.refuseRevokes(false)
        expect(yield* credentials.retryFailed).toBe(1)
        yield* TestClock.adjust(0)
        expect(yield* credentials.failed).toEqual([])
        expect(yield* gateway.liveKeys).toEqual([])
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    })
  )

  it.scoped("§9.8.2 a revocation that hangs is given up and tried again", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(makeLedger, {}, { revokeTimeout: "2 seconds" })
      yield* credentials.issue(request("job_1"))
      yield* gateway.hangRevokes(true)
      credentials.revoke("job_1")
      yield* TestClock.adjust("2 seconds")
      expect((yield* credentials.outstanding)[0]!.lastError).toContain("no answer within 2000 ms")
      yield* gateway.hangRevokes(false)
      yield* TestClock.adjust("1 second")
      expect(yield* gateway.liveKeys).toEqual([])
    })
  )

  it.scoped("§9.8.2 a provisioner that fails fails its own submit and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger } = yield* world(makeLedger)
      yield* gateway.failIssues(1)
      const error = yield* Effect.flip(credentials.issue(request("job_1")))
      expect([error.code, error.message]).toEqual(["INTERNAL_ERROR", "the job's credentials could not be provisioned"])
      yield* TestClock.adjust(0)
      expect(yield* states(ledger)).toEqual(["revoked"])
      expect(yield* gateway.keys).toEqual([])
      expect(yield* credentials.issue(request("job_2"))).toHaveLength(1)
    })
  )

  it.scoped("§9.8.2 an issue that hangs fails in time, alone, and what it makes later is revoked", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger } = yield* world(makeLedger, { keysPerJob: 3 })
      yield* gateway.hangIssues(true)
      const slow = yield* Effect.fork(Effect.flip(credentials.issue(request("job_1"))))
      yield* TestClock.adjust("10 seconds")
      expect((yield* Fiber.join(slow)).code).toBe("INTERNAL_ERROR")
      expect(yield* states(ledger)).toEqual(["issuing"])
      yield* gateway.hangIssues(false)
      yield* TestClock.adjust(0)
      expect(yield* gateway.counts).toEqual({ issued: 3, revoked: 3 })
      expect(credentials.of("job_1")).toEqual([])
      expect(yield* states(ledger)).toEqual(["revoked", "revoked", "revoked"])
    })
  )

  it.scoped("§9.8.2 an interrupted issue, and one whose job ends meanwhile, leave nothing live", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(makeLedger)
      yield* gateway.slow("1 second")
      const interrupted = yield* Effect.fork(credentials.issue(request("job_1")))
      const ended = yield* Effect.fork(Effect.flip(credentials.issue(request("job_2"))))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interrupt(interrupted)
      credentials.revoke("job_2")
      yield* TestClock.adjust("500 millis")
      expect((yield* Fiber.join(ended)).code).toBe("INTERNAL_ERROR")
      yield* TestClock.adjust("1 second")
      expect(yield* gateway.counts).toEqual({ issued: 2, revoked: 2 })
    })
  )

  it.scoped(
    "§14 a key whose answer was lost is looked for by its reference, and again when it can no longer come",
    () =>
      Effect.gen(function* () {
        const { credentials, gateway, ledger } = yield* world(makeLedger)
        yield* gateway.loseAnswers(1)
        yield* Effect.flip(credentials.issue(request("job_1")))
        yield* TestClock.adjust(0)
        expect(yield* gateway.liveKeys).toEqual([])
        expect(yield* states(ledger)).toEqual(["revoking"])
        yield* TestClock.adjust("1 minute")
        expect(yield* states(ledger)).toEqual(["revoked"])
        expect((yield* gateway.keys).map((key) => [key.revocations, key.revokeRequests])).toEqual([[1, 2]])
      })
  )

  it.scoped("§14 where the provisioner cannot reclaim, a lost answer is shown to operators", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(makeLedger, { reclaim: false })
      yield* gateway.loseAnswers(1)
      yield* Effect.flip(credentials.issue(request("job_1")))
      yield* TestClock.adjust(0)
      expect((yield* credentials.failed).map((r) => r.lastError)).toEqual([
        "the upstream's answer was lost and the provisioner cannot reclaim: look for it at the upstream"
      ])
    })
  )

  it.scoped("§14 a new process revokes what the one before it left, and says which jobs lost credentials", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger, start, stop } = yield* world(makeLedger)
      yield* credentials.issue(request("job_1"))
      yield* credentials.issue(request("job_2"))
      yield* gateway.failRevokes(99)
      yield* stop
      expect((yield* gateway.liveKeys).length).toBe(2)
      yield* gateway.failRevokes(0)
      const next = yield* start
      yield* next.credentials.issue(request("job_3"))
      expect(yield* next.credentials.recover(["job_2", "job_3", "job_4"])).toEqual(["job_2"])
      yield* TestClock.adjust(0)
      expect((yield* gateway.liveKeys).map((key) => key.jobId)).toEqual(["job_3"])
      expect((yield* states(ledger)).toSorted()).toEqual(["live", "revoked", "revoked"])
      expect(yield* next.credentials.recover([])).toEqual([])
      yield* TestClock.adjust(0)
      expect(next.credentials.of("job_3")).toHaveLength(1)
    })
  )

  it.scoped("§14 a crash between asking and the answer is noticed, and its key is found", () =>
    Effect.gen(function* () {
      const { gateway, ledger, start } = yield* world(makeLedger)
      const record = {
        credentialId: "cred_1",
        jobId: "job_1",
        principalId: "alice",
        handle: undefined,
        endpoint: undefined,
        profile: undefined,
        state: "issuing" as const,
        attempts: 0,
        lastError: undefined,
        createdAt: 0,
        updatedAt: 0,
        revokedAt: undefined
      }
      const crashed = yield* start
      const [credential] = yield* crashed.credentials.issue(request("job_1"))
      const [row] = yield* ledger.list({ states: ["live"], limit: 1 })
      yield* ledger.put([{ ...record, reference: row!.reference }])
      const next = yield* start
      yield* next.credentials.recover([])
      yield* TestClock.adjust("2 minutes")
      expect(yield* gateway.liveKeys).toEqual([])
      expect(yield* states(ledger)).toEqual(["revoked"])
      expect(Exit.isFailure(yield* Effect.exit(gateway.call(credential!.value, { model: "tier-fast/a" })))).toBe(true)
    })
  )

  it.scoped("a shutdown revokes what is live, within its time", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger, stop } = yield* world(makeLedger)
      yield* credentials.issue(request("job_1"))
      yield* stop
      expect(yield* gateway.liveKeys).toEqual([])
      expect(yield* states(ledger)).toEqual(["revoked"])
      expect((yield* Effect.flip(credentials.issue(request("job_2")))).message).toContain("shutting down")

      const hanging = yield* world(makeLedger)
      yield* hanging.credentials.issue(request("job_1"))
      yield* hanging.gateway.hangRevokes(true)
      yield* hanging.stop
      expect(yield* states(hanging.ledger)).toEqual(["revoking"])
    })
  )

  it.scoped("§9.8.2 a parent's end revokes the credentials of its children, also those that are being issued", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(makeLedger)
      yield* credentials.issue(request("job_1"))
      yield* credentials.issue(request("job_2", { parentJobId: "job_1" }))
      yield* credentials.issue(request("job_3", { parentJobId: "job_2" }))
      yield* credentials.issue(request("job_9"))
      yield* gateway.slow("1 second")
      const late = yield* Effect.fork(Effect.flip(credentials.issue(request("job_4", { parentJobId: "job_1" }))))
      yield* TestClock.adjust(0)
      credentials.revoke("job_1")
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(late)
      expect((yield* gateway.liveKeys).map((key) => key.jobId)).toEqual(["job_9"])
      expect((yield* gateway.keys).map((key) => key.revocations)).toEqual([1, 1, 1, 0, 1])
    })
  )

  it.scoped("§9.6 a job whose budget is zero gets no credential", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(makeLedger)
      const zero = lease({ "cost.budget": ["USD:0"] })
      expect(
        yield* credentials.issue(request("job_1", { lease: zero, remaining: Effect.succeed(zero.budget) }))
      ).toEqual([])
      expect(yield* gateway.keys).toEqual([])
    })
  )

  it.scoped("the ledger lets go of revoked rows after the retention", () =>
    Effect.gen(function* () {
      const { credentials, ledger } = yield* world(makeLedger, {}, { retainRevoked: "1 day" })
      yield* credentials.issue(request("job_1"))
      credentials.revoke("job_1")
      yield* TestClock.adjust("23 hours")
      expect(yield* states(ledger)).toEqual(["revoked"])
      yield* TestClock.adjust("3 hours")
      expect(yield* states(ledger)).toEqual([])
    })
  )

  it.scoped("§14 a ledger that cannot be written means that nothing is issued", () =>
    Effect.gen(function* () {
      const broken = () =>
        Layer.effect(
          CredentialLedger,
          Effect.map(CredentialLedger, (ledger) =>
            CredentialLedger.of({ ...ledger, put: () => new StoreError({ operation: "write", message: "disk full" }) })
          )
        ).pipe(Layer.provide(makeLedger()))
      const { credentials, gateway } = yield* world(broken)
      expect((yield* Effect.flip(credentials.issue(request("job_1")))).code).toBe("INTERNAL_ERROR")
      expect(yield* gateway.keys).toEqual([])
    })
  )
})

describe.each([["none"], ["new"], ["in place"]] as const)("rotation, at the gateway: %s", (rotation) => {
  it.scoped("§9.8.2 the owner hears the new value, then the prior value dies, never the new one", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger } = yield* world(() => durableMemory, { rotation })
      const [first] = yield* credentials.issue(request("job_1"))
      const priorAtNotice = yield* Deferred.make<boolean>()
      const second = yield* credentials.replace("job_1", first!.id, (credential) =>
        Effect.gen(function* () {
          expect(credential.jobId).toBe("job_1")
          yield* gateway.call(credential.value, { model: "tier-fast/a" })
          const prior = yield* Effect.exit(gateway.call(first!.value, { model: "tier-fast/a" }))
          yield* Deferred.succeed(priorAtNotice, Exit.isSuccess(prior))
        }).pipe(Effect.orDie)
      )
      expect(second.id).toBe(first!.id)
      expect(Redacted.value(second.value)).not.toBe(Redacted.value(first!.value))
      expect(yield* Deferred.await(priorAtNotice)).toBe(rotation !== "in place")
      yield* TestClock.adjust(0)
      yield* gateway.call(second.value, { model: "tier-fast/a" })
      expect((yield* Effect.flip(gateway.call(first!.value, { model: "tier-fast/a" }))).status).toBe(401)
      expect(credentials.of("job_1")).toEqual([second])
      expect((yield* states(ledger)).toSorted()).toEqual(["live", "revoked"])
      credentials.revoke("job_1")
      yield* TestClock.adjust(0)
      expect(yield* gateway.liveKeys).toEqual([])
      expect((yield* gateway.keys).map((key) => key.revocations)).toEqual(rotation === "in place" ? [1] : [1, 1])
    })
  )

  it.scoped("§9.8.2 a rotation that finishes after the job's end is revoked", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(() => durableMemory, { rotation })
      const [first] = yield* credentials.issue(request("job_1"))
      yield* gateway.hangIssues(true)
      const rotating = yield* Effect.fork(Effect.exit(credentials.rotate("job_1", first!.id)))
      yield* TestClock.adjust(0)
      credentials.revoke("job_1")
      yield* TestClock.adjust(0)
      yield* gateway.hangIssues(false)
      yield* TestClock.adjust("2 minutes")
      expect(Exit.isFailure(yield* Fiber.join(rotating))).toBe(true)
      expect(yield* gateway.liveKeys).toEqual([])
      expect((yield* credentials.outstanding).length).toBe(0)
    })
  )

  it.scoped("§9.8.2 a rotation that fails leaves the prior value; a late one leaves exactly one value", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(() => durableMemory, { rotation })
      const [first] = yield* credentials.issue(request("job_1"))
      yield* gateway.failIssues(1)
      expect((yield* Effect.flip(credentials.rotate("job_1", first!.id))).code).toBe("INTERNAL_ERROR")
      yield* gateway.call(first!.value, { model: "tier-fast/a" })
      yield* gateway.slow("15 seconds")
      const late = yield* Effect.fork(Effect.flip(credentials.rotate("job_1", first!.id)))
      yield* TestClock.adjust("10 seconds")
      expect((yield* Fiber.join(late)).code).toBe("INTERNAL_ERROR")
      yield* gateway.slow(0)
      yield* TestClock.adjust("10 seconds")
      expect(yield* gateway.liveKeys).toHaveLength(1)
      const [now] = credentials.of("job_1")
      expect(now!.id).toBe(first!.id)
      yield* gateway.call(now!.value, { model: "tier-fast/a" })
    })
  )

  it.scoped("§9.8.2 a rotation whose answer was lost leaves one key that works, and its owner hears of it", () =>
    Effect.gen(function* () {
      const { credentials, gateway, ledger } = yield* world(() => durableMemory, { rotation })
      const [first] = yield* credentials.issue(request("job_1"))
      const told: Array<string> = []
      const announce = ({ value }: JobCredential) => Effect.sync(() => void told.push(Redacted.value(value)))
      yield* gateway.loseAnswers(3)
      const rotating = yield* Effect.fork(Effect.exit(credentials.replace("job_1", first!.id, announce)))
      yield* TestClock.adjust("2 minutes")
      // Where a rotation issues anew, the prior key has nothing to fear.
      const replaced = rotation !== "none"
      expect(Exit.isSuccess(yield* Fiber.join(rotating))).toBe(replaced)
      const [now] = credentials.of("job_1")
      expect(now!.id).toBe(first!.id)
      expect(told).toEqual(replaced ? [Redacted.value(now!.value)] : [])
      yield* gateway.call(now!.value, { model: "tier-fast/a" })
      expect(yield* gateway.liveKeys).toHaveLength(1)
      expect((yield* states(ledger)).filter((state) => state !== "revoked")).toEqual(["live"])
    })
  )

  it.scoped("§9.8.2 a rotation that never answers holds up the next, and the job gets another key", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(() => durableMemory, { rotation })
      const [first] = yield* credentials.issue(request("job_1"))
      yield* gateway.hangIssues(true)
      const both = yield* Effect.fork(
        Effect.all(
          [1, 2].map(() => Effect.exit(credentials.rotate("job_1", first!.id))),
          { concurrency: 2 }
        )
      )
      yield* TestClock.adjust("10 seconds")
      expect((yield* Fiber.join(both)).map(Exit.isFailure)).toEqual([true, true])
      yield* TestClock.adjust("1 minute")
      yield* gateway.hangIssues(false)
      yield* TestClock.adjust("2 minutes")
      expect(yield* gateway.liveKeys).toHaveLength(1)
      yield* gateway.call(credentials.of("job_1")[0]!.value, { model: "tier-fast/a" })
    })
  )

  it.scoped("§9.8.2 where no other key can be issued, the job loses the one whose rotation was lost", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(() => durableMemory, { rotation })
      let left: Amount.Amounts = usual.budget
      const [first] = yield* credentials.issue(request("job_1", { remaining: Effect.sync(() => left) }))
      yield* gateway.loseAnswers(9)
      const rotating = yield* Effect.fork(Effect.exit(credentials.rotate("job_1", first!.id)))
      yield* TestClock.adjust(0)
      left = new Map([["USD", Amount.zero]])
      yield* TestClock.adjust("5 minutes")
      expect(Exit.isFailure(yield* Fiber.join(rotating))).toBe(true)
      expect(credentials.of("job_1")).toHaveLength(rotation === "none" ? 1 : 0)
      expect(yield* gateway.liveKeys).toHaveLength(rotation === "none" ? 1 : 0)
      expect(yield* credentials.outstanding).toHaveLength(rotation === "none" ? 1 : 0)
    })
  )

  it.scoped("§9.8.3 a rotated key is sized to what is left, and refused where nothing is", () =>
    Effect.gen(function* () {
      const { credentials, gateway } = yield* world(() => durableMemory, { rotation })
      const left = yield* Ref.make<Amount.Amounts>(usual.budget)
      const [first] = yield* credentials.issue(request("job_1", { remaining: Ref.get(left) }))
      yield* Ref.set(left, Either.getOrThrow(Amount.parseAll(["USD:2"])))
      if (rotation !== "in place") {
        yield* Ref.set(left, Either.getOrThrow(Amount.parseAll(["USD:0.5"])))
        const second = yield* credentials.rotate("job_1", first!.id)
        expect(second.constraints?.["cost.budget"]).toEqual(["USD:0.5"])
      }
      yield* Ref.set(left, new Map([["USD", Amount.subtract(Amount.zero, Amount.zero)]]))
      expect((yield* Effect.flip(credentials.rotate("job_1", first!.id))).code).toBe("BUDGET_EXHAUSTED")
      yield* TestClock.adjust("24 hours")
      yield* Ref.set(left, usual.budget)
      expect((yield* Effect.flip(credentials.rotate("job_1", first!.id))).code).toBe("LEASE_EXPIRED")
      expect((yield* Effect.flip(credentials.rotate("job_1", "cred_other"))).code).toBe("INVALID_REQUEST")
      expect((yield* Effect.flip(credentials.rotate("job_2", first!.id))).code).toBe("INVALID_REQUEST")
      expect(yield* gateway.liveKeys).toHaveLength(1)
    })
  )
})

it.scoped("§9.8.2 an announcement that hangs does not keep the prior value alive", () =>
  Effect.gen(function* () {
    const { credentials, gateway } = yield* world(() => durableMemory)
    const [first] = yield* credentials.issue(request("job_1"))
    yield* credentials.replace("job_1", first!.id, () => Effect.never)
    expect(yield* gateway.liveKeys).toHaveLength(2)
    yield* TestClock.adjust("5 seconds")
    expect(yield* gateway.liveKeys).toHaveLength(1)
    expect(credentials.of("job_1")).toHaveLength(1)
  })
)

it.scoped.each<[string, () => Effect.Effect<void>]>([
  ["dies", () => Effect.dieMessage("broken")],
  [
    "throws",
    () => {
      throw new Error("broken")
    }
  ]
])("§9.8.2 an announcement that %s does not keep the prior value alive", ([, announce]) =>
  Effect.gen(function* () {
    const { credentials, gateway } = yield* world(() => durableMemory)
    const [first] = yield* credentials.issue(request("job_1"))
    const second = yield* credentials.replace("job_1", first!.id, announce)
    yield* TestClock.adjust(0)
    expect(yield* gateway.liveKeys).toHaveLength(1)
    expect(credentials.of("job_1")).toEqual([second])
  })
)

it.scoped("§9.8.2 a value that was changed in place is announced though the caller of the rotation has gone", () =>
  Effect.gen(function* () {
    const { credentials, gateway } = yield* world(() => durableMemory, { rotation: "in place" })
    const [first] = yield* credentials.issue(request("job_1"))
    const told: Array<string> = []
    const announce = ({ value }: JobCredential) => Effect.sync(() => void told.push(Redacted.value(value)))
    yield* gateway.slow("15 seconds")
    const late = yield* Effect.fork(Effect.flip(credentials.replace("job_1", first!.id, announce)))
    yield* TestClock.adjust("10 seconds")
    expect((yield* Fiber.join(late)).code).toBe("INTERNAL_ERROR")
    expect(told).toEqual([])
    yield* TestClock.adjust("10 seconds")
    expect(told).toEqual(credentials.of("job_1").map(({ value }) => Redacted.value(value)))
    expect(told).toHaveLength(1)
    expect(told).not.toContain(Redacted.value(first!.value))
  })
)

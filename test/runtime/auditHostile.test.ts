/** An `Audit` of a program that throws, fails, dies, never returns or answers nonsense: the runtime goes on (ARCP 1.1 §14). */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Scope, TestClock } from "effect"
import { Audit, type AuditRecord, type AuditService } from "../../src/runtime/index.js"
import type { Connector } from "../../src/transport/Connection.js"
import { allFeatures, barrier, hello, run } from "./peer.js"
import { world } from "./world.js"

const features = allFeatures.filter((feature) => feature !== "heartbeat")

const errors = () => {
  const lines: Array<string> = []
  const logger = Logger.map(Logger.structuredLogger, ({ logLevel, message }) => {
    if (logLevel === "ERROR") lines.push(String(message))
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

/** A runtime over a service that a program made by hand; it may be ended before the test. */
const start = (write: AuditService["write"], logger: Layer.Layer<never>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Effect.forkDaemon(Scope.close(scope, Exit.void)))
    const audit = Layer.succeed(Audit, { write } as AuditService)
    const layer = world().pipe(Layer.provide(audit), Layer.provide(logger)) as Layer.Layer<Connector>
    const context = yield* Layer.buildWithScope(layer, scope)
    return { context, end: Scope.close(scope, Exit.void) }
  })

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

// edge: what a program's own service may do
const broken = (): never => {
  throw new Error("broken")
}

describe("an audit service", () => {
  it.scoped.each<readonly [string, (records: ReadonlyArray<AuditRecord>) => any]>([
    ["throws", broken],
    ["fails", () => Effect.fail("no disk")],
    ["dies", () => Effect.dieMessage("broken")],
    ["interrupts itself", () => Effect.interrupt],
    ["returns nothing", () => undefined],
    ["returns a promise", () => Promise.resolve()],
    ["fails with what cannot be printed", () => Effect.fail(new Proxy({}, { get: broken }))],
    ["changes what it is given", (records) => Effect.sync(() => (records as Array<AuditRecord>).splice(0))]
  ])("that %s: requests are answered, and the runtime ends", ([how, write]) =>
    Effect.gen(function* () {
      const { layer, lines } = errors()
      const runtime = yield* start(write, layer)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        for (let n = 0; n < 3; n++) expect((yield* run(peer, "echo", n)).payload.result).toBe(n)
        yield* barrier(peer)
      }).pipe(Effect.provide(runtime.context))
      yield* turn
      yield* runtime.end
      // Once, however often it fails.
      const told = lines.filter((line) => line.startsWith("the audit service could not take records"))
      expect(told).toHaveLength(how === "changes what it is given" ? 0 : 1)
    })
  )

  it.scoped(
    "that never returns: requests are answered, it has no second batch, and the end waits 5 seconds at most",
    () =>
      Effect.gen(function* () {
        const { layer, lines } = errors()
        let calls = 0
        const runtime = yield* start(() => {
          calls++
          return Effect.uninterruptible(Effect.never)
        }, layer)
        const peer = yield* Effect.provide(hello({ features }), runtime.context)
        for (let n = 0; n < 3; n++) yield* run(peer, "echo", n)
        yield* TestClock.adjust("1 minute")
        expect(calls).toBe(1)
        expect(lines).toEqual([expect.stringContaining("has not returned within 10000 ms")])
        const ending = yield* Effect.fork(runtime.end)
        yield* Effect.repeatN(turn, 20)
        yield* TestClock.adjust("5 seconds")
        yield* Effect.repeatN(turn, 20)
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(ending)
        expect(lines.at(-1)).toMatch(/has not taken \d+ records at the end of the runtime/)
      })
  )

  it.scoped("that hangs once is told of what it has missed, in order", () =>
    Effect.gen(function* () {
      const { layer } = errors()
      const taken: Array<AuditRecord> = []
      const asked = yield* Deferred.make<void>()
      let hung = false
      const runtime = yield* start(
        (records) =>
          !hung
            ? Effect.suspend(() => {
                hung = true
                return Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never)
              })
            : Effect.sync(() => void taken.push(...records)),
        layer
      )
      const peer = yield* Effect.provide(hello({ features }), runtime.context)
      yield* Deferred.await(asked)
      yield* run(peer, "echo", 1)
      yield* TestClock.adjust("10 seconds")
      yield* Effect.repeatN(turn, 5)
      yield* run(peer, "echo", 2)
      yield* TestClock.adjust("1 second")
      yield* Effect.repeatN(turn, 5)
      expect(taken.map(({ seq, type }) => [seq, type])).toEqual([
        [1, "audit.lost"],
        [2, "job.admitted"],
        [3, "job.admitted"]
      ])
      expect(taken[0]).toMatchObject({ count: 1 })
    })
  )

  it.scoped("is asked for one batch at a time, of 256 at most", () =>
    Effect.gen(function* () {
      const { layer } = errors()
      const sizes: Array<number> = []
      const go = yield* Deferred.make<void>()
      let beside = 0
      const runtime = yield* start(
        (records) =>
          Effect.gen(function* () {
            expect(++beside).toBe(1)
            sizes.push(records.length)
            yield* Deferred.await(go)
            beside--
          }),
        layer
      )
      const peer = yield* Effect.provide(hello({ features }), runtime.context)
      for (let n = 0; n < 600; n++) yield* peer.send("job.submit", { agent: "nobody" })
      yield* barrier(peer)
      yield* Deferred.succeed(go, undefined)
      yield* peer.drop
      yield* runtime.end
      expect(sizes.reduce((a, b) => a + b, 0)).toBe(602)
      expect(Math.max(...sizes)).toBe(256)
    })
  )
})

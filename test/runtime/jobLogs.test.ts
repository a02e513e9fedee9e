/** What a handler logs by `Effect.log*`: the program's loggers, and `log` events of the job (ARCP 1.1 §8.2, §6.5). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Data,
  Deferred,
  Effect,
  HashMap,
  Layer,
  Logger,
  LogLevel,
  Option,
  Redacted,
  Runtime,
  TestClock
} from "effect"
import { Buffer } from "node:buffer"
import { Agent, Job } from "../../src/agent/index.js"
import * as Text from "../../src/protocol/Text.js"
import { upstreamOf } from "../../src/runtime/credentials/UpstreamErrors.js"
import { annotated, annotatedFor } from "../../src/runtime/jobs/handler/handlerCall.js"
import * as JobLogs from "../../src/runtime/jobs/handler/jobLogs.js"
import { nextTurn } from "../../src/runtime/kernel/Turn.js"
import { hostileValues } from "../support/hostile.js"
import { barrier, eventsOf, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

interface LogBody {
  readonly level: string
  readonly message: string
  readonly annotations?: Record<string, unknown>
  readonly spans?: Record<string, number>
}

const linesOf = (peer: Peer, jobId: string): ReadonlyArray<LogBody> =>
  eventsOf(peer, jobId).flatMap(({ payload }) => (payload.kind === "log" ? [payload.body as LogBody] : []))

const leftOut = ({ level, message }: LogBody): number =>
  level === "warn" ? Number(/^(\d+) lines of the agent's log were left out/.exec(message)?.[1] ?? 0) : 0

/** The logs of a handler without a job: what becomes of its lines. */
const alone = (upstream: () => unknown) => {
  const bodies: Array<unknown> = []
  const running = { agent: { name: "a", version: "1" }, live: { jobId: "j", attempt: 1 } }
  const events = { hasRoom: () => true, queue: (_: string, body: unknown) => void bodies.push(body) }
  const logs = JobLogs.make(running as never, () => ({ running, events, upstream }) as never)
  const logged = <A, E, R>(handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    handler.pipe(
      Effect.locally(JobLogs.logging, { logs, hide: undefined }),
      Effect.provide(Logger.add(JobLogs.jobLogger))
    )
  return { bodies, logged }
}

/** Runs a handler alone, and returns its lines. */
const linesOfHandler = <E>(
  handler: Effect.Effect<unknown, E, Job>,
  host: Agent.HostOptions = {},
  options: WorldOptions = {}
) =>
  Effect.gen(function* () {
    const peer = yield* hello()
    const end = yield* run(peer, "logs")
    expect(end.payload).toMatchObject({ final_status: "success" })
    return linesOf(peer, end.job_id!)
  }).pipe(Effect.provide(world({ ...options, agents: Agent.untyped("logs", () => handler, host) })))

const everyLevel = Effect.all([
  Effect.logTrace("trace"),
  Effect.logDebug("debug"),
  Effect.logInfo("info"),
  Effect.logWarning("warning"),
  Effect.logError("error"),
  Effect.logFatal("fatal")
]).pipe(Effect.asVoid, Logger.withMinimumLogLevel(LogLevel.All))

describe("§8.2 a line that a handler logs", () => {
  it("has its job, its agent and its attempt beside the program's annotations", () => {
    const program = HashMap.make<[string, unknown][]>(["own", 1], ["job_id", "the program's"])
    const ofAgent = annotatedFor(program, { name: "a", version: "1" } as never)
    const of = (jobId: string, attempt: number) =>
      Object.fromEntries(annotated(ofAgent, { live: { jobId, attempt } } as never))
    expect(of("j", 1)).toEqual({ own: 1, job_id: "j", agent: "a@1", attempt: 1 })
    expect(of("k", 3)).toEqual({ own: 1, job_id: "k", agent: "a@1", attempt: 3 })
    expect(Object.fromEntries(program)).toEqual({ own: 1, job_id: "the program's" })
  })

  it.scoped("is a log event in its place, with the annotations and spans of its fiber", () =>
    Effect.gen(function* () {
      const lines = yield* linesOfHandler(
        Effect.gen(function* () {
          yield* Job.log("first")
          yield* Effect.logInfo("read", { rows: 3 }, "of", ["a"]).pipe(
            Effect.annotateLogs({ file: "/a", options: { deep: true } })
          )
          yield* Job.log("third")
          yield* TestClock.adjust("25 millis").pipe(
            Effect.zipRight(Effect.logInfo("slow")),
            Effect.withLogSpan("reading")
          )
        })
      )
      expect(lines).toEqual([
        { level: "info", message: "first" },
        { level: "info", message: 'read {"rows":3} of ["a"]', annotations: { file: "/a", options: { deep: true } } },
        { level: "info", message: "third" },
        { level: "info", message: "slow", spans: { reading: 25 } }
      ])
    })
  )

  it.scoped.each([
    [undefined, ["info info", "warn warning", "error error", "error fatal"]],
    ["Debug", ["debug debug", "info info", "warn warning", "error error", "error fatal"]],
    ["All", ["debug trace", "debug debug", "info info", "warn warning", "error error", "error fatal"]],
    ["Error", ["error error", "error fatal"]],
    ["None", []]
  ] as const)("is one from the level on that its host says: %s", ([logEvents, shown]) =>
    Effect.map(linesOfHandler(everyLevel, { logEvents }), (lines) =>
      expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual(shown)
    )
  )

  it.scoped(
    "goes to the program's loggers annotated with job, agent and attempt, whatever the level of events is",
    () =>
      Effect.gen(function* () {
        const seen: Array<Record<string, unknown>> = []
        const logger = Logger.make<unknown, void>(({ annotations, message }) => {
          if (String(message) === "mine") seen.push(Object.fromEntries(HashMap.toEntries(annotations)))
        })
        const mine = (logEvents: "Info" | "None") =>
          Agent.untyped(logEvents.toLowerCase(), () => Effect.annotateLogs(Effect.logInfo("mine"), "own", 1), {
            logEvents
          })
        const agents = Layer.merge(mine("Info"), mine("None"))
        const ids = yield* Effect.gen(function* () {
          const peer = yield* hello()
          return [(yield* run(peer, "info")).job_id, (yield* run(peer, "none")).job_id]
        }).pipe(Effect.provide(Layer.provide(world({ agents }), Logger.add(logger))))
        expect(seen).toEqual([
          { job_id: ids[0], agent: "info@1.0.0", attempt: 1, own: 1 },
          { job_id: ids[1], agent: "none@1.0.0", attempt: 1, own: 1 }
        ])
      })
  )

  it.scoped("below the program's minimum level reaches no logger and is no event, whatever its host says", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => void seen.push(String(message)))
      const lines = yield* Effect.gen(function* () {
        const peer = yield* hello()
        return linesOf(peer, (yield* run(peer, "logs")).job_id!)
      }).pipe(
        Effect.provide(
          Layer.provide(
            world({
              agents: Agent.untyped("logs", () => Effect.zipRight(Effect.logInfo("below"), Effect.logWarning("at")), {
                logEvents: "All"
              })
            }),
            Layer.merge(Logger.add(logger), Logger.minimumLogLevel(LogLevel.Warning))
          )
        )
      )
      expect(lines).toEqual([{ level: "warn", message: "at" }])
      expect([seen.includes("below"), seen.includes("at")]).toEqual([false, true])
    })
  )

  it.scoped("of a forked fiber is the job's, and nothing follows the job's end", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const end = yield* run(peer, "forks")
      yield* Deferred.succeed(gate("after"), undefined)
      yield* Deferred.await(gate("logged"))
      yield* barrier(peer)
      expect(linesOf(peer, end.job_id!).map(({ message }) => message)).toEqual(["forked"])
      expect(eventsOf(peer, end.job_id!).at(-1)!.type).toBe("job.result")
    }).pipe(
      Effect.provide(
        world({
          agents: Agent.untyped("forks", () =>
            Effect.gen(function* () {
              const forked = yield* Effect.fork(Effect.logInfo("forked"))
              yield* forked.await
              yield* Effect.forkDaemon(
                Effect.gen(function* () {
                  yield* Deferred.await(gate("after"))
                  yield* Effect.logInfo("too late")
                  yield* Deferred.succeed(gate("logged"), undefined)
                })
              )
            })
          )
        })
      )
    )
  )
})

describe("§14 what a line does not show", () => {
  it.scoped("what is redacted, at any depth, and the cause, which is for operators", () =>
    Effect.gen(function* () {
      const secret = Redacted.make("hunter2")
      const seen: Array<string> = []
      const logger = Logger.make<unknown, void>(({ cause }) => {
        if (!Cause.isEmpty(cause)) seen.push(Cause.pretty(cause))
      })
      const lines = yield* linesOfHandler(
        Effect.gen(function* () {
          yield* Effect.logInfo(secret, { secret, some: Option.some(secret) }, Data.struct({ secret }))
          yield* Effect.annotateLogs(Effect.logInfo("x"), { secret, more: [secret] })
          yield* Effect.logError("it failed", Cause.die(new Error("hunter2 of the database")))
          yield* Effect.logError(Cause.fail("hunter2"))
        }).pipe(Effect.provide(Logger.add(logger)))
      )
      expect(JSON.stringify(lines)).not.toContain("hunter2")
      expect(lines).toMatchObject([
        { message: expect.stringContaining('<redacted> {"secret":"<redacted>"') },
        { message: "x", annotations: { secret: "<redacted>", more: ["<redacted>"] } },
        { level: "error", message: "it failed" },
        { level: "error", message: "a failure was logged" }
      ])
      expect(seen.join()).toContain("hunter2 of the database")
    })
  )
})

it.effect("§14 a line shows no value of the job's credentials: not in texts, names, annotations or nested values", () =>
  Effect.gen(function* () {
    const { bodies, logged } = alone(() => upstreamOf([{ value: Redacted.make("sk-live") }]))
    yield* logged(
      Effect.logInfo("key sk-live", { "sk-live": ["sk-live"] }, new Error("sk-live refused")).pipe(
        Effect.annotateLogs("header", "Bearer sk-live"),
        Effect.withLogSpan("with sk-live")
      )
    )
    expect(JSON.stringify(bodies)).not.toContain("sk-live")
    expect(bodies).toMatchObject([
      {
        message: 'key <redacted> {"<redacted>":["<redacted>"]} <redacted> refused',
        annotations: { header: "Bearer <redacted>" },
        spans: { "with <redacted>": 0 }
      }
    ])
  })
)

describe("§7.3 a line that cannot be shown", () => {
  it.scoped.each(hostileValues)("does not reach into its handler: %s", ([, make]) =>
    Effect.gen(function* () {
      const value = make()
      const lines = yield* linesOfHandler(
        Effect.gen(function* () {
          yield* Effect.logInfo("before")
          // Effect itself looks into what it is given, and fails on a proxy that throws.
          if (Text.attempt(() => !Cause.isCause(value), false)) yield* Effect.logInfo(value, value)
          else yield* Effect.logInfo([value])
          yield* Effect.logInfo("at", [value], { value })
          yield* Effect.annotateLogs(Effect.logInfo("annotated"), { value: [value] })
          yield* Effect.logInfo("after")
        }).pipe(Effect.provide(Logger.remove(Logger.tracerLogger)))
      )
      expect(lines.length).toBe(5)
      expect(lines.map(({ message }) => typeof message)).toEqual(Array(5).fill("string"))
      expect(lines.at(-1)).toEqual({ level: "info", message: "after" })
      expect(Buffer.byteLength(JSON.stringify(lines))).toBeLessThan(5 * 13_000)
    })
  )

  it.scoped("and one that logs while it is shown makes no further event", () =>
    Effect.gen(function* () {
      const lines = yield* linesOfHandler(
        Effect.gen(function* () {
          const runtime = yield* Effect.runtime<never>()
          class Logging {
            toJSON(): unknown {
              Runtime.runSync(runtime)(Effect.logInfo(new Logging()))
              return "shown"
            }
          }
          yield* Effect.logInfo(new Logging())
          yield* Effect.logInfo("next")
          // Effect's own logger of spans would show it without end.
        }).pipe(Effect.provide(Logger.remove(Logger.tracerLogger)))
      )
      expect(lines.map(({ message }) => message)).toEqual(["shown", "next"])
    })
  )
})

describe("§13.2 a line has a bound", () => {
  it.scoped("in encoded bytes: of its message, its annotations and its spans", () =>
    Effect.gen(function* () {
      const annotations = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, "\u0001".repeat(50)]))
      const lines = yield* linesOfHandler(
        Effect.gen(function* () {
          yield* Effect.logInfo("\u20ac".repeat(1_000_000))
          yield* Effect.logInfo("\u0001".repeat(1_000_000))
          yield* Effect.annotateLogs(Effect.logInfo("annotated"), annotations)
          yield* Effect.withLogSpan(Effect.logInfo("spans"), "s".repeat(100_000))
        })
      )
      expect(lines.length).toBe(4)
      const sizes = lines.map((line) => Buffer.byteLength(JSON.stringify(line)))
      for (const size of sizes) expect(size).toBeLessThan(8_400)
      expect(lines[0]!.message.endsWith("€…")).toBe(true)
      expect(sizes[0]).toBeGreaterThan(8_000)
      expect(Object.keys(lines[2]!.annotations!).length).toBeGreaterThan(10)
    })
  )

  it.effect("in what is looked at: no part of its message behind the bound", () =>
    Effect.gen(function* () {
      let looked = 0
      const hide = (text: string): string => {
        looked += text.length
        return text
      }
      const { bodies, logged } = alone(() => ({ hide }))
      yield* logged(Effect.logInfo(...Array.from({ length: 5_000 }, () => "x".repeat(5_000))))
      expect((bodies[0] as LogBody).message.length).toBe(8_190)
      expect(looked).toBe(10_000)
    })
  )

  it.scoped("and a part of it is what fits where events are smaller", () =>
    Effect.gen(function* () {
      const lines = yield* linesOfHandler(
        Effect.annotateLogs(Effect.logWarning("x".repeat(5_000)), "note", "y".repeat(500)),
        {},
        { limits: { eventPayload: 400 } }
      )
      expect(lines).toEqual([{ level: "warn", message: `${"x".repeat(253)}…` }])
    })
  )
})

describe("§6.5 a handler that logs faster than its events are written or read", () => {
  it.scoped("is not slowed but cut: lines are left out, and the log says how many", () =>
    Effect.gen(function* () {
      const lines = yield* linesOfHandler(
        Effect.repeatN(Effect.logInfo("again"), 49_999),
        {},
        { limits: { queuedEvents: 64 } }
      )
      const shown = lines.filter(({ message }) => message === "again").length
      const left = lines.reduce((sum, line) => sum + leftOut(line), 0)
      expect(shown + left).toBe(50_000)
      expect(left).toBeGreaterThan(0)
      expect(shown).toBeGreaterThanOrEqual(64)
      expect(lines.every((line) => line.message === "again" || leftOut(line) > 0)).toBe(true)
    })
  )

  it.scoped("is cut where an owner is as far behind as would slow Job.log, until it has caught up", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const { job_id: id } = yield* submit(peer, "logs")
      yield* peer.next("job.event", ({ payload }) => payload.body.phase === "back_pressure")
      yield* Deferred.await(gate("logged"))
      yield* barrier(peer)
      const before = linesOf(peer, id!)
      expect(before.length).toBeLessThan(40)
      expect(before.every(({ message }) => message === "line")).toBe(true)
      yield* peer.send("session.ack", { last_processed_seq: Math.max(...peer.events().map((f) => f.event_seq!)) })
      yield* barrier(peer)
      yield* Deferred.succeed(gate("more"), undefined)
      yield* peer.terminal(id!)
      const lines = linesOf(peer, id!).slice(before.length)
      expect(lines.map(({ message }) => message)).toEqual([
        `${100 - before.length} lines of the agent's log were left out: it logs faster than they are written or read`,
        "after"
      ])
    }).pipe(
      Effect.provide(
        world({
          limits: { ackLag: 16 },
          agents: Agent.untyped("logs", () =>
            Effect.gen(function* () {
              for (let i = 0; i < 100; i++) {
                yield* Effect.logInfo("line")
                // Lets what is queued be written: only the owner holds it up.
                for (let turn = 0; turn < 2; turn++) yield* nextTurn
              }
              yield* Deferred.succeed(gate("logged"), undefined)
              yield* Deferred.await(gate("more"))
              yield* Effect.logInfo("after")
            })
          )
        })
      )
    )
  )

  it.scopedLive("and without end: it can be cancelled, and what is left out at the end is reported", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const { job_id: id } = yield* submit(peer, "endless")
      yield* peer.next("job.event", ({ payload }) => payload.body.phase === "back_pressure")
      yield* peer.send("job.cancel", { job_id: id })
      expect((yield* peer.terminal(id!)).payload).toMatchObject({ final_status: "cancelled" })
      expect(leftOut(linesOf(peer, id!).at(-1)!)).toBeGreaterThan(0)
    }).pipe(
      Effect.provide(
        world({
          limits: { ackLag: 100 },
          agents: Agent.untyped("endless", () => Effect.forever(Effect.logInfo("again")))
        }).pipe(Layer.provide(Logger.remove(Logger.defaultLogger)))
      )
    )
  )
})

it.scoped("§7.5 a level that is none is a defect when the agents are registered", () =>
  Effect.gen(function* () {
    const main = world({ agents: Agent.untyped("a", () => Effect.void, { logEvents: "Loud" as never }) })
    const exit = yield* Effect.exit(Layer.build(main))
    expect(String(exit)).toContain("the agent a@1.0.0 cannot be registered: logEvents must be one of")
  })
)

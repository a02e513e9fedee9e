/** Every concern can be replaced: a program's layer is what the runtime acts on, seen through a real client. */
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, Either, Layer, Option, Redacted, Schema, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Canonical } from "../../src/authority/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { BudgetExhausted, InternalError, JobId, ResumeWindowExpired, SessionId } from "../../src/protocol/index.js"
import {
  ArcpRuntime,
  Budgets,
  type BudgetsService,
  JobScheduler,
  type JobSchedulerService,
  Leases,
  Sessions,
  Subscriptions
} from "../../src/runtime/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { FaultyTransport, TestArcp } from "../../src/testing/index.js"
import { Server } from "../../src/transport/index.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"

class Shop extends Agent.make("shop", {
  input: Schema.Struct({ tool: Schema.String, cost: Schema.String }),
  output: Schema.Struct({ tool: Schema.String, reserved: Schema.String, spent: Schema.String })
}) {}

const codeOf = <A, E extends { readonly code: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onFailure: ({ code }) => code, onSuccess: () => "done" })

/** Calls a tool, reserves and spends, and says what became of each. */
const ShopLive = Shop.toLayer(({ cost, tool }) =>
  Effect.gen(function* () {
    const called = yield* codeOf(Job.tool(tool, {}, Effect.void))
    const reserved = yield* codeOf(Job.reserve(`USD:${cost}`, Effect.void))
    const spent = yield* codeOf(Job.spend("cost.inference", `${cost} USD`))
    return { tool: called, reserved, spent }
  })
)

const agents = Layer.mergeAll(
  ShopLive,
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("parent", () => Job.delegate("echo", "from the parent", { lease: { "cost.budget": ["USD:0.25"] } }))
)

const lease = { "tool.call": ["search"], "cost.budget": ["USD:1.00"] }
const shop = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const job = yield* arcp.submit(Shop, { tool: "search", cost: "0.25" }, { lease })
  return yield* job.result
})

const world = <const P extends ArcpRuntime.Replacements>(replace: P) => TestArcp.layer(agents, { replace })

/** Notes which of its functions are called, in front of the service that it replaces. */
const spying = <I, S extends object>(
  tag: Context.Tag<I, S>,
  names: ReadonlyArray<keyof S & string>,
  note: (name: string) => void
) =>
  Layer.effect(
    tag,
    Effect.map(tag, (own) => {
      const all = own as Record<string, (...args: ReadonlyArray<unknown>) => unknown>
      const noted = names.map((name) => [
        name,
        (...args: ReadonlyArray<unknown>) => {
          note(name)
          return all[name]!.apply(own, [...args])
        }
      ])
      return { ...own, ...Object.fromEntries(noted) } as S
    })
  )

const budgetNames = [
  "open",
  "counters",
  "exhausted",
  "available",
  "chargeable",
  "charge",
  "hold",
  "grant",
  "close"
] as const

describe("Budgets (§9.6)", () => {
  it.scoped("that refuse everything are what a job meets", () => {
    const refused = () => new BudgetExhausted({ message: "the quota of the house is used up" })
    const Closed = Layer.succeed(Budgets, {
      open: () => undefined,
      counters: () => new Map(),
      exhausted: refused,
      available: () => new Map(),
      chargeable: () => Either.void,
      charge: () => new Map(),
      hold: () => Either.left(refused()),
      grant: () => new Map(),
      close: () => ({ returned: new Map(), parent: new Map() })
    })
    return Effect.gen(function* () {
      expect(yield* shop).toEqual({ tool: "BUDGET_EXHAUSTED", reserved: "BUDGET_EXHAUSTED", spent: "done" })
      const arcp = yield* ArcpClient
      const parent = yield* arcp.submit("parent", null, { lease: { ...lease, "agent.delegate": ["**"] } })
      expect(yield* Effect.flip(parent.result)).toMatchObject({ code: "BUDGET_EXHAUSTED" })
    }).pipe(Effect.provide(world({ budgets: Closed })))
  })

  it.scoped("that count calls around the runtime's own see all of them, and change nothing", () => {
    const calls = new Map<string, number>()
    const Counting = spying(Budgets, budgetNames, (name) => calls.set(name, (calls.get(name) ?? 0) + 1))
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      expect(yield* shop).toEqual({ tool: "done", reserved: "done", spent: "done" })
      expect([calls.get("open"), calls.get("hold"), calls.get("charge"), calls.get("close")]).toEqual([1, 1, 2, 1])
      const parent = yield* arcp.submit("parent", null, { lease: { ...lease, "agent.delegate": ["**"] } })
      expect(yield* parent.result).toBe("from the parent")
      expect([calls.get("open"), calls.get("grant"), calls.get("close")]).toEqual([3, 1, 3])
    }).pipe(Effect.provide(world({ budgets: Counting })))
  })

  it.scoped("that throw end the job that they were called for, and no other", () => {
    const own: Array<BudgetsService> = []
    const Throwing = Layer.effect(
      Budgets,
      Effect.map(Budgets, (service) => {
        own.push(service)
        const broken = (): never => {
          // edge: what a program's own layer may do
          throw new Error("budgets are down")
        }
        return { ...service, hold: broken, close: broken }
      })
    )
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const job = yield* arcp.submit(Shop, { tool: "search", cost: "0.25" }, { lease })
      expect(yield* Effect.flip(job.result)).toMatchObject({ code: "INTERNAL_ERROR" })
      expect(yield* Effect.flatMap(arcp.submit("echo", 1), (echo) => echo.result)).toBe(1)
      expect(own.length).toBe(1)
    }).pipe(Effect.provide(world({ budgets: Throwing })))
  })
})

describe("Leases (§9)", () => {
  it.scoped("that allow everything let a job do what its lease does not name", () => {
    const Open = Layer.effect(
      Leases,
      Effect.map(Leases, (own) => ({
        ...own,
        check: (job, capability, target) =>
          Either.orElse(own.check(job, capability, target), (denial) =>
            Either.mapLeft(Canonical.target(capability, target), () => denial)
          ),
        checkState: () => Either.void
      }))
    )
    const forbidden = Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const job = yield* arcp.submit(Shop, { tool: "delete", cost: "0.25" }, { lease })
      return (yield* job.result).tool
    })
    return Effect.gen(function* () {
      expect(yield* forbidden.pipe(Effect.provide(TestArcp.layer(agents)))).toBe("PERMISSION_DENIED")
      expect(yield* forbidden.pipe(Effect.provide(world({ leases: Open })))).toBe("done")
    })
  })

  it.scoped("are asked by later concerns through the budgets that were replaced before them", () => {
    const Spent = Layer.effect(
      Budgets,
      Effect.map(Budgets, (own) => ({ ...own, exhausted: () => new BudgetExhausted({ message: "spent" }) }))
    )
    return Effect.gen(function* () {
      expect((yield* shop).tool).toBe("BUDGET_EXHAUSTED")
    }).pipe(Effect.provide(world({ budgets: Spent, leases: spying(Leases, ["check"], () => undefined) })))
  })
})

describe("JobScheduler (§7)", () => {
  it.scoped("in memory that answers without running anything", () => {
    const submitted: Array<string> = []
    const Silent = Layer.succeed(JobScheduler, {
      submit: ({ payload, principal }, reply) =>
        Effect.sync(() => {
          submitted.push(`${principal.id} ${payload.agent} ${JSON.stringify(payload.input)}`)
          const jobId = JobId(`job_${submitted.length}`)
          const accepted = {
            job_id: jobId,
            agent: `${payload.agent}@1`,
            lease: {},
            accepted_at: "2026-01-01T00:00:00Z"
          }
          reply(Either.right({ jobId, traceId: "4bf92f3577b34da6a3ce929d0e0e4736", payload: accepted }))
          // One answer counts.
          reply(Either.left(new InternalError({ message: "answered twice" })))
        }),
      cancel: (_, reply) => Effect.sync(() => reply(Either.left(new InternalError({ message: "nothing runs here" })))),
      counts: () => ({ pending: submitted.length, running: 0 })
    })
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const first = yield* arcp.submit("nobody", { a: 1 })
      const second = yield* arcp.submit("nobody", { a: 2 })
      expect([first.jobId, second.jobId, first.agent]).toEqual(["job_1", "job_2", "nobody@1"])
      expect(submitted).toEqual([`test nobody {"a":1}`, `test nobody {"a":2}`])
      expect(yield* Effect.flip(first.cancel("enough"))).toMatchObject({ message: "nothing runs here" })
    }).pipe(Effect.provide(world({ jobScheduler: Silent })))
  })

  it.scoped("that fails, dies or answers nonsense is answered with an error, and the session lives on", () => {
    const broken = ["fails", "dies", "throws", "nonsense"] as const
    const Broken = Layer.effect(
      JobScheduler,
      Effect.map(JobScheduler, (own) => ({
        ...own,
        submit: (request, reply) => {
          switch (request.payload.agent as (typeof broken)[number]) {
            case "fails":
              return new InternalError({ message: "no room" })
            case "dies":
              return Effect.dieMessage("broken")
            case "throws":
              // edge: what a program's own layer may do
              return Effect.sync(() => JSON.parse("{") as undefined)
            case "nonsense":
              return Effect.sync(() => reply(Either.right(undefined as never)))
            default:
              return own.submit(request, reply)
          }
        }
      }))
    )
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      for (const agent of broken) {
        expect(yield* Effect.flip(arcp.submit(agent, null))).toMatchObject({ code: "INTERNAL_ERROR" })
      }
      expect(yield* Effect.flatMap(arcp.submit("echo", 1), (job) => job.result)).toBe(1)
    }).pipe(Effect.provide(world({ jobScheduler: Broken })))
  })
})

describe("Subscriptions (§6.6, §7.6)", () => {
  it.scoped("that record see what is asked for", () => {
    const seen: Array<string> = []
    const Recording = spying(Subscriptions, ["subscribe", "unsubscribe", "list"], (name) => seen.push(name))
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const job = yield* arcp.submit("echo", "seen")
      yield* job.result
      expect((yield* Stream.runCollect(arcp.listJobs())).length).toBe(1)
      const observed = yield* arcp.subscribe(job.jobId, { history: true })
      expect(yield* observed.result).toBe("seen")
      expect(seen).toEqual(["list", "subscribe"])
    }).pipe(Effect.provide(world({ subscriptions: Recording })))
  })
})

/** Sessions s-1, s-2, ... of which none can be resumed. */
const Numbered = (log: Array<string> = []) =>
  Layer.sync(Sessions, () => {
    let next = 0
    return {
      open: ({ client, principal }) =>
        Effect.sync(() => {
          const sessionId = SessionId(`s-${++next}`)
          log.push(`open ${sessionId} ${principal.id} ${client.name ?? ""}`)
          return { sessionId, token: `token of ${sessionId}`, resumeWindow: 60_000 }
        }),
      resume: ({ sessionId }) => {
        log.push(`resume ${sessionId ?? ""}`)
        return new ResumeWindowExpired({ message: "resume: sessions cannot be resumed here" })
      },
      confirm: (sessionId) => void log.push(`confirm ${sessionId}`),
      left: (sessionId) => void log.push(`left ${sessionId}`),
      expired: (sessionId) => void log.push(`expired ${sessionId}`),
      adopt: () => undefined
    }
  })

const sessionIds = (arcp: Context.Tag.Service<ArcpClient>, count: number) =>
  arcp.status.pipe(
    Stream.filterMap((status) =>
      status._tag === "Connected" || status._tag === "SessionReplaced" ? Option.some(status.sessionId) : Option.none()
    ),
    Stream.take(count),
    Stream.runCollect,
    Effect.map((all) => [...all])
  )

describe("Sessions (§6)", () => {
  it.scopedLive("with predictable ids and no resume: a drop gets the client a new session, and its job back", () => {
    const log: Array<string> = []
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const faults = yield* FaultyTransport.Faults
      yield* arcp.connected
      const ids = yield* Effect.fork(sessionIds(arcp, 2))
      expect((yield* arcp.session)?.sessionId).toBe("s-1")
      const job = yield* arcp.submit("echo", "kept", { idempotencyKey: "k" })
      yield* job.result
      yield* faults.cut
      expect(yield* ids).toEqual(["s-1", "s-2"])
      expect(log.filter((line) => !line.startsWith("open"))).toEqual(["left s-1", "resume s-1"])
      expect(log[0]).toMatch(/^open s-1 test /)
      expect(yield* Effect.flatMap(arcp.submit("echo", 2), (second) => second.result)).toBe(2)
    }).pipe(Effect.provide(world({ sessions: Numbered(log) })))
  })

  it.scopedLive("§6.3 around the runtime's own: opened, resumed, confirmed, left", () => {
    const calls: Array<string> = []
    const names = ["open", "resume", "confirm", "left", "expired", "adopt"] as const
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const faults = yield* FaultyTransport.Faults
      yield* arcp.connected
      const resumed = yield* Effect.fork(
        Stream.runHead(Stream.filter(arcp.status, (status) => status._tag === "Resumed"))
      )
      yield* faults.cut
      yield* resumed
      expect(yield* Effect.flatMap(arcp.submit("echo", 2), (job) => job.result)).toBe(2)
      expect(calls).toEqual(["open", "left", "resume", "confirm"])
    }).pipe(Effect.provide(world({ sessions: spying(Sessions, names, (name) => calls.push(name)) })))
  })
})

const everything = (calls: Set<string>) => {
  const noting = (concern: string) => (name: string) => void calls.add(`${concern}.${name}`)
  return {
    budgets: spying(Budgets, budgetNames, noting("budgets")),
    leases: spying(Leases, ["admit", "check", "checkState"], noting("leases")),
    jobScheduler: spying(JobScheduler, ["submit", "cancel", "counts"], noting("jobScheduler")),
    subscriptions: spying(Subscriptions, ["subscribe", "unsubscribe", "list"], noting("subscriptions")),
    sessions: spying(Sessions, ["open", "resume", "confirm", "left", "expired"], noting("sessions"))
  }
}

describe("all five at once", () => {
  const use = Effect.gen(function* () {
    const arcp = yield* ArcpClient
    const outcome = yield* shop
    const echo = yield* arcp.submit("echo", "all")
    yield* Stream.runDrain(arcp.listJobs())
    yield* Effect.exit(echo.cancel())
    return [outcome.tool, yield* echo.result]
  })
  const called = [
    "budgets.charge",
    "budgets.hold",
    "budgets.open",
    "jobScheduler.submit",
    "leases.admit",
    "leases.check",
    "sessions.open",
    "subscriptions.list"
  ]

  it.scoped("in memory", () => {
    const calls = new Set<string>()
    return Effect.gen(function* () {
      expect(yield* use).toEqual(["done", "all"])
      expect([...calls]).toEqual(expect.arrayContaining(called))
    }).pipe(Effect.provide(world(everything(calls))))
  })

  it.scopedLive("over a WebSocket and SQLite", () => {
    const calls = new Set<string>()
    const runtime = ArcpRuntime.layer({ drainTime: 0, replace: everything(calls) }).pipe(
      Layer.provide(agents),
      Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
      Layer.provide(SqliteStore.layer({ filename: ":memory:" })),
      Layer.provide(Authenticator.layerBearer({ "test-token": "test" }))
    )
    const client = Layer.unwrapEffect(
      Effect.map(Server, ({ address }) =>
        ArcpClient.layer({ auth: { token: Redacted.make("test-token") } }).pipe(
          Layer.provide(WebSocketClient.layer({ url: address }))
        )
      )
    )
    return Effect.gen(function* () {
      expect(yield* use).toEqual(["done", "all"])
      expect([...calls]).toEqual(expect.arrayContaining(called))
    }).pipe(Effect.provide(Layer.provide(client, runtime)))
  })

  it.scoped("each runtime of a program builds its own from one layer", () => {
    let built = 0
    const Once = Layer.effect(
      Budgets,
      Effect.map(Budgets, (own) => {
        built++
        return { ...own }
      })
    )
    const one = world({ budgets: Once })
    return Effect.gen(function* () {
      yield* Effect.provide(shop, Layer.fresh(one))
      yield* Effect.provide(shop, Layer.fresh(one))
      expect(built).toBe(2)
    })
  })
})

describe("types of a replacement", () => {
  class Quota extends Context.Tag("test/Quota")<Quota, { readonly left: number }>() {}
  const Needing: Layer.Layer<Budgets, "no quota", Budgets | Quota> = Layer.effect(
    Budgets,
    Effect.gen(function* () {
      const { left } = yield* Quota
      return left > 0 ? yield* Budgets : yield* Effect.fail("no quota" as const)
    })
  )

  it("what it needs and fails with is the runtime's, but for the concerns that it finds", () => {
    const runtime = ArcpRuntime.layer({ replace: { budgets: Needing } })
    expectTypeOf<Layer.Layer.Error<typeof runtime>>().toEqualTypeOf<"no quota">()
    expectTypeOf<Quota>().toMatchTypeOf<Layer.Layer.Context<typeof runtime>>()
    const plain = ArcpRuntime.layer()
    expectTypeOf<Layer.Layer.Error<typeof plain>>().toEqualTypeOf<never>()
    const maybe = ArcpRuntime.layer({ replace: { budgets: Math.random() < 2 ? Needing : undefined } })
    expectTypeOf<Layer.Layer.Error<typeof maybe>>().toEqualTypeOf<"no quota">()
    expectTypeOf<Quota>().toMatchTypeOf<Layer.Layer.Context<typeof maybe>>()
    const some: { budgets?: typeof Needing } = { budgets: Needing }
    const partial = ArcpRuntime.layer({ replace: some })
    expectTypeOf<Layer.Layer.Error<typeof partial>>().toEqualTypeOf<"no quota">()
    expectTypeOf<Quota>().toMatchTypeOf<Layer.Layer.Context<typeof partial>>()
    // A record of layers may have other keys: they are refused when the layer is made.
    expect(() => ArcpRuntime.layer({ replace: { budgets: Needing, lease: Needing } })).toThrow(
      "ArcpRuntime: replace.lease: there is no such concern"
    )
    // @ts-expect-error a layer of another concern
    ArcpRuntime.layer({ replace: { leases: Needing } })
  })

  it.scoped("its failure is the failure of the whole layer", () =>
    Effect.gen(function* () {
      const layer = world({ budgets: Needing }).pipe(Layer.provide(Layer.succeed(Quota, { left: 0 })))
      expect(yield* Effect.flip(Layer.build(layer))).toBe("no quota")
      yield* Layer.build(world({ budgets: Needing }).pipe(Layer.provide(Layer.succeed(Quota, { left: 1 }))))
    })
  )
})

it.scopedLive("§7.1 a scheduler that is an instance of the program's own class keeps its own this", () => {
  class Counting implements JobSchedulerService {
    taken = 0
    private readonly own: JobSchedulerService

    constructor(own: JobSchedulerService) {
      this.own = own
    }

    submit(...asked: Parameters<JobSchedulerService["submit"]>) {
      this.taken++
      return this.own.submit(...asked)
    }

    cancel(...asked: Parameters<JobSchedulerService["cancel"]>) {
      return this.own.cancel(...asked)
    }

    counts() {
      return this.own.counts()
    }
  }
  const made: Array<Counting> = []
  const jobScheduler = Layer.effect(
    JobScheduler,
    Effect.map(JobScheduler, (own) => {
      made.push(new Counting(own))
      return made[0]!
    })
  )
  return Effect.gen(function* () {
    const arcp = yield* ArcpClient
    const job = yield* arcp.submit("echo", "hello")
    expect(yield* job.result).toBe("hello")
    expect(made.map(({ taken }) => taken)).toEqual([1])
  }).pipe(Effect.provide(world({ jobScheduler })))
})

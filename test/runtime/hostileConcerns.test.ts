/** Concerns of a program that throw, never answer or answer nonsense: a failure ends its request, job or session, never the runtime. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Either, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { InternalError, JobId, SessionId } from "../../src/protocol/index.js"
import {
  ArcpRuntime,
  Budgets,
  JobScheduler,
  Leases,
  Limits,
  type LimitsOptions,
  Sessions,
  type SessionsService,
  Subscriptions
} from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Store, StoreError } from "../../src/store/Store.js"
import type { Connector } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { makeStore } from "./mortal.js"
import { allFeatures, barrier, dial, hello, run, submit } from "./peer.js"

const features = allFeatures.filter((feature) => feature !== "heartbeat")

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("never", () => Effect.never),
  Agent.untyped("again", () => Effect.never, { onRestart: "rerun" }),
  Agent.untyped("parent", () => Job.delegate("echo", "from the parent", { lease: { "cost.budget": ["USD:0.25"] } }))
)

const budget = { lease_request: { "cost.budget": ["USD:1.00"], "agent.delegate": ["**"] } }

interface Options<P> {
  readonly replace: P
  readonly store?: Layer.Layer<Store>
  readonly limits?: LimitsOptions
  readonly resumeWindow?: Duration.DurationInput
}

/** A runtime whose concerns are replaced; it may be ended before the test. */
const start = <const P extends ArcpRuntime.Replacements>({ limits, replace, resumeWindow, store }: Options<P>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Effect.forkDaemon(Scope.close(scope, Exit.void)))
    const layer = ArcpRuntime.layer({ drainTime: 0, replace, resumeWindow: resumeWindow ?? "60 seconds" }).pipe(
      Layer.provide(agents),
      Layer.provide(Limits.layer(limits ?? {})),
      Layer.provideMerge(MemoryTransport.layerEncoded),
      Layer.provide(store ?? MemoryStore.layer),
      Layer.provide(Authenticator.layerBearer({ "alice-token": "alice", "bob-token": "bob" }))
    ) as Layer.Layer<Connector>
    const context = yield* Scope.extend(Layer.build(layer), scope)
    return { context, end: Scope.close(scope, Exit.void) }
  })

type Started = Effect.Effect.Success<ReturnType<typeof start>>

const connect = ({ context }: Started, options: Parameters<typeof hello>[0] = {}) =>
  Effect.provide(hello({ features, ...options }), context)

/** A hello or a resume, and its first answer. */
const knock = ({ context }: Started, payload: object = {}, token = "alice-token") =>
  Effect.provide(
    Effect.gen(function* () {
      const peer = yield* dial
      const id = yield* peer.send("session.hello", {
        auth: { scheme: "bearer", token },
        capabilities: { features },
        ...payload
      })
      return yield* Effect.raceFirst(peer.next("session.welcome"), peer.reply(id))
    }),
    context
  )

const resumeOf = ({ sessionId, token }: { readonly sessionId: string; readonly token: string }) => ({
  resume: { session_id: sessionId, resume_token: token, last_event_seq: 0 }
})

/** A turn of the event loop. */
const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
const turns = Effect.repeatN(turn, 20)

/** That something which does not wait for the clock is over within a few turns of the event loop. */
const soon = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* turns
    const exit = yield* fiber.poll
    yield* Effect.forkDaemon(Fiber.interrupt(fiber))
    if (exit._tag === "None") throw new Error("it hangs")
    return yield* exit.value
  })

// edge: what a program's own layer may do
const broken = (): never => {
  throw new Error("broken")
}

const sessionsOf = (change: (own: SessionsService) => Partial<SessionsService>) =>
  Layer.effect(
    Sessions,
    Effect.map(Sessions, (own) => ({ ...own, ...change(own) }))
  )

const works = (runtime: Started) =>
  Effect.gen(function* () {
    const peer = yield* connect(runtime)
    expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
    yield* peer.drop
  })

describe("Sessions (§6)", () => {
  it.scoped("whose stored throws: the resume counts, and the runtime ends", () =>
    Effect.gen(function* () {
      const runtime = yield* start({
        replace: {
          sessions: sessionsOf((own) => ({
            resume: (request) => Effect.map(own.resume(request), (resumed) => ({ ...resumed, stored: broken }))
          }))
        }
      })
      const first = yield* connect(runtime)
      expect((yield* soon(knock(runtime, resumeOf(first)))).type).toBe("session.welcome")
      yield* soon(works(runtime))
      yield* soon(runtime.end)
    })
  )

  it.scoped("whose left throws: the connection is cleaned up, and its session expires", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const runtime = yield* start({
        replace: {
          sessions: sessionsOf(() => ({ left: broken })),
          subscriptions: Layer.effect(
            Subscriptions,
            Effect.map(Subscriptions, (own) => ({
              ...own,
              list: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
            }))
          )
        }
      })
      const peer = yield* connect(runtime)
      yield* peer.send("session.list_jobs", {})
      yield* barrier(peer)
      yield* peer.drop
      yield* soon(Deferred.await(interrupted))
      yield* TestClock.adjust("61 seconds")
      expect((yield* knock(runtime, resumeOf(peer))).payload.code).toBe("RESUME_WINDOW_EXPIRED")
    })
  )

  it.scoped("whose expired throws: the session is gone from the store", () =>
    Effect.gen(function* () {
      const { layer, store } = yield* makeStore(MemoryStore.layer)
      const runtime = yield* start({ replace: { sessions: sessionsOf(() => ({ expired: broken })) }, store: layer })
      const peer = yield* connect(runtime)
      yield* peer.drop
      yield* turns
      expect((yield* store.recover).sessions.length).toBe(1)
      yield* TestClock.adjust("61 seconds")
      yield* turns
      expect((yield* store.recover).sessions.length).toBe(0)
    })
  )

  it.scoped("whose adopt throws or answers nonsense: the runtime starts, and those sessions are gone", () =>
    Effect.gen(function* () {
      const { die, layer, store } = yield* makeStore(MemoryStore.layer)
      const first = yield* start({ replace: {}, store: layer })
      const peers = yield* Effect.forEach([1, 2, 3, 4, 5], () => connect(first))
      yield* die
      const answers: Array<() => unknown> = [broken, () => Number.NaN, () => "10", () => null, () => 10n]
      const ids = peers.map(({ sessionId }) => sessionId)
      const second = yield* start({
        replace: {
          sessions: sessionsOf(() => ({
            adopt: ({ sessionId }) => answers[ids.indexOf(sessionId)]!() as number
          }))
        },
        store: layer
      })
      yield* works(second)
      for (const peer of peers) {
        expect((yield* knock(second, resumeOf(peer))).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      }
      expect((yield* store.recover).sessions.length).toBe(1)
    })
  )

  for (const [what, window] of [
    ["NaN", Number.NaN],
    ["nothing", undefined],
    ["a text", "60000"],
    ["a bigint", 60_000n],
    ["less than nothing", -1]
  ] as const) {
    it.scoped(`whose open answers ${what} as the window: that session is refused, and others expire in time`, () =>
      Effect.gen(function* () {
        let isBroken = false
        const runtime = yield* start({
          replace: {
            sessions: sessionsOf((own) => ({
              open: (request) =>
                Effect.map(own.open(request), (opened) =>
                  isBroken ? { ...opened, resumeWindow: window as number } : opened
                )
            }))
          },
          limits: { sessionsPerPrincipal: 3 }
        })
        const good = yield* connect(runtime)
        isBroken = true
        // More than there may be: what was refused does not count.
        for (let i = 0; i < 4; i++) expect((yield* soon(knock(runtime))).payload.code).toBe("INTERNAL_ERROR")
        isBroken = false
        yield* works(runtime)
        yield* good.drop
        yield* turns
        yield* TestClock.adjust("61 seconds")
        expect((yield* knock(runtime, resumeOf(good))).payload.code).toBe("RESUME_WINDOW_EXPIRED")
        yield* soon(runtime.end)
      })
    )
  }

  for (const [what, wrong] of [
    ["no token", { token: undefined }],
    ["a token of a million characters", { token: "t".repeat(1_000_000) }],
    ["no window", { resumeWindow: undefined }],
    ["a session that is not there", { sessionId: SessionId("sess_nobody") }],
    ["no session", { sessionId: undefined }]
  ] as const) {
    it.scoped(`whose resume answers ${what}: it is refused, and the session lives on`, () =>
      Effect.gen(function* () {
        let isBroken = true
        const runtime = yield* start({
          replace: {
            sessions: sessionsOf((own) => ({
              resume: (request) =>
                Effect.map(own.resume(request), (resumed) =>
                  isBroken ? ({ ...resumed, ...wrong } as typeof resumed) : resumed
                )
            }))
          }
        })
        const peer = yield* connect(runtime)
        expect((yield* soon(knock(runtime, resumeOf(peer)))).type).toBe("session.error")
        isBroken = false
        expect((yield* soon(run(peer, "echo", 2))).payload.result).toBe(2)
        expect((yield* soon(knock(runtime, resumeOf(peer)))).type).toBe("session.welcome")
      })
    )
  }

  it.scoped("§6.3 whose resume names another principal's session: it is refused as any other", () =>
    Effect.gen(function* () {
      const opened: Array<SessionId> = []
      const runtime = yield* start({
        replace: {
          sessions: sessionsOf((own) => ({
            open: (request) => Effect.tap(own.open(request), ({ sessionId }) => opened.push(sessionId)),
            resume: () => Effect.sync(() => ({ sessionId: opened[0]!, token: "t", resumeWindow: 60_000 }))
          }))
        }
      })
      const alice = yield* connect(runtime)
      expect((yield* soon(knock(runtime, resumeOf(alice), "bob-token"))).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      expect((yield* soon(run(alice, "echo", 2))).payload.result).toBe(2)
    })
  )

  it.scoped("whose open reuses the id of the session that makes room: it is refused, and that session stays", () =>
    Effect.gen(function* () {
      const { layer, store } = yield* makeStore(MemoryStore.layer)
      const one = SessionId("sess_one")
      const runtime = yield* start({
        replace: {
          sessions: sessionsOf(() => ({
            open: () => Effect.succeed({ sessionId: one, token: "t", resumeWindow: 60_000, replaces: [one] })
          }))
        },
        store: layer
      })
      const peer = yield* connect(runtime)
      expect((yield* knock(runtime)).payload.code).toBe("INTERNAL_ERROR")
      expect((yield* soon(run(peer, "echo", 2))).payload.result).toBe(2)
      expect((yield* store.recover).sessions.length).toBe(1)
    })
  )

  it.scoped("that decide too late: what they decide then does not count", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let isSlow = true
      const runtime = yield* start({
        replace: {
          sessions: sessionsOf((own) => ({
            open: (request) => (isSlow ? Effect.zipLeft(own.open(request), Deferred.await(gate)) : own.open(request))
          }))
        },
        limits: { sessionsPerPrincipal: 1 }
      })
      const late = yield* Effect.fork(knock(runtime))
      yield* turns
      yield* TestClock.adjust("11 seconds")
      expect((yield* late).payload.code).toBe("INTERNAL_ERROR")
      isSlow = false
      expect((yield* knock(runtime)).payload.code).toBe("INTERNAL_ERROR")
      yield* Deferred.succeed(gate, undefined)
      yield* turns
      expect((yield* knock(runtime)).type).toBe("session.welcome")
      yield* soon(runtime.end)
    })
  )
})

describe("what never ends and cannot be interrupted", () => {
  const stuck = () => Effect.uninterruptible(Effect.never)

  for (const [what, replace, request] of [
    ["Sessions.resume", { sessions: sessionsOf(() => ({ resume: stuck })) }, undefined],
    [
      "Subscriptions.list",
      {
        subscriptions: Layer.effect(
          Subscriptions,
          Effect.map(Subscriptions, (own) => ({ ...own, list: stuck }))
        )
      },
      "session.list_jobs"
    ]
  ] as const) {
    it.scoped(`does not hold up the runtime's end: ${what}`, () =>
      Effect.gen(function* () {
        const runtime = yield* start({ replace })
        const peer = yield* connect(runtime)
        if (request === undefined) yield* Effect.forkScoped(knock(runtime, resumeOf(peer)))
        else yield* peer.send(request, {})
        yield* turns
        yield* soon(barrier(peer))
        yield* soon(runtime.end)
      })
    )
  }
})

describe("§6.3 resumes of the runtime's own sessions that meet", () => {
  it.scoped("with one token at once: the last has the session, with a token that resumes it", () =>
    Effect.gen(function* () {
      const runtime = yield* start({ replace: {} })
      const first = yield* connect(runtime)
      const options = resumeOf(first)
      const both = yield* Effect.all([connect(runtime, options), connect(runtime, options)], {
        concurrency: "unbounded"
      })
      yield* turns
      const [loser, winner] = both[0].seen.some(({ type }) => type === "session.error") ? both : [both[1], both[0]]
      expect((yield* loser!.ended).code).toBe(1008)
      expect((yield* soon(run(winner!, "echo", 1))).payload.result).toBe(1)
      yield* winner!.drop
      yield* turns
      // It has been confirmed: the tokens before it do not count.
      for (const old of [first, loser!]) {
        expect((yield* knock(runtime, resumeOf({ sessionId: first.sessionId, token: old.token }))).type).toBe(
          "session.error"
        )
      }
      expect((yield* connect(runtime, resumeOf(winner!))).sessionId).toBe(first.sessionId)
    })
  )

  it.scoped("one whose row cannot be stored changes nothing: both tokens that there were still count", () =>
    Effect.gen(function* () {
      const { layer, store } = yield* makeStore(MemoryStore.layer)
      let fails = false
      const faulty = Layer.map(layer, (context) => {
        const built = Context.get(context, Store)
        return Context.make(Store, {
          ...built,
          commit: (batch) =>
            fails ? Effect.fail(new StoreError({ operation: "commit", message: "full" })) : built.commit(batch)
        })
      })
      const runtime = yield* start({ replace: {}, store: faulty })
      const first = yield* connect(runtime)
      const second = yield* connect(runtime, resumeOf(first))
      // The second welcome has not been confirmed: the first token counts beside it.
      fails = true
      for (const { token } of [first, second]) {
        const refusal = yield* knock(runtime, resumeOf({ sessionId: first.sessionId, token }))
        expect(refusal.payload.code).toBe("INTERNAL_ERROR")
      }
      fails = false
      yield* TestClock.adjust("10 seconds")
      const third = yield* connect(runtime, resumeOf(first))
      expect((yield* knock(runtime, resumeOf(second))).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      expect((yield* soon(run(third, "echo", 1))).payload.result).toBe(1)
      expect((yield* store.recover).sessions.length).toBe(1)
    })
  )
})

describe("JobScheduler (§7)", () => {
  const scheduler = (submit: (own: Context.Tag.Service<JobScheduler>) => Context.Tag.Service<JobScheduler>["submit"]) =>
    Layer.effect(
      JobScheduler,
      Effect.map(JobScheduler, (own) => ({ ...own, submit: submit(own) }))
    )

  it.scoped("whose submit never ends: the connection is read on, and the runtime ends", () =>
    Effect.gen(function* () {
      const runtime = yield* start({ replace: { jobScheduler: scheduler(() => () => Effect.never) } })
      const peer = yield* connect(runtime)
      yield* peer.send("job.submit", { agent: "echo" })
      yield* soon(barrier(peer))
      yield* soon(runtime.end)
    })
  )

  it.scoped("whose submit never ends and cannot be interrupted: connection and runtime end", () =>
    Effect.gen(function* () {
      const runtime = yield* start({
        replace: { jobScheduler: scheduler(() => () => Effect.uninterruptible(Effect.never)) }
      })
      const peer = yield* connect(runtime)
      yield* peer.send("job.submit", { agent: "echo", idempotency_key: "k" })
      yield* soon(barrier(peer))
      yield* soon(runtime.end)
    })
  )

  const wrongs: ReadonlyArray<readonly [string, Context.Tag.Service<JobScheduler>["submit"]]> = [
    ["fails with nothing", () => Effect.fail(undefined as never)],
    ["refuses with nothing", (_, reply) => Effect.sync(() => reply(Either.left(undefined as never)))],
    [
      "refuses with a getter that throws",
      (_, reply) =>
        Effect.sync(() =>
          reply(
            Either.left(
              Object.defineProperty(new InternalError({ message: "m" }), "details", { get: broken }) as InternalError
            )
          )
        )
    ],
    ["answers nothing", (_, reply) => Effect.sync(() => reply(undefined as never))],
    [
      "answers what has no JSON",
      (_, reply) =>
        Effect.sync(() => reply(Either.right({ jobId: JobId("j"), traceId: "t", payload: { job_id: 1n } as never })))
    ],
    [
      "answers a getter that throws",
      (_, reply) => Effect.sync(() => reply(Either.right(Object.defineProperty({}, "jobId", { get: broken }) as never)))
    ],
    ["is no effect", () => undefined as never],
    ["throws", () => broken()]
  ]
  for (const [what, wrong] of wrongs) {
    it.scoped(`whose submit ${what}: the request fails`, () =>
      Effect.gen(function* () {
        const runtime = yield* start({
          replace: {
            jobScheduler: scheduler(
              (own) => (request, reply) =>
                request.payload.agent === "never" ? wrong(request, reply) : own.submit(request, reply)
            )
          }
        })
        const peer = yield* connect(runtime)
        expect((yield* soon(submit(peer, "never"))).payload.code).toBe("INTERNAL_ERROR")
        expect((yield* soon(run(peer, "echo", 2))).payload.result).toBe(2)
      })
    )
  }

  it.scoped("that answers when the connection or the runtime has ended", () =>
    Effect.gen(function* () {
      const replies: Array<() => void> = []
      const runtime = yield* start({
        replace: {
          jobScheduler: scheduler(
            () => (_, reply) =>
              Effect.sync(() => void replies.push(() => reply(Either.left(new InternalError({ message: "late" })))))
          )
        }
      })
      const peer = yield* connect(runtime)
      yield* peer.send("job.submit", { agent: "echo" })
      yield* peer.send("job.submit", { agent: "echo" })
      yield* barrier(peer)
      yield* peer.drop
      yield* turns
      replies[0]!()
      yield* soon(runtime.end)
      replies[1]!()
      expect(peer.seen.filter(({ type }) => type === "session.error")).toEqual([])
    })
  )
})

describe("Subscriptions (§6.6, §7.6)", () => {
  it.scoped("whose list answers no cursor: the page is the last", () =>
    Effect.gen(function* () {
      const runtime = yield* start({
        replace: {
          subscriptions: Layer.effect(
            Subscriptions,
            Effect.map(Subscriptions, (own) => ({
              ...own,
              list: () => Effect.succeed({ rows: [] } as never)
            }))
          )
        }
      })
      const peer = yield* connect(runtime)
      const id = yield* peer.send("session.list_jobs", {})
      expect((yield* soon(peer.reply(id))).payload).toMatchObject({ jobs: [], next_cursor: null })
    })
  )
})

/** That a job of an earlier process, which these concerns cannot take up, ends, and that the runtime starts all the same. */
const endsAtRecovery = <const P extends ArcpRuntime.Replacements>(replace: P) =>
  Effect.gen(function* () {
    const { die, layer, store } = yield* makeStore(MemoryStore.layer)
    const first = yield* start({ replace: {}, store: layer })
    const peer = yield* connect(first)
    const jobId = (yield* submit(peer, "again", null, budget)).payload.job_id
    yield* barrier(peer)
    yield* die
    const second = yield* start({ replace, store: layer })
    const back = yield* connect(second, resumeOf(peer))
    expect((yield* soon(back.terminal(jobId))).type).toBe("job.error")
    expect((yield* store.recover).jobs.length).toBe(0)
  })

describe("Budgets (§9.6)", () => {
  for (const [what, change] of [
    ["close answers nothing", { close: () => undefined as never }],
    ["close answers no amounts", { close: () => ({ returned: 1, parent: 2 }) as never }],
    ["close throws", { close: broken }]
  ] as const) {
    it.scoped(`whose ${what}: jobs end, and their slots are free`, () =>
      Effect.gen(function* () {
        const runtime = yield* start({
          replace: {
            budgets: Layer.effect(
              Budgets,
              Effect.map(Budgets, (own) => ({ ...own, ...change }))
            )
          },
          limits: { jobsPerPrincipal: 2 }
        })
        const peer = yield* connect(runtime)
        for (let i = 0; i < 4; i++) {
          expect((yield* soon(run(peer, "echo", i, budget))).payload.result).toBe(i)
          expect((yield* soon(run(peer, "parent", null, budget))).payload.result).toBe("from the parent")
        }
      })
    )
  }

  it.scoped("whose counters throw once a child ends: parent and child end", () =>
    Effect.gen(function* () {
      let closed = false
      const runtime = yield* start({
        replace: {
          budgets: Layer.effect(
            Budgets,
            Effect.map(Budgets, (own) => ({
              ...own,
              close: (jobId: JobId) => {
                closed = true
                return own.close(jobId)
              },
              counters: (jobId: JobId) => (closed ? broken() : own.counters(jobId))
            }))
          )
        },
        limits: { jobsPerPrincipal: 2 }
      })
      const peer = yield* connect(runtime)
      for (let i = 0; i < 4; i++) {
        closed = false
        expect(["job.result", "job.error"]).toContain((yield* soon(run(peer, "parent", null, budget))).type)
      }
    })
  )

  it.scoped("that throw for a job of an earlier process: it ends, and the runtime starts", () =>
    endsAtRecovery({
      budgets: Layer.effect(
        Budgets,
        Effect.map(Budgets, (own) => ({ ...own, open: broken }))
      )
    })
  )
})

describe("Leases (§9)", () => {
  for (const [what, recovered] of [
    ["throw", broken],
    ["answer nothing", () => undefined as never]
  ] as const) {
    it.scoped(`that ${what} for a job of an earlier process: it ends, and the runtime starts`, () =>
      endsAtRecovery({
        leases: Layer.effect(
          Leases,
          Effect.map(Leases, (own) => ({ ...own, recovered }))
        )
      })
    )
  }

  for (const [what, expiresAt] of [
    ["NaN", Number.NaN],
    ["a text", "soon"],
    ["a bigint", 1n]
  ] as const) {
    it.scoped(`whose lease expires at ${what}: other deadlines come in time`, () =>
      Effect.gen(function* () {
        let isBroken = false
        const runtime = yield* start({
          replace: {
            leases: Layer.effect(
              Leases,
              Effect.map(Leases, (own) => ({
                ...own,
                admit: (request) =>
                  Either.map(own.admit(request), (lease) =>
                    isBroken ? { ...lease, expiresAt: expiresAt as number } : lease
                  )
              }))
            )
          }
        })
        const [peer, other] = [yield* connect(runtime), yield* connect(runtime)]
        isBroken = true
        yield* soon(submit(peer, "never"))
        yield* other.drop
        yield* turns
        yield* TestClock.adjust("61 seconds")
        expect((yield* soon(knock(runtime, resumeOf(other)))).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      })
    )
  }
})

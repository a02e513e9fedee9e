/** §11 The span and the scope of a handler: the same whether a tracer looks at it or not, and in order at its end. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, HashMap, Layer, Logger, Option, Ref, Tracer } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { recording } from "../support/spans.js"
import { hello, run, submit } from "./peer.js"
import { world } from "./world.js"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const lease = { lease_request: { "cost.budget": ["USD:1.00"] } }
const head = { trace_id: `00-${traceId}-00f067aa0ba902b7-01` }

const noTracer = Effect.succeed({ layer: Layer.empty as Layer.Layer<never>, spans: undefined })

/** What a handler can learn of its span. */
const looked = (seen: { spans: Array<Tracer.Span> }) =>
  Effect.gen(function* () {
    const span = yield* Effect.currentSpan
    seen.spans.push(span)
    yield* Effect.annotateCurrentSpan("mine", 1)
    yield* Effect.logInfo("an event of the span")
    const inner = yield* Effect.withSpan(Effect.currentSpan, "inner")
    const { attributes, kind, links, name, parent, sampled, status } = span
    return {
      name,
      kind,
      sampled,
      links: links.length,
      status: status._tag,
      traceId: span.traceId,
      parent: Option.map(parent, ({ _tag, sampled, spanId, traceId }) => ({ _tag, sampled, spanId, traceId })),
      attributes: [...attributes.keys()].toSorted(),
      isChild: Option.exists(inner.parent, (up) => up.spanId === span.spanId) && inner.traceId === span.traceId,
      id: /^[0-9a-f]{16}$/.test(span.spanId)
    }
  })

describe("§11 the span of a handler", () => {
  for (const [what, tracing] of [
    ["without a tracer", noTracer],
    ["with a tracer", recording]
  ] as const) {
    it.scopedLive(`says what it is, ${what}`, () =>
      Effect.gen(function* () {
        const { layer } = yield* tracing
        const seen = { spans: [] as Array<Tracer.Span> }
        let answer: unknown
        const agents = Agent.untyped("look", () =>
          Effect.tap(Effect.zipRight(Job.spend("cost.x", "0.25 USD"), looked(seen)), (found) =>
            Effect.sync(() => (answer = found))
          )
        )
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          const id = yield* peer.send("job.submit", { agent: "look", ...lease }, head)
          const accepted = yield* peer.reply(id)
          expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("success")
        }).pipe(Effect.provide(Layer.provide(world({ agents }), layer)))
        expect(answer).toEqual({
          name: "arcp.job",
          kind: "internal",
          sampled: true,
          links: 0,
          status: "Started",
          traceId,
          parent: Option.some({ _tag: "ExternalSpan", sampled: true, spanId: "00f067aa0ba902b7", traceId }),
          attributes: [
            "arcp.agent",
            "arcp.job_id",
            "arcp.lease.capabilities",
            "arcp.lease.expires_at",
            "arcp.session_id",
            "mine"
          ],
          isChild: true,
          id: true
        })
        const [span] = seen.spans
        expect(span!.status).toMatchObject({ _tag: "Ended", exit: { _tag: "Success" } })
        expect(span!.attributes.get("arcp.budget.remaining")).toBe('{"USD":"0.75"}')
      })
    )
  }

  it.scopedLive("ends behind the handler's finalizers, which know how it ended", () =>
    Effect.gen(function* () {
      const { layer } = yield* recording
      const order: Array<string> = []
      const note = (line: string) => Effect.sync(() => void order.push(line))
      const ending = (how: "succeed" | "fail" | "die") =>
        Agent.untyped(how, () =>
          Effect.gen(function* () {
            const span = yield* Effect.currentSpan
            const finalizer = (what: string) => (exit: Exit.Exit<unknown, unknown>) =>
              note(`${what} ${exit._tag} ${span.status._tag}`)
            yield* Effect.addFinalizer(finalizer("first"))
            yield* Effect.addFinalizer(finalizer("second"))
            if (how === "fail") return yield* Effect.fail("no")
            if (how === "die") return yield* Effect.die("never")
            return how
          })
        )
      const agents = Layer.mergeAll(ending("succeed"), ending("fail"), ending("die"))
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const agent of ["succeed", "fail", "die"]) {
          yield* run(peer, agent)
          const exit = agent === "succeed" ? "Success" : "Failure"
          expect(order.splice(0)).toEqual([`second ${exit} Started`, `first ${exit} Started`])
        }
      }).pipe(Effect.provide(Layer.provide(world({ agents }), Layer.merge(layer, Logger.remove(Logger.defaultLogger)))))
    })
  )

  it.scopedLive("a tracer that throws costs the job its result, and the runtime nothing", () =>
    Effect.gen(function* () {
      let broken = true
      const tracer = Tracer.make({
        span: (name, parent, context, links, startTime, kind) => {
          if (name === "arcp.job" && broken) throw new Error("no span")
          return Context.get(yieldServices, Tracer.Tracer).span(name, parent, context, links, startTime, kind)
        },
        context: (run) => run()
      })
      const yieldServices = Context.make(Tracer.Tracer, yield* Effect.tracer)
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        expect((yield* run(peer, "echo", 1)).payload).toMatchObject({ code: "INTERNAL_ERROR" })
        broken = false
        expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
      }).pipe(
        Effect.provide(
          Layer.provide(world(), Layer.merge(Layer.setTracer(tracer), Logger.remove(Logger.defaultLogger)))
        )
      )
    })
  )
})

describe("the scope of a handler", () => {
  it.scopedLive("is closed where a fiber that the handler left behind first asks for it", () =>
    Effect.gen(function* () {
      const left = yield* Deferred.make<Fiber.RuntimeFiber<string, unknown>>()
      const over = yield* Deferred.make<void>()
      const agents = Agent.untyped("leaves", () =>
        Effect.gen(function* () {
          const ended = yield* Ref.make(false)
          const late = Effect.gen(function* () {
            yield* Deferred.await(over)
            yield* Effect.addFinalizer(() => Ref.set(ended, true))
            return (yield* Ref.get(ended)) ? "ended at once" : "open"
          })
          yield* Deferred.succeed(left, yield* Effect.forkDaemon(late))
          return "done"
        })
      )
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        expect((yield* run(peer, "leaves")).payload.result).toBe("done")
        yield* Deferred.succeed(over, undefined)
        expect(yield* Fiber.join(yield* Deferred.await(left))).toBe("ended at once")
      }).pipe(Effect.provide(world({ agents })))
    })
  )

  it.scopedLive("a finalizer that dies is the end of a job that had succeeded, and is not lost behind a failure", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ cause, message }) => void logged.push(`${String(message)} ${Cause.pretty(cause)}`))
      const dies = Effect.addFinalizer(() => Effect.dieMessage("late"))
      const agents = Layer.mergeAll(
        Agent.untyped("succeeds", () => Effect.as(dies, "done")),
        Agent.untyped("fails", () => Effect.zipRight(dies, Effect.dieMessage("early")))
      )
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const agent of ["succeeds", "fails"]) {
          const end = yield* run(peer, agent)
          expect(end.payload).toMatchObject({ code: "INTERNAL_ERROR", message: "the agent failed unexpectedly" })
        }
        expect(logged.filter((line) => line.includes("late"))).toHaveLength(2)
        expect(logged.filter((line) => line.includes("early"))).toHaveLength(1)
      }).pipe(Effect.provide(Layer.provide(world({ agents }), Logger.replace(Logger.defaultLogger, logger))))
    })
  )

  it.scopedLive("§7.4 a handler that is cancelled in its first step, and one that waits, run their finalizers", () =>
    Effect.gen(function* () {
      const ended: Array<string> = []
      const agents = Agent.untyped("waits", (name) =>
        Effect.zipRight(
          Effect.addFinalizer((exit) => Effect.sync(() => void ended.push(`${String(name)} ${exit._tag}`))),
          Effect.never
        )
      )
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "waits", "one")
        yield* peer.send("job.cancel", {}, { job_id: accepted.job_id })
        expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("cancelled")
        expect(ended).toEqual(["one Failure"])
      }).pipe(Effect.provide(world({ agents })))
    })
  )
})

it.scopedLive("a handler's fibers, and those that it forks, are annotated with the job", () =>
  Effect.gen(function* () {
    const agents = Agent.untyped("annotated", () =>
      Effect.flatMap(Effect.fork(Effect.logAnnotations), (fiber) =>
        Effect.map(Fiber.join(fiber), (annotations) => Object.fromEntries(HashMap.entries(annotations)))
      )
    )
    yield* Effect.gen(function* () {
      const peer = yield* hello()
      const end = yield* run(peer, "annotated")
      expect(end.payload.result).toEqual({ job_id: end.job_id, agent: "annotated@1.0.0", attempt: 1 })
    }).pipe(Effect.provide(world({ agents })))
  })
)

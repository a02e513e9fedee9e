/** The context of a call, which makes things when they are asked for: to Effect it is a context like any other. */
import { FileSystem } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Equal, Hash, Layer, Option, Scope, Tracer } from "effect"
import { type Call, contextOf, Guarded, isWhole } from "../../src/agent/CallContext.js"
import { type Gate, Job, type JobService } from "../../src/agent/index.js"

class Mailer extends Context.Tag("test/Mailer")<Mailer, { readonly send: string }>() {}
class Absent extends Context.Tag("test/Absent")<Absent, string>() {}
class Mode extends Context.Reference<Mode>()("test/Mode", { defaultValue: () => "default" }) {}

const job = { jobId: "job_1" } as JobService
const scope = Effect.runSync(Scope.make())
const span = Tracer.externalSpan({ traceId: "t", spanId: "s" })

/** A context, and how often each part of it has been made. */
const made = (withSpan = true) => {
  const times = { job: 0, gate: 0, scope: 0, fs: 0 }
  const call: Call = {
    get job() {
      times.job++
      return job
    },
    get gate() {
      times.gate++
      return { live: () => undefined } as Gate
    },
    get scope() {
      times.scope++
      return scope
    },
    span: withSpan ? span : undefined
  }
  const guarded = new Guarded(() => {
    times.fs++
    return { exists: () => Effect.succeed(true), name: "guarded" }
  })
  const mailer = { send: "sent" }
  const context = contextOf(
    new Map<string, unknown>([
      [Mailer.key, mailer],
      [FileSystem.FileSystem.key, guarded]
    ]),
    call
  ) as Context.Context<Mailer | FileSystem.FileSystem | Job | Scope.Scope | Tracer.ParentSpan>
  return { context, mailer, times }
}

const everything = [Mailer.key, FileSystem.FileSystem.key, Job.key, Scope.Scope.key, Tracer.ParentSpan.key].toSorted()

const exists = (context: Context.Context<FileSystem.FileSystem>) =>
  Effect.runSync(Context.get(context, FileSystem.FileSystem).exists("/a"))

describe("the context of a call", () => {
  it("makes nothing that nobody asks for, and a guarded service once, when it is used", () => {
    const { context, mailer, times } = made()
    expect(Context.get(context, Mailer)).toBe(mailer)
    expect(Context.getOption(context, Absent)).toEqual(Option.none())
    expect(times).toEqual({ job: 0, gate: 0, scope: 0, fs: 0 })
    const first = Context.get(context, FileSystem.FileSystem)
    expect(times.fs).toBe(0)
    expect(exists(context)).toBe(true)
    expect(exists(context)).toBe(true)
    expect(Context.get(context, FileSystem.FileSystem)).toBe(first)
    expect(times).toEqual({ job: 0, gate: 1, scope: 0, fs: 1 })
    expect(Context.get(context, Job)).toBe(job)
    expect(Context.get(context, Scope.Scope)).toBe(scope)
    expect(Context.get(context, Tracer.ParentSpan)).toBe(span)
  })

  it("answers every question as a context with the same services does", () => {
    const { context } = made()
    const plain = Context.unsafeMake<unknown>(new Map(context.unsafeMap)) as typeof context
    expect(plain.unsafeMap).toBeInstanceOf(Map)
    for (const of of [context, plain]) {
      expect([...of.unsafeMap.keys()].toSorted()).toEqual(everything)
      expect([...of.unsafeMap].map(([key]) => key).toSorted()).toEqual(everything)
      expect([...of.unsafeMap.values()]).toHaveLength(everything.length)
      expect(of.unsafeMap.size).toBe(everything.length)
      expect(everything.every((key) => of.unsafeMap.has(key) && of.unsafeMap.get(key) !== undefined)).toBe(true)
      expect(Context.getOption(of, Mode)).toEqual(Option.some("default"))
      expect(Context.getOrElse(of, Absent, () => "else")).toBe("else")
      expect(() => Context.unsafeGet(of, Absent)).toThrow("Service not found: test/Absent")
      expect(Context.isContext(of)).toBe(true)
      const forEach: Array<string> = []
      of.unsafeMap.forEach((_, key) => forEach.push(key))
      expect(forEach.toSorted()).toEqual(everything)
    }
    expect(Equal.equals(context, plain)).toBe(true)
    expect(Equal.equals(plain, context)).toBe(true)
    expect(Hash.hash(context)).toBe(Hash.hash(plain))
    expect(isWhole(context)).toBe(true)
    expect(isWhole(plain)).toBe(false)
  })

  it("is added to, merged, picked from and left out of", () => {
    const { context, times } = made()
    const added = Context.add(context, Absent, "here")
    expect([...added.unsafeMap.keys()].toSorted()).toEqual([...everything, Absent.key].toSorted())
    const replaced = Context.add(context, Mailer, { send: "other" })
    expect(Context.get(replaced, Mailer).send).toBe("other")
    expect(Context.get(Context.merge(context, Context.make(Mailer, { send: "that" })), Mailer).send).toBe("that")
    expect(Context.get(Context.merge(Context.make(Mailer, { send: "this" }), context), Mailer).send).toBe("sent")
    expect(Context.get(Context.mergeAll(Context.make(Absent, "a"), context), Job)).toBe(job)
    expect([...Context.pick(Mailer)(context).unsafeMap.keys()]).toEqual([Mailer.key])
    expect(Context.omit(Mailer)(context).unsafeMap.has(Mailer.key)).toBe(false)
    // None of that has made what is guarded, and what has been copied is the same service.
    expect(times.fs).toBe(0)
    expect(exists(added)).toBe(true)
    expect(exists(replaced)).toBe(true)
    expect(exists(context)).toBe(true)
    expect(times.fs).toBe(1)
  })

  it("has no span where the call has none", () => {
    const { context } = made(false)
    expect(Context.getOption(context, Tracer.ParentSpan)).toEqual(Option.none())
    expect([...context.unsafeMap.keys()]).not.toContain(Tracer.ParentSpan.key)
  })

  it("stands in for a guarded service in what is asked of it", () => {
    const { context } = made()
    const fs = Context.get(context, FileSystem.FileSystem) as unknown as { name: string }
    expect(Object.keys(fs)).toEqual(["exists", "name"])
    expect("exists" in fs).toBe(true)
    expect({ ...fs }.name).toBe("guarded")
    expect(Object.getPrototypeOf(fs)).toBe(Object.prototype)
    expect(() => {
      fs.name = "mine"
    }).toThrow(TypeError)
    expect(fs.name).toBe("guarded")
  })

  it.effect("a program runs in it as in any other", () =>
    Effect.gen(function* () {
      const { context, times } = made()
      const mail = Effect.map(Mailer, ({ send }) => send)
      const program = Effect.all([
        mail,
        Effect.provideService(mail, Mailer, { send: "provided" }),
        Effect.provide(mail, Layer.succeed(Mailer, { send: "layered" })),
        Effect.withSpan(mail, "inner"),
        Effect.flatMap(Effect.fork(mail), (fiber) => fiber.await).pipe(Effect.flatten),
        Effect.map(Effect.serviceOption(Absent), Option.isNone),
        Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.withSpan(fs.exists("/a"), "inner"))
      ])
      expect(yield* Effect.provide(program, context)).toEqual([
        "sent",
        "provided",
        "layered",
        "sent",
        "sent",
        true,
        true
      ])
      expect(times.fs).toBe(1)
    })
  )
})

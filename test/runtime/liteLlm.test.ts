import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Clock, Context, Effect, Either, FastCheck as fc, Inspectable, Layer, Logger, Redacted, Tracer } from "effect"
import { Glob, Lease } from "../../src/authority/index.js"
import { Ids, JobId, PrincipalId } from "../../src/protocol/index.js"
import { Credentials, LiteLlm, type ProvisionRequest } from "../../src/runtime/index.js"
import { toLiteLlm } from "../../src/runtime/credentials/internal/liteLlmModels.js"
import { CredentialLedger, unrevoked } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { masterKey, standIn } from "./liteLlmStandIn.js"
import { runs } from "../support/properties.js"

const request = (
  wire: Record<string, ReadonlyArray<string>>,
  reference = "prov_1",
  expiresAt?: number
): ProvisionRequest => {
  const lease = Either.getOrThrow(Lease.compile(wire))
  return {
    reference,
    jobId: JobId("job_1"),
    principalId: PrincipalId("alice"),
    agent: "echo@1.0.0",
    parentJobId: undefined,
    lease,
    remaining: lease.budget,
    models: wire["model.use"],
    expiresAt
  }
}

/** The stand-in, and a provisioner for it. */
const world = (options: Partial<LiteLlm.LiteLlmOptions> = {}) =>
  Effect.gen(function* () {
    const proxy = yield* standIn
    const provisioner = yield* LiteLlm.make({ url: `${proxy.url}/`, masterKey: Redacted.make(masterKey), ...options })
    const client = yield* HttpClient.HttpClient
    const chat = (key: string, model: string) =>
      HttpClientRequest.post(`${proxy.url}/v1/chat/completions`).pipe(
        HttpClientRequest.bearerToken(key),
        HttpClientRequest.bodyUnsafeJson({ model, messages: [] }),
        client.execute,
        Effect.flatMap((response) => Effect.map(response.json, (body) => ({ status: response.status, body }))),
        Effect.scoped
      )
    return { proxy, provisioner, chat }
  })

const live = Effect.provide(FetchHttpClient.layer)

describe("LiteLLM virtual keys", () => {
  it.scopedLive("§13.7 a key carries budget, models and expiry of the lease, and the proxy enforces them", () =>
    Effect.gen(function* () {
      const { chat, provisioner, proxy } = yield* world({ models: ["tier-fast/a", "tier-fast/b", "tier-slow/x"] })
      const now = yield* Clock.currentTimeMillis
      const [issued] = yield* provisioner.issue(
        request({ "model.use": ["tier-fast/*"], "cost.budget": ["USD:0.50", "EUR:3"] }, "prov_1", now + 60_500)
      )
      expect(issued).toMatchObject({
        handle: "arcp-prov_1",
        endpoint: `${proxy.url}/v1`,
        profile: "openai",
        constraints: { "cost.budget": ["USD:0.5"], "model.use": ["tier-fast/a", "tier-fast/b"] }
      })
      const expiry = Date.parse(issued!.constraints!.expires_at!)
      expect(expiry).toBeLessThanOrEqual(now + 60_500)
      expect(expiry).toBeGreaterThan(now + 57_000)
      const sent = proxy.received[0]!
      expect(sent.authorization).toBe(`Bearer ${masterKey}`)
      expect(sent.body).toMatchObject({
        key_alias: "arcp-prov_1",
        max_budget: 0.5,
        models: ["tier-fast/a", "tier-fast/b"],
        metadata: { job_id: "job_1", agent: "echo@1.0.0" }
      })
      expect(sent.body["duration"]).toMatch(/^5[89]s$/)
      const key = Redacted.value(issued!.value)
      expect((yield* chat(key, "tier-fast/a")).status).toBe(200)
      const denied = yield* chat(key, "tier-slow/x")
      expect(denied.status).toBe(403)
      expect(Credentials.translate(denied)?.code).toBe("PERMISSION_DENIED")
      yield* chat(key, "tier-fast/b")
      const spent = yield* chat(key, "tier-fast/b")
      expect(spent.status).toBe(400)
      expect(Credentials.translate(spent)?.code).toBe("BUDGET_EXHAUSTED")
      yield* provisioner.revoke(issued!.handle)
      expect(proxy.keys()).toEqual([])
      const dead = yield* chat(key, "tier-fast/a")
      expect([dead.status, Credentials.translate(dead)]).toEqual([401, undefined])
    }).pipe(live)
  )

  it.scopedLive("§9.7 a lease without model.use gets no key, unless any model is allowed", () =>
    Effect.gen(function* () {
      const none = yield* world()
      expect(yield* none.provisioner.issue(request({ "tool.call": ["a"] }))).toEqual([])
      expect(yield* none.provisioner.issue(request({ "model.use": [] }))).toEqual([])
      const known = yield* world({ models: ["gpt-4o"] })
      expect(yield* known.provisioner.issue(request({ "model.use": ["claude"] }))).toEqual([])
      expect([...none.proxy.received, ...known.proxy.received]).toEqual([])
      const any = yield* world({ anyModel: true })
      const [issued] = yield* any.provisioner.issue(request({ "tool.call": ["a"] }))
      expect(issued!.constraints).toEqual({})
      expect((yield* any.chat(Redacted.value(issued!.value), "gpt-4o")).status).toBe(200)
    }).pipe(live)
  )

  it.scopedLive("§9.8.3 a pattern that the proxy could only hold by allowing more refuses the job", () =>
    Effect.gen(function* () {
      const { provisioner, proxy } = yield* world()
      const error = yield* Effect.flip(provisioner.issue(request({ "model.use": ["gpt-4o", "tier-fast/*"] })))
      expect([error.uncertain, error.retryable]).toEqual([false, false])
      expect(error.explanation).toContain('"tier-fast/*"')
      expect(proxy.received).toEqual([])
      const grouped = yield* world({ accessGroups: { "tier-fast/*": "tier-fast" } })
      const [issued] = yield* grouped.provisioner.issue(request({ "model.use": ["gpt-4o", "tier-fast/*"] }))
      expect(grouped.proxy.keys()[0]!.models).toEqual(["gpt-4o", "tier-fast"])
      expect(issued!.constraints!["model.use"]).toEqual(["gpt-4o", "tier-fast/*"])
      expect((yield* grouped.chat(Redacted.value(issued!.value), "tier-fast/b")).status).toBe(200)
      expect((yield* grouped.chat(Redacted.value(issued!.value), "tier-slow/x")).status).toBe(403)
    }).pipe(live)
  )

  it.scopedLive("§9.8.2 a lease that is about to end gets no key", () =>
    Effect.gen(function* () {
      const { provisioner, proxy } = yield* world()
      const now = yield* Clock.currentTimeMillis
      const error = yield* Effect.flip(provisioner.issue(request({ "model.use": ["gpt-4o"] }, "prov_1", now + 1500)))
      expect(error.explanation).toBe("the lease ends too soon")
      expect(proxy.received).toEqual([])
    }).pipe(live)
  )

  it.scopedLive("§9.8.2 a key that is gone counts as revoked; a 404 of something else does not", () =>
    Effect.gen(function* () {
      const { provisioner, proxy } = yield* world()
      yield* provisioner.revoke("arcp-never-made")
      yield* provisioner.issue(request({ "model.use": ["gpt-4o"] }))
      const faults = [1, 2, 3].map(() => ({ path: "/key/delete", kind: "route 404" as const }))
      proxy.fail(...faults)
      expect((yield* Effect.flip(provisioner.revoke("arcp-prov_1"))).permanent).toBe(false)
      expect(proxy.keys()).toHaveLength(1)
      yield* provisioner.revoke("arcp-prov_1")
      expect(proxy.keys()).toEqual([])
    }).pipe(live)
  )

  it.scopedLive("§9.8.2 deleting is repeated after transient failures, and a refused master key is permanent", () =>
    Effect.gen(function* () {
      const { provisioner, proxy } = yield* world()
      yield* provisioner.issue(request({ "model.use": ["gpt-4o"] }))
      proxy.fail({ path: "/key/delete", kind: "status", status: 503 }, { path: "/key/delete", kind: "drop" })
      yield* provisioner.revoke("arcp-prov_1")
      expect(proxy.keys()).toEqual([])
      const wrong = yield* LiteLlm.make({ url: proxy.url, masterKey: Redacted.make("sk-wrong") })
      const error = yield* Effect.flip(wrong.revoke("arcp-prov_1"))
      expect([error.permanent, error.message]).toEqual([true, "LiteLLM answered 401 to /key/delete"])
    }).pipe(live)
  )

  it.scopedLive.each([
    ["drop after", true, true],
    ["drop", true, true],
    ["garbage", true, true],
    ["huge", true, true],
    ["status 500", true, true],
    ["status 429", true, true],
    ["status 422", false, false]
  ] as const)(
    "§9.8.2 an issue that meets %s says whether a key may be there, and reclaiming finds it",
    ([kind, uncertain, retryable]) =>
      Effect.gen(function* () {
        const { provisioner, proxy } = yield* world()
        const status = /^status (\d+)$/.exec(kind)?.[1]
        proxy.fail(
          status === undefined
            ? { path: "/key/generate", kind: kind as "drop" }
            : { path: "/key/generate", kind: "status", status: Number(status) }
        )
        const error = yield* Effect.flip(provisioner.issue(request({ "model.use": ["gpt-4o"] })))
        expect([error.uncertain, error.retryable]).toEqual([uncertain, retryable])
        expect(error.message).not.toContain("sk-")
        // made once at most: a request to make a key is never repeated
        expect(proxy.received.filter(({ path }) => path === "/key/generate")).toHaveLength(1)
        expect(proxy.keys()).toHaveLength(kind === "drop after" ? 1 : 0)
        yield* provisioner.reclaim!("prov_1")
        expect(proxy.keys()).toEqual([])
      }).pipe(live)
  )

  it.scopedLive("§9.8.2 an alias that exists already was made by a repeated request: it may be there", () =>
    Effect.gen(function* () {
      const { provisioner } = yield* world()
      yield* provisioner.issue(request({ "model.use": ["gpt-4o"] }))
      expect((yield* Effect.flip(provisioner.issue(request({ "model.use": ["gpt-4o"] })))).uncertain).toBe(true)
    }).pipe(live)
  )

  it.scopedLive(
    "§14 with Credentials: issue, rotate, lose an answer, end; no key is left and no secret is seen",
    () => {
      const seen: Array<string> = []
      const logger = Logger.make((options) => {
        seen.push(Inspectable.toStringUnknown(options), Logger.jsonLogger.log(options))
      })
      /** Records every attribute of every span. */
      const recording = (inner: Tracer.Tracer) =>
        Tracer.make({
          span: (name, ...rest) => {
            const span = inner.span(name, ...rest)
            const attribute = span.attribute.bind(span)
            return Object.assign(span, {
              attribute: (key: string, value: unknown) => {
                seen.push(`${name} ${key}=${String(value)}`)
                attribute(key, value)
              }
            })
          },
          context: inner.context
        })
      return Effect.gen(function* () {
        const { chat, proxy } = yield* world()
        const context = yield* Layer.build(
          Credentials.layer().pipe(
            Layer.provide(LiteLlm.layer({ url: proxy.url, masterKey: Redacted.make(masterKey) })),
            Layer.provideMerge(SqliteStore.layer({ filename: ":memory:", durable: true })),
            Layer.provide(Ids.layer)
          )
        )
        const credentials = Context.get(context, Credentials)
        const ledger = Context.get(context, CredentialLedger)
        const lease = Either.getOrThrow(Lease.compile({ "model.use": ["gpt-4o"], "cost.budget": ["USD:1"] }))
        const job = {
          jobId: "job_1",
          principalId: "alice",
          agent: "echo@1.0.0",
          lease,
          remaining: Effect.succeed(lease.budget)
        }
        const [first] = yield* credentials.issue(job)
        const second = yield* credentials.rotate("job_1", first!.id)
        proxy.fail({ path: "/key/generate", kind: "drop after" }, { path: "/key/delete", kind: "status", status: 500 })
        yield* Effect.flip(credentials.issue({ ...job, jobId: "job_2" }))
        credentials.revoke("job_1")
        yield* Effect.iterate(0, {
          while: () => proxy.keys().length > 0,
          body: (n) => Effect.as(Effect.sleep("10 millis"), n + 1)
        }).pipe(Effect.timeout("1 minute"))
        for (const value of [first!.value, second.value]) {
          expect((yield* chat(Redacted.value(value), "gpt-4o")).status).toBe(401)
          expect(seen.join("\n")).not.toContain(Redacted.value(value))
        }
        seen.push(JSON.stringify(yield* ledger.list({ states: [...unrevoked, "revoked"], limit: 99 })))
        expect(seen.length).toBeGreaterThan(3)
        expect(seen.join("\n")).toContain("/key/generate")
        expect(seen.join("\n")).not.toContain(masterKey)
      }).pipe(
        (test) => Effect.flatMap(Effect.tracer, (inner) => Effect.withTracer(test, recording(inner))),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        live
      )
    }
  )
})

describe("model.use as LiteLLM's list", () => {
  const none = { known: undefined, accessGroups: {} }

  it("§9.7 refuses names and patterns that mean more at LiteLLM", () => {
    for (const pattern of [
      "*",
      "**",
      "tier-fast/*",
      "gpt-*",
      "a.b/**",
      "all-proxy-models",
      "All-Team-Models",
      "(a|b)/**"
    ]) {
      expect(Either.isLeft(toLiteLlm([pattern], none)), pattern).toBe(true)
    }
    expect(toLiteLlm(["bedrock/**", "gpt-4.1", ""], none)).toEqual(
      Either.right({ allowed: ["bedrock/*", "gpt-4.1"], enforced: ["bedrock/**", "gpt-4.1"] })
    )
    expect(toLiteLlm(["**"], { known: ["a", "b/*", "all-proxy-models"], accessGroups: {} })).toEqual(
      Either.right({ allowed: ["a"], enforced: ["a"] })
    )
  })

  it("§9.7 never allows a model that the lease does not", () => {
    const text = fc
      .array(fc.constantFrom("a", "b", "/", ".", ":", "*", "**", "-", "(", "|", ")", "?", "+"), {
        minLength: 1,
        maxLength: 6
      })
      .map((parts) => parts.join(""))
    const models = fc.array(
      text.map((t) => t.replaceAll("*", "x")),
      { minLength: 1, maxLength: 8 }
    )
    fc.assert(
      fc.property(fc.array(text, { maxLength: 3 }), models, fc.boolean(), (patterns, names, isKnown) => {
        const mapped = toLiteLlm(patterns, { known: isKnown ? names : undefined, accessGroups: {} })
        if (Either.isLeft(mapped)) return
        const lease = Either.getOrThrow(Glob.compileAll("name", patterns))
        for (const model of names) {
          const passes = mapped.right.allowed.some(
            (name) =>
              name === model || (name.includes("*") && new RegExp(`^${name.replaceAll("*", ".*")}$`).test(model))
          )
          // "prefix/" is no model's name
          if (passes && !model.endsWith("/"))
            expect(Glob.matches(lease, model), `${model} by ${patterns.join(" ")}`).toBe(true)
        }
        const enforced = Glob.compileAll("name", mapped.right.enforced)
        expect(Glob.isSubset(Either.getOrThrow(enforced), lease)._tag).toBe("Subset")
      }),
      { numRuns: runs(2000) }
    )
  })
})

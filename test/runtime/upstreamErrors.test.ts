import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Credentials } from "../../src/runtime/index.js"

const { translate } = Credentials
const litellm = (type: string, message: string, code: string) => ({ error: { message, type, param: "None", code } })

describe("errors of an upstream", () => {
  it.each<readonly [string, unknown]>([
    ["400 budget_exceeded", { status: 400, body: litellm("budget_exceeded", "x", "400") }],
    ["429 budget_exceeded", { status: 429, body: litellm("budget_exceeded", "x", "429") }],
    [
      "the body alone",
      litellm("budget_exceeded", "Budget has been exceeded! Current cost: 2.0, Max budget: 1.0", "400")
    ],
    ["the body as text", JSON.stringify(litellm("budget_exceeded", "x", "400"))],
    ["an old text", { status: 401, message: "ExceededBudget: User=a over budget. Spend=5, Budget=5" }],
    ["any 402", { status: 402 }],
    ["an SDK's error with a cause", { message: "failed", cause: { statusCode: 402 } }],
    ["a response inside an error", { response: { status: 400 }, responseBody: '{"error":{"type":"budget_exceeded"}}' }]
  ])("§9.6 %s is BUDGET_EXHAUSTED", (_name, error) => {
    expect(translate(error)?.code).toBe("BUDGET_EXHAUSTED")
    expect(translate(error)?.retryable).toBe(false)
  })

  it.each<readonly [string, unknown]>([
    ["403 key_model_access_denied", { status: 403, body: litellm("key_model_access_denied", "x", "403") }],
    ["401 key_model_access_denied", { status: 401, body: litellm("key_model_access_denied", "x", "401") }],
    ["401 team_model_access_denied", { status: 401, error: { type: "team_model_access_denied" } }],
    ["a text", { status: 403, message: "key not allowed to access model. This key can only access models=['a']" }]
  ])("§13.7 %s is PERMISSION_DENIED", (_name, error) => {
    expect(translate(error)?.code).toBe("PERMISSION_DENIED")
  })

  it.each<readonly [string, unknown]>([
    ["a rate limit", { status: 429, body: litellm("rate_limit_error", "Crossed RPM limit", "429") }],
    ["a server's error that talks of budgets", { status: 500, body: litellm("budget_exceeded", "x", "500") }],
    ["an unknown key", { status: 401, body: litellm("token_not_found_in_db", "x", "401") }],
    ["a plain 403", { status: 403 }],
    ["nothing", undefined],
    ["null", null],
    ["a number", 402]
  ])("%s is neither", (_name, error) => {
    expect(translate(error)).toBe(undefined)
  })

  it("repeats nothing of the upstream's text, and survives cycles and anything else", () => {
    const cyclic: { status: number; cause?: unknown; body?: unknown } = { status: 402 }
    cyclic.cause = cyclic
    cyclic.body = { error: cyclic }
    expect(translate(cyclic)?.code).toBe("BUDGET_EXHAUSTED")
    const leaky = {
      status: 400,
      body: { error: { type: "budget_exceeded", message: "sk-leaked", param: "sk-leaked" } }
    }
    expect(JSON.stringify(translate(leaky))).not.toContain("sk-leaked")
    fc.assert(
      fc.property(fc.anything(), (error) => {
        const translated = translate(error)
        expect([undefined, "BUDGET_EXHAUSTED", "PERMISSION_DENIED"]).toContain(translated?.code)
      })
    )
  })
})

it.each<[string, () => unknown]>([
  [
    "whose fields throw",
    () =>
      Object.defineProperties(
        {},
        Object.fromEntries(
          ["status", "type", "code", "message", "error", "cause"].map((name) => [
            name,
            {
              get: () => {
                throw new Error("hostile")
              }
            }
          ])
        )
      )
  ],
  [
    "that is a revoked proxy",
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      return proxy
    }
  ],
  [
    "that holds itself",
    () => {
      const error: { cause?: unknown } = {}
      error.cause = { error }
      return error
    }
  ]
])("§9.6 an error %s is no upstream's error, and translating it does not throw", (_what, make) => {
  expect(translate(make())).toBe(undefined)
  expect(translate({ status: 402, cause: make() })?.code).toBe("BUDGET_EXHAUSTED")
})

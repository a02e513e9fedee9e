/**
 * Errors of an upstream as the errors of the protocol (ARCP 1.1 §9.6, §13.7). Nothing of the upstream's text is repeated: gateways
 * have been seen to put keys into their errors. An error may be any value of user code: fields that cannot be read count as absent.
 */
import type * as Redacted from "effect/Redacted"
import { BudgetExhausted, PermissionDenied } from "../../protocol/Errors.js"
import * as Text from "../../protocol/Text.js"
import { hiding } from "./Values.js"

interface Secret {
  readonly value: Redacted.Redacted<string>
}

/** What a job's credentials have to do with its failures. */
export interface Upstream {
  /** The protocol's error that a failure of an upstream stands for. */
  readonly translate: (failure: unknown) => BudgetExhausted | PermissionDenied | undefined
  /** A text without the values of the job's credentials: upstreams have been seen to quote keys. */
  readonly hide: (text: string) => string
}

/** How much of an upstream's text is looked at. */
const maxText = 16_384

/** How deep causes and wrapped bodies are followed. */
const maxDepth = 4

interface Facts {
  status: number | undefined
  /** `type` and `code` of error objects, in lower case. */
  readonly types: Set<string>
  readonly texts: Array<string>
}

const isObject = (u: unknown): u is object => typeof u === "object" && u !== null

const addText = (text: string, facts: Facts, depth: number): void => {
  const cut = text.slice(0, maxText)
  facts.texts.push(cut)
  if (depth >= maxDepth || text.length > maxText || !/^\s*\{/.test(cut)) return
  try {
    gather(JSON.parse(cut), facts, depth + 1)
  } catch {
    // no JSON: it counts as text
  }
}

const gather = (error: unknown, facts: Facts, depth: number): void => {
  if (typeof error === "string") return addText(error, facts, depth)
  if (!isObject(error) || depth > maxDepth) return
  for (const name of ["status", "statusCode", "status_code"]) {
    const status = Text.property(error, name)
    if (facts.status === undefined && typeof status === "number") facts.status = status
  }
  for (const name of ["type", "code"]) {
    const type = Text.property(error, name)
    if (typeof type === "string" && type.length <= 64) {
      facts.types.add(type.toLowerCase())
      if (facts.status === undefined && /^[1-5][0-9]{2}$/.test(type)) facts.status = Number(type)
    } else if (name === "code" && facts.status === undefined && typeof type === "number") facts.status = type
  }
  const message = Text.property(error, "message")
  if (typeof message === "string") facts.texts.push(message.slice(0, maxText))
  for (const name of ["error", "body", "responseBody", "data", "detail", "response", "cause"]) {
    const inner = Text.property(error, name)
    if (inner !== undefined && inner !== error) gather(inner, facts, depth + 1)
  }
}

const budgetTypes = new Set(["budget_exceeded", "budget_exhausted", "exceededbudget", "insufficient_credits"])
const budgetText = /\bExceededBudget\b|\bBudget has been exceeded\b|\bBudgetExceededError\b/
const modelTypes = /^(?:key|team|user|org|project|customer)?_?model_access_denied$/
const modelText = /\bnot allowed to access model\b|\bnot available for this API key\b/

/**
 * The protocol's error that an upstream's error stands for; undefined where it is another one, to be reported as it is.
 *
 * Budget: status 400, 402 or 429 (or none) with LiteLLM's `budget_exceeded` or its texts, and every 402. Model: 400, 401, 403 or
 * 404 (or none) with a type of `…model_access_denied` or its texts. An exhausted rate limit is neither.
 */
export const translate = (error: unknown): BudgetExhausted | PermissionDenied | undefined => {
  const facts: Facts = { status: undefined, types: new Set(), texts: [] }
  gather(error, facts, 0)
  const { status } = facts
  const types = [...facts.types]
  const among = (...statuses: ReadonlyArray<number>) => status === undefined || statuses.includes(status)
  const budget = types.some((type) => budgetTypes.has(type)) || facts.texts.some((text) => budgetText.test(text))
  if (status === 402 || (budget && among(400, 401, 403, 429))) {
    return new BudgetExhausted({
      message: "the upstream says that the budget of the job's credential is used up",
      details: { reason: "upstream", ...(status === undefined ? {} : { upstream_status: status }) }
    })
  }
  const model = types.some((type) => modelTypes.test(type)) || facts.texts.some((text) => modelText.test(text))
  if (model && among(400, 401, 403, 404)) {
    return new PermissionDenied({
      message: "the upstream says that the job's credential may not use this model",
      details: {
        capability: "model.use",
        reason: "upstream",
        ...(status === undefined ? {} : { upstream_status: status })
      }
    })
  }
  return undefined
}

/**
 * What a job's credentials have to do with its failures. Undefined where it has none: such an error is the agent's own affair. `others` are
 * credentials of the jobs that delegated it, which it may have been given: they are hidden, and translate nothing.
 */
export const upstreamOf = (held: ReadonlyArray<Secret>, others: ReadonlyArray<Secret> = []): Upstream | undefined =>
  held.length === 0 && others.length === 0
    ? undefined
    : {
        translate: held.length === 0 ? () => undefined : translate,
        hide: hiding([...held, ...others].map(({ value }) => value))
      }

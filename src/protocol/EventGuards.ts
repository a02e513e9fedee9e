/**
 * Guards of the bodies of core events, by hand: equal to the Schemas of `EventBodies` (a property test holds that), and apart from
 * them, since a client reads events by these alone.
 */
import type { CoreEventKind } from "./ExtensionName.js"

/**
 * The levels of a log event, as they go out. Any case is accepted.
 *
 * @since 0.1.0
 * @category constants
 */
export const logLevels = ["debug", "info", "warn", "error"] as const

/**
 * A level of a `log` event (§8.2).
 *
 * @since 0.1.0
 * @category models
 */
export type LogLevel = (typeof logLevels)[number]

type Obj = { readonly [key: string]: unknown }
const isObj = (u: unknown): u is Obj => typeof u === "object" && u !== null && !Array.isArray(u)
const isStr = (u: unknown): u is string => typeof u === "string"
const optStr = (u: unknown): boolean => u === undefined || u === null || typeof u === "string"
const isId = (u: unknown): boolean => typeof u === "string" && u.length > 0 && u.length <= 256
const isSeq = (u: unknown): boolean => Number.isSafeInteger(u) && (u as number) >= 0
const isAmount = (u: unknown): boolean => typeof u === "number" && Number.isFinite(u) && u >= 0
const levels: ReadonlySet<string> = new Set([...logLevels, ...logLevels.map((level) => level.toUpperCase())])
const isLevel = (u: unknown): boolean =>
  typeof u === "string" && (levels.has(u) || (logLevels as ReadonlyArray<string>).includes(u.toLowerCase()))
const isLease = (u: unknown): boolean =>
  u === undefined ||
  u === null ||
  (isObj(u) && Object.values(u).every((list) => Array.isArray(list) && list.every(isStr)))
const isError = (u: unknown): boolean =>
  u === undefined ||
  u === null ||
  (isObj(u) &&
    isStr(u.code) &&
    u.code.length > 0 &&
    isStr(u.message) &&
    (u.retryable === undefined || u.retryable === null || typeof u.retryable === "boolean") &&
    (u.details === undefined || isObj(u.details)))

/** @internal Whether a body fits its kind: the Schemas of {@link bodies}, by hand. */
export const isBody: { readonly [K in CoreEventKind]: (body: unknown) => boolean } = {
  log: (b) => isObj(b) && isLevel(b.level) && isStr(b.message),
  thought: (b) => isObj(b) && isStr(b.text),
  tool_call: (b) => isObj(b) && isStr(b.tool) && isId(b.call_id),
  tool_result: (b) => isObj(b) && isId(b.call_id) && isError(b.error),
  status: (b) => isObj(b) && isStr(b.phase) && optStr(b.message),
  metric: (b) =>
    isObj(b) &&
    isStr(b.name) &&
    b.name.length > 0 &&
    typeof b.value === "number" &&
    Number.isFinite(b.value) &&
    optStr(b.unit) &&
    (b.dimensions === undefined || b.dimensions === null || isObj(b.dimensions)),
  artifact_ref: (b) =>
    isObj(b) &&
    isStr(b.uri) &&
    isStr(b.content_type) &&
    (b.byte_size === undefined || b.byte_size === null || isSeq(b.byte_size)) &&
    optStr(b.sha256),
  delegate: (b) =>
    isObj(b) &&
    isId(b.delegate_id) &&
    (b.child_job_id === undefined || b.child_job_id === null || isId(b.child_job_id)) &&
    isStr(b.agent) &&
    isLease(b.lease_request) &&
    (b.lease_constraints === undefined ||
      b.lease_constraints === null ||
      (isObj(b.lease_constraints) && optStr(b.lease_constraints.expires_at))),
  progress: (b) =>
    isObj(b) &&
    isAmount(b.current) &&
    (b.total === undefined || b.total === null || isAmount(b.total)) &&
    optStr(b.units) &&
    optStr(b.message),
  result_chunk: (b) =>
    isObj(b) &&
    isId(b.result_id) &&
    isSeq(b.chunk_seq) &&
    isStr(b.data) &&
    (b.encoding === "utf8" || b.encoding === "base64") &&
    typeof b.more === "boolean"
}

/** @internal The body of a `delegate`; some runtimes name the child alone, which then stands for the delegation too. */
export const delegateBody = (body: unknown): unknown =>
  isObj(body) && body.delegate_id === undefined && isId(body.child_job_id)
    ? { ...body, delegate_id: body.child_job_id }
    : body

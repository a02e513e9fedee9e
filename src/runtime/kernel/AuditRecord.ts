/**
 * What an audit trail says (ARCP 1.1 §14): one record for each act that a reviewer asks for, as a Schema that stays as it is. Fields are
 * added; none is renamed, taken away or given another meaning while `v` is 1.
 *
 * A record is plain JSON, in memory as on a line. Texts in it are bounded, and hold no token and no value of a credential.
 */
import * as Schema from "effect/Schema"

const Count = Schema.Int.pipe(Schema.positive())
const text = Schema.optionalWith(Schema.String, { exact: true })
const texts = Schema.Array(Schema.String)

const common = {
  v: Schema.Literal(1),
  run: Schema.String,
  runtime: Schema.String,
  seq: Count,
  ts: Schema.String,
  principal: text,
  session_id: text,
  job_id: text,
  trace_id: text,
  request_id: text,
  remote_address: text
} as const

const record = <const T extends string, const F extends Schema.Struct.Fields>(type: T, fields: F) =>
  Schema.Struct({ ...common, type: Schema.Literal(type), ...fields })

const transport = { transport: Schema.String, secure: Schema.Boolean } as const

const opened = {
  ...transport,
  anonymous: Schema.Boolean,
  client_name: text,
  client_version: text,
  features: texts
} as const

const act = { capability: Schema.String, target: text, code: Schema.String, reason: text } as const
const source = Schema.Literal("runtime", "upstream")
const operation = Schema.Literal("use", "tool_call", "reserve", "delegate", "handoff", "upstream_call")

const credential = { credential_id: Schema.String, reference: Schema.String, endpoint: text, profile: text } as const

/**
 * A record of the audit trail (ARCP 1.1 §14). `type` says what was done:
 *
 * - `authentication.failed` (§6.1): `reason` is `missing`, `refused`, `expired`, `principal` (an id that no principal can have) or
 *   `unavailable` (nothing was judged). `authentication.expired`: the credential ran out while its session was connected.
 * - `session.opened` (§6.2), `session.resumed`, `session.taken_over` (§6.3: a resume displaced a connection that was open),
 *   `session.refused` (`reason`: `bound`, `handshake`, `timeout`, `resume`, `session`), `session.closed` (§6.7: `resumable` says whether it
 *   can come back). `session.refusals_omitted`: `count` refusals of peers without a session were not recorded one by one.
 * - `job.admitted` (§7.1, and §10 for a delegated job), `job.refused` (`code`, §12), `job.cancelled` (§7.4: `by` a client or the job that
 *   delegated it), `job.cancel_refused`.
 * - `lease.denied` (§9.3), `lease.narrowed` (§9.4: `outcome` `reduced` or `refused`), `lease.expired` (§9.5), `budget.exhausted` (§9.6).
 * - `credential.issued`, `credential.rotated`, `credential.revoked`, `credential.revocation_failed` (§9.8.2): ids, never values.
 * - `subscription.opened`, `subscription.refused` (§7.6), with the job's `owner`.
 * - `refusals.omitted`: `count` refusals of the `principal` were not recorded one by one; without `principal`, those of all anonymous ones
 *   (`anonymous`), or of principals that no place was left for.
 * - `audit.lost`: it stands for `count` records of its `run`, the last of which had this `seq`.
 *
 * Each has `v` (1), `run` (new with each start of a runtime), `runtime` (its name), `seq` (1, 2, 3… within the run), `ts` (wall time, ISO
 * 8601), and, where they are known, `principal`, `session_id`, `job_id`, `trace_id` (§11), `request_id` (the envelope's id) and
 * `remote_address`.
 *
 * @since 0.2.0
 * @category models
 */
export const AuditRecord = Schema.Union(
  record("authentication.failed", {
    reason: Schema.Literal("missing", "refused", "expired", "principal", "unavailable"),
    scheme: Schema.Literal("bearer", "none", "other"),
    ...transport
  }),
  record("authentication.expired", {}),
  record("session.opened", opened),
  record("session.resumed", { ...opened, last_event_seq: Schema.NonNegativeInt }),
  record("session.taken_over", { previous_remote_address: text }),
  record("session.refused", {
    reason: Schema.Literal("bound", "handshake", "timeout", "resume", "session"),
    code: Schema.String,
    detail: text
  }),
  record("session.refusals_omitted", { count: Count }),
  record("session.closed", {
    cause: Schema.Literal("client", "connection", "runtime", "expired", "idle"),
    reason: text,
    resumable: Schema.Boolean
  }),
  record("job.admitted", {
    agent: Schema.String,
    parent_job_id: text,
    delegate_id: text,
    capabilities: texts,
    expires_at: text
  }),
  record("job.refused", { agent: text, code: Schema.String, detail: text }),
  record("job.cancelled", { by: Schema.Literal("client", "parent"), detail: text }),
  record("job.cancel_refused", { code: Schema.String }),
  record("lease.denied", { operation, ...act, source }),
  record("lease.narrowed", {
    at: Schema.Literal("admission", "delegation"),
    outcome: Schema.Literal("reduced", "refused"),
    agent: text,
    withheld: texts
  }),
  record("lease.expired", { expires_at: text }),
  record("budget.exhausted", { operation, ...act, source, currency: text }),
  record("credential.issued", credential),
  record("credential.rotated", credential),
  record("credential.revoked", credential),
  record("credential.revocation_failed", { ...credential, attempts: Count, final: Schema.Boolean, detail: text }),
  record("subscription.opened", { owner: Schema.String, history: Schema.Boolean }),
  record("subscription.refused", { owner: text, code: Schema.String }),
  record("refusals.omitted", { count: Count, anonymous: Schema.Boolean }),
  record("audit.lost", { count: Count })
)

/**
 * A record of the audit trail.
 *
 * @since 0.2.0
 * @category models
 */
export type AuditRecord = typeof AuditRecord.Type

type Stamp = "v" | "run" | "runtime" | "seq" | "ts"

type Optional<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T]

type Loose<T> = Pick<T, Exclude<keyof T, Optional<T>>> & { readonly [K in Optional<T>]?: T[K] | undefined }

type DraftOf<T> = T extends { readonly type: string } ? Loose<Omit<T, Stamp>> : never

/** @internal A record before it has its number and its time. A field that is undefined is left out. */
export type Draft = DraftOf<Exclude<AuditRecord, { readonly type: "audit.lost" }>>

/** What some readers take for the end of a line, or a terminal for a command. JSON leaves these as they are. */
const unseen = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

const escaped = (json: string): string =>
  json.replace(unseen, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** @internal One line of NDJSON, without its end. Every character that could end or disguise a line is escaped. */
export const toLine = (record: AuditRecord): string => escaped(JSON.stringify(record))

/** A text in which something is escaped is shown as JSON; so is what has parts, which some loggers put on lines of their own. */
const shown = (value: unknown): unknown => {
  if (typeof value !== "string") return typeof value === "object" ? escaped(JSON.stringify(value)) : value
  const json = escaped(JSON.stringify(value))
  const plain = json.slice(1, -1)
  return plain.includes("\\u") || /\\[bfnrt]/.test(plain) ? plain : value
}

/** @internal The fields of a record as values of which a logger can make no second line. */
export const shownFields = (fields: object): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, shown(value)]))

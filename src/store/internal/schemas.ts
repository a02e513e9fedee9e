/**
 * The Schemas of what a store keeps, one for each table, in the shape that every backend returns.
 *
 * Responsibility: what a row may contain. JSON texts are decoded in place, so that the type of what was decoded is the type of what the
 * text held. They take what earlier versions wrote: a field that came later is optional, and what is unknown in a kept reply stays.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Schema from "effect/Schema"
import { Priority } from "../../protocol/Envelope.js"
import { Finite, Id, JsonObject, optional, WireLease, WireLeaseConstraints } from "../../protocol/Fields.js"
import { Accepted } from "../../protocol/Job.js"
import { JobStatus } from "../../protocol/Session.js"

const Whole = Schema.Number.pipe(Schema.filter((n) => Number.isSafeInteger(n)))
const Texts = Schema.Array(Schema.String)
const MaybeText = Schema.optional(Schema.String)
const MaybeTime = Schema.optional(Finite)

const decimal = /^-?[0-9]{1,400}(\.[0-9]{1,400})?$/
const isDecimal = (u: unknown): u is string => typeof u === "string" && decimal.test(u)

/** Budget counters (ARCP 1.1 §9.6): currency to exact decimal, which may be below zero. */
const CountersText = Schema.parseJson(
  JsonObject.pipe(Schema.filter((counters) => Object.values(counters).every(isDecimal)))
)

/** The counters of a decoded budget. */
export const countersOf = (budget: typeof CountersText.Type | undefined): ReadonlyMap<string, BigDecimal.BigDecimal> =>
  new Map(
    Object.entries(budget ?? {}).map(([currency, value]) => [currency, BigDecimal.unsafeFromString(String(value))])
  )

/** `session.principal`, `client` and `features` with the columns of a session. */
export const Session = Schema.Struct({
  sessionId: Schema.String,
  principal: Schema.Struct({ id: Schema.String, anonymous: Schema.Boolean, claims: JsonObject }),
  client: Schema.Struct({ name: MaybeText, version: MaybeText }),
  features: Texts,
  tokenHash: Schema.String,
  previousTokenHash: MaybeText,
  createdAt: Finite,
  lastSeenAt: Finite,
  lastSeq: Whole,
  ackedSeq: Whole,
  floorSeq: Whole
})

/** `job.accepted` as it is kept: with the priority of the submit's envelope. */
const KeptAccepted = Schema.Struct({
  priority: Schema.optional(Priority),
  ...Accepted.fields,
  job_id: optional(Id)
})

const KeptTrace = Schema.Struct({
  traceId: MaybeText,
  parentSpanId: MaybeText,
  sampled: Schema.optional(Schema.Boolean),
  traceState: MaybeText
})

/** A job as it was submitted. Its input may be large, and is decoded only where it is needed. */
export const Job = Schema.Struct({
  jobId: Schema.String,
  principalId: Schema.String,
  agent: Schema.String,
  version: Schema.String,
  input: Schema.String,
  lease: Schema.parseJson(WireLease),
  leaseConstraints: Schema.optional(Schema.parseJson(WireLeaseConstraints)),
  idempotencyKey: MaybeText,
  maxRuntimeSec: Schema.optional(Whole),
  traceId: Schema.String,
  traceContext: Schema.optional(Schema.parseJson(KeptTrace)),
  parentJobId: MaybeText,
  delegateId: MaybeText,
  createdAt: Finite,
  accepted: Schema.parseJson(KeptAccepted).annotations({ parseOptions: { onExcessProperty: "preserve" } })
})

/** What changes of a job. */
export const State = Schema.Struct({
  jobId: Schema.String,
  status: JobStatus,
  ownerSessionId: Schema.String,
  startedAt: MaybeTime,
  endedAt: MaybeTime,
  lastJobSeq: Whole,
  lastOwnerSeq: Whole,
  attempt: Whole,
  budget: Schema.optional(CountersText),
  cancelled: MaybeText
})

/** The sessions that own a job beside the first. */
export const OtherOwners = Schema.Struct({ otherOwners: Texts })

/** The input of a job that may be started again. */
export const Input = Schema.Struct({ jobId: Schema.String, input: Schema.parseJson(Schema.Unknown) })

export const Key = Schema.Struct({
  principalId: Schema.String,
  key: Schema.String,
  jobId: Schema.String,
  parametersHash: Schema.String,
  expiresAt: Finite
})

export const Step = Schema.Struct({
  jobId: Schema.String,
  name: Schema.String,
  fingerprint: Schema.String,
  value: Schema.String
})

/** A step that has a result. */
export const StepResult = Schema.Struct({ name: Schema.String, value: Schema.parseJson(Schema.Unknown) })

/** The body of a chunk of a streamed result (ARCP 1.1 §8.4), as far as it is needed to put the result together. */
export const Chunk = Schema.parseJson(
  Schema.Struct({
    body: Schema.Struct({
      result_id: Schema.String,
      data: Schema.String,
      encoding: Schema.Literal("utf8", "base64")
    })
  })
)

/** The payload of any event. */
export const Payload = Schema.parseJson(JsonObject)

/** The payload of a `tool_call` or `tool_result` (ARCP 1.1 §8.2), as far as it says which call is open. */
export const ToolEvent = Schema.parseJson(
  Schema.Struct({ kind: Schema.String, body: Schema.Struct({ call_id: Schema.String }) })
)

/** The payload of a `job.result` that names a streamed result. */
export const Streamed = Schema.parseJson(
  Schema.Struct({
    result_id: Schema.String,
    result_size: Whole,
    summary: MaybeText,
    completed_at: Schema.String
  })
)

export const Subscription = Schema.Struct({ sessionId: Schema.String, jobId: Schema.String })

export const SegmentHead = Schema.Struct({
  jobId: Schema.String,
  firstSeq: Whole,
  lastSeq: Whole,
  class: Schema.Literal("event", "progress", "chunk", "result", "error")
})

export const Delivery = Schema.Struct({
  sessionId: Schema.String,
  firstSeq: Whole,
  lastSeq: Whole,
  jobId: Schema.String,
  firstJobSeq: Whole
})

export const Delivered = Schema.Struct({ sessionId: Schema.String, lastSeq: Whole })

/** A row of the ledger of credentials. */
export const Ledger = Schema.Struct({
  reference: Schema.String,
  credentialId: Schema.String,
  jobId: Schema.String,
  principalId: Schema.String,
  handle: MaybeText,
  endpoint: MaybeText,
  profile: MaybeText,
  state: Schema.Literal("issuing", "live", "revoking", "revoked", "failed"),
  attempts: Whole,
  lastError: MaybeText,
  createdAt: Finite,
  updatedAt: Finite,
  revokedAt: MaybeTime
})

export const Artifact = Schema.Struct({
  artifactId: Schema.String,
  principalId: Schema.String,
  contentType: Schema.String,
  byteSize: Whole,
  sha256: Schema.String,
  createdAt: Finite,
  expiresAt: Finite,
  jobId: MaybeText
})

/** What a sweep needs of an artifact. */
export const ArtifactEntry = Schema.Struct({ artifactId: Schema.String, principalId: Schema.String, byteSize: Whole })

export const ArtifactTotals = Schema.Struct({ principalId: Schema.String, count: Whole, bytes: Whole })

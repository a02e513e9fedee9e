/**
 * Rules of ARCP that are broken on purpose, and the test that must fail then.
 *
 * An entry is a small text that keeps its rule alone. `inside` is a file, or a folder where the code may move between files: the
 * text must be there exactly once.
 */
export interface Mutant {
  /** The section, and the rule that is broken. */
  readonly rule: string
  readonly inside: string
  readonly find: string
  readonly replace: string
  /** The file of the test, and a part of its title, that must fail. */
  readonly test: string
  readonly title: string
}

const assembly = "test/client/assembly.test.ts"
const introspection = "test/runtime/introspection.test.ts"
const heartbeats = "test/runtime/heartbeats.test.ts"
const budgets = "test/runtime/budgets.test.ts"
const credentials = "test/runtime/credentials.test.ts"
const credentialSafety = "test/runtime/credentialSafety.test.ts"
const delegation = "test/runtime/delegation.test.ts"
const jobs = "test/runtime/jobs.test.ts"
const leases = "test/runtime/leases.test.ts"
const sessions = "test/runtime/sessions.test.ts"
const tokenSecrecy = "test/runtime/tokenSecrecy.test.ts"

export const mutants: ReadonlyArray<Mutant> = [
  // §5, §12: the wire
  {
    rule: "§5 arcp is 1 or 1.x",
    inside: "src/protocol/Envelope.ts",
    find: "/^1(\\.[0-9]{1,9})?$/",
    replace: "/^[0-9.]+$/",
    test: "test/protocol/protocol.test.ts",
    title: "is refused"
  },
  {
    rule: "§5 a session_id is the connection's own",
    inside: "src/runtime",
    find: "raw.session_id !== undefined && raw.session_id !== session.sessionId",
    replace: "false",
    test: sessions,
    title: "a foreign session_id is INVALID_REQUEST"
  },
  {
    rule: "§12 LEASE_EXPIRED is not retryable",
    inside: "src/protocol/Errors.ts",
    find: "LEASE_EXPIRED: { retryable: false",
    replace: "LEASE_EXPIRED: { retryable: true",
    test: "test/protocol/protocol.test.ts",
    title: "fifteen codes"
  },
  {
    rule: "§12 BUDGET_EXHAUSTED is not retryable",
    inside: "src/protocol/Errors.ts",
    find: "BUDGET_EXHAUSTED: { retryable: false",
    replace: "BUDGET_EXHAUSTED: { retryable: true",
    test: "test/protocol/protocol.test.ts",
    title: "fifteen codes"
  },

  // §6: sessions
  {
    rule: "§6.1 a wrong token is refused",
    inside: "src/auth/Authenticator.ts",
    find: "if (timingSafeEqual(entry.digest, presented)) found",
    replace: "found",
    test: sessions,
    title: "§6.1 a wrong token gets UNAUTHENTICATED"
  },
  {
    rule: "§6.2 the features are the intersection",
    inside: "src/protocol/Features.ts",
    find: "offered.has(feature)",
    replace: "offered.has(feature) || offered.size > 0",
    test: sessions,
    title: "§6.2 the welcome is the first frame and carries the intersection"
  },
  {
    rule: "§6.3 the token rotates on every welcome",
    inside: "src/runtime",
    find: "session.tokenHash = sha256(token)",
    replace: "session.tokenHash = session.tokenHash",
    test: sessions,
    title: "§6.3 tokens are single-use"
  },
  {
    rule: "1.0 §6.2 tokens are stored as hashes",
    inside: "src/runtime",
    find: "tokenHash: sha256(token),",
    replace: "tokenHash: token,",
    test: tokenSecrecy,
    title: "are in no frame but the welcome"
  },
  {
    rule: "1.0 §6.2 the client treats the resume token as a secret",
    inside: "src/client",
    find: "resumeToken: Redacted.make(core.resumeToken),",
    replace: "resumeToken: Redacted.make(core.resumeToken), ...{ token: core.resumeToken },",
    test: tokenSecrecy,
    title: "are in no log, span, status, error or printed fact"
  },
  {
    rule: "§6.4 the runtime pings within an interval",
    inside: "src/runtime/Heartbeats.ts",
    find: "now - idle >= heartbeatInterval",
    replace: "now - idle >= 2 * heartbeatInterval",
    test: heartbeats,
    title: "pings an idle client at its end and not before"
  },
  {
    rule: "§6.4 the runtime waits two intervals, and no less",
    inside: "src/runtime/Heartbeats.ts",
    find: "now - link.lastIn >= 2 * heartbeatInterval",
    replace: "now - link.lastIn >= heartbeatInterval",
    test: heartbeats,
    title: "gives a silent client up after two, not before"
  },
  {
    rule: "§6.4 the runtime waits two intervals, and no more",
    inside: "src/runtime/Heartbeats.ts",
    find: "now - link.lastIn >= 2 * heartbeatInterval",
    replace: "now - link.lastIn >= 3 * heartbeatInterval",
    test: heartbeats,
    title: "gives a silent client up after two, not before"
  },
  {
    rule: "§6.4 the interval is the one that is announced",
    inside: "src/runtime/Heartbeats.ts",
    find: "const { heartbeatInterval } = yield* RuntimeInfo",
    replace: "yield* RuntimeInfo; const heartbeatInterval = 30_000",
    test: heartbeats,
    title: "pings an idle client at its end and not before"
  },
  {
    rule: "§6.2 without heartbeat nothing is pinged",
    inside: "src/runtime/Heartbeats.ts",
    find: 'if (!session.features.has("heartbeat")) return',
    replace: "",
    test: sessions,
    title: "§6.4 without the feature nothing is pinged"
  },
  {
    rule: "§6.6 created_after filters",
    inside: "src/runtime",
    find: "filter.created_after === undefined ? undefined : parseTimestamp(filter.created_after)",
    replace: "undefined",
    test: introspection,
    title: "§6.6 created_after lists what was created later"
  },
  {
    rule: "§6.6 created_after is exclusive, in memory",
    inside: "src/store/MemoryStore.ts",
    find: "record.createdAt > query.createdAfter",
    replace: "record.createdAt >= query.createdAfter",
    test: introspection,
    title: "over memory by reference, store in memory §6.6 created_after"
  },
  {
    rule: "§6.6 created_after is exclusive, in SQL",
    inside: "src/store/SqlStore.ts",
    find: '"j.created_at > ?"',
    replace: '"j.created_at >= ?"',
    test: introspection,
    title: "over memory encoded, SQLite in memory §6.6 created_after"
  },
  {
    rule: "§6.6 a listing shows the principal's own jobs",
    inside: "src/runtime/Policies.ts",
    find: "listed: (principal) => [principal.id]",
    replace: 'listed: () => "all"',
    test: jobs,
    title: "§6.6 lists the principal's jobs"
  },

  // §7: jobs
  {
    rule: "§7.4 a cancelled job ends as cancelled",
    inside: "src/runtime/internal/outcomes.ts",
    find: '_tag: "error", status: reason.status',
    replace: '_tag: "error", status: "error"',
    test: jobs,
    title: "§7.4 cancel is acknowledged"
  },
  {
    rule: "§7.3 max_runtime_sec is counted in seconds",
    inside: "src/runtime/internal/outcomes.ts",
    find: "record.maxRuntimeSec * 1000",
    replace: "record.maxRuntimeSec * 2000",
    test: jobs,
    title: "§7.3 max_runtime_sec ends the job as timed_out"
  },
  {
    rule: "§7.6, §14 only the same principal observes",
    inside: "src/runtime/Policies.ts",
    find: '(principal.id === owner ? "observe" : "nothing")',
    replace: '(principal.id === "" ? owner : "observe") as "observe"',
    test: jobs,
    title: "§7.6 a foreign job does not exist"
  },
  {
    rule: "§7.6 replayed says whether history follows",
    inside: "src/runtime/Subscriptions.ts",
    find: "          replayed\n",
    replace: "          replayed: true\n",
    test: introspection,
    title: "§7.6 replayed says whether history follows"
  },
  {
    rule: "§7.6 job.subscribed has the current budget",
    inside: "src/runtime/Subscriptions.ts",
    find: "agent: `${record.agent}@${record.version}`,\n          lease: JSON.parse(record.lease) as WireLease,\n          ...(constraints === undefined ? {} : { lease_constraints: constraints }),\n          ...(budget === undefined ? {} : { budget }),\n          parent_job_id: record.parentJobId ?? null,\n          trace_id",
    replace:
      "agent: `${record.agent}@${record.version}`,\n          lease: JSON.parse(record.lease) as WireLease,\n          ...(constraints === undefined ? {} : { lease_constraints: constraints }),\n          parent_job_id: record.parentJobId ?? null,\n          trace_id",
    test: introspection,
    title: "§7.6 job.subscribed has every field"
  },

  // §8: events and streamed results
  {
    rule: "§8.4 the runtime says which chunk is the last",
    inside: "src/runtime/internal/payload.ts",
    find: '"more":${more}',
    replace: '"more":true',
    test: jobs,
    title: "§8.4 chunks are numbered"
  },
  {
    rule: "§8.4 the runtime numbers chunks from 0",
    inside: "src/runtime/internal/payload.ts",
    find: '"chunk_seq":${seq}',
    replace: '"chunk_seq":${seq + 1}',
    test: jobs,
    title: "§8.4 chunks are numbered"
  },
  {
    rule: "§8.4 result_size is the size in bytes",
    inside: "src/runtime/internal/outcomes.ts",
    find: "result_size: stream.size",
    replace: "result_size: stream.size + 1",
    test: jobs,
    title: "§8.4 chunks are numbered"
  },
  {
    rule: "§14 chunks are capped",
    inside: "src/runtime/internal/chunks.ts",
    find: "if (length <= this.maxBytes) return [text]",
    replace: "if (length > 0) return [text]",
    test: jobs,
    title: "§14 a chunk over the limit is cut"
  },
  {
    rule: "§8.4 the client takes chunks in chunk_seq order",
    inside: "src/client",
    find: "body.chunk_seq !== this.nextChunk",
    replace: "body.chunk_seq < 0",
    test: assembly,
    title: "whose chunk_seq leaves one out fails with ResultInvalid"
  },
  {
    rule: "§8.4 the client takes no chunk twice",
    inside: "src/client",
    find: "body.chunk_seq !== this.nextChunk",
    replace: "body.chunk_seq > this.nextChunk",
    test: assembly,
    title: "whose chunk comes twice under one chunk_seq"
  },
  {
    rule: "§8.4 the client takes chunks of one result_id",
    inside: "src/client",
    find: "body.result_id !== this.resultId || body.chunk_seq",
    replace: "body.chunk_seq",
    test: assembly,
    title: "with a chunk of another result_id between"
  },
  {
    rule: "§8.4 the client compares the end's result_id",
    inside: "src/client",
    find: "job.resultId !== undefined && job.resultId !== payload.result_id",
    replace: "job.resultId === null",
    test: assembly,
    title: "whose job.result names another result_id"
  },
  {
    rule: "§8.4 the client compares result_size with the bytes of text",
    inside: "src/client",
    find: "new TextEncoder().encode(text).length === size",
    replace: "text.length === size",
    test: assembly,
    title: "whose size counts encoded bytes"
  },
  {
    rule: "§8.4 the client compares result_size with text",
    inside: "src/client",
    find: "new TextEncoder().encode(text).length === size",
    replace: "text.length > 0",
    test: assembly,
    title: "whose result_size is one more"
  },
  {
    rule: "§8.4 the client compares result_size with bytes",
    inside: "src/client",
    find: "size !== undefined && size !== length",
    replace: "size === -1",
    test: assembly,
    title: "of base64 whose result_size is one less"
  },
  {
    rule: "§8.4 the client waits for the last chunk",
    inside: "src/client",
    find: "if (!job.complete) return",
    replace: "if (job.chunks.length < 0) return",
    test: assembly,
    title: "whose last chunk says that more follow"
  },
  {
    rule: "§8.4 the client takes no chunk after the last",
    inside: "src/client",
    find: "!== this.nextChunk || this.complete)",
    replace: "!== this.nextChunk)",
    test: assembly,
    title: "with a chunk after the last"
  },

  // §9: authority
  {
    rule: "§9.3 what the lease does not name is denied",
    inside: "src/authority/Lease.ts",
    find: 'if (set === undefined) return { _tag: "Denied", capability, target, reason: "capability" }',
    replace: 'if (set === undefined) return { _tag: "Allowed", capability, pattern: "**" }',
    test: "test/authority/Lease.test.ts",
    title: "§9.3 an operation that the lease does not name is refused"
  },
  {
    rule: "§9.4 a delegated pattern is a subset",
    inside: "src/authority/Delegated.ts",
    find: 'if (answer._tag === "NotSubset") {',
    replace: 'if (answer._tag === "NotSubset" && work === undefined) {',
    test: "test/authority/Delegated.test.ts",
    title: "§9.4"
  },
  {
    rule: "§9.4 a delegated budget is at most what remains",
    inside: "src/authority/Delegated.ts",
    find: "if (Amount.exceeds(value, left)) {",
    replace: "if (Amount.exceeds(Amount.zero, left)) {",
    test: delegation,
    title: "each is a tool_result of the delegation"
  },
  {
    rule: "§9.4 a delegated expiry is not later",
    inside: "src/authority/Delegated.ts",
    find: "const later = Expiry.isLater(child.expiresAt, parent.expiresAt)",
    replace: "const later = false",
    test: delegation,
    title: "the expiry, unless it has an earlier one"
  },
  {
    rule: "§9.5 expires_at is in the future",
    inside: "src/authority/Expiry.ts",
    find: "millis > now ?",
    replace: "millis > 0 ?",
    test: "test/authority/Expiry.test.ts",
    title: "§9.5 an expiry lies in the future"
  },
  {
    rule: "§9.5 expires_at is UTC",
    inside: "src/authority/Expiry.ts",
    find: "(?:\\.\\d{1,9})?Z$/",
    replace: "(?:\\.\\d{1,9})?(?:Z|[+-]\\d{2}:\\d{2})$/",
    test: leases,
    title: "§9.5 an expiry that is no time"
  },
  {
    rule: "§9.5 at expires_at it is over",
    inside: "src/authority/Expiry.ts",
    find: "now >= expiresAt",
    replace: "now > expiresAt",
    test: "test/runtime/leaseExpiry.test.ts",
    title: "up to expires_at and refused at it"
  },
  {
    rule: "§9.6 every counter is checked, not the first alone",
    inside: "src/authority/Amount.ts",
    find: "if (isExhausted(value)) return currency",
    replace: "return isExhausted(value) ? currency : undefined",
    test: budgets,
    title: "whichever counter it is"
  },
  {
    rule: "§9.6 a counter at zero is exhausted",
    inside: "src/authority/Amount.ts",
    find: "remaining.value <= 0n",
    replace: "remaining.value < 0n",
    test: budgets,
    title: "whichever counter it is"
  },
  {
    rule: "§9.6 negative values are rejected",
    inside: "src/authority/Amount.ts",
    find: 'if (value < 0) return fail("amount: negative")',
    replace: "",
    test: "test/authority/Amount.test.ts",
    title: "§9.6 negative numbers, NaN and infinities are refused"
  },
  {
    rule: "§9.6 a negative cost is no event",
    inside: "src/runtime",
    find: 'if (value < 0) return invalid("metric.value: a cost is never negative")',
    replace: 'if (value < -1e300) return invalid("metric.value: a cost is never negative")',
    test: budgets,
    title: "§9.6 a charge that is negative"
  },
  {
    rule: "§9.6 a cost decrements its counter",
    inside: "src/runtime/Budgets.ts",
    find: "if (counter === undefined) return\n          change(running, currency, Amount.subtract(counter, value))",
    replace: "if (counter === undefined) return",
    test: budgets,
    title: "§13.5 the figure"
  },
  {
    rule: "§9.7 a lease that names no model allows none",
    inside: "src/runtime/Leases.ts",
    find: 'decision.reason === "capability" && !policy.requireModelUse',
    replace: 'decision.reason === "capability"',
    test: leases,
    title: "§9.7 a model is used only where a pattern names it"
  },
  {
    rule: "1.0 §14 system folders are closed to wildcards",
    inside: "src/runtime/Leases.ts",
    find: "if (problem !== undefined) return Either.left(denied(",
    replace: 'if (problem === "") return Either.left(denied(',
    test: "test/runtime/systemFolders.test.ts",
    title: "§9.2 a lease of /** reads nothing in /proc"
  },

  // §9.8, §14: credentials
  {
    rule: "§9.8.2 a job's end revokes",
    inside: "src/runtime/internal/credentials.ts",
    find: "for (const { held } of entry.live.values()) startRevoking(held)",
    replace: "",
    test: credentials,
    title: "§9.8.2 a transient failure is retried"
  },
  {
    rule: "§9.8.2 a value is not reused across jobs",
    inside: "src/runtime/internal/credentials.ts",
    find: '(reused ? "its value is another credential\'s" : undefined)',
    replace: "undefined",
    test: credentialSafety,
    title: "§9.8.2 a value that another job has is refused under a handle of its own too"
  },
  {
    rule: "§9.8.2 a rotation whose answer was lost leaves a key that works",
    inside: "src/runtime/internal/credentials.ts",
    find: "atUpstream && isUncertain(cause)",
    replace: "atUpstream && cause === undefined",
    test: credentials,
    title: "§9.8.2 a rotation whose answer was lost"
  },
  {
    rule: "§9.8.2 a parent's end revokes its children's",
    inside: "src/runtime/internal/credentials.ts",
    find: "for (const child of [...(children.get(jobId) ?? [])]) revoke(child)",
    replace: "",
    test: credentials,
    title: "§9.8.2 a parent's end revokes"
  },
  {
    rule: "§9.8.3 a credential's budget is within the lease",
    inside: "src/runtime/internal/issued.ts",
    find: "if (left !== undefined && Amount.exceeds(value, left))",
    replace: "if (left === Amount.zero)",
    test: credentialSafety,
    title: "§9.8.2 refuses and revokes a larger budget"
  },
  {
    rule: "§14 no provisioning without a durable ledger",
    inside: "src/runtime/Credentials.ts",
    find: "|| !ledger.value.durable",
    replace: "",
    test: credentialSafety,
    title: "without a provisioner or without a durable ledger"
  },
  {
    rule: "§14 a permanent failure to revoke is told to operators",
    inside: "src/runtime/internal/revocations.ts",
    find: 'yield* note({ state: "failed", attempts, lastError: message })',
    replace: "",
    test: credentials,
    title: "§14 a permanent failure is logged"
  }
]

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
const clientSession = "test/client/session.test.ts"
const frameBytes = "test/runtime/frameBytes.test.ts"
const gaps = "test/client/gaps.test.ts"
const refusals = "test/client/refusals.test.ts"
const sequence = "test/client/sequence.test.ts"
const sessions = "test/runtime/sessions.test.ts"
const verdicts = "test/auth/verdicts.test.ts"
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
    rule: "§6.1 of several ways to authenticate, one that does not know the credential does not refuse it",
    inside: "src/auth/Verdict.ts",
    find: '_tag === "Refused") ??',
    replace: '_tag !== "Accepted") ??',
    test: verdicts,
    title: "§6.1 a table and JWTs take each its own"
  },
  {
    rule: "§6.1 of several ways to authenticate, any refusal refuses",
    inside: "src/auth/Verdict.ts",
    find: 'verdicts.find(({ _tag }) => _tag === "Refused") ?? verdicts.find(({ _tag }) => _tag === "Accepted")',
    replace: 'verdicts.find(({ _tag }) => _tag === "Accepted") ?? verdicts.find(({ _tag }) => _tag === "Refused")',
    test: verdicts,
    title: "§6.1 a token that one way accepts and another refuses is refused"
  },
  {
    rule: "§6.3 a session is resumed by its own principal only",
    inside: "src/runtime/sessions/internal/resuming.ts",
    find: "owner.anonymous || owner.id === principal.id",
    replace: "owner.anonymous || owner.id.length >= 0",
    test: "test/runtime/hellos.test.ts",
    title: "every resume that fails is refused alike"
  },
  {
    rule: "§14 anonymous jobs have their share of the slots",
    inside: "src/runtime/jobs/Running.ts",
    find: "this.guests < anonymousShare(limits, limits.runningJobs)",
    replace: "this.guests < limits.runningJobs",
    test: "test/runtime/anonymousShare.test.ts",
    title: "anonymous jobs beyond the share wait, others start; a slot of the share goes to the first that waits"
  },
  {
    rule: "§6.1 an anonymous principal is never another one",
    inside: "src/auth/PrincipalIds.ts",
    find: "anonymous && !isAnonymous(id) ?",
    replace: "anonymous && id.length < 0 ?",
    test: "test/runtime/anonymousShare.test.ts",
    title: "is not that one: it neither sees, cancels nor resumes what is the other's, and is known as anonymous"
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
    find: "tokenHash,\n            previousTokenHash: sha256(request.resume_token)",
    replace: "tokenHash: before.tokenHash,\n            previousTokenHash: sha256(request.resume_token)",
    test: sessions,
    title: "§6.3 tokens are single-use"
  },
  {
    rule: "1.0 §6.2 tokens are stored as hashes",
    inside: "src/runtime",
    find: "const tokenHash = sha256(token)\n    const record: SessionRecord = {",
    replace: "const tokenHash = token\n    const record: SessionRecord = {",
    test: tokenSecrecy,
    title: "are in no frame but the welcome"
  },
  {
    rule: "1.0 §6.2 the client treats the resume token as a secret",
    inside: "src/client/internal/facts.ts",
    find: "resumeToken: Redacted.make(resumeToken),",
    replace: "resumeToken: Redacted.make(resumeToken), ...{ token: resumeToken },",
    test: tokenSecrecy,
    title: "are in no log, span, status, error or printed fact"
  },
  {
    rule: "§6.4 the runtime pings within an interval",
    inside: "src/runtime/sessions/Heartbeats.ts",
    find: "now - idle >= heartbeatInterval",
    replace: "now - idle >= 2 * heartbeatInterval",
    test: heartbeats,
    title: "pings an idle client at its end and not before"
  },
  {
    rule: "§6.4 the runtime waits two intervals, and no less",
    inside: "src/runtime/sessions/Heartbeats.ts",
    find: "now - link.lastIn >= 2 * heartbeatInterval",
    replace: "now - link.lastIn >= heartbeatInterval",
    test: heartbeats,
    title: "gives a silent client up after two, not before"
  },
  {
    rule: "§6.4 the runtime waits two intervals, and no more",
    inside: "src/runtime/sessions/Heartbeats.ts",
    find: "now - link.lastIn >= 2 * heartbeatInterval",
    replace: "now - link.lastIn >= 3 * heartbeatInterval",
    test: heartbeats,
    title: "gives a silent client up after two, not before"
  },
  {
    rule: "§6.4 the interval is the one that is announced",
    inside: "src/runtime/sessions/Heartbeats.ts",
    find: "const { heartbeatInterval } = yield* RuntimeInfo",
    replace: "yield* RuntimeInfo; const heartbeatInterval = 30_000",
    test: heartbeats,
    title: "pings an idle client at its end and not before"
  },
  {
    rule: "§6.2 without heartbeat nothing is pinged",
    inside: "src/runtime/sessions/Heartbeats.ts",
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
    inside: "src/store/internal/sqlReads.ts",
    find: '"j.created_at > ?"',
    replace: '"j.created_at >= ?"',
    test: introspection,
    title: "over memory encoded, SQLite in memory §6.6 created_after"
  },
  {
    rule: "§6.6 a listing shows the principal's own jobs",
    inside: "src/runtime/kernel/Policies.ts",
    find: "listed: (principal) => [principal.id]",
    replace: 'listed: () => "all"',
    test: jobs,
    title: "§6.6 lists the principal's jobs"
  },

  // §7: jobs
  {
    rule: "§7.4 a cancelled job ends as cancelled",
    inside: "src/runtime/jobs/handler/outcomes.ts",
    find: '_tag: "error", status: reason.status',
    replace: '_tag: "error", status: "error"',
    test: jobs,
    title: "§7.4 cancel is acknowledged"
  },
  {
    rule: "§7.3 max_runtime_sec is counted in seconds",
    inside: "src/runtime/jobs/Run.ts",
    find: "record.maxRuntimeSec * 1000",
    replace: "record.maxRuntimeSec * 2000",
    test: jobs,
    title: "§7.3 max_runtime_sec ends the job as timed_out"
  },
  {
    rule: "§7.6, §14 only the same principal observes",
    inside: "src/runtime/kernel/Policies.ts",
    find: '(principal.id === owner ? "observe" : "nothing")',
    replace: '(principal.id === "" ? owner : "observe") as "observe"',
    test: jobs,
    title: "§7.6 a foreign job does not exist"
  },
  {
    rule: "§7.2 the key is looked up before the submit is judged",
    inside: "src/runtime/jobs/Admission.ts",
    find: ": this.idempotency.submit(submitting, key, (taken) => this.create(submitting, taken))",
    replace:
      ": Effect.zipRight(this.resolve(request), this.idempotency.submit(submitting, key, (taken) => this.create(submitting, taken)))",
    test: "test/runtime/keys.test.ts",
    title: "§7.2 finds its job: another default version"
  },
  {
    rule: "§7.2 a repeat of an ended streamed job replays its chunks",
    inside: "src/runtime/jobs/Idempotency.ts",
    find: "if (live === undefined) return replayEnd(batch, session, record, runsOf(heads), 0, last)",
    replace: "if (live === undefined) return replayEnd(batch, session, record, runsOf(heads), last - 1, last)",
    test: "test/runtime/keys.test.ts",
    title: "§7.2 of an ended streamed job replays its chunks, then its terminal message"
  },
  {
    rule: "§7.6 subscribed_from says where a history begins whose start is gone",
    inside: "src/runtime/sessions/internal/numbers.ts",
    find: "gone <= after\n    ? from",
    replace: "gone <= Infinity\n    ? from",
    test: "test/runtime/gaps.test.ts",
    title: "§7.6 a late observer is told behind which of the owner's events its history begins"
  },
  {
    rule: "§7.6 replayed says whether history follows",
    inside: "src/runtime/sessions/internal/jobViews.ts",
    find: "replayed: replay !== undefined",
    replace: "replayed: true",
    test: introspection,
    title: "§7.6 replayed says whether history follows"
  },
  {
    rule: "§7.6 job.subscribed has the current budget",
    inside: "src/runtime/sessions/internal/jobViews.ts",
    find: "...(budget === undefined ? {} : { budget }),\n      ...shownTo(credentials, session, record),\n      parent_job_id: record.parentJobId ?? null,\n      trace_id",
    replace: "parent_job_id: record.parentJobId ?? null,\n      trace_id",
    test: introspection,
    title: "§7.6 job.subscribed has every field"
  },

  // §8: events and streamed results
  {
    rule: "§8.4 the runtime says which chunk is the last",
    inside: "src/runtime/jobs/handler/chunkPayload.ts",
    find: '"more":${more}',
    replace: '"more":true',
    test: jobs,
    title: "§8.4 chunks are numbered"
  },
  {
    rule: "§8.4 the runtime numbers chunks from 0",
    inside: "src/runtime/jobs/handler/chunkPayload.ts",
    find: '"chunk_seq":${seq}',
    replace: '"chunk_seq":${seq + 1}',
    test: jobs,
    title: "§8.4 chunks are numbered"
  },
  {
    rule: "§8.4 result_size is the size in bytes",
    inside: "src/runtime/jobs/handler/outcomes.ts",
    find: "result_size: stream.size",
    replace: "result_size: stream.size + 1",
    test: jobs,
    title: "§8.4 chunks are numbered"
  },
  {
    rule: "§14 chunks are capped",
    inside: "src/runtime/jobs/handler/chunks.ts",
    find: "if (length <= this.maxBytes && this.isShort(text, length)) return [text]",
    replace: "if (length > 0) return [text]",
    test: jobs,
    title: "§14 a chunk over the limit is cut"
  },
  {
    rule: "§14 a chunk is cut by what its frame has once it is encoded",
    inside: "src/runtime/jobs/handler/chunks.ts",
    find: "this.maxEncoded = maxEncoded",
    replace: "this.maxEncoded = Number.MAX_SAFE_INTEGER",
    test: frameBytes,
    title: "§8.4 chunks are cut by encoded bytes"
  },
  {
    rule: "§14 no frame has over 1,000,000 bytes by default",
    inside: "src/runtime/kernel/Limits.ts",
    find: "maxFrameBytes: 1_000_000,",
    replace: "maxFrameBytes: 2_000_000,",
    test: frameBytes,
    title: "§8.4 chunks are cut by encoded bytes"
  },
  {
    rule: "§14 an event that is larger than a frame fails the agent's call",
    inside: "src/runtime/jobs/handler/jobEvents.ts",
    find: "if (!FrameSize.fits(text, room)) {",
    replace: "if (text === undefined) {",
    test: frameBytes,
    title: "§8.2 an event of any kind that is too large"
  },
  {
    rule: "§14 replies are as small as a frame may be",
    inside: "src/runtime/log/Outbox.ts",
    find: "bounds.maxFrameBytes ?? Number.POSITIVE_INFINITY",
    replace: "Number.POSITIVE_INFINITY",
    test: frameBytes,
    title: "details of errors, replies and inventories that do not fit are left out"
  },
  {
    rule: "§8.4 the client takes chunks in chunk_seq order",
    inside: "src/client",
    find: "body.chunk_seq !== this.next ||",
    replace: "body.chunk_seq < 0 ||",
    test: assembly,
    title: "whose chunk_seq leaves one out fails with ResultInvalid"
  },
  {
    rule: "§8.4 the client takes no chunk twice",
    inside: "src/client",
    find: "body.chunk_seq !== this.next ||",
    replace: "body.chunk_seq > this.next ||",
    test: assembly,
    title: "whose chunk comes twice under one chunk_seq"
  },
  {
    rule: "§8.4 the client takes chunks of one result_id",
    inside: "src/client",
    find: "body.result_id !== this.id || body.chunk_seq",
    replace: "body.chunk_seq",
    test: assembly,
    title: "with a chunk of another result_id between"
  },
  {
    rule: "§8.4 the client compares the end's result_id",
    inside: "src/client/JobHandle.ts",
    find: "id !== undefined && id !== payload.result_id",
    replace: "payload.result_id === null",
    test: assembly,
    title: "whose job.result names another result_id"
  },
  {
    rule: "§8.4 the client compares result_size with the bytes of text",
    inside: "src/client/JobHandle.ts",
    find: "length += utf8Length(data)",
    replace: "length += data.length",
    test: assembly,
    title: "whose size counts encoded bytes"
  },
  {
    rule: "§8.4 the client compares result_size with text",
    inside: "src/client/JobHandle.ts",
    find: "if (size !== undefined && size !== length) return invalid(wrongSize(length, size))\n      return",
    replace: "return",
    test: assembly,
    title: "whose result_size is one more"
  },
  {
    rule: "§8.4 the client compares result_size with bytes",
    inside: "src/client/JobHandle.ts",
    find: "if (size !== undefined && size !== length) return invalid(wrongSize(length, size))\n    const whole",
    replace: "const whole",
    test: assembly,
    title: "of base64 whose result_size is one less"
  },
  {
    rule: "§8.4 the client waits for the last chunk",
    inside: "src/client/JobHandle.ts",
    find: "if (!chunks.complete) return",
    replace: "if (chunks.parts.length < 0) return",
    test: assembly,
    title: "whose last chunk says that more follow"
  },
  {
    rule: "§8.4 the client takes no chunk after the last",
    inside: "src/client",
    find: "body.chunk_seq !== this.next || this.complete)",
    replace: "body.chunk_seq !== this.next)",
    test: assembly,
    title: "with a chunk after the last"
  },
  {
    rule: "§8.4 what the owner of a streamed result has read is released",
    inside: "src/client/internal/resultChunks.ts",
    find: 'reader.done = first\n      this.owned = "stream"',
    replace: "reader.done = first",
    test: "test/client/streamed.test.ts",
    title: "is owned by the stream that reads it before the first chunk"
  },
  {
    rule: "§8.4 the owner of a streamed result may open when its first chunks have come with job.accepted",
    inside: "src/client/internal/resultChunks.ts",
    find: "if (this.id !== undefined && this.open && this.owned === false)",
    replace: "if (this.id === null)",
    test: "test/client/streamed.test.ts",
    title: "is owned by the stream that opens directly after the submit"
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
    rule: "§9.6 an amount of the wire has no exponent",
    inside: "src/authority/Amount.ts",
    find: "if (parts === null) return fail('amount: not digits, or digits \".\" digits')",
    replace: "if (parts === null) return /e/i.test(text) ? spelled(text) : fail('amount: none')",
    test: "test/authority/Amount.test.ts",
    title: '§9.6 "USD:1e3" is refused'
  },
  {
    rule: "§9.6 a program's amount may have an exponent, and is exact",
    inside: "src/authority/Amount.ts",
    find: "if (!/e/i.test(text)) return decimal(text)",
    replace: "if (text !== undefined) return decimal(text)",
    test: "test/runtime/costs.test.ts",
    title: "§9.6 numbers below 1e-6 are charged exactly"
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
    inside: "src/runtime/jobs/Accounts.ts",
    find: "const next = Amount.subtract(counter, value)\n    account",
    replace: "const next = counter\n    account",
    test: budgets,
    title: "§13.5 the figure"
  },
  {
    rule: "§9.7 a lease that names no model allows none",
    inside: "src/runtime/jobs/LeaseChecks.ts",
    find: 'decision.reason === "capability" && !policy.requireModelUse',
    replace: 'decision.reason === "capability"',
    test: leases,
    title: "§9.7 a model is used only where a pattern names it"
  },
  {
    rule: "1.0 §14 system folders are closed to wildcards",
    inside: "src/runtime/jobs/LeaseChecks.ts",
    find: "if (problem !== undefined) return Either.left(denied(",
    replace: 'if (problem === "") return Either.left(denied(',
    test: "test/runtime/systemFolders.test.ts",
    title: "§9.2 a lease of /** reads nothing in /proc"
  },

  // §9.8, §14: credentials
  {
    rule: "§9.8.2 a job's end revokes",
    inside: "src/runtime/credentials/internal/live.ts",
    find: "for (const { held } of entry.live.values()) startRevoking(held)",
    replace: "",
    test: credentials,
    title: "§9.8.2 a transient failure is retried"
  },
  {
    rule: "§9.8.2 a value is not reused across jobs",
    inside: "src/runtime/credentials/internal/answer.ts",
    find: '(reused ? "its value is another credential\'s" : undefined)',
    replace: "undefined",
    test: credentialSafety,
    title: "§9.8.2 a value that another job has is refused under a handle of its own too"
  },
  {
    rule: "§9.8.2 a rotation whose answer was lost leaves a key that works",
    inside: "src/runtime/credentials/internal/rotating.ts",
    find: "atUpstream && isUncertain(cause)",
    replace: "atUpstream && cause === undefined",
    test: credentials,
    title: "§9.8.2 a rotation whose answer was lost"
  },
  {
    rule: "§9.8.2 a parent's end revokes its children's",
    inside: "src/runtime/credentials/internal/live.ts",
    find: "for (const child of [...(children.get(jobId) ?? [])]) revoke(child)",
    replace: "",
    test: credentials,
    title: "§9.8.2 a parent's end revokes"
  },
  {
    rule: "§9.8.3 a credential's budget is within the lease",
    inside: "src/runtime/credentials/internal/issued.ts",
    find: "if (left !== undefined && Amount.exceeds(value, left))",
    replace: "if (left === Amount.zero)",
    test: credentialSafety,
    title: "§9.8.2 refuses and revokes a larger budget"
  },
  {
    rule: "§14 no provisioning without a durable ledger",
    inside: "src/runtime/credentials/Credentials.ts",
    find: "|| !ledger.value.durable",
    replace: "",
    test: credentialSafety,
    title: "without a provisioner or without a durable ledger"
  },
  {
    rule: "§14 a permanent failure to revoke is told to operators",
    inside: "src/runtime/credentials/internal/revocations.ts",
    find: 'yield* note({ state: "failed", attempts, lastError: message })',
    replace: "",
    test: credentials,
    title: "§14 a permanent failure is logged"
  },

  // A client and the runtimes that it meets
  {
    rule: "client: a welcome alone does not reset the back-off",
    inside: "src/client/internal/connection.ts",
    find: "attempt.welcomedAt = options.times.mono()",
    replace: "attempt.welcomedAt = options.times.mono(); pace.progressed()",
    test: clientSession,
    title: "a welcome alone does not reset the wait"
  },
  {
    rule: "client: progress resets the back-off",
    inside: "src/client/internal/connection.ts",
    find: "        pace.progressed()\n",
    replace: "",
    test: clientSession,
    title: "a connection that lived for ten seconds, or brought an answer or an event"
  },
  {
    rule: "client: what is no runtime ends the client after three connections",
    inside: "src/client/internal/attempt.ts",
    find: "++this.garbled < maxGarbled",
    replace: "++this.garbled < Infinity",
    test: clientSession,
    title: "three connections in a row that begin with another protocol"
  },
  {
    rule: "client: five bare closes before any welcome end the client",
    inside: "src/client/internal/attempt.ts",
    find: "if (bare && ++this.bare >= maxBare)",
    replace: "if (bare && ++this.bare >= Infinity)",
    test: clientSession,
    title: "five bare closes before any welcome"
  },
  {
    rule: "client: a request that is closed with 1009 is not repeated",
    inside: "src/client/internal/inFlight.ts",
    find: "const tooBig = code === closeCodes.tooBig",
    replace: "const tooBig = false",
    test: clientSession,
    title: "§14 a close with 1009 fails the largest request"
  },
  {
    rule: "client: no call waits longer than requestTimeout",
    inside: "src/client/internal/inFlight.ts",
    find: "if (left > 0) next = Math.min(next, left)",
    replace: "if (left !== undefined) next = Math.min(next, left)",
    test: clientSession,
    title: "every call fails with RequestTimeout"
  },
  {
    rule: "client: requestTimeout counts anew after a resume",
    inside: "src/client/internal/inFlight.ts",
    find: "for (const pending of requests) pending.writtenAt = at",
    replace:
      "for (const pending of requests) pending.writtenAt = (pending as unknown as { once?: number }).once ??= at",
    test: clientSession,
    title: "it counts on a live session only, anew after each resume"
  },
  {
    rule: "client: a remark of the runtime is the reason of what follows",
    inside: "src/client/internal/connection.ts",
    find: "attempt.remark = oneLine(",
    replace: "void oneLine(",
    test: clientSession,
    title: "what the runtime says of no request is logged"
  },
  {
    rule: "§6.4 the client gives a silent runtime up after two intervals of its welcome",
    inside: "src/client/internal/workers.ts",
    find: "silent >= 2 * interval",
    replace: "silent >= 20 * interval",
    test: clientSession,
    title: "§6.4 the first connection is watched with the interval of its welcome"
  },
  {
    rule: "§6.2 the client sends nothing that was not negotiated",
    inside: "src/client/internal/call.ts",
    find: "needed?.find((one) => !features.has(one))",
    replace: "needed?.find((one) => one === undefined)",
    test: clientSession,
    title: "fails with NotNegotiated and is not sent"
  },
  {
    rule: "§7.6 an unsubscribe ends the observation without an answer",
    inside: "src/client/internal/handles.ts",
    find: "core.lose(job, new ClientClosed(",
    replace: "void (new ClientClosed(",
    test: clientSession,
    title: "§7.6 unsubscribe ends it at once"
  },
  {
    rule: "§7.6 what comes after an unsubscribe is dropped",
    inside: "src/client/internal/registry.ts",
    find: " || this.unobserved.has(jobId)",
    replace: "",
    test: clientSession,
    title: "§7.6 unsubscribe ends it at once"
  },
  {
    rule: "§7.6 a history that starts later than was asked for is a gap",
    inside: "src/client/internal/history.ts",
    find: "from !== undefined && from > asked",
    replace: "from === null",
    test: gaps,
    title: "§7.6 a late observer's history that starts later"
  },
  {
    rule: "§6.5 events that went over the client's buffer are a gap",
    inside: "src/client/internal/jobStreams.ts",
    find: "const missed = job.missedBy(reader)",
    replace: "job.missedBy(reader); const missed = undefined",
    test: gaps,
    title: "§6.5 a buffer that ran over says which numbers are gone"
  },
  {
    rule: "§6.3 facts count what was processed, not what was received",
    inside: "src/client/internal/cursor.ts",
    find: "return Math.max(0, Math.min(lastSeq, first - 1))",
    replace: "return lastSeq",
    test: "test/client/facts.test.ts",
    title: "count what was processed"
  },
  {
    rule: "§8.3 every frame with a number uses it up",
    inside: "src/client/internal/core.ts",
    find: "    const used = this.use(raw)\n",
    replace: "    const used: Reaction = none\n",
    test: sequence,
    title: "uses the number of a frame up"
  },
  {
    rule: "§8.3 a number that is missing for two seconds is asked for by a resume",
    inside: "src/client/internal/silence.ts",
    find: "const gapTicks = 2\n",
    replace: "const gapTicks = 2_000\n",
    test: sequence,
    title: "resumes from below a number that is missing for two seconds"
  },
  {
    rule: "§8.3 frames out of order between jobs are no gap",
    inside: "src/client/internal/numbers.ts",
    find: "if (this.ahead.size >= maxAhead) return",
    replace: "if (this.ahead.size >= 0) return",
    test: sequence,
    title: "takes frames that came out of order"
  },
  {
    rule: "§7.2 DUPLICATE_KEY ends no job",
    inside: "src/client/internal/refusals.ts",
    find: 'if (error.code === "DUPLICATE_KEY") {',
    replace: 'if (error.code === "never") {',
    test: refusals,
    title: "§7.2 DUPLICATE_KEY that nothing asked for ends no job"
  },
  {
    rule: "§7.1 a job.error of an unknown job refuses the submit that waits",
    inside: "src/client/internal/refusals.ts",
    find: "const verdict = fail(matcher.refused(envelope, byOrder), end)",
    replace: "const verdict: Verdict = byOrder ? end : end",
    test: refusals,
    title: "its call fails at once, and the next job.accepted is given to the next call"
  },
  {
    rule: "§6.3 a job that stays silent after a resume is asked for",
    inside: "src/client/internal/silence.ts",
    find: "if (suspect.silent < suspect.patience) return",
    replace: "if (suspect.silent < Infinity) return",
    test: "test/client/silence.test.ts",
    title: "is asked for with its history, and ends in a typed error within ten seconds"
  },
  {
    rule: "client: a request that is too large is not sent",
    inside: "src/client/internal/calls.ts",
    find: "encode.bounded(text, maxFrameBytes)",
    replace: "encode.bounded(text, maxFrameBytes * 1_000)",
    test: "test/client/frames.test.ts",
    title: "§14 fails a submit over the frame limit"
  },
  {
    rule: "client: 1009 without a request that could be meant ends the client",
    inside: "src/client/internal/attempt.ts",
    find: "if (++this.tooBig >= maxTooBig)",
    replace: "if (++this.tooBig >= Infinity)",
    test: clientSession,
    title: "1009 without a request that could be meant"
  },
  {
    rule: "§6.1 a client whose credential has expired resumes with another",
    inside: "src/client/internal/succession.ts",
    find: "if (error.retryable) return",
    replace: 'if (error.retryable && error.code !== "UNAUTHENTICATED") return',
    test: clientSession,
    title: "an expired credential is replaced and the session resumed"
  },
  {
    rule: "§6.3 a refused resume is a session that is gone",
    inside: "src/client/internal/succession.ts",
    find: '(resuming && !welcomed && error.code !== "UNAUTHENTICATED" && !error.retryable)',
    replace: "false",
    test: clientSession,
    title: "§6.3 a resume that is refused with PERMISSION_DENIED"
  },
  {
    rule: "§6.7 session.closed names the request that it answers",
    inside: "src/runtime/sessions/Requests.ts",
    find: '"session.closed", conversation.head(), { request_id: envelope.id }',
    replace: '"session.closed", conversation.head(), { request_id: "" }',
    test: sessions,
    title: "§6.7 close is answered with closed"
  },
  {
    rule: "§6.7 a close that is answered with an error is closed",
    inside: "src/client/internal/connection.ts",
    find: 'if (isClosing) return react({ _tag: "closed" })',
    replace: "",
    test: clientSession,
    title: "§6.7 a close that is answered with an error counts as closed at once"
  },
  {
    rule: "§8.3 an event that comes under two numbers is shown once",
    inside: "src/client/internal/intake.ts",
    find: " || job.copies.isCopy(raw.id)) return",
    replace: ") return",
    test: sequence,
    title: "shows an event once that comes under two numbers"
  },
  {
    rule: "§8.3 a first number after a resume that is not the next is a gap at once",
    inside: "src/client/internal/numbers.ts",
    find: 'if (this.resumedAt === this.last) return "gap"',
    replace: "",
    test: sequence,
    title: "directly after a resume a number beyond the next one is a gap"
  },
  {
    rule: "§7.4 the end of a job settles its cancel",
    inside: "src/client/internal/registry.ts",
    find: "if (this.cancelling.delete(jobId)) this.matcher.endCancels(jobId, job.end)",
    replace: "this.cancelling.delete(jobId)",
    test: refusals,
    title: "§7.4 the end of a job settles its cancel"
  },

  // The runtime and other SDKs' clients
  {
    rule: "§7.4 every owner of a job may cancel it",
    inside: "src/runtime/jobs/Admission.ts",
    find: "if (!live.owners.some((owner) => owner.sessionId === sessionId)) {\n      return yield* new PermissionDenied",
    replace: "if (live.owners[0]?.sessionId !== sessionId) {\n      return yield* new PermissionDenied",
    test: "test/runtime/keys.test.ts",
    title: "§7.2 the sessions that submitted a job own it after a restart, and may cancel it"
  },
  {
    rule: "1.0 §5 strict peers are sent the same as all others",
    inside: "src/runtime/sessions/Handshake.ts",
    find: 'info.peers === "auto" ? Peers.peerKind(envelope) : undefined',
    replace: "Peers.peerKind(envelope)",
    test: "test/runtime/peers.test.ts",
    title: "every client is sent the same"
  },
  {
    rule: "1.0 §12 an agent's own code goes only to sessions that offered to take it",
    inside: "src/runtime/log/SessionView.ts",
    find: "features.has(agentErrors)",
    replace: "peer !== null",
    test: "test/runtime/hellos.test.ts",
    title: "1.0 §12 an agent's own code goes to sessions that offered to take it"
  },
  {
    rule: "§9.8.2 an owner is sent a rotated value also where the event is read from the store",
    inside: "src/runtime/log/Pump.ts",
    find: "const text = owned === undefined ? whole.payload : SessionView.ownText(owned, jobSeq, whole.payload)",
    replace: "const text = whole.payload",
    test: "test/runtime/sessionView.test.ts",
    title: "§9.8.2 goes to each owner that may see it, live and replayed"
  },
  {
    rule: "1.0 §14 names that an earlier version left in clear are found, and encrypted",
    inside: "src/store/SqlStore.ts",
    find: "    yield* reseal(database, sealer)\n",
    replace: "",
    test: "test/store/upgrade.test.ts",
    title: "§7.2 a repeated key is the same job"
  },
  {
    rule: "1.0 §5.1 a refusal before the welcome carries a session_id",
    inside: "src/runtime/sessions/Handshake.ts",
    find: "session_id: named ?? `sess_${ids.unsafeUlid(now)}`",
    replace: "session_id: named",
    test: "test/runtime/hellos.test.ts",
    title: "a refusal before the welcome carries a session_id"
  },
  // A commit that fails has never been
  {
    rule: "§6.3 a resume that the store refused leaves the old features and tokens",
    inside: "src/runtime/log",
    find: "return () => this.replaceHead(before)",
    replace: "return () => undefined",
    test: "test/runtime/reverts.test.ts",
    title: "that failed leaves everything as it was"
  },
  {
    rule: "§7.6 an observer that a failed batch took away is still there",
    inside: "src/runtime/log/SessionLog.ts",
    find: "      this.attached.set(id, attachment)\n      this.firstOwnerSeq = seq",
    replace: "      this.firstOwnerSeq = seq",
    test: "test/runtime/reverts.test.ts",
    title: "that failed leaves everything as it was"
  },
  {
    rule: "§6.3 a floor that a failed batch raised is where it was",
    inside: "src/runtime/log/SessionLog.ts",
    find: "this.floor = before",
    replace: "void before",
    test: "test/runtime/reverts.test.ts",
    title: "that failed leaves everything as it was"
  },
  {
    rule: "§10 nothing is written of a child whose delegation was dropped",
    inside: "src/runtime/log",
    find: "return job.isStored || this.jobRecords.has(job.record)",
    replace: "return true",
    test: "test/runtime/reverts.test.ts",
    title: "that failed leaves everything as it was"
  },
  {
    rule: "§7.6 an observation that is ended and begun in one batch is stored",
    inside: "src/runtime/log",
    find: "if (row.sessionId === sessionId && row.jobId === jobId) this.subscriptionsRemoved.splice(at, 1)",
    replace: "",
    test: "test/runtime/reverts.test.ts",
    title: "that failed leaves everything as it was"
  },
  {
    rule: "§7.2 an owner that becomes the first is no other owner any more",
    inside: "src/runtime/log",
    find: "this.ownersRemoved.push({ sessionId: next.sessionId, jobId: job.jobId })",
    replace: "",
    test: "test/runtime/reverts.test.ts",
    title: "that failed leaves everything as it was"
  },
  {
    rule: "§7.2 the session that submits a job is no row among its other owners",
    inside: "src/runtime/log",
    find: "if (job.owners[0] === session) this.state(job)\n    else if (!owned)",
    replace: "if (job.owners[0] === session) this.state(job)\n    if (!owned)",
    test: "test/runtime/owners.test.ts",
    title: "§7.2 nothing more for the one that submits a job"
  },
  {
    rule: "§7.2 owners are read in the order in which they came",
    inside: "src/store/internal/sqlReads.ts",
    find: "WHERE job_id = ? ORDER BY place",
    replace: "WHERE job_id = ?",
    test: "test/store/suite.test.ts",
    title: "the store in SQLite in memory §7.2 the owners of a job come back"
  },
  {
    rule: "§8.3 a number stays assigned when the purge deletes its event, in SQL",
    inside: "src/store/internal/sqlSweeps.ts",
    find: "yield* Effect.all(numbersOf(connection, rows), { discard: true })",
    replace: "yield* Effect.all(numbersOf(connection, []), { discard: true })",
    test: "test/store/carried.test.ts",
    title: "§8.3 the numbers of a removed job stay assigned"
  },
  {
    rule: "§8.3 a number stays assigned when its event is trimmed, in SQL",
    inside: "src/store/internal/sqlCommit.ts",
    find: "rows: [[jobId, upTo, jobId, upTo]]",
    replace: "rows: [[jobId, upTo, jobId, 0]]",
    test: "test/store/suite.test.ts",
    title: "the store in SQLite in memory §8.3 a number that was assigned stays assigned"
  },
  {
    rule: "§8.3 a segment carries the delivery that has all of it, and no other",
    inside: "src/store/internal/carried.ts",
    find: "segment.lastSeq > last || by.has(segment)",
    replace: "by.has(segment)",
    test: "test/store/carried.test.ts",
    title: "a delivery is kept with its segment but not where it is of a part of it"
  },
  {
    rule: "§14 refusals of one principal are recorded up to a bound",
    inside: "src/runtime/kernel/RefusalRates.ts",
    find: "if (rate.left < 1) {",
    replace: "if (rate.left < -1_000_000) {",
    test: "test/runtime/refusalRates.test.ts",
    title: "§14 what was admitted and what was told"
  },
  {
    rule: "1.0 §14 a database's file has one name",
    inside: "src/store/internal/fileModes.ts",
    find: "if (links > 1)",
    replace: "if (links > 99)",
    test: "test/store/fileModes.test.ts",
    title: "are refused where the file has several names"
  },
  {
    rule: "§6.3 a resume is judged again when its connection gets the session",
    inside: "src/runtime/sessions/internal/attach.ts",
    find: "if (cursor < session.floorSeq)",
    replace: "if (cursor < -1)",
    test: "test/runtime/resumeRaces.test.ts",
    title: "§6.3 what goes while its token is being stored"
  },
  {
    rule: "§7.6 an ended job that a subscribe reads is not removed",
    inside: "src/runtime/log/Retention.ts",
    find: "isRead || given.some(",
    replace: "given.some(",
    test: "test/runtime/resumeRaces.test.ts",
    title: "§7.6 that comes before the sweep"
  },
  {
    rule: "§7.6 a read behind the decision to remove is void",
    inside: "src/runtime/log/EndedReads.ts",
    find: "isVoid: this.going.has(jobId)",
    replace: "isVoid: false",
    test: "test/runtime/resumeRaces.test.ts",
    title: "§7.6 while the removal itself is being stored"
  },
  {
    rule: "§7.6 a job that was read since retention looked stays",
    inside: "src/runtime/log/EndedReads.ts",
    find: "read.over > since",
    replace: "read.over < 0",
    test: "test/runtime/endedReads.test.ts",
    title: "§7.6 a read that is over since"
  }
]

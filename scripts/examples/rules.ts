/**
 * What each example shows, and how to break it: the rule, the place in the build that keeps it, and a text there with its replacement.
 * The text is a line or a part of one, in the file exactly once.
 */
export interface Broken {
  /** The example's name. */
  readonly example: string
  /** The rule that the example shows, in words. */
  readonly rule: string
  /** The file, from the package's root. */
  readonly file: string
  readonly from: string
  readonly to: string
}

export const rules: ReadonlyArray<Broken> = [
  {
    example: "artifacts",
    rule: "an artifact that was released is gone",
    file: "dist/runtime/artifacts/internal/serving.js",
    from: "remove(keeper, record)",
    to: "Effect.succeed(true)"
  },
  {
    example: "browser-client",
    rule: "the client and its WebSocket need no module of Node",
    file: "dist/transport/WebSocketGlobal.js",
    from: 'import * as Layer from "effect/Layer";',
    to: 'import * as Layer from "effect/Layer"; import "node:net";'
  },
  {
    example: "cancel",
    rule: "§7.4 a cancelled job ends when its agent has unwound",
    file: "dist/runtime/jobs/Ending.js",
    from: "this.endAfterGrace(running, stopped(reason));",
    to: "this.endNow(running, stopped(reason));"
  },
  {
    example: "cost-budget",
    rule: "§9.6 what is left of a budget is computed in exact decimals",
    file: "dist/authority/Amount.js",
    from: "BigDecimal.normalize(BigDecimal.subtract(a, b))",
    to: "BigDecimal.unsafeFromNumber(BigDecimal.unsafeToNumber(a) - BigDecimal.unsafeToNumber(b))"
  },
  {
    example: "custom-auth",
    rule: "§6.1 a credential that was judged and refused is not presented again",
    file: "dist/client/internal/succession.js",
    from: "if (error.retryable)",
    to: "if (true)"
  },
  {
    example: "delegation",
    rule: "§9.4 a child's lease is within its parent's",
    file: "dist/authority/Delegated.js",
    from: 'if (answer._tag === "NotSubset") {',
    to: "if (false) {"
  },
  {
    example: "durable-steps",
    rule: "a step that was recorded does not run again in the next attempt",
    file: "dist/runtime/jobs/handler/steps.js",
    from: "recorded.has(name) || live.attempt > 1",
    to: "recorded.has(name)"
  },
  {
    example: "handoff",
    rule: "§11 a job belongs to the trace that its submit names",
    file: "dist/runtime/jobs/Admission.js",
    from: "traceId: trace?.traceId ?? ids.unsafeTraceId(),",
    to: "traceId: ids.unsafeTraceId(),"
  },
  {
    example: "http-server",
    rule: "1.0 §4.1 the runtime takes the upgrades of its own path and no other",
    file: "dist/transport/internal/upgrade.js",
    from: "return query < 0 ? url : url.slice(0, query);",
    to: 'return "/arcp";'
  },
  {
    example: "idempotent-retry",
    rule: "§7.2 a submit under a known key is answered with the job of that key",
    file: "dist/runtime/jobs/Idempotency.js",
    from: "Option.isSome(found) && found.value.expiresAt > deadlines.wall()",
    to: "Option.isSome(found) && found.value.expiresAt < 0"
  },
  {
    example: "job-subscribe",
    rule: "§7.6 the history that an observer gets begins with the job's first event",
    file: "dist/runtime/sessions/internal/observation.js",
    from: "const first = Math.max(after, live.trimmedTo) + 1;",
    to: "const first = Math.max(after, live.trimmedTo) + 2;"
  },
  {
    example: "jwt-auth",
    rule: "§6.1 a token that was made for another audience is refused",
    file: "dist/auth/JwtAuthenticator.js",
    from: "(audience === undefined ? {} : { audience: audience })",
    to: "{}"
  },
  {
    example: "lease-violation",
    rule: "§9.3 an operation that the lease does not cover is refused",
    file: "dist/runtime/jobs/LeaseChecks.js",
    from: 'if (decision._tag !== "Allowed") {',
    to: "if (false) {"
  },
  {
    example: "list-jobs",
    rule: "§6.6 a listing has the jobs in the states that its filter names",
    file: "dist/store/MemoryStore.js",
    from: "query.statuses.includes(state.status)",
    to: "query.statuses.length > 0"
  },
  {
    example: "provisioned-credentials",
    rule: "§9.8.2 the credentials of a job are revoked when it ends",
    file: "dist/runtime/credentials/internal/live.js",
    from: "for (const { held } of entry.live.values())",
    to: "for (const { held } of [])"
  },
  {
    example: "quickstart",
    rule: "§6.3 a session goes on over a new connection",
    file: "dist/runtime/sessions/internal/resuming.js",
    from: "isCurrent || isPrevious ? Either.right(known)",
    to: "false ? Either.right(known)"
  },
  {
    example: "resumability",
    rule: "§6.3 a resumed session is sent every event after the last one that its client has seen",
    file: "dist/runtime/sessions/internal/opening.js",
    from: "{ connection, peer, cursor, token, tokenHash }",
    to: "{ connection, peer, cursor: cursor + 1, token, tokenHash }"
  },
  {
    example: "stdio",
    rule: "1.0 §4.2 stdout carries frames and nothing else",
    file: "dist/transport/StdioTransport.js",
    from: "options.output ?? stdout.take()",
    to: "options.output ?? process.stdout"
  },
  {
    example: "submit-and-stream",
    rule: "§8.3 the events of a session are numbered without a gap",
    file: "dist/runtime/log/Pump.js",
    from: '","event_seq":${at},"payload":${payload}}',
    to: '","event_seq":${2 * at},"payload":${payload}}'
  },
  {
    example: "testing-with-mock-layers",
    rule: "a concern that is replaced is the one that the runtime uses",
    file: "dist/runtime/internal/wiring.js",
    from: "replaced(Accounts.layer, by.budgets)",
    to: "Accounts.layer"
  },
  {
    example: "tools",
    rule: "§9.2 a tool is called where the lease names it",
    file: "dist/runtime/jobs/handler/jobAuthority.js",
    from: '() => check(calls.engine, calls.running, "tool.call", name)',
    to: "() => Either.void"
  },
  {
    example: "tracing",
    rule: "1.0 §10.3 a delegated job is a span below its parent's",
    file: "dist/runtime/jobs/Delegation.js",
    from: "{ ...inherited, traceId: parent.live.traceId, parentSpanId: spanId }",
    to: "inherited"
  },
  {
    example: "two-runtimes",
    rule: "each runtime of a program builds its concerns anew",
    file: "dist/runtime/internal/wiring.js",
    from: "Layer.provideMerge(concerns(options)), Layer.fresh);",
    to: "Layer.provideMerge(concerns(options)));"
  },
  {
    example: "typed-client",
    rule: "§7.1 input that does not fit the agent's Schema is rejected before it is sent",
    file: "dist/client/internal/submit.js",
    from: "yield* encodeInput(spec.input, input)",
    to: "input"
  },
  {
    example: "vendor-extensions",
    rule: "§5 a message of an unknown vendor type is ignored",
    file: "dist/runtime/sessions/Connection.js",
    from: "return ExtensionName.isExtension(raw.type) ? undefined : bad(",
    to: "return false ? undefined : bad("
  }
]

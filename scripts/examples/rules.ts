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
    example: "delegation",
    rule: "§9.4 a child's lease is within its parent's",
    file: "dist/authority/Delegated.js",
    from: 'if (answer._tag === "NotSubset") {',
    to: "if (false) {"
  },
  {
    example: "idempotent-retry",
    rule: "§7.2 a submit under a known key is answered with the job of that key",
    file: "dist/runtime/jobs/Idempotency.js",
    from: "Option.isSome(found) && found.value.expiresAt > deadlines.now()",
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
    example: "resumability",
    rule: "§6.3 a resumed session is sent every event after the last one that its client has seen",
    file: "dist/runtime/sessions/internal/opening.js",
    from: "{ connection, peer, cursor, token, tokenHash }",
    to: "{ connection, peer, cursor: cursor + 1, token, tokenHash }"
  },
  {
    example: "submit-and-stream",
    rule: "§8.3 the events of a session are numbered without a gap",
    file: "dist/runtime/log/SessionLog.js",
    from: "this.given += count;",
    to: "this.given += count + 1;"
  },
  {
    example: "tools",
    rule: "§9.2 a tool is called where the lease names it",
    file: "dist/runtime/jobs/handler/jobAuthority.js",
    from: '() => check(engine, running, "tool.call", name)',
    to: "() => Either.void"
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
    from: "return ExtensionName.isExtension(raw.type) ? Effect.void : bad(",
    to: "return false ? Effect.void : bad("
  }
]

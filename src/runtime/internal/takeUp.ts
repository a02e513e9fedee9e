/** A job that an earlier process left unfinished, as this one takes it up. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { AgentRegistration, AgentRegistry } from "../../agent/AgentRegistry.js"
import * as Lease from "../../authority/Lease.js"
import { Cancelled } from "../../protocol/Errors.js"
import type { WireLease, WireLeaseConstraints } from "../../protocol/Fields.js"
import type { SegmentHead, Store, StoredJob, StoreError } from "../../store/Store.js"
import { fromText } from "../Budgets.js"
import { LiveJob } from "./model.js"
import { Running } from "./running.js"

/** Makes it anew; `again` tells whether its handler is to be started (again). */
export const takeUp = (
  { record, state }: StoredJob,
  registry: Context.Tag.Service<AgentRegistry>,
  parent: Running | undefined,
  openCalls: Iterable<string>
): { readonly running: Running; readonly again: boolean } => {
  const live = new LiveJob(record, state)
  const found = registry.resolve({ name: record.agent, version: record.version })
  // A delegated job is never started again: its parent, which is, delegates anew.
  const runsAgain =
    Either.isRight(found) &&
    record.parentJobId === undefined &&
    state.cancelled === undefined &&
    (state.status === "pending" || found.right.onRestart === "rerun")
  const input = runsAgain ? found.right.decode(JSON.parse(record.input)) : Either.right(null)
  const constraints =
    record.leaseConstraints === undefined ? undefined : (JSON.parse(record.leaseConstraints) as WireLeaseConstraints)
  const lease = Lease.compile(JSON.parse(record.lease) as WireLease, constraints)
  const again = runsAgain && Either.isRight(input) && Either.isRight(lease)
  if (again && state.status === "running") live.attempt = state.attempt + 1
  const running = new Running({
    live,
    agent: Either.isRight(found) ? found.right : missing(record.agent, record.version),
    input: Either.getOrElse(input, () => null),
    lease: Either.getOrElse(lease, () => Lease.emptyLease),
    budget: fromText(state.budget),
    inlineStream: false,
    parent
  })
  running.queued = true
  if (state.cancelled !== undefined) {
    running.stop = { status: "cancelled", error: new Cancelled({ message: state.cancelled }) }
  }
  for (const callId of openCalls) running.openCalls.add(callId)
  return { running, again }
}

const missing = (name: string, version: string): AgentRegistration => ({
  name,
  version,
  isDefault: false,
  maxRunning: undefined,
  onRestart: "fail",
  unguarded: [],
  decode: Either.right,
  run: () => Effect.dieMessage(`the agent ${name}@${version} is not registered`)
})

/** Bytes of events that are looked at in one step. */
const pageBytes = 1_048_576

/** The tool calls that an earlier process left open: told, and without their `tool_result` (§8.2). */
export const openCallsOf = (
  store: Context.Tag.Service<Store>,
  jobId: string,
  heads: ReadonlyArray<SegmentHead>
): Effect.Effect<ReadonlySet<string>, StoreError> =>
  Effect.gen(function* () {
    const open = new Set<string>()
    const last = heads.at(-1)?.lastSeq ?? 0
    let next = heads.find((head) => head.class === "event")?.firstSeq ?? last + 1
    while (next <= last) {
      const segments = yield* store.segments(jobId, next, last, pageBytes)
      if (segments.length === 0) break
      for (const segment of segments) {
        next = segment.lastSeq + 1
        if (segment.class !== "event") continue
        for (const payload of segment.payloads) {
          // Most events are neither, and are not parsed.
          if (!payload.startsWith('{"kind":"tool_')) continue
          const { body, kind } = JSON.parse(payload) as { readonly kind: string; readonly body: { call_id: string } }
          if (kind === "tool_call") open.add(body.call_id)
          else if (kind === "tool_result") open.delete(body.call_id)
        }
      }
    }
    return open
  })

/** A job that an earlier process left unfinished, as this one takes it up. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { AgentRegistration, AgentRegistry } from "../../agent/AgentRegistry.js"
import * as Lease from "../../authority/Lease.js"
import { Cancelled } from "../../protocol/Errors.js"
import type { JobStatus } from "../../protocol/Session.js"
import * as Text from "../../protocol/Text.js"
import * as Rows from "../../store/Rows.js"
import { type JobRecord, type SegmentHead, type Store, type StoredJob, StoreError } from "../../store/Store.js"
import type { IssueRequest } from "../Credentials.js"
import type { Leases } from "../Leases.js"
import { LiveJob } from "./model.js"
import { isToolEvent } from "./payload.js"
import { Running } from "./running.js"
import { pause } from "./turn.js"

/** Jobs in an order in which a parent comes before its children, also where a clock that was set back gave them lower ids. */
export const parentsFirst = <J extends StoredJob>(jobs: ReadonlyArray<J>): ReadonlyArray<J> => {
  const byId = new Map(jobs.map((job) => [job.record.jobId, job]))
  const depth = ({ record }: J): number => {
    const parent = record.parentJobId === undefined ? undefined : byId.get(record.parentJobId)
    return parent === undefined ? 0 : 1 + depth(parent)
  }
  return jobs
    .map((job) => ({ job, depth: depth(job) }))
    .sort((a, b) => a.depth - b.depth)
    .map(({ job }) => job)
}

/**
 * Whether a process that takes a job up starts its handler (again). A delegated job never: its parent, which is, delegates
 * anew.
 */
export const runsAgain = (
  found: ReturnType<Context.Tag.Service<AgentRegistry>["resolve"]>,
  record: JobRecord,
  state: { readonly status: JobStatus; readonly cancelled: string | undefined }
): boolean =>
  Either.isRight(found) &&
  record.parentJobId === undefined &&
  state.cancelled === undefined &&
  (state.status === "pending" || found.right.onRestart === "rerun")

/** Makes it anew; `again` tells whether its handler is to be started (again). */
export const takeUp = (
  { counters, input: wireInput, record, state, values }: Rows.RecoveredJob,
  registry: Context.Tag.Service<AgentRegistry>,
  leases: Pick<Context.Tag.Service<Leases>, "recovered">,
  parent: Running | undefined,
  openCalls: Iterable<string>
): { readonly running: Running; readonly again: boolean } => {
  const live = new LiveJob(record, state, values)
  const found = registry.resolve({ name: record.agent, version: record.version })
  const rerun = runsAgain(found, record, state)
  // What an agent's schema throws ends its job, and does not keep the runtime from starting.
  const input =
    rerun && Either.isRight(found)
      ? Text.attempt(() => found.right.decode(wireInput), Either.left(undefined))
      : Either.right(null)
  const lease = Either.map(Lease.compile(values.lease, values.leaseConstraints), (stored) =>
    leases.recovered(stored, record.principalId)
  )
  const again = rerun && Either.isRight(input) && Either.isRight(lease)
  if (again && state.status === "running") live.attempt = state.attempt + 1
  const running = new Running({
    live,
    agent: Either.isRight(found) ? found.right : missing(record.agent, record.version),
    input: Either.getOrElse(input, () => null),
    lease: Either.getOrElse(lease, () => Lease.emptyLease),
    budget: new Map(counters),
    inlineStream: false,
    provisioned: true,
    parent
  })
  running.queued = true
  if (state.cancelled !== undefined) {
    running.stop = { status: "cancelled", error: new Cancelled({ message: state.cancelled }) }
  }
  for (const callId of openCalls) running.openCalls.add(callId)
  return { running, again }
}

/**
 * What credentials to issue anew for a job that runs again; undefined where its session did not negotiate them. Of a job whose session is
 * gone that is not known: it may need them.
 */
export const reissueOf = (running: Running): IssueRequest | undefined => {
  const { agent, budget, lease, live } = running
  running.provisioned = live.owners[0] === undefined || live.owners[0].features.has("provisioned_credentials")
  return running.provisioned
    ? {
        jobId: live.jobId,
        principalId: live.record.principalId,
        agent: `${agent.name}@${agent.version}`,
        lease,
        remaining: Effect.succeed(budget)
      }
    : undefined
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
    for (let i = 0; i < heads.length; i++) {
      // Chunks of a result may be large, and are passed over.
      if (heads[i]!.class !== "event") continue
      let next = heads[i]!.firstSeq
      while (heads[i + 1]?.class === "event") i++
      const last = heads[i]!.lastSeq
      while (next <= last) {
        const segments = yield* store.segments(jobId, next, last, pageBytes)
        if (segments.length === 0) break
        yield* pause
        for (const { lastSeq, payloads } of segments) {
          for (const payload of payloads) {
            // Most events are neither, and are not parsed.
            if (!isToolEvent(payload)) continue
            const call = Rows.toolEvent(jobId, payload)
            if (Either.isLeft(call)) {
              return yield* new StoreError({
                operation: "read events",
                message: `the log of ${jobId} is damaged in its events ${next} to ${lastSeq}: restore the database from a backup, or delete the job`
              })
            }
            const { body, kind } = call.right
            if (kind === "tool_call") open.add(body.call_id)
            else open.delete(body.call_id)
          }
          next = lastSeq + 1
        }
      }
    }
    return open
  })

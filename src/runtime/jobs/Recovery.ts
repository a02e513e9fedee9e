/**
 * Jobs that an earlier process left unfinished: they are recovered from their rows, and then end, or start again.
 *
 * Responsibility: which jobs start again, with which lease, input and credentials, and which tool calls their handlers left open.
 *
 * Order: parents are recovered before their children. When all are, those that do not run again end, children first, so that their money
 * is back before a parent goes on or ends; then the others start, each behind the issue of its credentials and the results of the calls
 * that it had left open.
 *
 * Races closed here: a job that is cancelled, or whose lease or time is over, before its credentials have come is not started; an upstream
 * that is slow holds up its own jobs alone.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { AgentRegistration, AgentRegistry } from "../../agent/AgentRegistry.js"
import * as Expiry from "../../authority/Expiry.js"
import * as Lease from "../../authority/Lease.js"
import { Cancelled } from "../../protocol/Errors.js"
import { PrincipalId } from "../../protocol/Ids.js"
import type { JobStatus } from "../../protocol/Session.js"
import * as Text from "../../protocol/Text.js"
import * as Rows from "../../store/Rows.js"
import { type JobRecord, type SegmentHead, type Store, type StoredJob, StoreError } from "../../store/Store.js"
import type { IssueRequest } from "../credentials/Credentials.js"
import { maySee } from "../credentials/View.js"
import * as Foreign from "../kernel/Foreign.js"
import { isToolEvent } from "../kernel/Payload.js"
import { pause } from "../kernel/Turn.js"
import type { RecoveredJobLog } from "../log/Recovery.js"
import { restarted, stopped } from "./handler/outcomes.js"
import { runtimeLeft, tooLong } from "./Run.js"
import { expired } from "./internal/authority.js"
import type { Engine, Recovers } from "./internal/engine.js"
import { issueRequest } from "./internal/issueRequest.js"
import { Running } from "./Running.js"

/** Jobs in an order in which a parent comes before its children, also where a clock that was set back gave them lower ids. */
const parentsFirst = <J extends { readonly stored: StoredJob }>(jobs: ReadonlyArray<J>): ReadonlyArray<J> => {
  const byId = new Map(jobs.map((job) => [job.stored.record.jobId, job]))
  const depth = ({ stored: { record } }: J): number => {
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

/** What runs of a stored job again; none of it where the job is only to be ended. */
interface Again {
  readonly input: unknown
  readonly lease: Lease.Lease
}

/** Its input and its lease, where its agent runs again and takes both. */
const againOf = (
  { input: wireInput, record, state, values }: Rows.RecoveredJob,
  found: ReturnType<Engine["agents"]["resolve"]>,
  leases: Engine["leases"]
): { readonly again: boolean } & Again => {
  const rerun = runsAgain(found, record, state)
  // What an agent's schema throws ends its job, and does not keep the runtime from starting.
  const input =
    rerun && Either.isRight(found)
      ? Text.attempt(() => found.right.decode(wireInput), Either.left(undefined))
      : Either.right(null)
  // Nor does what leases do that the program brought.
  const lease = Text.attempt(
    () =>
      Either.map(Lease.compile(values.lease, values.leaseConstraints), (stored) =>
        leases.recovered(stored, PrincipalId(record.principalId))
      ),
    Either.left(undefined)
  )
  return {
    again: rerun && Either.isRight(input) && Either.isRight(lease),
    input: Either.getOrElse(input, () => null),
    lease: Either.getOrElse(lease, () => Lease.emptyLease)
  }
}

/** Makes a stored job anew. */
const takeUp = (
  { live, stored }: RecoveredJobLog,
  { agents, leases }: Engine,
  parent: Running | undefined,
  openCalls: Iterable<string>
): Taken => {
  const { record, state } = stored
  const found = agents.resolve({ name: record.agent, version: record.version })
  const { again, input, lease } = againOf(stored, found, leases)
  // Nothing of it has been written by this process: it is not undone.
  if (again && state.status === "running") live.setState({ ...live.state, attempt: state.attempt + 1 })
  const running = new Running({
    live,
    agent: Either.isRight(found) ? found.right : missing(record.agent, record.version),
    input,
    lease,
    inlineStream: false,
    provisioned: true,
    parent
  })
  running.enterLog()
  if (state.cancelled !== undefined) {
    running.stopFor({ status: "cancelled", error: new Cancelled({ message: state.cancelled }) })
  }
  for (const callId of openCalls) running.openCall(callId)
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

/** Adds the calls that stored payloads open, and takes away those that they close; false where one of them is damaged. */
const followCalls = (open: Set<string>, jobId: string, payloads: ReadonlyArray<string>): boolean => {
  for (const payload of payloads) {
    // Most events are neither, and are not parsed.
    if (!isToolEvent(payload)) continue
    const call = Rows.toolEvent(jobId, payload)
    if (Either.isLeft(call)) return false
    const { body, kind } = call.right
    if (kind === "tool_call") open.add(body.call_id)
    else open.delete(body.call_id)
  }
  return true
}

/** The tool calls that an earlier process left open: reported, and without their `tool_result` (§8.2). */
const openCallsOf = (
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
          if (!followCalls(open, jobId, payloads)) {
            return yield* new StoreError({
              operation: "read events",
              message: `the log of ${jobId} is damaged in its events ${next} to ${lastSeq}: restore the database from a backup, or delete the job`
            })
          }
          next = lastSeq + 1
        }
      }
    }
    return open
  })

/** A job that has been recovered; `again` is whether its handler is to be started (again). */
interface Taken {
  readonly running: Running
  readonly again: boolean
}

/** Recovers jobs. */
export class Recovery implements Recovers {
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

  recover(left: ReadonlyArray<RecoveredJobLog>): Effect.Effect<void, StoreError> {
    const { store } = this.engine
    return Effect.gen(this, function* () {
      const taken: Array<Taken> = []
      for (const job of parentsFirst(left)) {
        yield* pause
        taken.push(this.register(job, yield* openCallsOf(store, job.live.jobId, job.heads)))
      }
      yield* this.resume(taken)
    })
  }

  private register(job: RecoveredJobLog, openCalls: Iterable<string>): Taken {
    const { budgets, fork, jobs } = this.engine
    const { counters, record } = job.stored
    const parent = record.parentJobId === undefined ? undefined : jobs.get(record.parentJobId)
    const { again, running } = takeUp(job, this.engine, parent, openCalls)
    const { jobId } = running.live
    const opened = (): boolean => {
      budgets.open(jobId, counters, parent?.live.jobId)
      return true
    }
    const hasBudget = Foreign.called(`Budgets.open for ${jobId}`, fork, opened, false)
    parent?.adopt(running)
    jobs.register(running)
    return { running, again: again && hasBudget }
  }

  private resume(taken: ReadonlyArray<Taken>): Effect.Effect<void> {
    const { credentials, ending } = this.engine
    // Children first, so that their money is back before a parent goes on or ends.
    for (const { again, running } of taken.toReversed())
      if (!again) ending.endNow(running, stopped({ status: "error", error: restarted }))
    // A job that may do nothing any more gets no credentials, and is not started (§7.3, §9.5).
    for (const { again, running } of taken) if (again) this.stopIfOver(running)
    const again = taken.flatMap((job) => (job.again && !job.running.finished ? [job.running] : []))
    if (!credentials.available) return Effect.sync(() => again.forEach((running) => this.startAgain(running)))
    // Beside the runtime's start: an upstream that is slow holds up its own jobs, and no other.
    const issued = Effect.forEach(again, (running) => this.issueAnew(running), { concurrency: 16, discard: true })
    return Effect.asVoid(Effect.forkIn(issued, this.engine.scope))
  }

  /** Stops a recovered job that may do nothing any more. */
  private stopIfOver(running: Running): void {
    const { deadlines, ending } = this.engine
    const { lease, live } = running
    const now = deadlines.wall()
    if (Expiry.isOver(lease.expiresAt, now)) ending.stop(running, { status: "error", error: expired(lease) })
    else if ((runtimeLeft(live, now) ?? 1) <= 0) ending.stop(running, tooLong(live))
  }

  /**
   * What credentials to issue anew for a job that runs again; undefined where its session did not negotiate them. Of a job whose session
   * is gone that is not known: it may need them.
   */
  private reissueOf(running: Running): IssueRequest | undefined {
    const [owner] = running.live.owners
    running.setProvisioned(owner === undefined || maySee(owner))
    return running.provisioned ? issueRequest(running, this.engine.budgets) : undefined
  }

  /** The values of an earlier process's credentials are gone with it, and have been revoked. */
  private issueAnew(running: Running): Effect.Effect<void> {
    const { credentials, ending } = this.engine
    return Effect.suspend(() => {
      this.stopIfOver(running)
      if (running.finished) return Effect.void
      const request = this.reissueOf(running)
      if (request === undefined) return Effect.sync(() => this.startAgain(running))
      return Effect.match(credentials.issue(request), {
        onFailure: (error) => ending.conclude(running, { _tag: "error", status: "error", error }),
        onSuccess: ({ length }) => {
          if (length > 0) running.reissue()
          this.startAgain(running)
        }
      })
    })
  }

  private startAgain(running: Running): void {
    // It may have been cancelled while its credentials were being issued.
    if (running.finished || running.outcome !== undefined) return
    const { owners } = running.live
    running.setInlineStream(owners.length > 0 && owners.every(({ features }) => !features.has("result_chunk")))
    this.engine.ending.closeCalls(running, restarted)
    this.engine.run.launch(running)
  }
}

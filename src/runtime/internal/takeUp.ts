/** A job that an earlier process left unfinished, as this one takes it up. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { AgentRegistration, AgentRegistry } from "../../agent/AgentRegistry.js"
import * as Lease from "../../authority/Lease.js"
import type { WireLease, WireLeaseConstraints } from "../../protocol/Fields.js"
import type { StoredJob } from "../../store/Store.js"
import { fromText } from "../Budgets.js"
import { LiveJob } from "./model.js"
import { Running } from "./running.js"

/** Makes it anew; `again` tells whether its handler is to be started (again). */
export const takeUp = (
  { record, state }: StoredJob,
  registry: Context.Tag.Service<AgentRegistry>,
  parent: Running | undefined
): { readonly running: Running; readonly again: boolean } => {
  const live = new LiveJob(record, state)
  const found = registry.resolve({ name: record.agent, version: record.version })
  // A delegated job is never started again: its parent, which is, delegates anew.
  const runsAgain =
    Either.isRight(found) &&
    record.parentJobId === undefined &&
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

/** What a job asks of `Credentials`, be it submitted, delegated or recovered (ARCP 1.1 §9.8.2). */
import * as Effect from "effect/Effect"
import type { IssueRequest } from "../../credentials/Credentials.js"
import type { BudgetsService } from "../Budgets.js"
import { nameOf, type Running } from "../Running.js"

/** The request for its credentials. Its budget is read when they are issued and at each rotation. */
export const issueRequest = (
  { agent, lease, live }: Running,
  budgets: Pick<BudgetsService, "counters">
): IssueRequest => ({
  jobId: live.jobId,
  principalId: live.record.principalId,
  agent: nameOf(agent),
  parentJobId: live.record.parentJobId,
  lease,
  remaining: Effect.sync(() => budgets.counters(live.jobId))
})

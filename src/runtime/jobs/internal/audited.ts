/**
 * What the audit trail says of what jobs did (ARCP 1.1 §9, §10, §14): what their leases denied, and what was narrowed.
 *
 * Texts of agents and clients (targets, names) are shown as operators may read them: without the values of the job's credentials, and of
 * URLs without user information and queries.
 */
import type { Denial } from "../../../agent/Gate.js"
import type { Terms } from "../../../authority/Withheld.js"
import * as Withheld from "../../../authority/Withheld.js"
import type { ArcpError } from "../../../protocol/Errors.js"
import * as Text from "../../../protocol/Text.js"
import type { Draft } from "../../kernel/AuditRecord.js"
import { shownFor } from "../handler/secrets.js"
import type { Running } from "../Running.js"
import type { Services } from "./engine.js"

type Uses = Pick<Services, "audit" | "credentials">

type Denied = Extract<Draft, { readonly type: "lease.denied" }>

/** Which job, whose, and in which session. */
export const jobOf = ({ live }: Running) => ({
  principal: live.record.principalId,
  session_id: live.ownerSessionId,
  job_id: live.jobId,
  trace_id: live.traceId
})

/** An operation that was refused. */
export interface Act {
  readonly operation: Denied["operation"]
  readonly capability: string
  /** As it may be shown, but for credentials. */
  readonly target: string | undefined
}

/** A class that the protocol or this package names; anything else may be free text. */
const reasonOf = ({ details }: Denial): string | undefined => {
  const reason = Text.property(details, "reason")
  return typeof reason === "string" && /^[a-z_]{1,64}$/.test(reason) ? reason : undefined
}

const currencyOf = ({ details }: Denial): string | undefined => {
  const currency = Text.property(details, "currency")
  return typeof currency === "string" && /^[A-Za-z]{1,16}$/.test(currency) ? currency : undefined
}

/** An operation was refused, by the lease or by an upstream that the job has a credential of (§9.3, §9.6, §13.7). */
export const auditDenied = (
  engine: Uses,
  running: Running,
  act: Act,
  error: Denial,
  source: Denied["source"] = "runtime"
): void => {
  const { audit } = engine
  if (audit === undefined) return
  const { code } = error
  const facts = { ...jobOf(running), ...act, code, reason: reasonOf(error), source }
  audit.add(
    code === "BUDGET_EXHAUSTED"
      ? { type: "budget.exhausted", ...facts, currency: currencyOf(error) }
      : { type: "lease.denied", ...facts },
    shownFor(engine, running)
  )
}

/** A delegation or a handoff was refused (§10), where authority is why. */
export const auditRefused = (
  engine: Uses,
  running: Running,
  operation: "delegate" | "handoff",
  agent: string,
  error: ArcpError
): void => {
  const { audit } = engine
  if (audit === undefined) return
  switch (error.code) {
    case "LEASE_SUBSET_VIOLATION": {
      const facts = { ...jobOf(running), agent, withheld: [shownFor(engine, running)(error.message)] }
      return audit.add(
        { type: "lease.narrowed", ...facts, at: "delegation", outcome: "refused" },
        shownFor(engine, running)
      )
    }
    case "PERMISSION_DENIED":
    case "LEASE_EXPIRED":
    case "BUDGET_EXHAUSTED":
      return auditDenied(engine, running, { operation, capability: "agent.delegate", target: agent }, error as Denial)
    default:
  }
}

/** A delegated job has less than was asked for it: what its parent has not, such as time (§9.4). */
export const auditInherited = (engine: Uses, child: Running, agent: string, asked: Terms): void => {
  const { lease } = child
  const withheld = Withheld.describe(asked, { lease: lease.wire, constraints: lease.constraints })
  if (withheld.length === 0) return
  engine.audit?.add(
    { type: "lease.narrowed", ...jobOf(child), agent, at: "delegation", outcome: "reduced", withheld },
    shownFor(engine, child)
  )
}

/**
 * What the steps of issuing and rotating share (ARCP 1.1 §9.8.2): one object, made once for each runtime, that each function of this
 * folder takes whole. It holds no state of its own: `live` owns the jobs' credentials, `claims` who has which handle and value,
 * `revocations` what is being revoked.
 */
import type * as Context from "effect/Context"
import type { IdsService } from "../../../protocol/Ids.js"
import type { CredentialLedger } from "../../../store/CredentialLedger.js"
import type { Auditor } from "../../kernel/Auditing.js"
import type { CredentialProvisioner } from "../CredentialProvisioner.js"
import type { Claims } from "./claims.js"
import type { LiveCredentials } from "./live.js"
import type { Revocations } from "./revocations.js"

/** How long things may take, in milliseconds. */
export interface Timeouts {
  /** An issue or a rotation, for its caller. */
  readonly issue: number
  /** A call to the upstream, before it is interrupted. */
  readonly late: number
  /** The announcement of a rotation, before the prior key is revoked without it. */
  readonly notify: number
}

export interface Core {
  readonly ids: IdsService
  readonly ledger: Context.Tag.Service<CredentialLedger>
  readonly provisioner: Context.Tag.Service<CredentialProvisioner>
  readonly timeouts: Timeouts
  /** Undefined where nothing is recorded. */
  readonly audit: Auditor | undefined
  readonly revocations: Revocations
  readonly claims: Claims
  readonly live: LiveCredentials
}

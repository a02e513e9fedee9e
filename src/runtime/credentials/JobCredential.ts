/** A credential of a job, and what is said to get one (ARCP 1.1 §9.8): the types that `Credentials` and its parts share. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Amounts } from "../../authority/Amount.js"
import type { Lease } from "../../authority/Lease.js"
import type { Constraints } from "./CredentialProvisioner.js"

/** A credential of a job. Its value is in memory only, and prints as redacted. */
export interface JobCredential {
  /** `cred_<ulid>`; the same before and after a rotation. */
  readonly id: string
  readonly jobId: string
  readonly scheme: string
  readonly value: Redacted.Redacted<string>
  readonly endpoint: string
  readonly profile: string | undefined
  readonly constraints: Constraints | undefined
}

/** For which job credentials are wanted. */
export interface IssueRequest {
  readonly jobId: string
  readonly principalId: string
  /** `name@version`. */
  readonly agent: string
  /** The job that delegated; its end revokes the child's credentials too (§9.8.2). */
  readonly parentJobId?: string | undefined
  /** The effective lease. */
  readonly lease: Lease
  /** What is left of the job's budget: read at the issue and at each rotation, so that a rotated key is no fresh budget. */
  readonly remaining: Effect.Effect<Amounts>
}

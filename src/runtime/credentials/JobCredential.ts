/** A credential of a job, and what is said to get one (ARCP 1.1 §9.8): the types that `Credentials` and its parts share. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Amounts } from "../../authority/Amount.js"
import type { Lease } from "../../authority/Lease.js"
import type { Constraints } from "./CredentialProvisioner.js"

/**
 * A credential of a job. Its value is in memory only, and prints as redacted.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobCredential {
  /** `cred_<ulid>`; the same before and after a rotation. */
  readonly id: string
  /** The job that it was issued for. */
  readonly jobId: string
  /** How it is presented, such as `bearer`. */
  readonly scheme: string
  /** The secret. */
  readonly value: Redacted.Redacted<string>
  /** The base URL at which it is valid. */
  readonly endpoint: string
  /** Which API is spoken there; undefined where the upstream gave none. */
  readonly profile: string | undefined
  /** What the upstream itself enforces; undefined where it enforces nothing. */
  readonly constraints: Constraints | undefined
}

/**
 * For which job credentials are wanted.
 *
 * @since 0.1.0
 * @category models
 */
export interface IssueRequest {
  /** The job. */
  readonly jobId: string
  /** Who submitted it. */
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

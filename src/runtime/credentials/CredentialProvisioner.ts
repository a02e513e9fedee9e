/**
 * What mints credentials at an upstream: the service that a deployment implements, or takes ready-made (`LiteLlm`), so that
 * a job gets keys of its own that are bounded by its lease (ARCP 1.1 §9.8).
 *
 * `Credentials` calls it. It bounds every call in time, writes to the ledger before each, retries revocations, and revokes
 * what comes too late; an implementation just talks to its upstream. Messages of its errors go to logs and to the ledger,
 * so they hold no secret: no key, no part of one, and no text that the upstream sent.
 */
import type { JobId, PrincipalId } from "../../protocol/Ids.js"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Amounts } from "../../authority/Amount.js"
import type { Lease } from "../../authority/Lease.js"

/**
 * The upstream did not give a credential.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProvisionError extends Schema.TaggedError<ProvisionError>()("ProvisionError", {
  /** One line for operators, without secrets. */
  message: Schema.String,
  /**
   * Whether the upstream may have made a key all the same, as when its answer was lost. Such a key is looked for with
   * `reclaim`. Default false.
   */
  uncertain: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Whether the same submit may succeed later. Default true. */
  retryable: Schema.optionalWith(Schema.Boolean, { default: () => true }),
  /** What the submitter is told, without secrets and without facts of the deployment. */
  explanation: Schema.optional(Schema.String)
}) {}

/**
 * The upstream did not revoke a credential.
 *
 * @since 0.1.0
 * @category errors
 */
export class RevokeError extends Schema.TaggedError<RevokeError>()("RevokeError", {
  /** One line for operators, without secrets. */
  message: Schema.String,
  /** Whether trying again is of no use until an operator has changed something, such as a refused master key. */
  permanent: Schema.Boolean
}) {}

/**
 * What a credential is for, and what must bound it (§9.8.3).
 *
 * @since 0.1.0
 * @category models
 */
export interface ProvisionRequest {
  /**
   * Names what this call makes, and nothing made before or after it. It is in the ledger before the call, so an upstream
   * key that is named by it can be found again when its answer was lost.
   */
  readonly reference: string
  /** The job that gets it. */
  readonly jobId: JobId
  /** Who submitted the job. */
  readonly principalId: PrincipalId
  /** `name@version`. */
  readonly agent: string
  /** The job that delegated it (§10); undefined where a client submitted it. */
  readonly parentJobId: JobId | undefined
  /** The job's effective lease. */
  readonly lease: Lease
  /** What is left of the job's budget, at which the upstream's cap is to be set; empty where the lease sets no budget. */
  readonly remaining: Amounts
  /** The patterns of `model.use`, as spelled; undefined where the lease does not name it (§9.7). */
  readonly models: ReadonlyArray<string> | undefined
  /** When the lease ends, in milliseconds since the epoch; undefined where it does not. */
  readonly expiresAt: number | undefined
}

/**
 * The lease restrictions that the upstream itself enforces, as on the wire (§9.8.1). What is not enforced is left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface Constraints {
  /** The cap that is enforced, as `CUR:decimal`. */
  readonly "cost.budget"?: ReadonlyArray<string> | undefined
  /** The models that are let through, as the lease's patterns. */
  readonly "model.use"?: ReadonlyArray<string> | undefined
  /** ISO 8601, UTC. */
  readonly expires_at?: string | undefined
}

/**
 * A credential that the upstream has made.
 *
 * @since 0.1.0
 * @category models
 */
export interface Issued {
  /** What revokes it: the upstream's name for it, at most 1024 characters. Not a secret, and not the value. */
  readonly handle: string
  /** Default `bearer`, the one scheme that the specification defines. */
  readonly scheme?: string | undefined
  /** The secret that is presented at `endpoint`. */
  readonly value: Redacted.Redacted<string>
  /** The base URL at which it is valid, without user information. */
  readonly endpoint: string
  /** Which API is spoken there, such as `openai`; advisory. */
  readonly profile?: string | undefined
  /** What the upstream itself enforces. Default: nothing. */
  readonly constraints?: Constraints | undefined
}

/**
 * Mints, revokes and, where the upstream can, rotates credentials.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Redacted } from "effect"
 * import type { Amount } from "effect-arcp/authority"
 * import { CredentialProvisioner, type ProvisionError, type RevokeError } from "effect-arcp/runtime"
 *
 * declare const mint: (
 *   name: string,
 *   cap: Amount.Amounts
 * ) => Effect.Effect<{ readonly id: string; readonly secret: string }, ProvisionError>
 * declare const remove: (id: string) => Effect.Effect<void, RevokeError>
 *
 * const Provisioner = Layer.succeed(CredentialProvisioner, {
 *   issue: ({ reference, remaining }) =>
 *     Effect.map(mint(reference, remaining), (key) => [
 *       { handle: key.id, value: Redacted.make(key.secret), endpoint: "https://search.example/v1" }
 *     ]),
 *   revoke: (handle) => remove(handle)
 * })
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class CredentialProvisioner extends Context.Tag("effect-arcp/runtime/CredentialProvisioner")<
  CredentialProvisioner,
  {
    /**
     * The credentials of a job; none where its lease needs none. When it fails, it has left nothing behind, or says that it
     * is uncertain. It may be interrupted when it takes far too long.
     */
    readonly issue: (request: ProvisionRequest) => Effect.Effect<ReadonlyArray<Issued>, ProvisionError>
    /** Makes a credential invalid. One that the upstream does not know, or no longer knows, is revoked. */
    readonly revoke: (handle: string) => Effect.Effect<void, RevokeError>
    /**
     * A new value in place of the one behind `handle`. The answer may carry the same handle, which says that the prior value
     * is dead already. Without this function a rotation issues anew and revokes the old credential. When it fails without
     * being `uncertain`, the prior value is still valid; otherwise `issue` is asked for another key in its place.
     */
    readonly rotate?: ((handle: string, request: ProvisionRequest) => Effect.Effect<Issued, ProvisionError>) | undefined
    /**
     * Makes invalid whatever was made for a reference, though the answer was never seen; that there is nothing is success.
     * Without this function such credentials can only be shown to operators.
     */
    readonly reclaim?: ((reference: string) => Effect.Effect<void, RevokeError>) | undefined
  }
>() {}

/**
 * What a job may do: the one place where a requested lease becomes the effective one, and where the services of a job's
 * handler are bounded by it (ARCP 1.1 §9).
 */
import * as Context from "effect/Context"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { InvalidRequest } from "../protocol/Errors.js"
import { parseTimestamp, type WireLease, type WireLeaseConstraints } from "../protocol/Fields.js"
import type { Running } from "./internal/running.js"

/** A lease that was granted. */
export interface Grant {
  readonly lease: WireLease
  readonly constraints: WireLeaseConstraints | undefined
  /** Milliseconds since the epoch; undefined without an expiry. */
  readonly expiresAt: number | undefined
  /** Initial counters, currency to amount, where the lease has a budget. */
  readonly budget: Readonly<Record<string, number>> | undefined
}

/** Admits leases. */
export class Leases extends Context.Tag("effect-arcp/runtime/Leases")<
  Leases,
  {
    /**
     * The effective lease of a submit, or `INVALID_REQUEST`: a capability that nobody knows, a pattern that breaks the
     * grammar, an expiry that is past or not UTC, or a feature that was not negotiated (§6.2).
     */
    readonly admit: (request: {
      readonly lease: WireLease | undefined
      readonly constraints: WireLeaseConstraints | undefined
      readonly features: ReadonlySet<string>
      readonly now: number
    }) => Either.Either<Grant, InvalidRequest>
    /** The services of a handler, bounded by the job's lease. */
    readonly guard: (running: Running) => (services: Context.Context<never>) => Context.Context<never>
  }
>() {
  static readonly layer: Layer.Layer<Leases> = Layer.succeed(Leases, {
    admit: ({ constraints, features, lease, now }) => {
      const invalid = (message: string) => Either.left(new InvalidRequest({ message }))
      if (constraints?.expires_at !== undefined && !features.has("lease_expires_at")) {
        return invalid("payload.lease_constraints.expires_at: the feature lease_expires_at was not negotiated")
      }
      for (const capability of ["cost.budget", "model.use"] as const) {
        if (lease !== undefined && Object.hasOwn(lease, capability) && !features.has(capability)) {
          return invalid(`payload.lease_request: the feature ${capability} was not negotiated`)
        }
      }
      const expiresAt = constraints?.expires_at === undefined ? undefined : parseTimestamp(constraints.expires_at)
      if (constraints?.expires_at !== undefined) {
        if (expiresAt === undefined || !constraints.expires_at.endsWith("Z")) {
          return invalid("payload.lease_constraints.expires_at: must be an ISO 8601 time in UTC, with Z")
        }
        if (expiresAt <= now) return invalid("payload.lease_constraints.expires_at: is past")
      }
      return Either.right({
        lease: lease ?? {},
        constraints: constraints?.expires_at === undefined ? undefined : { expires_at: constraints.expires_at },
        expiresAt,
        budget: undefined
      })
    },
    guard: () => (services) => services
  })
}

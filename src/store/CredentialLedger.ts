/**
 * What is known of every credential that was issued upstream, so that each of them is revoked even if the process that issued
 * it is gone (ARCP 1.1 §14, revocation reliability).
 *
 * Responsibility: durable rows, one for each key at the upstream. A row is written before the upstream is asked, so that a
 * crash between asking and hearing the answer leaves a trace. A row never holds the credential's value: what is needed to
 * revoke is the upstream's handle. `revoked` is final: a later write to such a row changes nothing, so that a slow writer
 * cannot bring a dead credential back into the list of what is outstanding.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { StoreError } from "./Store.js"

/**
 * Where a credential stands: the upstream has been asked (`issuing`), it is in use (`live`), it is being revoked (`revoking`),
 * it is gone (`revoked`), or the upstream refuses to revoke it (`failed`).
 *
 * @since 0.1.0
 * @category models
 */
export type LedgerState = "issuing" | "live" | "revoking" | "revoked" | "failed"

/**
 * The states of a credential that may still be valid at the upstream.
 *
 * @since 0.1.0
 * @category constants
 */
export const unrevoked: ReadonlyArray<LedgerState> = ["issuing", "live", "revoking", "failed"]

/**
 * One key at the upstream. Times are milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface LedgerRecord {
  /** Names this key, and none before or after it; the key of the row. */
  readonly reference: string
  /** The credential's id on the wire. It stays the same when a rotation puts another key behind it. */
  readonly credentialId: string
  /** The job that it was issued for. */
  readonly jobId: string
  /** Whose job that is. */
  readonly principalId: string
  /** What the upstream needs to revoke it. Undefined until the upstream has answered. Never the value. */
  readonly handle: string | undefined
  /** The base URL at which it is valid; undefined until the upstream has answered. */
  readonly endpoint: string | undefined
  /** Which API is spoken there; undefined where the upstream gave none. */
  readonly profile: string | undefined
  /** Where it stands; `revoked` is final. */
  readonly state: LedgerState
  /** How often revoking has been tried. */
  readonly attempts: number
  /** Why the last attempt failed: one line, without secrets. */
  readonly lastError: string | undefined
  /** When the row was first written, before the upstream was asked. */
  readonly createdAt: number
  /** When the row was last written. */
  readonly updatedAt: number
  /** When it was revoked; undefined while it is not. */
  readonly revokedAt: number | undefined
}

/**
 * Which rows to list, in the order of their references, which is that of their creation.
 *
 * @since 0.1.0
 * @category models
 */
export interface LedgerQuery {
  /** Only rows in one of these states. */
  readonly states: ReadonlyArray<LedgerState>
  /** Only those of this job. */
  readonly jobId?: string | undefined
  /** Only references greater than this one. */
  readonly after?: string | undefined
  /** At most this many rows. */
  readonly limit: number
}

/**
 * The ledger of issued credentials.
 *
 * @since 0.1.0
 * @category services
 */
export class CredentialLedger extends Context.Tag("effect-arcp/store/CredentialLedger")<
  CredentialLedger,
  {
    /** Whether what is written survives the process. Without that, credentials must not be offered (§14). */
    readonly durable: boolean
    /** Inserts or replaces rows, all or nothing; their references differ. Rows that are `revoked` stay as they are. */
    readonly put: (records: ReadonlyArray<LedgerRecord>) => Effect.Effect<void, StoreError>
    /** The rows that the query asks for, in the order of their references. */
    readonly list: (query: LedgerQuery) => Effect.Effect<ReadonlyArray<LedgerRecord>, StoreError>
    /** Removes the rows that were revoked before this time; answers how many. */
    readonly sweep: (revokedBefore: number) => Effect.Effect<number, StoreError>
  }
>() {}

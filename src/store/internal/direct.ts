/**
 * Databases that run a statement in the step in which they are asked to.
 *
 * Responsibility: the driver behind a `SqlClient`, for the commit that cannot wait. Kept beside the client and not on it: a client that is
 * put around another has none.
 */
import type { SqlClient } from "@effect/sql/SqlClient"

/** What a statement takes. */
export type Param = string | number | Uint8Array | null

/** A prepared statement. */
export interface Prepared {
  /** Runs it for its effect. Throws what the driver throws. */
  readonly run: (...params: ReadonlyArray<Param>) => unknown
}

/** The driver of a client. */
export interface Direct {
  /** The statement of a text, prepared once and kept. Throws what the driver throws. */
  readonly prepare: (text: string) => Prepared
  /** Runs a statement, and returns its rows; none where it has none. Throws what the driver throws. */
  readonly all: (text: string, params: ReadonlyArray<Param>) => ReadonlyArray<Readonly<Record<string, unknown>>>
  /** Whether a transaction is open on the client's connection. False once the database is closed. */
  readonly inTransaction: () => boolean
  /** Says that so many bytes were written or deleted beside what the client's statements had as parameters. Never throws. */
  readonly wrote: (bytes: number) => void
}

const drivers = new WeakMap<SqlClient, Direct>()

/** Says which driver a client has. Returns the client. */
export const withDirect = <C extends SqlClient>(client: C, direct: Direct): C => {
  drivers.set(client, direct)
  return client
}

/** The driver of a client; undefined for clients that cannot run a statement synchronously. */
export const directOf = (client: SqlClient): Direct | undefined => drivers.get(client)

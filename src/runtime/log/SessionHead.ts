/**
 * The sessions' own part of a session's row: who the client is, what was negotiated, and with which tokens it may come back. The log stores
 * it and does not read it, but for what was negotiated.
 */
import type { Principal } from "../../auth/Principal.js"
import * as PrincipalIds from "../../auth/PrincipalIds.js"
import { PrincipalId } from "../../protocol/Ids.js"
import type { SessionRecord } from "../../store/Store.js"

/** The sessions' part of a session's row: immutable, replaced by `batch.head`. */
export interface SessionHead {
  readonly principal: Principal
  readonly client: SessionRecord["client"]
  /** What was negotiated (§6.2). */
  readonly features: ReadonlySet<string>
  readonly tokenHash: string
  /** Counts until the client has shown that it holds the current one. */
  readonly previousTokenHash: string | undefined
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/** The sessions' part of a stored row. Rows of earlier versions may have an anonymous principal under another's id. */
export const headOf = (record: SessionRecord): SessionHead => ({
  principal: {
    ...record.principal,
    id: PrincipalId(PrincipalIds.qualified(record.principal.id, record.principal.anonymous))
  },
  client: record.client,
  features: new Set(record.features),
  tokenHash: record.tokenHash,
  previousTokenHash: record.previousTokenHash,
  createdAt: record.createdAt
})

/** The row of a session with this head, and with the log's own part; times in milliseconds since the epoch. */
export const recordOf = (
  sessionId: string,
  head: SessionHead,
  lastSeenAt: number,
  lastSeq: number,
  ackedSeq: number,
  floorSeq: number
): SessionRecord => ({
  sessionId,
  principal: head.principal,
  client: head.client,
  features: [...head.features],
  tokenHash: head.tokenHash,
  previousTokenHash: head.previousTokenHash,
  createdAt: head.createdAt,
  lastSeenAt,
  lastSeq,
  ackedSeq,
  floorSeq
})

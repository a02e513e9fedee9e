/**
 * Which credentials are live, by job (ARCP 1.1 §9.8.2): the state that an issue, a rotation and the end of a job share.
 *
 * Responsibility: the entry of each job with its live credentials and the count of calls to the upstream that are under way for it,
 * who delegated to whom, and which rows of the ledger belong to this process. Only this file changes them.
 *
 * Order: an entry is opened before the upstream is asked and forgotten when the job has neither a credential nor a call under way.
 * At the end of a job its children's credentials are revoked before its own.
 *
 * Race closed: the end of a job marks the entry, so that what its calls under way return later is not kept. Each function here is one
 * synchronous step.
 */
import type * as Effect from "effect/Effect"
import type { IssueRequest, JobCredential } from "../JobCredential.js"
import type { Held, Revocations } from "./revocations.js"

/** A credential that a job holds. */
export interface Live {
  readonly credential: JobCredential
  readonly held: Held
  readonly request: IssueRequest
  /** Its place in what the provisioner answered. */
  readonly index: number
  /** One rotation at a time. */
  readonly lock: Effect.Semaphore
}

/** A job, as long as it has credentials or a call to the upstream is under way for it. */
export interface Entry {
  readonly jobId: string
  readonly live: ReadonlyMap<string, Live>
  /** The last credentials that were replaced or dropped: upstreams quote their values for a while. */
  readonly former: ReadonlyArray<JobCredential>
  /** Whether the job has ended: nothing that comes for it is kept. */
  readonly ended: boolean
  /** Its credentials and its former ones: no text of the job shows their values. Needs no `this`. */
  readonly hidden: () => ReadonlyArray<JobCredential>
}

interface Row {
  readonly jobId: string
  readonly parentJobId: string | undefined
  readonly live: Map<string, Live>
  former: ReadonlyArray<JobCredential>
  ended: boolean
  readonly hidden: () => ReadonlyArray<JobCredential>
  /** Issues and rotations that are under way. */
  pending: number
}

export interface LiveCredentials {
  /** The entry of a job, opened where there is none; `close` it where nothing comes of it. */
  readonly open: (jobId: string, parentJobId: string | undefined) => Entry
  /** Forgets a job that has no credential and no call under way. */
  readonly close: (entry: Entry) => void
  readonly find: (jobId: string) => Entry | undefined
  /** A call to the upstream begins, under this reference; `settled` ends it. */
  readonly begun: (entry: Entry, reference: string) => void
  readonly settled: (entry: Entry) => void
  /** A row of the ledger is this process's own. */
  readonly present: (reference: string) => void
  /** Puts a credential in the place of the one with its id, if there is one. */
  readonly keep: (entry: Entry, live: Live) => void
  /** Takes a credential out; its key is not revoked by that. */
  readonly drop: (entry: Entry, credentialId: string) => void
  /** Begins to revoke a key; `gone` as for `Revocations.start`. */
  readonly startRevoking: (held: Held, gone?: boolean) => void
  /** Ends a job here, and those that it delegated to. */
  readonly revoke: (jobId: string) => void
  readonly revokeAll: () => void
  /** Whether a row of the ledger belongs to this process. */
  readonly owns: (reference: string) => boolean
}

/** How many former credentials of a job are remembered. */
const maxFormer = 16

export const makeLiveCredentials = (revocations: Revocations): LiveCredentials => {
  const jobs = new Map<string, Row>()
  const children = new Map<string, Set<string>>()
  /** References that are issuing or live in this process. */
  const present = new Set<string>()

  // Every entry was made here: outside it is read only.
  const rowOf = (entry: Entry): Row => entry as Row

  const open = (jobId: string, parentJobId: string | undefined): Entry => {
    const found = jobs.get(jobId)
    if (found !== undefined) return found
    const live = new Map<string, Live>()
    const entry: Row = {
      jobId,
      parentJobId,
      live,
      former: [],
      ended: false,
      pending: 0,
      hidden: () => [...Array.from(live.values(), ({ credential }) => credential), ...entry.former]
    }
    jobs.set(jobId, entry)
    if (parentJobId !== undefined) {
      const siblings = children.get(parentJobId) ?? new Set()
      children.set(parentJobId, siblings.add(jobId))
    }
    return entry
  }

  const close = (entry: Entry): void => {
    const { jobId, live, parentJobId, pending } = rowOf(entry)
    if (pending > 0 || live.size > 0 || jobs.get(jobId) !== entry) return
    jobs.delete(jobId)
    if (parentJobId === undefined) return
    const siblings = children.get(parentJobId)
    siblings?.delete(jobId)
    if (siblings?.size === 0) children.delete(parentJobId)
  }

  const begun = (entry: Entry, reference: string): void => {
    rowOf(entry).pending++
    present.add(reference)
  }

  const settled = (entry: Entry): void => {
    rowOf(entry).pending--
    close(entry)
  }

  const startRevoking = (held: Held, gone = false): void => {
    revocations.start(held, gone)
    present.delete(held.record.reference)
  }

  const revoke = (jobId: string): void => {
    const entry = jobs.get(jobId)
    // before the entry is forgotten: what is issued for a child of an ended job is not kept either
    for (const child of [...(children.get(jobId) ?? [])]) revoke(child)
    if (entry === undefined) return
    entry.ended = true
    // What still runs of the job may quote them.
    entry.former = [...entry.former, ...Array.from(entry.live.values(), ({ credential }) => credential)]
    for (const { held } of entry.live.values()) startRevoking(held)
    entry.live.clear()
    close(entry)
  }

  const retire = (entry: Entry, credentialId: string): void => {
    const row = rowOf(entry)
    const prior = row.live.get(credentialId)
    if (prior !== undefined) row.former = [...row.former.slice(1 - maxFormer), prior.credential]
  }

  return {
    open,
    close,
    find: (jobId) => jobs.get(jobId),
    begun,
    settled,
    present: (reference) => void present.add(reference),
    keep: (entry, live) => {
      retire(entry, live.credential.id)
      rowOf(entry).live.set(live.credential.id, live)
    },
    drop: (entry, credentialId) => {
      retire(entry, credentialId)
      rowOf(entry).live.delete(credentialId)
    },
    startRevoking,
    revoke,
    revokeAll: () => {
      for (const jobId of [...jobs.keys()]) revoke(jobId)
    },
    owns: (reference) => present.has(reference) || revocations.owns(reference)
  }
}

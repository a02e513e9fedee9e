/** Records of a store as laws and tests need them: whole, with what one is about set by name. */
import type { LedgerRecord } from "../../store/CredentialLedger.js"
import type { JobRecord, JobState, SessionRecord } from "../../store/Store.js"

/** A job of the agent `echo`, submitted by alice. */
export const jobRecord = (jobId: string, more: Partial<JobRecord> = {}): JobRecord => ({
  jobId,
  principalId: "alice",
  agent: "echo",
  version: "1.0.0",
  input: "null",
  lease: "{}",
  leaseConstraints: undefined,
  idempotencyKey: undefined,
  maxRuntimeSec: undefined,
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  traceContext: undefined,
  parentJobId: undefined,
  delegateId: undefined,
  createdAt: 1000,
  accepted: "{}",
  ...more
})

/** A job that runs in the session `sess_1`, before its first event. */
export const jobState = (jobId: string, more: Partial<JobState> = {}): JobState => ({
  jobId,
  status: "running",
  ownerSessionId: "sess_1",
  startedAt: 1,
  endedAt: undefined,
  lastJobSeq: 0,
  lastOwnerSeq: 0,
  attempt: 1,
  budget: undefined,
  cancelled: undefined,
  ...more
})

/** A session of alice, before its first event. */
export const sessionRecord = (sessionId: string, more: Partial<SessionRecord> = {}): SessionRecord => ({
  sessionId,
  principal: { id: "alice", anonymous: false, claims: { role: "admin" } },
  client: { name: "c" },
  features: ["ack"],
  tokenHash: "h",
  previousTokenHash: undefined,
  createdAt: 1,
  lastSeenAt: 2,
  lastSeq: 0,
  ackedSeq: 0,
  floorSeq: 0,
  ...more
})

/** A live credential of the job `job_1`. */
export const ledgerRecord = (reference: string, more: Partial<LedgerRecord> = {}): LedgerRecord => ({
  reference,
  credentialId: `cred_${reference}`,
  jobId: "job_1",
  principalId: "alice",
  handle: `handle-${reference}`,
  endpoint: "https://gateway.example/v1",
  profile: "openai",
  state: "live",
  attempts: 0,
  lastError: undefined,
  createdAt: 1,
  updatedAt: 2,
  revokedAt: undefined,
  ...more
})

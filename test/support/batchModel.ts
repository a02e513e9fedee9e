/** A few sessions and jobs of the log without a runtime, and random calls of a batch on them. */
import { Effect, FastCheck as fc, Stream } from "effect"
import type { JobValues } from "../../src/store/Rows.js"
import { textualBatch } from "../../src/store/Payload.js"
import type { Batch as Stored, JobState, SegmentClass, SessionRecord } from "../../src/store/Store.js"
import type { Connection } from "../../src/transport/Connection.js"
import { Batch, Copies, JobLog, Outbox, SessionLog } from "./liveState.js"
import { jobRecord, sessionRecord } from "./records.js"

const classes: ReadonlyArray<SegmentClass> = ["event", "progress", "chunk"]
/** Payloads by their number of characters: the larger ones are marked, and evict older ones from memory. */
const payloads = [1, 20, 70_000, 1_100_000].map((size) => "x".repeat(size))
const names = [
  "event",
  "event",
  "event",
  "forOwners",
  "end",
  "deliver",
  "session",
  "head",
  "acknowledge",
  "raiseFloor",
  "removeSession",
  "job",
  "state",
  "key",
  "step",
  "trim",
  "removeJobs",
  "addOwner",
  "attach",
  "askAgain",
  "observe",
  "unobserve",
  "reply",
  "tell",
  "announce"
] as const
/** What changes live state beside batches. */
const between = ["acked", "connect", "disconnect", "gone", "trimmed"] as const

export interface Call {
  readonly name: (typeof names)[number]
  readonly job: number
  readonly session: number
  readonly n: number
}

export interface Beside {
  readonly name: (typeof between)[number]
  readonly job: number
  readonly session: number
  readonly n: number
}

const target = { job: fc.nat(3), session: fc.nat(2), n: fc.nat(7) }
export const calls = fc.array(fc.record({ name: fc.constantFrom(...names), ...target }), { maxLength: 12 })
export const besides = fc.array(fc.record({ name: fc.constantFrom(...between), ...target }), { maxLength: 3 })

/** The calls that the properties can make: each method of a batch that changes something. */
export const called: ReadonlySet<string> = new Set(names)

const connection: Connection = {
  inbound: Stream.empty,
  send: () => Effect.void,
  close: () => Effect.void,
  closed: Effect.never,
  secure: true
} as unknown as Connection

const sorted = <A>(rows: ReadonlyArray<A>, by: (row: A) => string): ReadonlyArray<A> =>
  rows.toSorted((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0))

export const makeModel = (warm: number) => {
  const copies = new Copies()
  const sessions = [["progress", "result_chunk", "ack"], [], ["progress", "result_chunk"]].map(
    (features, n) => new SessionLog(sessionRecord(`sess_${n}`, { features, tokenHash: `hash ${n}` }), 0)
  )
  // The last one's own change was dropped: nothing is written of it.
  const jobs = [0, 1, 2, 3].map(
    (n) =>
      new JobLog(
        jobRecord(`job_${n}`),
        {
          status: "running",
          ownerSessionId: "sess_0",
          startedAt: 0,
          lastJobSeq: 0,
          lastOwnerSeq: 0,
          attempt: 1,
          budget: undefined,
          cancelled: undefined
        },
        {
          lease: {},
          leaseConstraints: undefined,
          traceContext: undefined,
          accepted: { job_id: `job_${n}` } as unknown as JobValues["accepted"]
        }
      )
  )
  const links: Array<Outbox> = []
  const answers: Array<string> = []

  const connect = (session: SessionLog): void => {
    const link = new Outbox(connection, session.seq, 0, { replies: 1e9, replyBytes: 1e12 })
    copies.name(link)
    links.push(link)
    session.connect(link, undefined)
  }

  const write = (batch: Batch, { job: j, n, name, session: s }: Call): void => {
    const job = jobs[j]!
    const session = sessions[s]!
    const over = batch.hasEnd(job)
    const frame = () => ({ arcp: "1.1", id: "m", type: `said ${n}`, payload: {} })
    switch (name) {
      case "event":
        if (!over) batch.event(job, classes[n % 3]!, payloads[n % 4]!, n > 3)
        return
      case "forOwners":
        if (!over) batch.forOwners(job, batch.event(job, "event", "for all"), `for owners ${n}`)
        return
      case "end":
        if (over) return
        batch.event(job, n % 2 === 0 ? "result" : "error", "the end")
        return batch.end(job, { status: n % 2 === 0 ? "success" : "error", endedAt: n })
      case "deliver": {
        if (job.assigned === 0) return
        const first = 1 + (n % job.assigned)
        return batch.deliver(
          session,
          n % 2 === 0 ? job : { jobId: job.jobId, traceId: job.traceId },
          first,
          job.assigned
        )
      }
      case "session":
        return batch.session(session)
      case "head":
        return batch.head(session, {
          ...session.head,
          features: new Set(["progress", "result_chunk", "ack"].slice(0, n % 4)),
          tokenHash: `hash ${n}`,
          previousTokenHash: session.head.tokenHash
        })
      case "acknowledge":
        return batch.acknowledge(session, Math.floor((session.seq * n) / 7))
      case "raiseFloor":
        return batch.raiseFloor(session, Math.floor((session.seq * n) / 7))
      case "removeSession":
        return session.removed ? batch.removeSession(session) : undefined
      case "job":
        batch.job(jobRecord(`job_new ${n}`))
        return
      case "state":
        return batch.state(job, n === 0 ? undefined : { attempt: n, budget: `{"USD":"${n}"}` })
      case "key":
        return batch.key({ principalId: "alice", key: `key ${n}`, jobId: job.jobId, parametersHash: "h", expiresAt: n })
      case "step":
        return batch.step({ jobId: job.jobId, key: `step ${n}`, value: "1" } as unknown as Parameters<Batch["step"]>[0])
      case "trim":
        return batch.trim(job.jobId, n)
      case "removeJobs":
        return batch.removeJobs([job.jobId])
      case "addOwner":
        return over || session.removed ? undefined : batch.addOwner(job, session)
      case "attach":
        return over ? undefined : batch.attach(job, session, session.link)
      case "askAgain":
        return batch.askAgain(job, session, n % 2 === 0 ? session.link : undefined)
      case "observe":
        return over ? undefined : batch.observe(job, session)
      case "unobserve":
        return batch.unobserve(job, session)
      case "reply":
        return batch.reply(() => void answers.push(`reply ${n} at ${job.seq}`), job.seq === 0 ? job : undefined)
      case "tell":
        return batch.tell(session, frame)
      case "announce":
        return batch.announce(session, frame)
    }
  }

  const beside = ({ job: j, n, name, session: s }: Beside): void => {
    const job = jobs[j]!
    const session = sessions[s]!
    switch (name) {
      case "acked": {
        const seq = Math.floor((session.seq * n) / 7)
        return seq > session.ackedSeq ? session.acknowledge(seq) : undefined
      }
      case "connect":
        return connect(session)
      case "disconnect":
        return session.disconnect()
      case "gone":
        return session.remove()
      case "trimmed": {
        const upTo = Math.floor(((job.seq - 1) * n) / 7)
        if (upTo <= job.trimmedTo) return
        job.trimTo(upTo)
        return job.sessions.forgetRuns(upTo)
      }
    }
  }

  const make = (these: ReadonlyArray<Call>): Batch => {
    const batch = new Batch()
    for (const call of these) write(batch, call)
    return batch
  }

  /** A commit that failed. */
  const fail = (these: ReadonlyArray<Call>): void => {
    const batch = make(these)
    batch.rows(0)
    batch.revert()
  }

  /** A commit that succeeded: what the store was given, and the sessions that have something new. */
  const commit = (these: ReadonlyArray<Call>) => {
    const batch = make(these)
    const stored = textualBatch(batch.rows(0))
    // The order of several sessions or jobs does not matter.
    const comparable = {
      ...stored,
      jobStates: sorted(stored.jobStates, ({ jobId }) => jobId),
      deliveries: sorted(stored.deliveries, ({ sessionId }) => sessionId),
      owners: sorted(stored.owners, ({ jobId }) => jobId),
      ownersRemoved: sorted(stored.ownersRemoved, ({ jobId }) => jobId),
      subscriptionsRemoved: sorted(stored.subscriptionsRemoved, ({ sessionId }) => sessionId)
    }
    keep(stored)
    const news = Array.from(batch.publish(), ({ sessionId }) => sessionId).toSorted()
    batch.answer((answer) => answer())
    return { stored: copies.of(comparable), news, isEmpty: batch.isEmpty, events: batch.events }
  }

  // The rows of the store that can be compared with what is in memory.
  const records = new Map<string, SessionRecord>()
  const stored = new Set<string>()
  const states = new Map<string, JobState>()
  const subscriptions = new Set<string>()
  const owners = new Map<string, ReadonlyArray<string>>()
  const othersOf = (jobId: string) => owners.get(jobId) ?? []

  const keep = (batch: Stored): void => {
    for (const { jobId } of batch.jobs) if (!jobId.startsWith("job_new")) stored.add(jobId)
    for (const { jobId } of [...batch.jobStates, ...batch.segments]) {
      if (!stored.has(jobId)) throw new Error(`there is no job ${jobId}: every store rejects this batch`)
    }
    for (const record of batch.sessions) records.set(record.sessionId, record)
    for (const state of batch.jobStates) states.set(state.jobId, state)
    for (const { jobId, sessionId } of batch.subscriptions) subscriptions.add(`${sessionId} ${jobId}`)
    for (const { jobId, sessionId } of batch.owners) {
      if (!othersOf(jobId).includes(sessionId)) owners.set(jobId, [...othersOf(jobId), sessionId])
    }
    const disown = (jobId: string, gone: string) =>
      owners.set(
        jobId,
        othersOf(jobId).filter((sessionId) => sessionId !== gone)
      )
    for (const { jobId, sessionId } of batch.ownersRemoved) disown(jobId, sessionId)
    for (const { jobId, sessionId } of batch.subscriptionsRemoved) subscriptions.delete(`${sessionId} ${jobId}`)
    for (const sessionId of batch.sessionsRemoved) {
      records.delete(sessionId)
      for (const jobId of owners.keys()) disown(jobId, sessionId)
      for (const row of subscriptions) if (row.startsWith(`${sessionId} `)) subscriptions.delete(row)
    }
  }

  /** What the store has, and what it must have. */
  const kept = () => {
    // No more rows are written of a session that was removed.
    const there = [...records.values()].filter(
      ({ sessionId }) => !sessions.some((one) => one.sessionId === sessionId && one.removed)
    )
    const going = jobs.filter(({ terminalSeq }) => terminalSeq === 0)
    const stored = going.flatMap(({ jobId }) => states.get(jobId) ?? [])
    return {
      stored: {
        sessions: there.map(({ features, floorSeq, sessionId, tokenHash }) => ({
          sessionId,
          features,
          tokenHash,
          floorSeq
        })),
        jobs: stored.map(({ attempt, budget, jobId, ownerSessionId, status }) => ({
          jobId,
          status,
          attempt,
          budget,
          owners: [ownerSessionId, ...othersOf(jobId)]
        })),
        subscriptions: [...subscriptions].filter((row) => going.some(({ jobId }) => row.endsWith(jobId))).toSorted()
      },
      live: {
        sessions: there.map((record) => {
          const session = sessions.find((one) => one.sessionId === record.sessionId)!
          const { floorSeq, head, sessionId } = session
          return { sessionId, features: [...head.features], tokenHash: head.tokenHash, floorSeq }
        }),
        jobs: stored.map(({ jobId }) => {
          const job = jobs.find((one) => one.jobId === jobId)!
          const { attempt, budget, owners, ownerSessionId, status } = job
          const ids = owners.length === 0 ? [ownerSessionId] : owners.map(({ sessionId }) => sessionId)
          return { jobId, status, attempt, budget, owners: ids }
        }),
        subscriptions: sessions
          .flatMap(({ observed, sessionId }) =>
            going.flatMap((job) => (observed.has(job) ? [`${sessionId} ${job.jobId}`] : []))
          )
          .toSorted()
      }
    }
  }

  for (const session of sessions) connect(session)
  const first = new Batch()
  for (const job of jobs.slice(0, 3)) {
    first.job(job.record)
    first.state(job)
  }
  keep(textualBatch(first.rows(0)))
  first.publish()
  commit([
    { name: "addOwner", job: 0, session: 0, n: 0 },
    { name: "addOwner", job: 1, session: 1, n: 0 },
    { name: "addOwner", job: 1, session: 0, n: 0 },
    { name: "observe", job: 0, session: 1, n: 0 },
    { name: "attach", job: 0, session: 1, n: 0 }
  ])
  for (let n = 0; n < warm; n++) make([{ name: "event", job: n % 2, session: 0, n: 0 }]).publish()

  return {
    fail,
    commit,
    beside,
    kept,
    answers,
    state: () => copies.all([...sessions, ...jobs]),
    /** All frames that were posted, in their order on each connection; takes them. */
    posted: () =>
      links.map((link) => {
        link.handOver(Number.MAX_SAFE_INTEGER, 0)
        link.release()
        return link.take()
      })
  }
}

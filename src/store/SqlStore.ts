/**
 * The store in a SQL database, over `@effect/sql`.
 *
 * Order: one commit is one transaction on one reserved connection. A failure of any statement, and of the COMMIT itself,
 * rolls back and is a `StoreError`; the connection is usable for the next commit.
 *
 * The statements' texts are few and fixed (rows are written in groups of 16, 4 and 1), so that the driver's cache of
 * prepared statements holds them all.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { isTerminal, type JobStatus } from "../protocol/Session.js"
import { ArtifactStore } from "./ArtifactStore.js"
import { CredentialLedger } from "./CredentialLedger.js"
import { damaged, isInput, jobData, payloads, sessionData } from "./internal/damage.js"
import { access, fail, migrate, type Param, type Row, transaction, write } from "./internal/sql.js"
import { make as makeArtifacts } from "./internal/sqlArtifacts.js"
import { makeSqlLedger } from "./internal/sqlLedger.js"
import { nextTurn } from "./internal/turn.js"
import * as Sealing from "./Sealer.js"
import {
  type Delivery,
  type JobRecord,
  type JobState,
  type Segment,
  type SegmentClass,
  type SessionRecord,
  Store,
  StoreError,
  type StoredJob
} from "./Store.js"

const jobSelect = `SELECT j.job_id, j.principal_id, j.agent, j.version, j.created_at, j.data, s.status, s.owner_session_id,
  s.started_at, s.ended_at, s.last_job_seq, s.last_owner_seq, s.attempt, s.budget, s.cancelled, s.other_owners
  FROM arcp_jobs j JOIN arcp_job_states s ON s.job_id = j.job_id`

/** What one step of a purge deletes at most, but for the row that passes it. */
const rowsPerStep = 64
const bytesPerStep = 1_048_576

const text = (value: unknown): string => String(value)
const int = (value: unknown): number => Number(value)
const maybeInt = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)
const maybeText = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : String(value)

/** Makes the store over the database that `SqlClient` is connected to; runs the migrations first. */
export const make = (
  sealer: Sealing.Sealer = Sealing.none
): Effect.Effect<typeof Store.Service, StoreError, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const { query, withConnection } = access(sql)

    yield* withConnection("migrate", migrate)

    const open = (sealed: unknown, about: string): Effect.Effect<string, StoreError> => {
      const opened = sealer.open(text(sealed), about)
      return opened === undefined
        ? Effect.fail(
            fail("decrypt", undefined, `${about} cannot be decrypted: the key is another one, or the row was changed`)
          )
        : Effect.succeed(opened)
    }

    // A row that only the right key opens: a wrong key, and a key where there was none, are noticed at the start.
    const canary = yield* query("start", "SELECT value FROM arcp_meta WHERE name = ?", ["canary"])
    if (canary[0] === undefined) {
      yield* query("start", "INSERT INTO arcp_meta (name, value) VALUES (?, ?)", [
        "canary",
        sealer.encrypts ? sealer.seal("effect-arcp", "canary") : "clear"
      ])
    } else {
      const stored = text(canary[0].value)
      if (sealer.encrypts ? stored === "clear" : stored !== "clear") {
        return yield* Effect.fail(
          fail(
            "start",
            undefined,
            sealer.encrypts
              ? "the database is not encrypted: start without an encryption key, or with a new file"
              : "the database is encrypted: start with its encryption key"
          )
        )
      }
      if (sealer.encrypts && sealer.open(stored, "canary") !== "effect-arcp") {
        return yield* Effect.fail(
          fail("start", undefined, "the encryption key is not the one that this database was written with")
        )
      }
    }

    const sessionRow = (s: SessionRecord): ReadonlyArray<Param> => [
      s.sessionId,
      s.tokenHash,
      s.previousTokenHash ?? null,
      s.createdAt,
      s.lastSeenAt,
      s.lastSeq,
      s.ackedSeq,
      s.floorSeq,
      sealer.seal(
        JSON.stringify({ principal: s.principal, client: s.client, features: s.features }),
        `session ${s.sessionId}`
      )
    ]
    const jobRow = (j: JobRecord): ReadonlyArray<Param> => {
      const { agent, createdAt, jobId, principalId, version, ...rest } = j
      return [jobId, principalId, agent, version, createdAt, sealer.seal(JSON.stringify(rest), `job ${jobId}`)]
    }
    const stateRow = (s: JobState): ReadonlyArray<Param> => [
      s.jobId,
      s.status,
      s.ownerSessionId,
      s.startedAt ?? null,
      s.endedAt ?? null,
      s.lastJobSeq,
      s.lastOwnerSeq,
      s.attempt,
      s.budget === undefined ? null : sealer.seal(s.budget, `budget ${s.jobId}`),
      // The client's own words.
      s.cancelled === undefined ? null : sealer.seal(s.cancelled, `cancel ${s.jobId}`),
      s.otherOwners === undefined || s.otherOwners.length === 0 ? null : s.otherOwners.join(","),
      0
    ]
    const segmentRow = (s: Segment): ReadonlyArray<Param> => {
      const data = s.payloads.join("\n")
      return [
        s.jobId,
        s.lastSeq,
        s.firstSeq,
        s.class,
        data.length,
        sealer.seal(data, `segment ${s.jobId} ${s.firstSeq}`)
      ]
    }

    const keyName = (principalId: string, key: string) => sealer.name(key, `key ${principalId}`)
    const stepName = (jobId: string, name: string) => sealer.name(name, `step ${jobId}`)

    const storedJob = (row: Row): Effect.Effect<StoredJob, StoreError> =>
      Effect.gen(function* () {
        const jobId = text(row.job_id)
        const about = `job ${jobId}`
        const sealed = maybeText(row.budget)
        const budget = sealed === undefined ? undefined : yield* open(sealed, `budget ${jobId}`)
        const data = yield* jobData<Omit<JobRecord, "jobId" | "principalId" | "agent" | "version" | "createdAt">>(
          about,
          { ...row, budget },
          yield* open(row.data, about)
        )
        const cancelled = maybeText(row.cancelled)
        return {
          record: {
            ...data,
            jobId,
            principalId: text(row.principal_id),
            agent: text(row.agent),
            version: text(row.version),
            createdAt: int(row.created_at)
          } as JobRecord,
          state: {
            jobId,
            status: text(row.status) as JobStatus,
            ownerSessionId: text(row.owner_session_id),
            startedAt: maybeInt(row.started_at),
            endedAt: maybeInt(row.ended_at),
            lastJobSeq: int(row.last_job_seq),
            lastOwnerSeq: int(row.last_owner_seq),
            attempt: int(row.attempt),
            budget,
            cancelled: cancelled === undefined ? undefined : yield* open(cancelled, `cancel ${jobId}`),
            otherOwners: maybeText(row.other_owners)?.split(",")
          }
        }
      })

    const delivery = (row: Row): Delivery => ({
      sessionId: text(row.session_id),
      firstSeq: int(row.first_seq),
      lastSeq: int(row.last_seq),
      jobId: text(row.job_id),
      firstJobSeq: int(row.first_job_seq)
    })

    const recover = Effect.gen(function* () {
      const sessions: Array<SessionRecord> = []
      for (const row of yield* query(
        "recover",
        `SELECT s.*, (SELECT MAX(d.last_seq) FROM arcp_deliveries d WHERE d.session_id = s.session_id) AS delivered
           FROM arcp_sessions s`,
        []
      )) {
        const sessionId = text(row.session_id)
        const about = `session ${sessionId}`
        const data = yield* sessionData<Pick<SessionRecord, "principal" | "client" | "features">>(
          about,
          row,
          yield* open(row.data, about)
        )
        sessions.push({
          ...data,
          sessionId,
          tokenHash: text(row.token_hash),
          previousTokenHash: maybeText(row.previous_token_hash),
          createdAt: int(row.created_at),
          lastSeenAt: int(row.last_seen_at),
          lastSeq: Math.max(int(row.last_seq), int(row.delivered ?? 0)),
          ackedSeq: int(row.acked_seq),
          floorSeq: int(row.floor_seq)
        })
      }
      const jobs: Array<StoredJob> = []
      for (const row of yield* query(
        "recover",
        `${jobSelect} WHERE s.status IN ('pending', 'running') ORDER BY j.job_id`,
        []
      )) {
        const job = yield* storedJob(row)
        const { jobId, ownerSessionId } = job.state
        if (!isInput(job.record.input)) return yield* Effect.fail(damaged(`job ${jobId}`))
        const last = yield* query("recover", "SELECT MAX(last_seq) AS seq FROM arcp_segments WHERE job_id = ?", [jobId])
        const owned = yield* query(
          "recover",
          "SELECT MAX(last_seq) AS seq FROM arcp_deliveries WHERE job_id = ? AND session_id = ?",
          [jobId, ownerSessionId]
        )
        jobs.push({
          record: job.record,
          state: {
            ...job.state,
            lastJobSeq: Math.max(job.state.lastJobSeq, int(last[0]?.seq ?? 0)),
            lastOwnerSeq: Math.max(job.state.lastOwnerSeq, int(owned[0]?.seq ?? 0))
          }
        })
      }
      const subscriptions = yield* query("recover", "SELECT session_id, job_id FROM arcp_subscriptions", [])
      return {
        sessions,
        jobs,
        subscriptions: subscriptions.map((row) => ({ sessionId: text(row.session_id), jobId: text(row.job_id) }))
      }
    })

    // A number whose delivery goes is still a number that was assigned.
    const keepNumbers = `UPDATE arcp_sessions
      SET last_seq = (SELECT MAX(d.last_seq) FROM arcp_deliveries d WHERE d.session_id = arcp_sessions.session_id)
      WHERE session_id IN (SELECT session_id FROM arcp_deliveries WHERE job_id = ?)
      AND last_seq < (SELECT MAX(d.last_seq) FROM arcp_deliveries d WHERE d.session_id = arcp_sessions.session_id)`

    // The job is gone at once; its events, which may be very many, are deleted in steps by `purge`, also after a restart.
    const removals: ReadonlyArray<string> = [
      keepNumbers,
      "INSERT INTO arcp_removed (job_id) VALUES (?) ON CONFLICT (job_id) DO NOTHING",
      "DELETE FROM arcp_subscriptions WHERE job_id = ?",
      "DELETE FROM arcp_steps WHERE job_id = ?",
      "DELETE FROM arcp_keys WHERE job_id = ?",
      "DELETE FROM arcp_job_states WHERE job_id = ?",
      "DELETE FROM arcp_jobs WHERE job_id = ?"
    ]

    /** The rows of one step: some megabytes of events at most, since a row of events is bounded by a batch. */
    const pieces = [
      {
        found: `SELECT last_seq, bytes FROM arcp_segments WHERE job_id = ? ORDER BY last_seq LIMIT ${rowsPerStep}`,
        remove: "DELETE FROM arcp_segments WHERE job_id = ? AND last_seq <= ?"
      },
      {
        found: `SELECT last_seq, 0 AS bytes, session_id FROM arcp_deliveries WHERE job_id = ?
          ORDER BY session_id, last_seq LIMIT ${rowsPerStep}`,
        remove: "DELETE FROM arcp_deliveries WHERE job_id = ? AND last_seq <= ? AND session_id = ?"
      }
    ]

    /** Deletes a part of what a removed job has left; whether there may be more. */
    const removePiece = (jobId: string): Effect.Effect<boolean, StoreError> =>
      Effect.gen(function* () {
        for (const { found, remove } of pieces) {
          const rows = yield* query("purge", found, [jobId])
          if (rows[0] === undefined) continue
          const { session_id: sessionId } = rows[0]
          let bytes = 0
          let upTo = 0
          for (const row of rows) {
            if ((upTo > 0 && bytes >= bytesPerStep) || row.session_id !== sessionId) break
            bytes += int(row.bytes)
            upTo = int(row.last_seq)
          }
          yield* query("purge", remove, sessionId === undefined ? [jobId, upTo] : [jobId, upTo, text(sessionId)])
          return true
        }
        yield* query("purge", "DELETE FROM arcp_removed WHERE job_id = ?", [jobId])
        return false
      })

    /** Deletes what removed jobs have left, giving the event loop a turn between two steps. */
    const removeLeftovers = Effect.gen(function* () {
      for (;;) {
        const [row] = yield* query("purge", "SELECT job_id FROM arcp_removed LIMIT 1", [])
        if (row === undefined) return
        while (yield* removePiece(text(row.job_id))) yield* nextTurn
      }
    })

    // What belongs to a removed job is not there, though rows of it may be.
    const there = (jobId: string) => `NOT EXISTS (SELECT 1 FROM arcp_removed r WHERE r.job_id = ${jobId})`

    return Store.of({
      durable: true,
      commit: (batch) =>
        withConnection("commit", (connection) => {
          const run = (statement: string, params: ReadonlyArray<Param>) => connection.executeRaw(statement, params)
          return transaction(connection, [
            ...write.sessions(connection, batch.sessions.map(sessionRow)),
            ...write.jobs(connection, batch.jobs.map(jobRow)),
            ...write.states(connection, batch.jobStates.map(stateRow)),
            ...write.keys(
              connection,
              batch.keys.map((k) => [
                k.principalId,
                keyName(k.principalId, k.key),
                k.jobId,
                k.parametersHash,
                k.expiresAt
              ])
            ),
            ...write.segments(connection, batch.segments.map(segmentRow)),
            ...write.deliveries(
              connection,
              batch.deliveries.map((d) => [d.sessionId, d.lastSeq, d.firstSeq, d.jobId, d.firstJobSeq])
            ),
            ...write.subscriptions(
              connection,
              batch.subscriptions.map((s) => [s.sessionId, s.jobId])
            ),
            ...write.steps(
              connection,
              batch.steps.map((s) => [
                s.jobId,
                stepName(s.jobId, s.name),
                s.fingerprint,
                sealer.seal(s.value, `step ${s.jobId} ${s.name}`)
              ])
            ),
            ...write.subscriptionsRemoved(
              connection,
              batch.subscriptionsRemoved.map((s) => [s.sessionId, s.jobId])
            ),
            ...write.bytes(
              connection,
              batch.jobStates.filter((s) => isTerminal(s.status)).map((s) => [s.jobId])
            ),
            ...batch.trims.flatMap(({ jobId, upTo }) => [
              run(keepNumbers, [jobId]),
              run("DELETE FROM arcp_segments WHERE job_id = ? AND last_seq <= ?", [jobId, upTo]),
              run("DELETE FROM arcp_deliveries WHERE job_id = ? AND first_job_seq + (last_seq - first_seq) <= ?", [
                jobId,
                upTo
              ])
            ]),
            ...batch.sessionsRemoved.flatMap((sessionId) => [
              run("DELETE FROM arcp_sessions WHERE session_id = ?", [sessionId]),
              run("DELETE FROM arcp_subscriptions WHERE session_id = ?", [sessionId])
            ]),
            ...batch.jobsRemoved.flatMap((jobId) => removals.map((statement) => run(statement, [jobId])))
          ])
        }),
      recover,
      job: (jobId) =>
        Effect.flatMap(query("read a job", `${jobSelect} WHERE j.job_id = ?`, [jobId]), (rows) =>
          rows[0] === undefined ? Effect.succeed(Option.none()) : Effect.map(storedJob(rows[0]), Option.some)
        ),
      jobs: (q) => {
        const where: Array<string> = []
        const params: Array<Param> = []
        const among = (column: string, values: ReadonlyArray<string> | undefined) => {
          if (values === undefined) return
          where.push(values.length === 0 ? "1 = 0" : `${column} IN (${values.map(() => "?").join(",")})`)
          params.push(...values)
        }
        const compare = (condition: string, value: Param | undefined) => {
          if (value === undefined) return
          where.push(condition)
          params.push(value)
        }
        among("j.principal_id", q.principalIds)
        among("s.status", q.statuses)
        compare("j.agent = ?", q.agent)
        compare("j.version = ?", q.version)
        compare("j.created_at > ?", q.createdAfter)
        compare("j.job_id > ?", q.afterJobId)
        const filter = where.length === 0 ? "" : `WHERE ${where.join(" AND ")}`
        return Effect.flatMap(
          query("list jobs", `${jobSelect} ${filter} ORDER BY j.job_id LIMIT ?`, [...params, q.limit]),
          Effect.forEach(storedJob)
        )
      },
      key: (principalId, key) =>
        Effect.map(
          query(
            "read a key",
            "SELECT job_id, parameters_hash, expires_at FROM arcp_keys WHERE principal_id = ? AND idempotency_key = ?",
            [principalId, keyName(principalId, key)]
          ),
          (rows) =>
            Option.map(Option.fromNullable(rows[0]), (row) => ({
              principalId,
              key,
              jobId: text(row.job_id),
              parametersHash: text(row.parameters_hash),
              expiresAt: int(row.expires_at)
            }))
        ),
      segments: (jobId, fromSeq, toSeq, maxBytes) =>
        Effect.gen(function* () {
          const heads = yield* query(
            "read events",
            `SELECT last_seq, first_seq, class, bytes FROM arcp_segments
             WHERE job_id = ? AND ${there("arcp_segments.job_id")} AND last_seq >= ? AND first_seq <= ? ORDER BY last_seq LIMIT 64`,
            [jobId, fromSeq, toSeq]
          )
          let bytes = 0
          let upTo = 0
          for (const head of heads) {
            if (upTo > 0 && bytes >= maxBytes) break
            bytes += int(head.bytes)
            upTo = int(head.last_seq)
          }
          if (upTo === 0) return []
          const rows = yield* query(
            "read events",
            `SELECT first_seq, last_seq, class, data FROM arcp_segments
             WHERE job_id = ? AND last_seq >= ? AND last_seq <= ? ORDER BY last_seq`,
            [jobId, fromSeq, upTo]
          )
          return yield* Effect.forEach(rows, (row) => {
            const firstSeq = int(row.first_seq)
            const lastSeq = int(row.last_seq)
            const about = `segment ${jobId} ${firstSeq}`
            return open(row.data, about).pipe(
              Effect.flatMap((data) => payloads(about, data, lastSeq - firstSeq + 1)),
              Effect.map(
                (payloads): Segment => ({ jobId, firstSeq, lastSeq, class: text(row.class) as SegmentClass, payloads })
              )
            )
          })
        }),
      segmentHeads: (jobId, fromSeq, toSeq) =>
        Effect.map(
          query(
            "read events",
            `SELECT first_seq, last_seq, class FROM arcp_segments
             WHERE job_id = ? AND ${there("arcp_segments.job_id")} AND last_seq >= ? AND first_seq <= ? ORDER BY last_seq`,
            [jobId, fromSeq, toSeq]
          ),
          (rows) =>
            rows.map((row) => ({
              jobId,
              firstSeq: int(row.first_seq),
              lastSeq: int(row.last_seq),
              class: text(row.class) as SegmentClass
            }))
        ),
      deliveries: (sessionId, afterSeq, limit) =>
        Effect.map(
          query(
            "read deliveries",
            `SELECT * FROM arcp_deliveries WHERE session_id = ? AND last_seq > ? AND ${there("arcp_deliveries.job_id")}
             ORDER BY last_seq LIMIT ?`,
            [sessionId, afterSeq, limit]
          ),
          (rows) => rows.map(delivery)
        ),
      deliveriesOfJob: (sessionId, jobId) =>
        Effect.map(
          query(
            "read deliveries",
            `SELECT * FROM arcp_deliveries WHERE job_id = ? AND session_id = ? AND ${there("arcp_deliveries.job_id")}
             ORDER BY last_seq`,
            [jobId, sessionId]
          ),
          (rows) => rows.map(delivery)
        ),
      deliveredTo: (jobId) =>
        Effect.map(
          query(
            "read deliveries",
            `SELECT session_id, MAX(last_seq) AS last_seq FROM arcp_deliveries
             WHERE job_id = ? AND ${there("arcp_deliveries.job_id")} GROUP BY session_id`,
            [jobId]
          ),
          (rows) => rows.map((row) => ({ sessionId: text(row.session_id), lastSeq: int(row.last_seq) }))
        ),
      step: (jobId, name) =>
        Effect.flatMap(
          query("read a step", "SELECT fingerprint, value FROM arcp_steps WHERE job_id = ? AND name = ?", [
            jobId,
            stepName(jobId, name)
          ]),
          (rows) =>
            rows[0] === undefined
              ? Effect.succeed(Option.none())
              : Effect.map(open(rows[0].value, `step ${jobId} ${name}`), (value) =>
                  Option.some({ jobId, name, fingerprint: text(rows[0]!.fingerprint), value })
                )
        ),
      expiredJobs: (retention, limit) =>
        Effect.gen(function* () {
          const totals = yield* query(
            "sweep",
            "SELECT COUNT(*) AS jobs, COALESCE(SUM(bytes), 0) AS bytes FROM arcp_job_states WHERE ended_at IS NOT NULL",
            []
          )
          let count = int(totals[0]?.jobs ?? 0)
          let bytes = int(totals[0]?.bytes ?? 0)
          const rows = yield* query(
            "sweep",
            "SELECT job_id, ended_at, bytes FROM arcp_job_states WHERE ended_at IS NOT NULL ORDER BY ended_at, job_id LIMIT ?",
            [limit]
          )
          const out: Array<string> = []
          for (const row of rows) {
            const old = int(row.ended_at) < retention.endedBefore
            if (!old && count <= retention.maxJobs && bytes <= retention.maxBytes) break
            out.push(text(row.job_id))
            count--
            bytes -= int(row.bytes)
          }
          return out
        }),
      removeExpiredKeys: (now) =>
        Effect.gen(function* () {
          const expired = yield* query("sweep", "SELECT COUNT(*) AS n FROM arcp_keys WHERE expires_at <= ?", [now])
          const n = int(expired[0]?.n ?? 0)
          if (n > 0) yield* query("sweep", "DELETE FROM arcp_keys WHERE expires_at <= ?", [now])
          return n
        }),
      // Portable SQL knows no more than DELETE; see the layer of the database.
      purge: removeLeftovers
    })
  })

/** The stores over a `SqlClient`, optionally encrypting payloads, inputs, claims, artifacts and credential handles. */
export const layer = (
  options: {
    readonly sealer?: Sealing.Sealer | undefined
    /** Whether the database outlives the process. Default true. */
    readonly durable?: boolean | undefined
    /** Whether the database answers in the step in which it is asked ({@link Store}). Default false. */
    readonly immediate?: boolean | undefined
    /** How this database gives up what has been removed; nothing by default. */
    readonly purge?: ((sql: SqlClient) => Effect.Effect<void, StoreError>) | undefined
  } = {}
): Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError, SqlClient> =>
  Layer.effectContext(
    Effect.gen(function* () {
      // the store first: it runs the migrations and tries the key
      const store = yield* make(options.sealer)
      const artifacts = yield* makeArtifacts(options.sealer)
      const sql = yield* SqlClient
      const ledger = makeSqlLedger(sql, options.sealer ?? Sealing.none)
      const durable = options.durable ?? true
      const purge = Effect.zipRight(store.purge, options.purge?.(sql) ?? Effect.void)
      return Context.make(Store, { ...store, durable, immediate: options.immediate, over: [sql], purge }).pipe(
        Context.add(ArtifactStore, { ...artifacts, durable }),
        Context.add(CredentialLedger, { ...ledger, durable })
      )
    })
  )

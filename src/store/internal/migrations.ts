/** The tables, step by step. A step that has been published is never changed; a new one is added. */

/** One step: its number and the statements that it runs. */
export interface Migration {
  readonly id: number
  readonly statements: ReadonlyArray<string>
}

/** Portable SQL: types and clauses that SQLite and Postgres both read. */
export const migrations: ReadonlyArray<Migration> = [
  {
    id: 1,
    statements: [
      `CREATE TABLE arcp_sessions (
        session_id TEXT PRIMARY KEY,
        token_hash TEXT NOT NULL,
        previous_token_hash TEXT,
        created_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL,
        last_seq BIGINT NOT NULL,
        acked_seq BIGINT NOT NULL,
        floor_seq BIGINT NOT NULL,
        data TEXT NOT NULL
      )`,
      `CREATE TABLE arcp_jobs (
        job_id TEXT PRIMARY KEY,
        principal_id TEXT NOT NULL,
        agent TEXT NOT NULL,
        version TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        data TEXT NOT NULL
      )`,
      `CREATE INDEX arcp_jobs_principal ON arcp_jobs (principal_id, job_id)`,
      `CREATE TABLE arcp_job_states (
        job_id TEXT PRIMARY KEY,
        status TEXT NOT NULL,
        owner_session_id TEXT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT,
        last_job_seq BIGINT NOT NULL,
        last_owner_seq BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        budget TEXT,
        bytes BIGINT NOT NULL
      )`,
      `CREATE INDEX arcp_job_states_status ON arcp_job_states (status, job_id)`,
      `CREATE INDEX arcp_job_states_ended ON arcp_job_states (ended_at, job_id, bytes)`,
      `CREATE TABLE arcp_keys (
        principal_id TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        job_id TEXT NOT NULL,
        parameters_hash TEXT NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (principal_id, idempotency_key)
      )`,
      `CREATE INDEX arcp_keys_expires ON arcp_keys (expires_at)`,
      `CREATE INDEX arcp_keys_job ON arcp_keys (job_id)`,
      `CREATE TABLE arcp_segments (
        job_id TEXT NOT NULL,
        last_seq BIGINT NOT NULL,
        first_seq BIGINT NOT NULL,
        class TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (job_id, last_seq)
      )`,
      `CREATE TABLE arcp_deliveries (
        session_id TEXT NOT NULL,
        last_seq BIGINT NOT NULL,
        first_seq BIGINT NOT NULL,
        job_id TEXT NOT NULL,
        first_job_seq BIGINT NOT NULL,
        PRIMARY KEY (session_id, last_seq)
      )`,
      `CREATE INDEX arcp_deliveries_job ON arcp_deliveries (job_id, session_id, last_seq)`,
      `CREATE TABLE arcp_subscriptions (
        session_id TEXT NOT NULL,
        job_id TEXT NOT NULL,
        PRIMARY KEY (session_id, job_id)
      )`,
      `CREATE INDEX arcp_subscriptions_job ON arcp_subscriptions (job_id)`,
      `CREATE TABLE arcp_steps (
        job_id TEXT NOT NULL,
        name TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (job_id, name)
      )`,
      `CREATE TABLE arcp_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)`
    ]
  },
  {
    id: 2,
    statements: [
      `CREATE TABLE arcp_credentials (
        reference TEXT PRIMARY KEY,
        credential_id TEXT NOT NULL,
        job_id TEXT NOT NULL,
        principal_id TEXT NOT NULL,
        handle TEXT,
        endpoint TEXT,
        profile TEXT,
        state TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        last_error TEXT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        revoked_at BIGINT
      )`,
      `CREATE INDEX arcp_credentials_state ON arcp_credentials (state, reference)`,
      `CREATE INDEX arcp_credentials_job ON arcp_credentials (job_id, reference)`,
      `CREATE INDEX arcp_credentials_revoked ON arcp_credentials (revoked_at)`
    ]
  },
  {
    id: 3,
    statements: [
      `CREATE TABLE arcp_artifacts (
        artifact_id TEXT PRIMARY KEY,
        principal_id TEXT NOT NULL,
        byte_size BIGINT NOT NULL,
        chunks BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        data TEXT NOT NULL
      )`,
      `CREATE INDEX arcp_artifacts_expires ON arcp_artifacts (expires_at, artifact_id)`,
      // BYTEA is Postgres's name for bytes; SQLite keeps them as they are, whatever a column is called.
      `CREATE TABLE arcp_artifact_chunks (
        artifact_id TEXT NOT NULL,
        chunk_seq BIGINT NOT NULL,
        data BYTEA NOT NULL,
        PRIMARY KEY (artifact_id, chunk_seq)
      )`
    ]
  },
  {
    id: 4,
    statements: [`ALTER TABLE arcp_job_states ADD COLUMN cancelled TEXT`]
  },
  {
    id: 5,
    // Jobs that are gone, and whose events are still being deleted.
    statements: [`CREATE TABLE arcp_removed (job_id TEXT PRIMARY KEY)`]
  },
  {
    id: 6,
    // Session ids, separated by commas.
    statements: [`ALTER TABLE arcp_job_states ADD COLUMN other_owners TEXT`]
  },
  {
    id: 7,
    // The owners of a job beside the first: rows instead of the list of step 6. Ascending by `place`, they are in the order in which they came.
    statements: [
      `CREATE TABLE arcp_job_owners (
        job_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        place BIGINT NOT NULL,
        PRIMARY KEY (job_id, session_id)
      )`,
      `CREATE INDEX arcp_job_owners_session ON arcp_job_owners (session_id)`,
      // One id is cut off the list at a time: the characters of ids, trimmed from its left, end at the next comma. Of sessions that are gone
      // there are no rows.
      `INSERT INTO arcp_job_owners (job_id, session_id, place)
        WITH RECURSIVE cut (job_id, place, session_id, rest) AS (
          SELECT job_id, 0, '', ',' || other_owners FROM arcp_job_states WHERE other_owners IS NOT NULL
          UNION ALL
          SELECT job_id, place + 1,
            substr(rest, 2, length(rest) - 1 - length(ltrim(substr(rest, 2), replace(rest, ',', '')))),
            ltrim(substr(rest, 2), replace(rest, ',', ''))
          FROM cut WHERE rest <> ''
        )
        SELECT job_id, session_id, MIN(place) FROM cut
        WHERE session_id IN (SELECT session_id FROM arcp_sessions) GROUP BY job_id, session_id`,
      `ALTER TABLE arcp_job_states DROP COLUMN other_owners`
    ]
  },
  {
    id: 8,
    // What is kept of a job counts, and not its events alone. Rows that are there say 0, so that none of them is written anew, which may be gigabytes;
    // jobs that have ended count by what their rows have.
    statements: [
      `ALTER TABLE arcp_jobs ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0`,
      `ALTER TABLE arcp_steps ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0`,
      `UPDATE arcp_job_states SET bytes = bytes + (
        SELECT COALESCE(SUM(OCTET_LENGTH(j.data)), 0) FROM arcp_jobs j WHERE j.job_id = arcp_job_states.job_id
      ) + (
        SELECT COALESCE(SUM(OCTET_LENGTH(t.value)), 0) FROM arcp_steps t WHERE t.job_id = arcp_job_states.job_id
      ) WHERE ended_at IS NOT NULL`
    ]
  },
  {
    id: 9,
    // A short segment that one session was given as a whole says so itself: a row of `arcp_deliveries` with its three b-trees costs more than the
    // segment. Rows that are there have a row of their own, and stay out of the index.
    statements: [
      `ALTER TABLE arcp_segments ADD COLUMN session_id TEXT`,
      `ALTER TABLE arcp_segments ADD COLUMN session_seq BIGINT`,
      `CREATE INDEX arcp_segments_session ON arcp_segments (session_id, session_seq) WHERE session_id IS NOT NULL`
    ]
  }
]

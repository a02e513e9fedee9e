/**
 * Artifacts in a SQL database: a row for what is known, and the bytes in rows of at most 1 MiB.
 *
 * Order: chunks are written one statement at a time, so that commits of the journal go in between; the record is written
 * last, and with it the artifact is there. Removal takes the record first, then the chunks. What a crash leaves of either
 * are chunks without a record: they are swept at the start, when nothing is being put.
 *
 * Where the store has a sealer, the bytes and what could give them away (content type, digest) are sealed, each chunk
 * for its own place.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type ArtifactRecord, ArtifactStore, putProblem } from "../ArtifactStore.js"
import * as Rows from "../Rows.js"
import * as Sealing from "../Sealer.js"
import { StoreError } from "../Store.js"
import { access, fail, type Row } from "./sql.js"
import { plain } from "./sqlRows.js"

/** Bytes in one row. */
const chunkSize = 1_048_576

const Sealed = Schema.parseJson(
  Schema.Struct({ contentType: Schema.String, sha256: Schema.String, jobId: Schema.optional(Schema.String) })
)
const decodeSealed = Schema.decodeUnknown(Sealed)

const columns = "artifact_id, principal_id, byte_size, chunks, created_at, expires_at, data"

/** Makes the store over the database that `SqlClient` is connected to; its tables must be there. */
export const make = (
  sealer: Sealing.Sealer = Sealing.none
): Effect.Effect<typeof ArtifactStore.Service, StoreError, SqlClient> =>
  Effect.gen(function* () {
    const { query } = access(yield* SqlClient)

    const about = (artifactId: string, principalId: string) => `artifact ${artifactId} ${principalId}`

    const damaged = (artifactId: string) =>
      fail("read an artifact", undefined, `${artifactId} cannot be decrypted or read: its rows were changed`)

    const recordOf = (row: Row): Effect.Effect<ArtifactRecord, StoreError> => {
      const artifactId = String(row.artifact_id)
      const principalId = String(row.principal_id)
      const data = sealer.open(String(row.data), about(artifactId, principalId))
      if (data === undefined) return Effect.fail(damaged(artifactId))
      return Effect.flatMap(
        Effect.mapError(decodeSealed(data), () => damaged(artifactId)),
        ({ contentType, jobId, sha256 }) =>
          Rows.artifact({
            artifactId: row.artifact_id,
            principalId: row.principal_id,
            contentType,
            byteSize: plain(row.byte_size),
            sha256,
            createdAt: plain(row.created_at),
            expiresAt: plain(row.expires_at),
            jobId
          })
      )
    }

    const rowOf = (artifactId: string): Effect.Effect<Row | undefined, StoreError> =>
      Effect.map(
        query("read an artifact", `SELECT ${columns} FROM arcp_artifacts WHERE artifact_id = ?`, [artifactId]),
        (rows) => rows[0]
      )

    const removeChunks = (operation: string, artifactId: string, chunks: number): Effect.Effect<void, StoreError> =>
      Effect.forEach(
        Array.from({ length: chunks }, (_, seq) => seq),
        (seq) =>
          query(operation, "DELETE FROM arcp_artifact_chunks WHERE artifact_id = ? AND chunk_seq = ?", [
            artifactId,
            seq
          ]),
        { discard: true }
      )

    // Left by a crash in the middle of a put or a release.
    yield* query(
      "sweep artifacts",
      "DELETE FROM arcp_artifact_chunks WHERE artifact_id NOT IN (SELECT artifact_id FROM arcp_artifacts)",
      []
    )

    const put = (record: ArtifactRecord, data: Uint8Array): Effect.Effect<void, StoreError> => {
      const operation = "put an artifact"
      const { artifactId, byteSize, contentType, createdAt, expiresAt, jobId, principalId, sha256 } = record
      const problem = putProblem(record, data)
      if (problem !== undefined) return Effect.fail(new StoreError({ operation, message: problem }))
      const chunks = Math.ceil(data.length / chunkSize)
      let written = 0
      const writeChunks = Effect.forEach(
        Array.from({ length: chunks }, (_, seq) => seq),
        (seq) =>
          Effect.map(
            query(operation, "INSERT INTO arcp_artifact_chunks (artifact_id, chunk_seq, data) VALUES (?, ?, ?)", [
              artifactId,
              seq,
              sealer.sealBytes(data.subarray(seq * chunkSize, (seq + 1) * chunkSize), `artifact ${artifactId} ${seq}`)
            ]),
            () => void written++
          ),
        { discard: true }
      )
      const writeRecord = query(operation, `INSERT INTO arcp_artifacts (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?)`, [
        artifactId,
        principalId,
        byteSize,
        chunks,
        createdAt,
        expiresAt,
        sealer.seal(JSON.stringify({ contentType, sha256, jobId }), about(artifactId, principalId))
      ])
      return Effect.flatMap(rowOf(artifactId), (existing) =>
        existing !== undefined
          ? Effect.fail(new StoreError({ operation, message: `the artifact ${artifactId} exists already` }))
          : Effect.zipRight(writeChunks, writeRecord).pipe(
              // Only what was written here; what cannot be removed now is swept at the next start.
              Effect.tapError(() => Effect.ignore(removeChunks(operation, artifactId, written))),
              Effect.asVoid,
              // The record is the last statement: an interruption comes before all of it, or after.
              Effect.uninterruptible
            )
      )
    }

    return ArtifactStore.of({
      durable: true,
      put,
      info: (artifactId) =>
        Effect.flatMap(rowOf(artifactId), (row) =>
          row === undefined ? Effect.succeed(Option.none()) : Effect.map(recordOf(row), Option.some)
        ),
      get: (artifactId) =>
        Effect.gen(function* () {
          const row = yield* rowOf(artifactId)
          if (row === undefined) return Option.none()
          const record = yield* recordOf(row)
          const data = new Uint8Array(record.byteSize)
          let at = 0
          for (let seq = 0; seq < Number(row.chunks); seq++) {
            const rows = yield* query(
              "read an artifact",
              "SELECT data FROM arcp_artifact_chunks WHERE artifact_id = ? AND chunk_seq = ?",
              [artifactId, seq]
            )
            const sealed = rows[0]?.data
            // A release may have overtaken the read: then there is nothing, and nothing is wrong.
            if (sealed === undefined && (yield* rowOf(artifactId)) === undefined) return Option.none()
            const bytes =
              sealed instanceof Uint8Array ? sealer.openBytes(sealed, `artifact ${artifactId} ${seq}`) : undefined
            if (bytes === undefined || at + bytes.length > data.length) return yield* damaged(artifactId)
            data.set(bytes, at)
            at += bytes.length
          }
          return at === data.length ? Option.some({ record, data }) : yield* damaged(artifactId)
        }),
      release: (artifactId) =>
        query("release an artifact", "DELETE FROM arcp_artifacts WHERE artifact_id = ? RETURNING chunks", [
          artifactId
        ]).pipe(
          Effect.flatMap((rows) =>
            rows[0] === undefined
              ? Effect.succeed(false)
              : Effect.as(
                  // The artifact is gone already; chunks that stay behind are swept at the next start.
                  Effect.catchAll(removeChunks("release an artifact", artifactId, Number(rows[0].chunks)), (error) =>
                    Effect.logWarning(`chunks of ${artifactId} could not be removed`, error)
                  ),
                  true
                )
          ),
          Effect.uninterruptible
        ),
      expired: (now, limit) =>
        Effect.flatMap(
          query(
            "sweep artifacts",
            `SELECT artifact_id, principal_id, byte_size FROM arcp_artifacts
             WHERE expires_at <= ? ORDER BY expires_at, artifact_id LIMIT ?`,
            [now, limit]
          ),
          Effect.forEach((row) =>
            Rows.artifactEntry({
              artifactId: row.artifact_id,
              principalId: row.principal_id,
              byteSize: plain(row.byte_size)
            })
          )
        ),
      totals: Effect.flatMap(
        query(
          "count artifacts",
          "SELECT principal_id, COUNT(*) AS n, SUM(byte_size) AS bytes FROM arcp_artifacts GROUP BY principal_id",
          []
        ),
        Effect.forEach((row) =>
          Rows.artifactTotals({ principalId: row.principal_id, count: plain(row.n), bytes: plain(row.bytes) })
        )
      )
    })
  })

/**
 * Listing jobs (ARCP 1.1 §6.6): what a request asks for, which jobs its principal may see, and where the next page begins.
 *
 * A cursor names the last job that was shown, so that a page is the same whatever has been submitted since. It is opaque to clients,
 * and one that is none of ours is `INVALID_REQUEST`.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as AgentName from "../../../protocol/AgentName.js"
import { type ArcpError, InvalidRequest } from "../../../protocol/Errors.js"
import { parseTimestamp } from "../../../protocol/Fields.js"
import type { DecodedJob, DecodedStore } from "../../../store/Rows.js"
import type { JobQuery, StoreError } from "../../../store/Store.js"
import { storeFailure } from "../../kernel/Refusals.js"
import * as FrameSize from "../../kernel/FrameSize.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { ObservationPolicy } from "../../kernel/Policies.js"
import type { JobLog } from "../../log/JobLog.js"
import type { SessionLog } from "../../log/SessionLog.js"
import * as JobsPage from "./jobsPage.js"
import type { Listed, ListRequest } from "../Subscriptions.js"
import type { JobViews } from "./jobViews.js"

const encodeCursor = (jobId: string): string => Encoding.encodeBase64Url(`1:${jobId}`)

const noCursor = new InvalidRequest({ message: "payload.cursor: is not a cursor from session.jobs" })

const decodeCursor = (cursor: string): Either.Either<string, InvalidRequest> =>
  Either.match(Encoding.decodeBase64UrlString(cursor), {
    onLeft: () => Either.left(noCursor),
    onRight: (text) => (text.startsWith("1:job_") ? Either.right(text.slice(2)) : Either.left(noCursor))
  })

/** Lists the jobs that a session's principal may observe, in pages of at most so many bytes. `liveJob`: a job that has not ended. */
export const listing = (
  store: Pick<DecodedStore, "jobs" | "deliveriesOfJob">,
  liveJob: (jobId: string) => JobLog | undefined,
  policy: Context.Tag.Service<ObservationPolicy>,
  limits: LimitsShape,
  views: Pick<JobViews, "info">
) => {
  /** An ended job as a session sees it that was one of several owners: its own numbers count there. */
  const numberedFor = (session: SessionLog, job: DecodedJob): Effect.Effect<DecodedJob, StoreError> =>
    !job.otherOwners.includes(session.sessionId) || liveJob(job.record.jobId) !== undefined
      ? Effect.succeed(job)
      : Effect.map(store.deliveriesOfJob(session.sessionId, job.record.jobId), (runs) => ({
          ...job,
          state: { ...job.state, lastOwnerSeq: runs.at(-1)?.lastSeq ?? 0 }
        }))

  /** What a request asks the store for. */
  const queryOf = ({
    features,
    payload: { filter = {} },
    principal
  }: ListRequest): Either.Either<Omit<JobQuery, "afterJobId" | "limit">, ArcpError> =>
    Either.gen(function* () {
      const agent = filter.agent === undefined ? undefined : yield* AgentName.parse(filter.agent)
      if (agent?.version !== undefined && !features.has("agent_versions")) {
        const message = "payload.filter.agent: the feature agent_versions was not negotiated"
        return yield* Either.left(new InvalidRequest({ message }))
      }
      const listed = policy.listed(principal)
      return {
        principalIds: listed === "all" ? undefined : [...new Set([principal.id, ...listed])],
        statuses:
          filter.status === undefined
            ? undefined
            : typeof filter.status === "string"
              ? [filter.status]
              : [...new Set(filter.status)],
        agent: agent?.name,
        version: agent?.version,
        createdAfter: filter.created_after === undefined ? undefined : parseTimestamp(filter.created_after)
      }
    })

  return (session: SessionLog, asked: ListRequest): Effect.Effect<Listed, ArcpError> =>
    Effect.gen(function* () {
      const { bytes, payload: request } = asked
      const query = yield* queryOf(asked)
      const after = request.cursor === undefined ? undefined : yield* decodeCursor(request.cursor)
      const page = yield* JobsPage.gather(
        after,
        { rows: Math.min(request.limit ?? limits.listPage, limits.listPage), bytes },
        (afterJobId, limit) =>
          Effect.mapError(
            Effect.flatMap(
              store.jobs({ ...query, afterJobId, limit }),
              Effect.forEach((job) => numberedFor(session, job))
            ),
            storeFailure
          ),
        (stored) => views.info(session, stored)
      )
      const rows = page.rows.map((row) => FrameSize.row(row, FrameSize.replyRoom(limits)))
      return { rows, nextCursor: page.moreAfter === undefined ? null : encodeCursor(page.moreAfter) }
    })
}

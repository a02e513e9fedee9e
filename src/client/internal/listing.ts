/**
 * The jobs of a principal, page after page (ARCP 1.1 §6.6).
 *
 * Order: the filter is read and encoded once, so that all pages belong to one listing. A cursor that does not advance fails
 * the stream, which would otherwise never end.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type ArcpError, InternalError } from "../../protocol/Errors.js"
import type * as Message from "../../protocol/Message.js"
import type { JobFilter, JobInfo } from "../../protocol/Session.js"
import type { ClientError } from "../ClientError.js"
import type { Call } from "./call.js"
import * as checks from "./checks.js"
import * as encode from "./encode.js"

/** One page, with the cursor of the next where there is one. */
const page = (call: Call, filter: encode.JsonText | undefined, limit: number | undefined, cursor: string | undefined) =>
  call(
    "session.list_jobs",
    { filter, limit, cursor },
    (message) => message.payload as Message.RuntimePayload<"session.jobs">,
    { features: ["list_jobs"] }
  ).pipe(
    Effect.filterOrFail(
      ({ next_cursor: next }) => next === null || next !== cursor,
      () => new InternalError({ message: "session.jobs: the cursor does not advance", retryable: false })
    ),
    Effect.map(
      ({ jobs, next_cursor: next }) =>
        [Chunk.fromIterable(jobs), next === null ? Option.none() : Option.some<string | undefined>(next)] as const
    )
  )

export const makeListing =
  (call: Call) =>
  (
    filter: JobFilter & { readonly pageSize?: number | undefined } = {}
  ): Stream.Stream<JobInfo, ArcpError | ClientError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { pageSize = 100, ...rest } = yield* encode.reading("filter", () => ({ ...filter }))
        const asked = yield* encode.object("payload.filter", rest)
        const limit = yield* checks.pageSize(pageSize)
        return Stream.paginateChunkEffect(undefined as string | undefined, (cursor) => page(call, asked, limit, cursor))
      })
    )

/**
 * How far the streams of one job came: the part of `SessionFacts` that a client itself decodes. The rest is for programs that store a
 * session, and is not in the others.
 */
import * as Schema from "effect/Schema"
import { JobId } from "../protocol/Ids.js"

/** @internal A number of events or chunks. */
export const Count = Schema.Int.pipe(Schema.nonNegative())

/**
 * How far the streams of one job came. `SessionFacts` carries it from one process to the next.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobFacts = Schema.Struct({
  jobId: Schema.String.pipe(Schema.fromBrand(JobId)),
  /** The number of the last event that each of its streams has processed, in the session of the facts. */
  lastEventSeq: Count,
  /** A history of the job is asked for from after this number of the session that owns it. */
  historyFrom: Count,
  /** So many events of that history were processed. */
  taken: Count,
  /**
   * Whether another session may have owned the job first, as after a repeat of its key: `historyFrom` then counts in this session only,
   * and elsewhere the job is shown from its beginning.
   */
  isRepeat: Schema.optionalWith(Schema.Boolean, { exact: true }),
  /** The first chunk of a streamed result that was not processed, where a stream owned the result (§8.4). */
  chunk: Schema.optionalWith(Schema.Struct({ resultId: Schema.String, seq: Count }), { exact: true })
})

/**
 * How far the streams of one job came. `SessionFacts` carries it from one process to the next.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobFacts extends Schema.Schema.Type<typeof JobFacts> {}

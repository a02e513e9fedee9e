/** The mark of a result that was streamed: what `Job.streamResult` returns and a handler passes on (ARCP 1.1 §8.4). */

/**
 * What a handler returns when its result was streamed (§8.4): result and stream are never mixed.
 *
 * @since 0.1.0
 * @category models
 */
export class Streamed {
  readonly _tag = "Streamed"
  /** The stream's id, which its chunks and `job.result` carry. */
  readonly resultId: string
  /** Decoded bytes. */
  readonly size: number
  /** One line about the result, for `job.result`; undefined for none. */
  readonly summary: string | undefined
  constructor(resultId: string, size: number, summary: string | undefined) {
    this.resultId = resultId
    this.size = size
    this.summary = summary
  }
}

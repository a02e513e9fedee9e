/**
 * A streamed result for a session that did not negotiate `result_chunk` (ARCP 1.1 §6.2, §8.4): assembled from the stored chunks when
 * the terminal message is sent, and sent inline.
 *
 * Memory: at most one result of `Limits.inlineResult` bytes at a time for each connection; a larger one is not read, and fails.
 */
import { Buffer } from "node:buffer"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { InternalError, toWire } from "../../protocol/Errors.js"
import type { Store, StoreError } from "../../store/Store.js"
import { pause } from "./turn.js"

type StoreService = Context.Tag.Service<Store>

/** A terminal message as it is sent. */
export interface Terminal {
  readonly type: "job.result" | "job.error"
  readonly payload: string
}

interface Streamed {
  readonly final_status: string
  readonly result_id: string
  readonly result_size: number
  readonly summary?: string
  readonly completed_at: string
}

interface Chunk {
  readonly body: { readonly result_id: string; readonly data: string; readonly encoding: "utf8" | "base64" }
}

/** Whether the payload of a `job.result` names a streamed result. `resultOf` writes these fields in this order. */
export const isStreamed = (payload: string): boolean => payload.startsWith('{"final_status":"success","result_id":')

/** Bytes of chunks that are looked at in one step. */
const pageBytes = 262_144

const failed = ({ completed_at }: Streamed, message: string): Terminal => ({
  type: "job.error",
  payload: JSON.stringify({
    final_status: "error",
    ...toWire(new InternalError({ message, retryable: false })),
    completed_at
  })
})

/** The terminal message with the result inline; `seq` is its number in the job. */
export const inlined = (
  store: StoreService,
  jobId: string,
  seq: number,
  payload: string,
  inlineResult: number
): Effect.Effect<Terminal, StoreError> =>
  Effect.gen(function* () {
    const streamed = JSON.parse(payload) as Streamed
    const { completed_at, final_status, result_id: resultId, result_size: size, summary } = streamed
    if (size > inlineResult) {
      const message = `the result is over the limit of ${inlineResult} bytes for a client without result_chunk`
      return failed(streamed, message)
    }
    const pieces: Array<string> = []
    let encoding: Chunk["body"]["encoding"] = "utf8"
    for (const head of yield* store.segmentHeads(jobId, 1, seq - 1)) {
      if (head.class !== "chunk") continue
      let next = head.firstSeq
      while (next <= head.lastSeq) {
        const segments = yield* store.segments(jobId, next, head.lastSeq, pageBytes)
        if (segments.length === 0) break
        yield* pause
        for (const { lastSeq, payloads } of segments) {
          for (const text of payloads) {
            const { body } = JSON.parse(text) as Chunk
            // An earlier attempt may have streamed another one.
            if (body.result_id !== resultId) continue
            encoding = body.encoding
            pieces.push(body.data)
          }
          next = lastSeq + 1
        }
      }
    }
    const whole =
      encoding === "utf8" ? pieces.join("") : Buffer.concat(pieces.map((data) => Buffer.from(data, "base64")))
    if (Buffer.byteLength(whole) !== size) return failed(streamed, "the beginning of the streamed result is gone")
    return {
      type: "job.result",
      payload: JSON.stringify({
        final_status,
        result: typeof whole === "string" ? whole : whole.toString("base64"),
        ...(summary === undefined ? {} : { summary }),
        completed_at
      })
    }
  })

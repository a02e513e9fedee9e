/**
 * A streamed result for a session that did not negotiate `result_chunk` (ARCP 1.1 §6.2, §8.4): its chunks are not sent to it, so its
 * terminal message has the whole result inline, put together from the stored chunks when it is sent, or says why it cannot.
 *
 * A job that is submitted by such a session never streams. This is for the others that read a job: observers, owners that came
 * later, and sessions whose features changed with a resume.
 *
 * Memory: at most one result that fits a frame at a time for each connection; a larger one is not read.
 */
import { Buffer } from "node:buffer"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { permanentError, toWire } from "../../../protocol/Errors.js"
import * as Rows from "../../../store/Rows.js"
import type { Store, StoreError } from "../../../store/Store.js"
import { type EventFrame, fits } from "../../kernel/FrameSize.js"
import { inlinePayload } from "../../kernel/Payload.js"
import { pause } from "../../kernel/Turn.js"
import { runsOf } from "../Replay.js"

/** Whether the payload of a `job.result` names a streamed result. `resultOf` writes these fields in this order. */
export const isStreamed = (payload: string): boolean => payload.startsWith('{"final_status":"success","result_id":')

/** Bytes of chunks that are looked at in one step. */
const pageBytes = 262_144

/** The terminal message with the result inline, in at most `room` bytes of JSON; `seq` is its number in the job. */
export const inlined = (
  store: Context.Tag.Service<Store>,
  jobId: string,
  seq: number,
  payload: string,
  room: number
): Effect.Effect<EventFrame, StoreError> =>
  Effect.gen(function* () {
    const { completed_at, result_id: resultId, result_size: size, summary } = yield* Rows.streamedResult(jobId, payload)
    const failed = (message: string, reason: string): EventFrame => ({
      type: "job.error",
      payload: JSON.stringify({
        final_status: "error",
        ...toWire(permanentError(message, { reason })),
        completed_at
      })
    })
    const tooLarge = () =>
      failed(
        `the streamed result has ${size} bytes, at most ${room} go inline to a client without result_chunk`,
        "result_too_large"
      )
    if (size > room) return tooLarge()
    const pieces: Array<string> = []
    let encoding: "utf8" | "base64" = "utf8"
    for (const run of runsOf(yield* store.segmentHeads(jobId, 1, seq - 1))) {
      if (run.class !== "chunk") continue
      let next = run.first
      while (next <= run.last) {
        const segments = yield* store.segments(jobId, next, run.last, pageBytes)
        if (segments.length === 0) break
        yield* pause
        for (const { lastSeq, payloads } of segments) {
          for (const text of payloads) {
            const { body } = yield* Rows.chunk(jobId, text)
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
    if (Buffer.byteLength(whole) !== size) {
      return failed("chunks of the streamed result are gone: it cannot be put together any more", "history_gone")
    }
    const result = JSON.stringify(typeof whole === "string" ? whole : whole.toString("base64"))
    return fits(result, room)
      ? { type: "job.result", payload: inlinePayload(result, summary, completed_at) }
      : tooLarge()
  })

/**
 * A streamed result for a session that did not negotiate `result_chunk` (ARCP 1.1 §6.2): its chunks are not sent to it, so its
 * terminal message has the whole result inline, put together from the stored chunks, or says why it cannot.
 *
 * A job that is submitted by such a session never streams. This is for the others that read a job: observers, owners that came
 * later, and sessions whose features changed with a resume.
 */
import { Buffer } from "node:buffer"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { permanentError, toWire } from "../../protocol/Errors.js"
import type { Store, StoreError } from "../../store/Store.js"
import { type EventFrame, fits } from "./frameSize.js"
import type { LiveSession } from "./model.js"
import { inlinePayload } from "./payload.js"

interface Streamed {
  readonly result_id: string
  readonly result_size: number
  readonly summary?: string
  readonly completed_at: string
}

interface Chunk {
  readonly body: { readonly chunk_seq: number; readonly data: string; readonly encoding: string; readonly more: boolean }
}

const opening = '{"final_status":"success","result_id":'

/** Whether a terminal message stands for chunks that the session is not sent. */
export const mustAssemble = (session: LiveSession, type: string, payload: string): boolean =>
  type === "job.result" && payload.startsWith(opening) && !session.features.has("result_chunk")

/** Stored events that are read in one step, in bytes. */
const stepBytes = 262_144

/** The terminal message `payload` of a job with its result inline, in at most `room` bytes, or the error that takes its place. */
export const assembled = (
  payload: string,
  job: { readonly jobId: string; readonly end: number; readonly room: number },
  store: Context.Tag.Service<Store>
): Effect.Effect<EventFrame, StoreError> =>
  Effect.gen(function* () {
    const streamed = JSON.parse(payload) as Streamed
    const { end, jobId, room } = job
    const failed = (message: string, reason: string): EventFrame => ({
      type: "job.error",
      payload: JSON.stringify({
        final_status: "error",
        ...toWire(permanentError(message, { reason })),
        completed_at: streamed.completed_at
      })
    })
    const tooLarge = (): EventFrame =>
      failed(
        `the streamed result has ${streamed.result_size} bytes, at most ${room} go inline to a client without result_chunk`,
        "result_too_large"
      )
    if (streamed.result_size > room) return tooLarge()
    const heads = (yield* store.segmentHeads(jobId, 1, end)).filter((head) => head.class === "chunk")
    const pieces: Array<string> = []
    let encoding = "utf8"
    let complete = false
    for (const head of heads) {
      let next = head.firstSeq
      while (next <= head.lastSeq) {
        const segments = yield* store.segments(jobId, next, head.lastSeq, stepBytes)
        if (segments.length === 0) break
        for (const segment of segments) {
          for (const text of segment.payloads.slice(Math.max(0, next - segment.firstSeq))) {
            const { body } = JSON.parse(text) as Chunk
            if (body.chunk_seq === pieces.length) pieces.push(body.data)
            encoding = body.encoding
            complete = !body.more && pieces.length === body.chunk_seq + 1
          }
          next = segment.lastSeq + 1
        }
      }
    }
    if (!complete) return failed("chunks of the streamed result are gone: it cannot be put together any more", "history_gone")
    const result = JSON.stringify(
      encoding === "utf8"
        ? pieces.join("")
        : Buffer.concat(pieces.map((data) => Buffer.from(data, "base64"))).toString("base64")
    )
    return fits(result, room)
      ? { type: "job.result", payload: inlinePayload(result, streamed.summary, streamed.completed_at) }
      : tooLarge()
  })

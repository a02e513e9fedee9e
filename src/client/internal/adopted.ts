/** Gives a job the frames that arrived before it was known: in their order, with a gap where some could not be kept. */
import * as Event from "../../protocol/Event.js"
import { EventsMissed } from "../ClientError.js"
import type { ClientJob } from "./job.js"
import type { JobFrame } from "./kept.js"
import type { Kept } from "./orphans.js"

/**
 * `takenBefore`: the last number that an earlier process processed; from events up to it only chunks are taken. Returns the
 * error that the job is lost with, where its end was among the frames that could not be kept.
 */
export const takeIn = (
  job: ClientJob,
  { messages, missed, sizes }: Kept<JobFrame>,
  takenBefore: number | undefined,
  deliver: (frame: JobFrame, size: number) => void
): EventsMissed | undefined => {
  const { jobId } = job
  for (let i = 0; i <= messages.length; i++) {
    if (missed !== undefined && missed.at === i) job.miss(missed.from, missed.to, missed.missed)
    const frame = messages[i]
    if (frame === undefined) break
    const seq = frame.envelope.event_seq ?? 0
    if (takenBefore !== undefined && frame.type === "job.event" && seq <= takenBefore) {
      job.pass(Event.fromWire(jobId, seq, frame.envelope.payload as unknown as Event.EventPayload))
    } else deliver(frame, sizes[i]!)
  }
  if (missed?.end !== true) return undefined
  const { from, to } = missed
  const message = `events ${from} to ${to} of ${jobId} came before the job was known, and were too many to be kept`
  return new EventsMissed({ jobId, from, to, missed: missed.missed, message })
}

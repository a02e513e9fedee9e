/** Where a history starts (ARCP 1.1 §7.6), and which events of it are new. */
import type { Subscribed } from "../../protocol/Job.js"
import type * as Message from "../../protocol/Message.js"
import type { ClientJob } from "./job.js"

/** The payload of a `job.subscribed`. */
export const subscribedOf = (message: Message.RuntimeMessage): Subscribed =>
  (message as Extract<Message.RuntimeMessage, { readonly type: "job.subscribed" }>).payload

/**
 * Notes that a history starts later than `asked`: `subscribed_from` is the last number that is gone. `overlaps`: what the job
 * has shown may be in the history too, under other numbers.
 */
export const startsAt = (
  job: ClientJob,
  { replayed, subscribed_from: from }: Subscribed,
  asked: number,
  overlaps = false
): void => {
  if (replayed === true && from !== undefined && from > asked) job.expectLate(asked + 1, from, overlaps)
}

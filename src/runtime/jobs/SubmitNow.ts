/**
 * A scheduler's `submit` that begins in the step in which it is called, for a caller that is no fiber.
 *
 * Order: it belongs to one `submit` function. Code that puts another in its place (a decorator, a program's own scheduler) is not bypassed,
 * since the new function has no such form.
 */
import type { JobSchedulerService } from "./JobScheduler.js"

/**
 * As `submit`, begun when it is called and not when its effect is run. Where a submit is done, the effect is an `Exit`.
 */
export type SubmitNow = JobSchedulerService["submit"]

const forms = new WeakMap<object, SubmitNow>()

/** Says that a `submit` can also be had as `now`. Returns `submit`. */
export const submittingNow = (submit: SubmitNow, now: SubmitNow): SubmitNow => {
  forms.set(submit, now)
  return submit
}

/** The form of a `submit` that begins at once; undefined where it has none. */
export const submitNowOf = (submit: object): SubmitNow | undefined => forms.get(submit)

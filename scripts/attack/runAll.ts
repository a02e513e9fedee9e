/** Every attack, in order: those that measure time run alone, the others two at a time. */
import { type Check, type Outcome, runCheck } from "./check.js"
import { checks } from "./checks.js"

/** What is run, and for how long in all. */
export interface RunOptions {
  /** A part of an item or a name; empty for all. */
  readonly only: string
  readonly quick: boolean
  readonly millis: number
  readonly told: (outcome: Outcome) => void
}

/** Runs the checks. What is left when the time is over is not held. */
export const runAll = async (options: RunOptions): Promise<ReadonlyArray<Outcome>> => {
  const deadline = performance.now() + options.millis
  const chosen = checks.filter(
    ({ item, name, quick }) => `${item}: ${name}`.includes(options.only) && (!options.quick || quick === true)
  )
  const outcomes: Array<Outcome> = []
  const drain = async (queue: Array<Check>): Promise<void> => {
    for (let check = queue.shift(); check !== undefined; check = queue.shift()) {
      const left = deadline - performance.now()
      const outcome =
        left < 1_000
          ? { check, held: false, observed: "not tried: the time for all attacks was over", millis: 0 }
          : await runCheck({ ...check, seconds: Math.min(check.seconds ?? 15, left / 1000) })
      outcomes.push(outcome)
      options.told(outcome)
    }
  }
  const beside = chosen.filter(({ alone }) => alone !== true)
  await Promise.all([drain(beside), drain(beside)])
  await drain(chosen.filter(({ alone }) => alone === true))
  return outcomes
}

/**
 * What the runtime does about a job's money: the `Budgets` decide, and here it is reported on the job and stored (ARCP 1.1 §9.6).
 *
 * Order: a counter changes in the same synchronous step in which the event that reports it is queued, and is written with it;
 * fibers that spend side by side cannot come between.
 *
 * Races closed here: the money of a child and its parent is one change of the log, so that in the store it is never with both.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Amount from "../../../authority/Amount.js"
import type { Deadlines } from "../../kernel/Deadlines.js"
import * as Foreign from "../../kernel/Foreign.js"
import { eventPayload } from "../../kernel/Payload.js"
import type { EventLog } from "../../log/EventLog.js"
import type { JobLog } from "../../log/JobLog.js"
import { toText } from "../Accounts.js"
import type { BudgetsService } from "../Budgets.js"
import type { Running } from "../Running.js"

/** The parts of the engine that it uses. */
interface Uses {
  readonly budgets: BudgetsService
  readonly eventLog: Context.Tag.Service<EventLog>
  readonly deadlines: Context.Tag.Service<Deadlines>
  /** Runs an effect beside everything, such as a line for the log. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** Reports and stores what the budgets decide. */
export class Money {
  private readonly uses: Uses

  constructor(uses: Uses) {
    this.uses = uses
  }

  /** Takes a cost that has been reported from its counter, and reports what remains. Currencies without a counter are free. */
  charge({ live }: Running, amount: Amount.Amount): void {
    const changed = this.uses.budgets.charge(live.jobId, amount)
    if (changed.size === 0) return
    this.report(live, changed)
    this.store(live)
  }

  /** A child has been granted a part of its parent's budget; `changed`: what is left of the parent's counters. */
  granted(parent: JobLog, changed: Amount.Amounts): void {
    this.report(parent, changed)
    this.store(parent)
  }

  /**
   * A job has ended, or was never begun: what is left of its budget goes back to its parent. The end of a job does not depend on what
   * budgets that the program brought do.
   */
  close(running: Running): void {
    const what = `the end of the budget of ${running.live.jobId}`
    Foreign.called(what, this.uses.fork, () => this.returnRest(running), undefined)
  }

  private returnRest({ live, parent }: Running): void {
    const { parent: changed, returned } = this.uses.budgets.close(live.jobId)
    if (parent === undefined || returned.size === 0) return
    this.report(parent.live, changed)
    const zero = new Map(Array.from(returned.keys(), (currency) => [currency, Amount.zero]))
    this.store(parent.live, { live, budget: toText(zero) })
  }

  private report(live: JobLog, changed: Amount.Amounts): void {
    if (live.ending) return
    const { deadlines, eventLog } = this.uses
    for (const [currency, value] of changed) {
      const body = { name: "cost.budget.remaining", value: Amount.toNumber(value), unit: currency }
      eventLog.emit(live, "event", eventPayload('"metric"', deadlines.wall(), JSON.stringify(body)))
    }
  }

  /** The counters of a job as they are now, into its row; `ended`: a child whose money it got back. */
  private store(live: JobLog, ended?: { readonly live: JobLog; readonly budget: string | undefined }): void {
    const { budgets, eventLog } = this.uses
    const budget = toText(budgets.counters(live.jobId))
    eventLog.change({
      write: (batch) => {
        batch.state(live, { budget })
        if (ended !== undefined) batch.state(ended.live, { budget: ended.budget })
      }
    })
  }
}

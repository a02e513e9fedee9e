/** The tag of budgets; the runtime's own are in `Accounts`. */
import * as Context from "effect/Context"
import type * as Either from "effect/Either"
import type * as Amount from "../../authority/Amount.js"
import type { BudgetExhausted, InvalidRequest } from "../../protocol/Errors.js"
import type { JobId } from "../../protocol/Ids.js"

/**
 * What every job may still spend (ARCP 1.1 §9.6): one counter for each job and currency.
 *
 * Each function decides, and returns what the counters are then; the runtime reports and stores that, in the same synchronous step. So
 * there is no log and no clock here, and none of them may wait. What one throws ends the job that it was called for.
 *
 * @since 0.1.0
 * @category services
 */
export interface BudgetsService {
  /**
   * Opens a job's counters, before anything is charged to it, held or granted. A job without a budget is opened with none, and spends
   * freely. `parent`: the job whose money this is, where the job is one that an earlier process had begun.
   */
  readonly open: (jobId: JobId, counters: Amount.Amounts, parent?: JobId | undefined) => void
  /** What the counters of a job hold now, reservations included; empty where it has none. */
  readonly counters: (jobId: JobId) => Amount.Amounts
  /** The refusal of every operation of a job while a counter of it is used up, or undefined. */
  readonly exhausted: (jobId: JobId) => BudgetExhausted | undefined
  /** What can still be reserved or granted: the counters less what is held. */
  readonly available: (jobId: JobId) => Amount.Amounts
  /** Whether a cost can be counted, asked before it is reported: it has been spent, whatever is left. A refusal fails the agent's call. */
  readonly chargeable: (jobId: JobId, amount: Amount.Amount) => Either.Either<void, InvalidRequest>
  /** Takes a cost that has been reported from its counter, also below zero. Returns the counters that have changed. */
  readonly charge: (jobId: JobId, amount: Amount.Amount) => Amount.Amounts
  /** Holds an amount for what is about to cost it; returns what releases it, once. Refused where less is available. */
  readonly hold: (jobId: JobId, amount: Amount.Amount) => Either.Either<() => void, BudgetExhausted>
  /**
   * Moves what a delegated job was opened with out of its parent's counters, when it starts; it was held until then. Returns the parent's
   * counters that have changed.
   */
  readonly grant: (parent: JobId, child: JobId, amounts: Amount.Amounts) => Amount.Amounts
  /**
   * A job has ended, or was never begun. What is left of the money that its parent granted to it, be it less than nothing, goes back; the
   * rest of the job's counters is of no use any more.
   */
  readonly close: (jobId: JobId) => ClosedBudget
}

/**
 * What the end of a job has changed.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClosedBudget {
  /** What went back to the job's parent; empty where none did. */
  readonly returned: Amount.Amounts
  /** The parent's counters that have changed by it. */
  readonly parent: Amount.Amounts
}

/**
 * Keeps the counters of the jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class Budgets extends Context.Tag("effect-arcp/runtime/Budgets")<Budgets, BudgetsService>() {}

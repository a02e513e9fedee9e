/**
 * The runtime's own budgets: what every job may still spend, exactly (ARCP 1.1 §9.6).
 *
 * Responsibility: one account for each job that has a budget. A charge takes from a counter, also below zero; a reservation holds a part of
 * it while a call runs; a delegated job's budget leaves its parent's counters when the child starts, and what is left of it comes back
 * when the child ends. No other part of the runtime holds an amount. So at any time, over a whole delegation tree:
 * what was granted to the root = what was spent + what the counters of its unfinished jobs hold.
 *
 * Races closed here: a job may end before those that it delegated to: its account is kept until the last of them has returned its money.
 */
import type * as BigDecimal from "effect/BigDecimal"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Amount from "../../authority/Amount.js"
import { BudgetExhausted, InvalidRequest } from "../../protocol/Errors.js"
import type { JobId } from "../../protocol/Ids.js"
import { Budgets, type BudgetsService, type ClosedBudget } from "./Budgets.js"

/** The money of one job. */
interface Account {
  /** What is left of each budgeted currency. */
  readonly counters: Map<string, BigDecimal.BigDecimal>
  /** What reservations hold of it. */
  readonly held: Map<string, BigDecimal.BigDecimal>
  /** The job that granted it, once it has. */
  parent: JobId | undefined
  /** Jobs that have money of it and have not ended. */
  children: number
  closed: boolean
}

const nothing: Amount.Amounts = new Map()
const nothingReturned: ClosedBudget = { returned: nothing, parent: nothing }

/** What can be given away of one counter; undefined where there is none. */
const availableOf = (account: Account | undefined, currency: string): BigDecimal.BigDecimal | undefined => {
  const value = account?.counters.get(currency)
  const held = account?.held.get(currency)
  return value === undefined || held === undefined ? value : Amount.subtract(value, held)
}

/** Holds an amount of an account; returns what releases it, once, also after the account was closed. */
const holdOf = (account: Account, { currency, value }: Amount.Amount): (() => void) => {
  const { held } = account
  held.set(currency, Amount.add(held.get(currency) ?? Amount.zero, value))
  let done = false
  return () => {
    if (done) return
    done = true
    const left = Amount.subtract(held.get(currency) ?? Amount.zero, value)
    if (left.value === 0n) held.delete(currency)
    else held.set(currency, left)
  }
}

/** Adds to the counters that there are; returns those that have changed. */
const move = (account: Account, amounts: Amount.Amounts, sign: 1 | -1): Amount.Amounts => {
  const changed = new Map<string, BigDecimal.BigDecimal>()
  for (const [currency, value] of amounts) {
    const counter = account.counters.get(currency)
    if (counter === undefined || value.value === 0n) continue
    const next = sign === 1 ? Amount.add(counter, value) : Amount.subtract(counter, value)
    account.counters.set(currency, next)
    changed.set(currency, next)
  }
  return changed
}

/** The accounts of the jobs that have a budget. */
class Accounts implements BudgetsService {
  private readonly byJob = new Map<JobId, Account>()

  readonly open = (jobId: JobId, counters: Amount.Amounts, parent?: JobId | undefined): void => {
    if (counters.size === 0) return
    const account: Account = {
      counters: new Map(counters),
      held: new Map(),
      parent: undefined,
      children: 0,
      closed: false
    }
    this.byJob.set(jobId, account)
    if (parent !== undefined) this.link(account, parent)
  }

  readonly counters = (jobId: JobId): Amount.Amounts => this.byJob.get(jobId)?.counters ?? nothing

  readonly exhausted = (jobId: JobId): BudgetExhausted | undefined => {
    const account = this.byJob.get(jobId)
    const currency = account === undefined ? undefined : Amount.firstExhausted(account.counters)
    return currency === undefined
      ? undefined
      : new BudgetExhausted({
          message: `${currency} budget exhausted`,
          details: { currency, remaining: Amount.toNumber(account?.counters.get(currency) ?? Amount.zero) }
        })
  }

  readonly available = (jobId: JobId): Amount.Amounts => {
    const account = this.byJob.get(jobId)
    if (account === undefined) return nothing
    return new Map(
      Array.from(account.counters.keys(), (currency) => [currency, availableOf(account, currency) ?? Amount.zero])
    )
  }

  /** Refused where the currency differs from a budgeted one by case alone. */
  readonly chargeable = (jobId: JobId, { currency }: Amount.Amount): Either.Either<void, InvalidRequest> => {
    const account = this.byJob.get(jobId)
    const known = account === undefined ? undefined : Amount.misspelled(account.counters, currency)
    return known === undefined
      ? Either.void
      : Either.left(new InvalidRequest({ message: `metric.unit: the budget is in ${known}, not in ${currency}` }))
  }

  readonly charge = (jobId: JobId, { currency, value }: Amount.Amount): Amount.Amounts => {
    const account = this.byJob.get(jobId)
    const counter = account?.counters.get(currency)
    if (account === undefined || counter === undefined) return nothing
    const next = Amount.subtract(counter, value)
    account.counters.set(currency, next)
    return new Map([[currency, next]])
  }

  readonly hold = (jobId: JobId, amount: Amount.Amount): Either.Either<() => void, BudgetExhausted> => {
    const { currency, value } = amount
    const account = this.byJob.get(jobId)
    const available = availableOf(account, currency)
    if (account === undefined || available === undefined) return Either.right(() => undefined)
    if (Amount.exceeds(value, available)) {
      return Either.left(
        new BudgetExhausted({
          message: `${currency} budget exhausted: ${Amount.format(value)} needed, ${Amount.format(available)} left`,
          details: { currency, remaining: Amount.toNumber(available), needed: Amount.toNumber(value) }
        })
      )
    }
    return Either.right(holdOf(account, amount))
  }

  readonly grant = (parent: JobId, child: JobId, amounts: Amount.Amounts): Amount.Amounts => {
    const from = this.byJob.get(parent)
    const to = this.byJob.get(child)
    if (from === undefined || to === undefined) return nothing
    this.link(to, parent)
    return move(from, amounts, -1)
  }

  readonly close = (jobId: JobId): ClosedBudget => {
    const account = this.byJob.get(jobId)
    if (account === undefined || account.closed) return nothingReturned
    account.closed = true
    const closed = this.giveBack(account)
    this.forget(jobId, account)
    return closed
  }

  private link(account: Account, parent: JobId): void {
    const from = this.byJob.get(parent)
    if (from === undefined || account.parent !== undefined) return
    account.parent = parent
    from.children++
  }

  private giveBack(account: Account): ClosedBudget {
    const parent = account.parent === undefined ? undefined : this.byJob.get(account.parent)
    if (parent === undefined) return nothingReturned
    const returned = new Map(account.counters)
    for (const currency of returned.keys()) account.counters.set(currency, Amount.zero)
    return { returned, parent: move(parent, returned, 1) }
  }

  /** Deletes an account once its job has ended and no child still has money from it. */
  private forget(jobId: JobId, account: Account): void {
    if (!account.closed || account.children > 0) return
    this.byJob.delete(jobId)
    const { parent } = account
    const from = parent === undefined ? undefined : this.byJob.get(parent)
    if (parent === undefined || from === undefined) return
    from.children--
    this.forget(parent, from)
  }
}

// As text: exact decimals by currency, as they stand in a job's row and in its span.

/** Counters as they are stored; undefined where there are none. */
export const toText = (amounts: Amount.Amounts): string | undefined =>
  amounts.size === 0
    ? undefined
    : JSON.stringify(Object.fromEntries(Array.from(amounts, ([currency, value]) => [currency, Amount.format(value)])))

const decodeCounters = Schema.decodeSync(
  Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.BigDecimal }))
)

/** Counters that {@link toText} wrote in this process, as listings show them; what a store returns is decoded where it is read. */
export const wireBudget = (text: string): Readonly<Record<string, number>> =>
  Amount.toWire(new Map(Object.entries(decodeCounters(text))))

/** The budgets of one runtime, in memory; what a job's counters hold is stored with its row. */
export const layer: Layer.Layer<Budgets> = Layer.sync(Budgets, () => new Accounts())

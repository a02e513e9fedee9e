/**
 * Budgets: what every job may still spend, exactly (ARCP 1.1 §9.6).
 *
 * Responsibility: one counter per job and currency. A charge takes from it, also below zero; a reservation holds a part of
 * it while a call runs; a delegated job's budget leaves its parent's counter when the child starts, and what is left of it,
 * be it less than nothing, comes back when the child ends. No other part of the runtime holds an amount. So at any time, over a whole delegation tree:
 * what was granted to the root = what was spent + what the counters of its unfinished jobs hold.
 *
 * Order: a counter changes in the same synchronous step in which the event that reports it is queued, and is written with it;
 * fibers that spend side by side cannot come between.
 */
import type * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Amount from "../../authority/Amount.js"
import { BudgetExhausted, InvalidRequest } from "../../protocol/Errors.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { eventPayload } from "../kernel/Payload.js"
import type { Running } from "./Running.js"
import { EventLog } from "../log/EventLog.js"

/** Counters as they are stored: currency to exact decimal. */
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

/** The money of one job. */
interface Account {
  /** What is left of each budgeted currency (§9.6). */
  readonly counters: Map<string, BigDecimal.BigDecimal>
  /** What reservations hold of it. */
  readonly held: Map<string, BigDecimal.BigDecimal>
}

const nothing: Amount.Amounts = new Map()

/** Keeps the counters. */
export class Budgets extends Context.Tag("effect-arcp/runtime/Budgets")<
  Budgets,
  {
    /** Opens a job's counters, before anything is charged to it or given away. A job without a budget has none, and spends freely. */
    readonly open: (jobId: string, counters: Amount.Amounts) => void
    /** Forgets a job's counters, once it is gone; what was left has been returned by {@link settle}. */
    readonly close: (jobId: string) => void
    /** What the counters of a job hold now, reservations included; empty where it has no budget. */
    readonly counters: (jobId: string) => Amount.Amounts
    /** The refusal of every operation while a counter is used up (§9.6), or undefined. */
    readonly exhausted: (jobId: string) => BudgetExhausted | undefined
    /** What can still be given away: the counters less what is held. */
    readonly available: (jobId: string) => Amount.Amounts
    /** Whether a charge in this currency can be counted: refused where it differs from a budgeted one by case alone. */
    readonly chargeable: (jobId: string, currency: string) => Either.Either<void, InvalidRequest>
    /** Takes a charge that was reported from its counter, and reports what remains. Currencies without a counter are free. */
    readonly charge: (running: Running, amount: Amount.Amount) => void
    /** Holds an amount; returns what releases it. Refused where less is available. */
    readonly hold: (jobId: string, amount: Amount.Amount) => Either.Either<() => void, BudgetExhausted>
    /** Holds what a child is about to get, in the step in which it was compared with {@link available}; returns what releases it. */
    readonly setAside: (parentJobId: string, amounts: Amount.Amounts) => () => void
    /** Moves a delegated budget out of the parent's counters. */
    readonly escrow: (parent: Running, amounts: Amount.Amounts) => void
    /** The child has ended: what is left of its budget goes back to its parent. */
    readonly settle: (child: Running) => void
  }
>() {
  static readonly layer: Layer.Layer<Budgets, never, EventLog | Deadlines> = Layer.effect(
    Budgets,
    Effect.gen(function* () {
      const accounts = new Accounts(yield* EventLog, yield* Deadlines)
      return {
        open: (jobId, counters) => accounts.open(jobId, counters),
        close: (jobId) => accounts.close(jobId),
        counters: (jobId) => accounts.counters(jobId),
        exhausted: (jobId) => accounts.exhausted(jobId),
        available: (jobId) => accounts.available(jobId),
        chargeable: (jobId, currency) => accounts.chargeable(jobId, currency),
        charge: (running, amount) => accounts.charge(running, amount),
        hold: (jobId, amount) => accounts.hold(jobId, amount),
        setAside: (parentJobId, amounts) => accounts.setAside(parentJobId, amounts),
        escrow: (parent, amounts) => accounts.escrow(parent, amounts),
        settle: (child) => accounts.settle(child)
      }
    })
  )
}

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

/** The accounts of the jobs that have a budget. */
class Accounts {
  private readonly byJob = new Map<string, Account>()
  private readonly eventLog: Context.Tag.Service<EventLog>
  private readonly deadlines: Context.Tag.Service<Deadlines>

  constructor(eventLog: Context.Tag.Service<EventLog>, deadlines: Context.Tag.Service<Deadlines>) {
    this.eventLog = eventLog
    this.deadlines = deadlines
  }

  open(jobId: string, counters: Amount.Amounts): void {
    if (counters.size > 0) this.byJob.set(jobId, { counters: new Map(counters), held: new Map() })
  }

  close(jobId: string): void {
    this.byJob.delete(jobId)
  }

  counters(jobId: string): Amount.Amounts {
    return this.byJob.get(jobId)?.counters ?? nothing
  }

  exhausted(jobId: string): BudgetExhausted | undefined {
    const account = this.byJob.get(jobId)
    const currency = account === undefined ? undefined : Amount.firstExhausted(account.counters)
    return currency === undefined
      ? undefined
      : new BudgetExhausted({
          message: `${currency} budget exhausted`,
          details: { currency, remaining: Amount.toNumber(account?.counters.get(currency) ?? Amount.zero) }
        })
  }

  available(jobId: string): Amount.Amounts {
    const account = this.byJob.get(jobId)
    if (account === undefined) return nothing
    return new Map(
      Array.from(account.counters.keys(), (currency) => [currency, availableOf(account, currency) ?? Amount.zero])
    )
  }

  chargeable(jobId: string, currency: string): Either.Either<void, InvalidRequest> {
    const known = Amount.misspelled(this.counters(jobId), currency)
    return known === undefined
      ? Either.void
      : Either.left(new InvalidRequest({ message: `metric.unit: the budget is in ${known}, not in ${currency}` }))
  }

  charge(running: Running, { currency, value }: Amount.Amount): void {
    const counter = this.counters(running.live.jobId).get(currency)
    if (counter === undefined) return
    this.change(running, currency, Amount.subtract(counter, value))
    this.report(running, currency)
    this.store(running)
  }

  hold(jobId: string, amount: Amount.Amount): Either.Either<() => void, BudgetExhausted> {
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

  setAside(parentJobId: string, amounts: Amount.Amounts): () => void {
    const account = this.byJob.get(parentJobId)
    if (account === undefined) return () => undefined
    const holds = Array.from(amounts, ([currency, value]) => holdOf(account, { currency, value }))
    return () => {
      for (const release of holds) release()
    }
  }

  escrow(parent: Running, amounts: Amount.Amounts): void {
    if (amounts.size === 0) return
    this.move(parent, amounts, -1)
    this.store(parent)
  }

  settle(child: Running): void {
    const left = this.counters(child.live.jobId)
    if (child.parent === undefined || left.size === 0) return
    this.move(child.parent, left, 1)
    for (const currency of left.keys()) this.change(child, currency, Amount.zero)
    // One change: in the store the money is never with both.
    this.store(child.parent, child)
  }

  private move(running: Running, amounts: Amount.Amounts, sign: 1 | -1): void {
    for (const [currency, value] of amounts) {
      const counter = this.counters(running.live.jobId).get(currency)
      if (counter === undefined) continue
      this.change(running, currency, sign === 1 ? Amount.add(counter, value) : Amount.subtract(counter, value))
      if (value.value !== 0n) this.report(running, currency)
    }
  }

  /** The one place where a counter changes. */
  private change({ live }: Running, currency: string, value: BigDecimal.BigDecimal): void {
    const account = this.byJob.get(live.jobId)
    if (account === undefined) return
    account.counters.set(currency, value)
  }

  private report({ live }: Running, currency: string): void {
    const value = this.counters(live.jobId).get(currency)
    if (live.ending || value === undefined) return
    this.eventLog.emit(
      live,
      "event",
      eventPayload(
        '"metric"',
        this.deadlines.now(),
        JSON.stringify({ name: "cost.budget.remaining", value: Amount.toNumber(value), unit: currency })
      )
    )
  }

  /** The counters as they are now, into the rows of the jobs. */
  private store(...changed: ReadonlyArray<Running>): void {
    const rows = changed.map(({ live }) => ({ live, budget: toText(this.counters(live.jobId)) }))
    this.eventLog.change({
      write: (batch) => {
        for (const { budget, live } of rows) batch.state(live, { budget })
      }
    })
  }
}

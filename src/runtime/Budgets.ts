/**
 * Budgets: what every job may still spend, exactly (ARCP 1.1 §9.6).
 *
 * Responsibility: one counter per job and currency. A charge takes from it, also below zero; a reservation holds a part of
 * it while a call runs; a delegated job's budget leaves its parent's counter when the child starts, and what is left of it,
 * be it less than nothing, comes back when the child ends. So at any time, over a whole delegation tree:
 * what was granted to the root = what was spent + what the counters of its unfinished jobs hold.
 *
 * Order: a counter changes in the same synchronous step in which the event that tells it is queued, and is written with it;
 * fibers that spend side by side cannot come between.
 */
import type * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Amount from "../authority/Amount.js"
import { BudgetExhausted, InvalidRequest } from "../protocol/Errors.js"
import { Deadlines } from "./Deadlines.js"
import { eventPayload } from "./internal/payload.js"
import type { Running } from "./internal/running.js"
import { Journal } from "./Journal.js"

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

/** Keeps the counters. */
export class Budgets extends Context.Tag("effect-arcp/runtime/Budgets")<
  Budgets,
  {
    /** The refusal of every operation while a counter is used up (§9.6), or undefined. */
    readonly exhausted: (running: Running) => BudgetExhausted | undefined
    /** What can still be given away: the counters less what is held. */
    readonly available: (running: Running) => Amount.Amounts
    /** Whether a charge in this currency can be counted: refused where it differs from a budgeted one by case alone. */
    readonly chargeable: (running: Running, currency: string) => Either.Either<void, InvalidRequest>
    /** Takes a charge that was reported from its counter, and tells what remains. Currencies without a counter are free. */
    readonly charge: (running: Running, amount: Amount.Amount) => void
    /** Holds an amount; answers what lets it go again. Refused where less is available. */
    readonly hold: (running: Running, amount: Amount.Amount) => Either.Either<() => void, BudgetExhausted>
    /** Holds what a child is about to get, in the step in which it was compared with {@link available}; answers what lets it go. */
    readonly setAside: (parent: Running, amounts: Amount.Amounts) => () => void
    /** Moves a delegated budget out of the parent's counters. */
    readonly escrow: (parent: Running, amounts: Amount.Amounts) => void
    /** The child has ended: what is left of its budget goes back to its parent. */
    readonly settle: (child: Running) => void
  }
>() {
  static readonly layer: Layer.Layer<Budgets, never, Journal | Deadlines> = Layer.effect(
    Budgets,
    Effect.gen(function* () {
      const journal = yield* Journal
      const deadlines = yield* Deadlines

      const change = (running: Running, currency: string, value: BigDecimal.BigDecimal): void => {
        running.budget.set(currency, value)
        running.live.budget = toText(running.budget)
      }

      const store = ({ live }: Running): void => journal.change({ write: (builder) => builder.state(live) })

      const tell = (running: Running, currency: string): void => {
        const { live } = running
        const value = running.budget.get(currency)
        if (live.ending || value === undefined) return
        journal.emit(
          live,
          "event",
          eventPayload(
            '"metric"',
            deadlines.now(),
            JSON.stringify({ name: "cost.budget.remaining", value: Amount.toNumber(value), unit: currency })
          )
        )
      }

      const availableOf = (running: Running, currency: string): BigDecimal.BigDecimal | undefined => {
        const value = running.budget.get(currency)
        const held = running.held.get(currency)
        return value === undefined || held === undefined ? value : Amount.subtract(value, held)
      }

      const add = (running: Running, amounts: Amount.Amounts, sign: 1 | -1): void => {
        for (const [currency, value] of amounts) {
          const counter = running.budget.get(currency)
          if (counter === undefined) continue
          change(running, currency, sign === 1 ? Amount.add(counter, value) : Amount.subtract(counter, value))
          if (value.value !== 0n) tell(running, currency)
        }
        store(running)
      }

      const hold = (running: Running, { currency, value }: Amount.Amount): (() => void) => {
        running.held.set(currency, Amount.add(running.held.get(currency) ?? Amount.zero, value))
        let done = false
        return () => {
          if (done) return
          done = true
          const left = Amount.subtract(running.held.get(currency) ?? Amount.zero, value)
          if (left.value === 0n) running.held.delete(currency)
          else running.held.set(currency, left)
        }
      }

      return {
        exhausted: (running) => {
          const currency = Amount.firstExhausted(running.budget)
          return currency === undefined
            ? undefined
            : new BudgetExhausted({
                message: `${currency} budget exhausted`,
                details: { currency, remaining: Amount.toNumber(running.budget.get(currency) ?? Amount.zero) }
              })
        },
        available: (running) =>
          new Map(
            Array.from(running.budget.keys(), (currency) => [currency, availableOf(running, currency) ?? Amount.zero])
          ),
        chargeable: (running, currency) => {
          const known = Amount.misspelled(running.budget, currency)
          return known === undefined
            ? Either.void
            : Either.left(new InvalidRequest({ message: `metric.unit: the budget is in ${known}, not in ${currency}` }))
        },
        charge: (running, { currency, value }) => {
          const counter = running.budget.get(currency)
          if (counter === undefined) return
          change(running, currency, Amount.subtract(counter, value))
          tell(running, currency)
          store(running)
        },
        hold: (running, amount) => {
          const { currency, value } = amount
          const available = availableOf(running, currency)
          if (available === undefined) return Either.right(() => undefined)
          if (Amount.exceeds(value, available)) {
            return Either.left(
              new BudgetExhausted({
                message: `${currency} budget exhausted: ${Amount.format(value)} needed, ${Amount.format(available)} left`,
                details: { currency, remaining: Amount.toNumber(available), needed: Amount.toNumber(value) }
              })
            )
          }
          return Either.right(hold(running, amount))
        },
        setAside: (parent, amounts) => {
          const holds = Array.from(amounts, ([currency, value]) => hold(parent, { currency, value }))
          return () => {
            for (const letGo of holds) letGo()
          }
        },
        escrow: (parent, amounts) => {
          if (amounts.size > 0) add(parent, amounts, -1)
        },
        settle: (child) => {
          if (child.parent === undefined || child.budget.size === 0) return
          add(child.parent, child.budget, 1)
          for (const currency of child.budget.keys()) change(child, currency, Amount.zero)
        }
      }
    })
  )
}

/**
 * What a job's agent says of its costs (ARCP 1.1 §9.6): charges, and reservations that are settled.
 *
 * Order: a cost's metric is queued, its counter falls, and what there is to say about it is queued, in one step. A reservation is
 * charged and let go of in one step, so that no other fiber can come between.
 *
 * Nothing is silently uncounted: a cost in a currency that the job's budget does not have is reported as an event and a warning. Nothing
 * that was paid for is lost: a call that has succeeded returns its value, whatever becomes of its settlement.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Denial } from "../../../agent/Gate.js"
import type { JobService } from "../../../agent/Job.js"
import * as Amount from "../../../authority/Amount.js"
import { InvalidRequest, oneLine } from "../../../protocol/Errors.js"
import * as Text from "../../../protocol/Text.js"
import { checkState } from "../internal/authority.js"
import type { JobCalls } from "./jobCalls.js"
import { shownFor } from "./secrets.js"

/** A job's costs. */
export interface Costs {
  readonly spend: JobService["spend"]
  readonly reserve: JobService["reserve"]
  /** A metric whose name begins with `cost.`; its value is finite. */
  readonly metric: (
    name: string,
    value: number,
    unit: string | undefined,
    dimensions: Readonly<Record<string, unknown>> | undefined
  ) => Effect.Effect<void, InvalidRequest>
}

/** The longest name of a cost, in UTF-16 code units: its metric must always fit an event. */
const maxName = 256
/** Currencies of one job that are warned about. */
const maxWarnings = 64

const invalid = (message: string): Either.Either<never, InvalidRequest> => Either.left(new InvalidRequest({ message }))

const asRequest = <A>(amount: Either.Either<A, Amount.AmountError>): Either.Either<A, InvalidRequest> =>
  Either.mapLeft(amount, ({ message }) => new InvalidRequest({ message }))

const costName = (name: unknown): Either.Either<void, InvalidRequest> =>
  typeof name === "string" && name.startsWith("cost.") && name.length > 5 && !name.startsWith("cost.budget.")
    ? name.length <= maxName
      ? Either.void
      : invalid(`metric.name: longer than ${maxName} characters`)
    : invalid(`metric.name: a cost's name begins with "cost." and not with "cost.budget."`)

/** An amount of a program: text with a currency, or a number or `BigDecimal` and a currency. */
const amountOf = (amount: unknown, currency: unknown): Either.Either<Amount.Amount, InvalidRequest> =>
  typeof amount === "string"
    ? currency === undefined
      ? asRequest(Amount.parseSpend(amount))
      : invalid("currency: the amount is a text and names its currency, such as 0.0042 USD")
    : asRequest(Amount.of(amount as number, currency as string))

/** What user code says that a call has cost; what it throws may be anything, and is for operators alone. */
const settled = <A>(
  actual: (value: A) => unknown,
  value: A,
  { currency }: Amount.Amount,
  tellOperator: (text: string) => void
): Either.Either<Amount.Amount, InvalidRequest> => {
  let reported: unknown
  try {
    reported = actual(value)
  } catch (defect) {
    tellOperator(`actual failed: ${Text.ofUnknown(defect)}`)
    return invalid("reserve.actual: it failed")
  }
  const amount = amountOf(reported, typeof reported === "string" ? undefined : currency)
  if (Either.isLeft(amount)) return invalid(`reserve.actual: ${amount.left.message}`)
  return amount.right.currency === currency
    ? amount
    : invalid(`reserve.actual: the cost is in ${amount.right.currency}, and ${currency} was reserved`)
}

/** Runs the agent's own hook; what becomes of it changes nothing. */
const tellUnsettled = (
  hook: ((problem: InvalidRequest) => Effect.Effect<void>) | undefined,
  problem: InvalidRequest,
  tellOperator: (text: string) => void
): Effect.Effect<void> =>
  hook === undefined
    ? Effect.void
    : Effect.suspend(() => hook(problem)).pipe(
        Effect.catchAllCause((cause) => Effect.sync(() => tellOperator(`onUnsettled failed: ${Text.ofCause(cause)}`)))
      )

/** Makes them. */
export const make = (calls: JobCalls): Costs => {
  const { engine, events, running } = calls
  const { budgets, money } = engine
  const { jobId } = running.live
  const warned = new Set<string>()
  const warn = (message: string): void => void events.queue("log", { level: "warn", message })

  /** Reports, once for each unit, that a cost is not counted. A job without a budget has nothing to count it in. */
  const warnUncounted = (name: string, unit: unknown): void => {
    const counters = budgets.counters(jobId)
    if (counters.size === 0) return
    const shown = typeof unit === "string" ? JSON.stringify(oneLine(unit.slice(0, 64))) : undefined
    const key = shown ?? ""
    if (warned.has(key) || warned.size >= maxWarnings) return
    warned.add(key)
    const budgeted = [...counters.keys()].join(", ")
    const why =
      shown === undefined
        ? `it has no unit, the budget is in ${budgeted}`
        : `its unit ${shown} is no currency of the budget, which is in ${budgeted}`
    warn(`${name.slice(0, maxName)} is not counted: ${why}`)
  }

  const charge = (
    name: string,
    amount: Amount.Amount,
    dimensions?: Readonly<Record<string, unknown>> | undefined,
    then?: () => void
  ): Effect.Effect<void, InvalidRequest> =>
    Effect.suspend(() => {
      const chargeable = budgets.chargeable(jobId, amount)
      if (Either.isLeft(chargeable)) return Effect.fail(chargeable.left)
      const body = { name, value: Amount.toNumber(amount.value), unit: amount.currency, dimensions }
      return events.event("metric", body, () => {
        money.charge(running, amount)
        if (!budgets.counters(jobId).has(amount.currency)) warnUncounted(name, amount.currency)
        if (then !== undefined) then()
      })
    })

  const metric: Costs["metric"] = (name, value, unit, dimensions) => {
    if (value < 0) return invalid("metric.value: a cost is never negative")
    const amount = Amount.fromMetric(value, typeof unit === "string" ? unit : "")
    return Either.isRight(amount)
      ? charge(name, amount.right, dimensions)
      : events.event("metric", { name, value, unit, dimensions }, () => warnUncounted(name, unit))
  }

  const spend = (name: string, amount: unknown, currency?: unknown): Effect.Effect<void, InvalidRequest> =>
    Effect.suspend((): Effect.Effect<void, InvalidRequest> => {
      const cost = Either.flatMap(costName(name), () => amountOf(amount, currency))
      return Either.isRight(cost) ? charge(name, cost.right) : Effect.fail(cost.left)
    })

  /** Holds the amount, where the job may spend it; returns what releases it. */
  const hold = (amount: Amount.Amount): Effect.Effect<() => void, Denial> =>
    Effect.suspend((): Effect.Effect<() => void, Denial> => {
      const args = { amount: Amount.print(amount) }
      const state = checkState(engine, running)
      if (Either.isLeft(state)) return calls.refuse("cost.budget", args, state.left, args.amount)
      const held = budgets.hold(jobId, amount)
      // Less is left than was asked for, but something is: no budget is spent, and the job goes on.
      return Either.isLeft(held)
        ? calls.refuse("cost.budget", args, held.left, args.amount, false)
        : Effect.succeed(held.right)
    })

  /** Where nothing of it becomes an event of the job. */
  const tellOperator = (text: string): void => {
    const shown = shownFor(engine, running)(text)
    engine.fork(Effect.annotateLogs(Effect.logError(`a reservation could not be settled: ${shown}`), { job_id: jobId }))
  }

  /** Charges what a reserved call has cost, and releases the reservation in the same step. */
  const settle = (
    name: string,
    amount: Amount.Amount,
    known: Either.Either<Amount.Amount, InvalidRequest>,
    release: () => void
  ): Effect.Effect<void> => {
    const cost = Either.getOrElse(known, () => amount)
    const report = (): void => {
      release()
      if (Either.isRight(known)) return
      warn(`${known.left.message}; ${name} was charged the whole reservation of ${Amount.print(amount)}`)
    }
    return charge(name, cost, undefined, report).pipe(
      // No event can be made of it; it counts all the same.
      Effect.catchAll((error) =>
        Effect.sync(() => {
          money.charge(running, cost)
          release()
          warn(`${name}: ${error.message}`)
        })
      ),
      Effect.ensuring(Effect.sync(release))
    )
  }

  const reserve: JobService["reserve"] = (text, effect, options) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // Read before the call: what its getters do later loses no value.
        const { actual, name = "cost.reserved", onUnsettled } = options ?? {}
        yield* costName(name)
        const amount = yield* amountOf(text, undefined)
        yield* budgets.chargeable(jobId, amount)
        const release = yield* hold(amount)
        const value = yield* Effect.onError(restore(calls.translated(effect)), () => Effect.sync(release))
        // The call has run: where its cost is not known, it is what was held, and the value is the agent's.
        const known = actual === undefined ? Either.right(amount) : settled(actual, value, amount, tellOperator)
        yield* settle(name, amount, known, release)
        if (Either.isLeft(known)) yield* restore(tellUnsettled(onUnsettled, known.left, tellOperator))
        return value
      })
    )

  return { spend, reserve, metric }
}

/**
 * What a job's agent says of its costs (ARCP 1.1 §9.6): charges, and reservations that are settled.
 *
 * Order: a cost's metric is queued, its counter falls, and what there is to say about it is queued, in one step. A reservation is
 * charged and let go of in one step, so that no other fiber can come between.
 *
 * Nothing is silently uncounted: a cost in a currency that the job's budget does not have is reported as an event and a warning. Nothing
 * that was paid for is lost: a call that has succeeded answers its value, whatever becomes of its settlement.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Denial } from "../../../agent/Gate.js"
import type { JobService } from "../../../agent/Job.js"
import * as Amount from "../../../authority/Amount.js"
import { InvalidRequest, oneLine } from "../../../protocol/Errors.js"
import * as Text from "../../../protocol/Text.js"
import type { Budgets } from "../Budgets.js"
import type { Leases } from "../Leases.js"
import type { AuthorityEvents } from "./jobAuthority.js"
import type { Running } from "../Running.js"

/** What it needs of the runtime and of the job's gate. */
export interface CostDeps
  extends Pick<Context.Tag.Service<Leases>, "checkState">,
    Pick<Context.Tag.Service<Budgets>, "chargeable" | "charge" | "hold" | "available"> {
  /** Reports a refused reservation and fails with it. */
  readonly refuse: (args: object, error: Denial) => Effect.Effect<never, Denial>
  /** As {@link refuse}, where the job's lease or budget is at its end. */
  readonly refuseState: (args: object, error: Denial) => Effect.Effect<never, Denial>
  /** The effect with an upstream's refusals as denials. */
  readonly translated: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Denial, R>
}

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

/** What user code says that a call has cost; what it throws may be anything. */
const settled = <A>(
  actual: (value: A) => unknown,
  value: A,
  { currency }: Amount.Amount
): Either.Either<Amount.Amount, InvalidRequest> => {
  let told: unknown
  try {
    told = actual(value)
  } catch (defect) {
    return invalid(oneLine(`reserve.actual: it failed: ${Text.ofUnknown(defect, 256)}`))
  }
  const amount = amountOf(told, typeof told === "string" ? undefined : currency)
  if (Either.isLeft(amount)) return invalid(`reserve.actual: ${amount.left.message}`)
  return amount.right.currency === currency
    ? amount
    : invalid(`reserve.actual: the cost is in ${amount.right.currency}, and ${currency} was reserved`)
}

/** Makes them. */
export const make = (running: Running, events: AuthorityEvents, deps: CostDeps): Costs => {
  const warned = new Set<string>()
  const warn = (message: string): void => void events.queue("log", { level: "warn", message })

  /** Says, once for each unit, that a cost is not counted. A job without a budget has nothing to count it in. */
  const warnUncounted = (name: string, unit: unknown): void => {
    if (running.budget.size === 0) return
    const shown = typeof unit === "string" ? JSON.stringify(oneLine(unit.slice(0, 64))) : undefined
    const key = shown ?? ""
    if (warned.has(key) || warned.size >= maxWarnings) return
    warned.add(key)
    const budgeted = [...running.budget.keys()].join(", ")
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
      const chargeable = deps.chargeable(running, amount.currency)
      if (Either.isLeft(chargeable)) return Effect.fail(chargeable.left)
      const body = { name, value: Amount.toNumber(amount.value), unit: amount.currency, dimensions }
      return events.push("metric", body, () => {
        deps.charge(running, amount)
        if (!running.budget.has(amount.currency)) warnUncounted(name, amount.currency)
        if (then !== undefined) then()
      })
    })

  const metric: Costs["metric"] = (name, value, unit, dimensions) => {
    if (value < 0) return invalid("metric.value: a cost is never negative")
    const amount = Amount.fromMetric(value, typeof unit === "string" ? unit : "")
    return Either.isRight(amount)
      ? charge(name, amount.right, dimensions)
      : events.push("metric", { name, value, unit, dimensions }, () => warnUncounted(name, unit))
  }

  const spend = (name: string, amount: unknown, currency?: unknown): Effect.Effect<void, InvalidRequest> =>
    Effect.suspend((): Effect.Effect<void, InvalidRequest> => {
      const cost = Either.flatMap(costName(name), () => amountOf(amount, currency))
      return Either.isRight(cost) ? charge(name, cost.right) : Effect.fail(cost.left)
    })

  /** Runs the agent's own hook; what becomes of it changes nothing. */
  const tellUnsettled = (
    hook: ((problem: InvalidRequest) => Effect.Effect<void>) | undefined,
    problem: InvalidRequest
  ): Effect.Effect<void> =>
    hook === undefined
      ? Effect.void
      : Effect.suspend(() => hook(problem)).pipe(
          Effect.catchAllCause((cause) => Effect.logWarning("onUnsettled of a reservation failed", cause))
        )

  const reserve: JobService["reserve"] = (text, effect, options) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // Read before the call: what its getters do later loses no value.
        const { actual, name = "cost.reserved", onUnsettled } = options ?? {}
        yield* costName(name)
        const amount = yield* amountOf(text, undefined)
        yield* deps.chargeable(running, amount.currency)
        const args = { amount: Amount.print(amount) }
        const state = deps.checkState(running)
        if (Either.isLeft(state)) return yield* deps.refuseState(args, state.left)
        const held = deps.hold(running, amount)
        if (Either.isLeft(held)) return yield* deps.refuse(args, held.left)
        const release = held.right
        const value = yield* Effect.onError(restore(deps.translated(effect)), () => Effect.sync(release))
        // The call has run: where its cost cannot be told, it is what was held, and the value is the agent's.
        const known = actual === undefined ? Either.right(amount) : settled(actual, value, amount)
        const cost = Either.getOrElse(known, () => amount)
        const report = (): void => {
          release()
          if (Either.isRight(known)) return
          warn(`${known.left.message}; ${name} was charged the whole reservation of ${Amount.print(amount)}`)
        }
        yield* charge(name, cost, undefined, report).pipe(
          // No event can be made of it; it counts all the same.
          Effect.catchAll((error) =>
            Effect.sync(() => {
              deps.charge(running, cost)
              release()
              warn(`${name}: ${error.message}`)
            })
          ),
          Effect.ensuring(Effect.sync(release))
        )
        if (Either.isLeft(known)) yield* restore(tellUnsettled(onUnsettled, known.left))
        return value
      })
    )

  return { spend, reserve, metric }
}

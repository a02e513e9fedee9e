/**
 * Money of a budget, exact (ARCP 1.1 §9.6): `CUR:decimal` on the wire, a `BigDecimal` inside, a JSON number at the boundary.
 *
 * Nothing here rounds but {@link toNumber}, and nothing clamps: a counter may fall below zero. Currencies are compared
 * letter for letter; two that differ by case alone are an error wherever both would be used.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Decimal from "../protocol/Decimal.js"
import * as Text from "../protocol/Text.js"

/**
 * An amount of one currency, zero or more.
 *
 * @since 0.1.0
 * @category models
 */
export interface Amount {
  /** A letter, then at most 31 letters, digits, `_`, `.` and `-`, such as `USD`. */
  readonly currency: string
  /** The exact value. */
  readonly value: BigDecimal.BigDecimal
}

/**
 * Budgets and counters: currency to value. A `Map`, so that no currency's name is special.
 *
 * @since 0.1.0
 * @category models
 */
export type Amounts = ReadonlyMap<string, BigDecimal.BigDecimal>

/**
 * Digits before the point, at most.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxIntegerDigits = 30

/**
 * Digits behind the point, at most.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxFractionDigits = 30

/**
 * A text or number that is no amount. `message` says why, and names no more than the first characters of it.
 *
 * @since 0.1.0
 * @category errors
 */
export class AmountError extends Schema.TaggedError<AmountError>()("AmountError", {
  message: Schema.String
}) {}

const fail = (message: string) => Either.left(new AmountError({ message }))

const currencyShape = /^[A-Za-z][A-Za-z0-9_.-]{0,31}$/
const decimalShape = /^([0-9]+)(?:\.([0-9]+))?$/

/**
 * No money.
 *
 * @since 0.1.0
 * @category constants
 */
export const zero: BigDecimal.BigDecimal = BigDecimal.make(0n, 0)

/**
 * Whether a text is a currency: a letter, then at most 31 letters, digits, `_`, `.` and `-` (`USD`, `credits`, `x-tokens`).
 *
 * @since 0.1.0
 * @category predicates
 */
export const isCurrency = (text: string): boolean => currencyShape.test(text)

/**
 * The value of `digits ( "." digits )?` (§9.6), at most {@link maxIntegerDigits} and {@link maxFractionDigits}. Signs, exponents,
 * bare points, white space and everything else are refused.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decimal = (text: string): Either.Either<BigDecimal.BigDecimal, AmountError> => {
  if (text.length > maxIntegerDigits + maxFractionDigits + 1) return fail("amount: too many digits")
  const parts = decimalShape.exec(text)
  if (parts === null) return fail('amount: not digits, or digits "." digits')
  const whole = parts[1]!
  const fraction = parts[2] ?? ""
  return whole.length > maxIntegerDigits || fraction.length > maxFractionDigits
    ? fail("amount: too many digits")
    : Either.right(BigDecimal.make(BigInt(whole + fraction), fraction.length))
}

const noCurrency = fail(
  'currency: must be a letter followed by at most 31 letters, digits, "_", "." and "-", such as USD'
)

/**
 * Parses a lease's amount, `currency ":" decimal`.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Amount } from "effect-arcp/authority"
 *
 * const price = Either.getOrThrow(Amount.parse("USD:5.00"))
 * console.log(price.currency, Amount.format(price.value)) // USD 5
 * ```
 *
 * @since 0.1.0
 * @category decoding
 */
export const parse = (text: string): Either.Either<Amount, AmountError> => {
  const colon = text.indexOf(":")
  if (colon === -1) return fail("amount: not of the form CURRENCY:DECIMAL, such as USD:5.00")
  const currency = text.slice(0, colon)
  return isCurrency(currency)
    ? Either.map(decimal(text.slice(colon + 1)), (value) => ({ currency, value }))
    : fail('amount: the currency is not a letter followed by at most 31 letters, digits, "_", "." and "-"')
}

/**
 * @internal The value of a number as a program spells it: as {@link decimal}, and with an exponent, as `String(n)` spells small and large
 * JavaScript numbers (`9e-7`, `1e+21`). Exact; an exponent of more than {@link Decimal.maxExponent} is refused.
 */
export const spelled = (text: string): Either.Either<BigDecimal.BigDecimal, AmountError> => {
  if (!/e/i.test(text)) return decimal(text)
  const read = Decimal.read(text)
  return read === undefined
    ? fail(`amount: not a number such as 0.0042 or 9e-7, with an exponent of at most ${Decimal.maxExponent}`)
    : Either.right(BigDecimal.make(BigInt(read.digits), read.scale))
}

/**
 * Parses what a charge is spelled as by a program: `"0.0042 USD"` or `"USD:0.0042"`. Unlike {@link parse}, which reads the wire,
 * it takes every spelling of a JavaScript number that is not negative, such as `"9e-7 USD"`.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Amount } from "effect-arcp/authority"
 *
 * const cost = Either.getOrThrow(Amount.parseSpend("9e-7 USD"))
 * console.log(Amount.format(cost.value)) // 0.0000009
 * ```
 *
 * @since 0.1.0
 * @category decoding
 */
export const parseSpend = (text: string): Either.Either<Amount, AmountError> => {
  if (typeof text !== "string") return fail('amount: must be a text such as "0.0042 USD"')
  const space = text.indexOf(" ")
  const colon = text.indexOf(":")
  if (space === -1 && colon === -1) return fail('amount: not of the form "DECIMAL CURRENCY", such as "0.0042 USD"')
  const currency = space === -1 ? text.slice(0, colon) : text.slice(space + 1)
  return isCurrency(currency)
    ? Either.map(spelled(space === -1 ? text.slice(colon + 1) : text.slice(0, space)), (value) => ({ currency, value }))
    : fail('amount: the currency is not a letter followed by at most 31 letters, digits, "_", "." and "-"')
}

/**
 * The exact decimal of a JSON number, in its shortest spelling: 0.1 is one tenth. Negative numbers, NaN and infinities are
 * refused; no number is too small or too large.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromNumber = (value: number): Either.Either<BigDecimal.BigDecimal, AmountError> => {
  if (!Number.isFinite(value)) return fail("amount: not a finite number")
  if (value < 0) return fail("amount: negative")
  const [mantissa, exponent = "0"] = String(value).split("e") as [string, string?]
  const [whole, fraction = ""] = mantissa.split(".") as [string, string?]
  return Either.right(BigDecimal.make(BigInt(whole + fraction), fraction.length - Number(exponent)))
}

/** Digits of a `BigDecimal` that a program passes, before and behind the point, at most: a thousand. */
const maxScale = 1_000
const maxUnscaled = 10n ** 1_000n

/** Checks a `BigDecimal` of a program: zero or more, and not so long that it would take a while to print. */
const fromBigDecimal = (value: BigDecimal.BigDecimal): Either.Either<BigDecimal.BigDecimal, AmountError> => {
  const unscaled: unknown = Text.property(value, "value")
  const scale: unknown = Text.property(value, "scale")
  if (typeof unscaled !== "bigint" || typeof scale !== "number" || !Number.isSafeInteger(scale)) {
    return fail("amount: not a BigDecimal")
  }
  if (unscaled < 0n) return fail("amount: negative")
  return unscaled >= maxUnscaled || Math.abs(scale) > maxScale
    ? fail(`amount: more than ${maxScale} digits`)
    : Either.right(BigDecimal.make(unscaled, scale))
}

/**
 * An amount of a program: a number, which counts as its shortest spelling, or a `BigDecimal`, and its currency. Negative amounts,
 * NaN, infinities and what is no currency are refused; -0 is zero.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (value: number | BigDecimal.BigDecimal, currency: string): Either.Either<Amount, AmountError> => {
  if (typeof currency !== "string" || !isCurrency(currency)) return noCurrency
  const exact =
    typeof value === "number"
      ? fromNumber(value)
      : Text.attempt(() => BigDecimal.isBigDecimal(value), false)
        ? fromBigDecimal(value)
        : fail("amount: must be a number or a BigDecimal")
  return Either.map(exact, (value) => ({ currency, value }))
}

/**
 * The amount that a metric reports: a JSON number and its unit.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromMetric = (value: number, unit: string): Either.Either<Amount, AmountError> =>
  isCurrency(unit)
    ? Either.map(fromNumber(value), (exact) => ({ currency: unit, value: exact }))
    : fail("amount: the unit is not a currency")

/**
 * The exact decimal, without an exponent and without trailing zeros: `5`, `0.0042`, `-0.12`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format = (value: BigDecimal.BigDecimal): string => {
  const { scale, value: unscaled } = BigDecimal.normalize(value)
  const sign = unscaled < 0n ? "-" : ""
  const digits = String(unscaled < 0n ? -unscaled : unscaled)
  if (scale <= 0) return sign + (unscaled === 0n ? "0" : digits + "0".repeat(-scale))
  const padded = digits.padStart(scale + 1, "0")
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

/** @internal `currency:decimal`, exact. */
export const print = (amount: Amount): string => `${amount.currency}:${format(amount.value)}`

/**
 * The finite JSON number nearest to the value: for the wire only, never to calculate with.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toNumber = (value: BigDecimal.BigDecimal): number => {
  const number = Number(format(value))
  // neither -0 nor an infinity has a JSON spelling
  return number === 0 ? 0 : Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, number))
}

/**
 * Counters as `job.accepted.budget` shows them (§7.1): JSON numbers.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toWire = (amounts: Amounts): Record<string, number> =>
  Object.fromEntries(Array.from(amounts, ([currency, value]) => [currency, toNumber(value)]))

/**
 * Amounts as a `cost.budget` capability lists them: exact.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toPatterns = (amounts: Amounts): ReadonlyArray<string> =>
  Array.from(amounts, ([currency, value]) => print({ currency, value }))

/**
 * Whether a counter is used up: zero or below (§9.6).
 *
 * @since 0.1.0
 * @category predicates
 */
export const isExhausted = (remaining: BigDecimal.BigDecimal): boolean => remaining.value <= 0n

/**
 * Whether the first is more than the second.
 *
 * @since 0.1.0
 * @category predicates
 */
export const exceeds = (value: BigDecimal.BigDecimal, limit: BigDecimal.BigDecimal): boolean =>
  BigDecimal.greaterThan(value, limit)

/**
 * The sum, exact.
 *
 * @since 0.1.0
 * @category combinators
 */
export const add = (a: BigDecimal.BigDecimal, b: BigDecimal.BigDecimal): BigDecimal.BigDecimal =>
  BigDecimal.normalize(BigDecimal.sum(a, b))

/**
 * The difference, exact.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Amount } from "effect-arcp/authority"
 *
 * const left = Either.zipWith(Amount.decimal("0.3"), Amount.decimal("0.1"), Amount.subtract)
 * console.log(Either.map(left, Amount.format)) // 0.2, exactly
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const subtract = (a: BigDecimal.BigDecimal, b: BigDecimal.BigDecimal): BigDecimal.BigDecimal =>
  BigDecimal.normalize(BigDecimal.subtract(a, b))

/**
 * The first of `amounts` whose counter is used up, if any.
 *
 * @since 0.1.0
 * @category functions
 */
export const firstExhausted = (amounts: Amounts): string | undefined => {
  for (const [currency, value] of amounts) {
    if (isExhausted(value)) return currency
  }
  return undefined
}

/**
 * @internal The currency of `amounts` that `currency` differs from by case alone, if any. A charge in such a currency is to be refused: counted as
 * another currency it would slip past the budget.
 */
export const misspelled = (amounts: Amounts, currency: string): string | undefined => {
  if (amounts.has(currency)) return undefined
  const lower = currency.toLowerCase()
  for (const known of amounts.keys()) {
    if (known.toLowerCase() === lower) return known
  }
  return undefined
}

/**
 * Most currencies that a budget names.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxCurrencies = 32

/**
 * The budget of a `cost.budget` capability. Refused: an empty list, which could mean no money as well as no limit; a
 * malformed amount; a currency twice, also in other case; more than {@link maxCurrencies}.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parseAll = (texts: ReadonlyArray<string>): Either.Either<Amounts, AmountError> => {
  if (texts.length === 0) return fail("amount: a budget names at least one")
  if (texts.length > maxCurrencies) return fail(`amount: more than ${maxCurrencies} currencies`)
  const amounts = new Map<string, BigDecimal.BigDecimal>()
  for (const text of texts) {
    const amount = parse(text)
    if (Either.isLeft(amount)) return Either.left(amount.left)
    const { currency, value } = amount.right
    if (amounts.has(currency)) return fail(`amount: the currency ${currency} is named twice`)
    const other = misspelled(amounts, currency)
    if (other !== undefined) return fail(`amount: the currencies ${other} and ${currency} differ by case alone`)
    amounts.set(currency, value)
  }
  return Either.right(amounts)
}

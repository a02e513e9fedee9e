/** Budget counters as text: exact decimals by currency, as they stand in a job's row and in its span. */
import * as Schema from "effect/Schema"
import * as Amount from "../../authority/Amount.js"

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

/**
 * Numbers as programs spell them: what `String(n)` makes of a JavaScript number, which has an exponent where the number is below
 * 1e-6 or from 1e21 on (`9e-7`, `1.5e-10`, `1e+21`). The wire's amounts have none (ARCP 1.1 §9.6: `digits ( "." digits )?`), so
 * what an agent's or a client's program passes is spelled out, exactly, before it is sent or counted.
 */
const shape = /^([0-9]{1,64})(?:\.([0-9]{1,64}))?(?:[eE]([+-]?[0-9]{1,4}))?$/

/** The largest exponent, up or down: a JavaScript number has at most 324. */
export const maxExponent = 400

/** A decimal as its digits and how many of them are behind the point; below zero, that many zeros follow the digits. */
export interface Digits {
  readonly digits: string
  readonly scale: number
}

/**
 * Reads `digits ( "." digits )? ( "e" sign? digits )?`, at most 64 digits on each side of the point and an exponent of at most
 * {@link maxExponent}; undefined for every other text. Signs, `NaN` and `Infinity` are none.
 */
export const read = (text: string): Digits | undefined => {
  const parts = text.length > 140 ? null : shape.exec(text)
  if (parts === null) return undefined
  const fraction = parts[2] ?? ""
  const exponent = Number(parts[3] ?? "0")
  return Math.abs(exponent) > maxExponent
    ? undefined
    : { digits: parts[1]! + fraction, scale: fraction.length - exponent }
}

/** The same decimal without an exponent; undefined where the text is none. */
export const spellOut = (text: string): string | undefined => {
  const decimal = read(text)
  if (decimal === undefined) return undefined
  const { digits, scale } = decimal
  if (scale <= 0) return digits.replace(/^0+(?=[0-9])/, "") + (/^0+$/.test(digits) ? "" : "0".repeat(-scale))
  const padded = digits.padStart(scale + 1, "0")
  const whole = padded.slice(0, -scale).replace(/^0+(?=[0-9])/, "")
  return `${whole}.${padded.slice(-scale)}`
}

const hasExponent = /^([^:]{1,64}):([0-9][0-9.]*[eE][+-]?[0-9]+)$/

/** `USD:9e-7` as the wire has it, `USD:0.0000009`; everything else as it is. */
const budgetEntry = (entry: unknown): unknown => {
  const parts = typeof entry === "string" && entry.length <= 256 ? hasExponent.exec(entry) : null
  const plain = parts === null ? undefined : spellOut(parts[2]!)
  return plain === undefined ? entry : `${parts![1]}:${plain}`
}

/** A lease of a program with the amounts of its `cost.budget` spelled out (§9.6); everything else is left as it is. */
export const plainBudget = <L extends object>(lease: L): L => {
  const budget: unknown = Object.hasOwn(lease, "cost.budget")
    ? (lease as { readonly "cost.budget"?: unknown })["cost.budget"]
    : undefined
  return Array.isArray(budget) ? { ...lease, "cost.budget": budget.map(budgetEntry) } : lease
}

/** As {@link plainBudget}, from JSON text to JSON text. */
export const plainBudgetText = (lease: string): string => {
  if (!/[0-9]e[+-]?[0-9]/i.test(lease) || !lease.includes("cost.budget")) return lease
  const value: unknown = JSON.parse(lease)
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? JSON.stringify(plainBudget(value))
    : lease
}

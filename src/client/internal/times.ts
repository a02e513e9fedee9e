/** Times of events, in the forms in which runtimes write them (ARCP 1.1 §8.1). */

const pattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i

/**
 * The order of two times: negative where `a` is before `b`. Runtimes write fractions of any length, which varies from event to event, so
 * that the order of the texts is not that of the times. Texts that are not valid times are compared as text.
 */
export const compareTimes = (a: string, b: string): number => {
  const [one, other] = [pattern.exec(a), pattern.exec(b)]
  if (one !== null && other !== null) {
    const seconds = Date.parse(`${one[1]}${one[3]}`) - Date.parse(`${other[1]}${other[3]}`)
    if (!Number.isNaN(seconds) && seconds !== 0) return seconds
    const length = Math.max(one[2]?.length ?? 0, other[2]?.length ?? 0)
    return order((one[2] ?? "").padEnd(length, "0"), (other[2] ?? "").padEnd(length, "0"))
  }
  return order(a, b)
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

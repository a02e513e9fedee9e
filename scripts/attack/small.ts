/** Time limits and texts that every attack uses. */

/** Waits. */
export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** The promise, or `late` once the time is over. */
export const within = <A, B>(millis: number, promise: Promise<A>, late: B): Promise<A | B> => {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<B>((resolve) => (timer = setTimeout(() => resolve(late), millis)))
  return Promise.race([promise, over]).finally(() => clearTimeout(timer))
}

/** Bytes as mebibytes, for people. */
export const mib = (bytes: number): string => `${(bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0)} MiB`

/** A line of at most 300 characters. */
export const line = (text: string): string => {
  // oxlint-disable-next-line no-control-regex
  const one = text.replace(/[\u0000-\u001f\s]+/g, " ").trim()
  return one.length > 300 ? `${one.slice(0, 299)}…` : one
}

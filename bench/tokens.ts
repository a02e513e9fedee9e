/** What the benchmark's clients authenticate with. */
export const token = "bench"

/** Of another principal, whose pings are looked at while the first one works. */
export const otherToken = "bench-other"

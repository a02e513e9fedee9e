/**
 * How often properties run. `ARCP_FUZZ_RUNS=20 npx vitest run test/authority` runs each property of these files twenty times
 * as often as `npm test` does, with twenty times the time. `test/setup.ts` does the same for properties that name no number.
 */
const spelt = process.env["ARCP_FUZZ_RUNS"] ?? "1"
if (!/^[1-9]\d{0,4}$/.test(spelt)) {
  throw new Error(`ARCP_FUZZ_RUNS must be an integer from 1 to 99999, for example 20; it is ${JSON.stringify(spelt)}`)
}

/** By how much `ARCP_FUZZ_RUNS` multiplies; 1 without it. */
export const times = Number(spelt)

/** The runs of a property that makes `usual` of them in `npm test`. */
export const runs = (usual: number): number => usual * times

/** A time limit in milliseconds for a test whose properties run `times` as often. */
export const within = (millis: number): number => millis * times

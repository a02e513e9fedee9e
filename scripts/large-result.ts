/** A result of 1 GiB to a file through a client whose heap has 128 MiB (ARCP 1.1 §8.4): `npm run large`. Takes a minute. */
import { runLarge } from "../test/support/runLarge.js"

const mib = Number(process.argv[2] ?? 1_024)
const start = Date.now()
const { code, error, out } = await runLarge(mib, 128)
const whole = code === 0 && (JSON.parse(out) as { readonly size: number }).size === mib * 1_048_576
console.log(
  whole
    ? `${mib} MiB in ${((Date.now() - start) / 1_000).toFixed(1)} s: ${out}`
    : `failed (${code}): ${error.slice(0, 2_000)}`
)
process.exitCode = whole ? 0 : 1

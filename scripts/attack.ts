/**
 * Attacks a built runtime, on loopback only and within four minutes: what one input, one error, one reader or one agent can
 * do to it, and what gets out of a lease. One line for each attack; exits 1 where one is not held.
 *
 * `npm run attack [-- --only text] [--quick]`
 */
import { parseArgs } from "node:util"
import { runAll } from "./attack/runAll.js"

const { values } = parseArgs({ options: { only: { type: "string", default: "" }, quick: { type: "boolean" } } })

// So that what was started ends with an interrupted run too.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1))

const outcomes = await runAll({
  only: values.only,
  quick: values.quick ?? false,
  millis: 230_000,
  told: ({ check, held, millis, observed }) =>
    console.log(
      `${held ? "held    " : "NOT HELD"}  ${(millis / 1000).toFixed(1).padStart(5)} s  ${check.item}: ${check.name} - ${observed}`
    )
})
const open = outcomes.filter(({ held }) => !held)
console.log(`${outcomes.length} attacks, ${outcomes.length - open.length} held, ${open.length} not held`)
process.exit(outcomes.length > 0 && open.length === 0 ? 0 : 1)

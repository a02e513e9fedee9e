/**
 * Runs parts of the tests: `tsx scripts/tests.ts unit`, `slow`, `alone` or `quick`. What follows goes to vitest. `npx vitest run test/a.test.ts` runs
 * one file, whichever part it is of.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/**
 * Files that take long: whole processes that are started and killed, hundreds of thousands of events, and random programs by the
 * hundred. `npm test` leaves them out; `npm run test:all` runs them.
 */
const slow = [
  "agent/GuardedFileSystem.races",
  "agent/fileRaces",
  "bench/peers",
  "cli/endings",
  "cli/modules",
  "cli/peers",
  "cli/policy",
  "cli/rekey",
  "cli/restart",
  "cli/stdio",
  "cli/tokens",
  "client/largeResult",
  "crash/crash",
  "crash/disk",
  "docs/apiExamples",
  "docs/nginx",
  "docs/readme",
  "docs/shown",
  "docs/started",
  "model/model",
  "runtime/backPressure",
  "runtime/credentialSafety",
  "runtime/delegationTrees",
  "runtime/frameBytes",
  "runtime/historyOrder",
  "runtime/hostileValues",
  "runtime/memory",
  "runtime/regressions",
  "runtime/reverts",
  "runtime/sessionView",
  "scripts/examples",
  "scripts/paths",
  "store/artifacts",
  "store/rekey",
  "store/upgrade",
  "transport/StdioTransport",
  "transport/WebSocket",
  "transport/children"
].map((name) => `test/${name}.test.ts`)

/** Attacks have bounds in seconds, and start many processes: nothing else runs beside them. */
const alone = ["test/attack/attack.test.ts"]

/** What a change of the protocol, of a lease or of a job's life breaks first. */
const quick = [
  "test/auth/",
  "test/authority/",
  "test/client/client.test.ts",
  "test/protocol/",
  "test/runtime/budgets.test.ts",
  "test/runtime/delegation.test.ts",
  "test/runtime/jobs.test.ts",
  "test/runtime/leases.test.ts",
  "test/transport/MemoryTransport.test.ts"
]

const parts: Readonly<Record<string, ReadonlyArray<string>>> = {
  unit: [...slow, ...alone].flatMap((file) => ["--exclude", file]),
  slow,
  alone,
  quick
}

const [name = "", ...more] = process.argv.slice(2)
const part = parts[name]
if (part === undefined) throw new Error(`name one of these parts: ${Object.keys(parts).join(", ")}`)
// A file that has moved would be in no part, or in the wrong one.
const gone = [...slow, ...alone, ...quick].filter((file) => !existsSync(`${root}/${file}`))
if (gone.length > 0) throw new Error(`scripts/tests.ts names files that do not exist: ${gone.join(", ")}`)
const { status } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", ...part, ...more], {
  cwd: root,
  stdio: "inherit"
})
process.exitCode = status ?? 1

import { readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { entriesOf, type Manifest } from "./scripts/manifest.js"

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const manifest = JSON.parse(readFileSync(here("package.json"), "utf8")) as Manifest

// Properties run so many times as often: see test/support/properties.ts.
const times = Number(process.env["ARCP_FUZZ_RUNS"] ?? 1)

const forks = availableParallelism() + 2

export default defineConfig({
  resolve: {
    // tests may import what users import, from source
    alias: [...entriesOf(manifest)].map(([entry, source]) => ({
      find: new RegExp(`^${manifest.name}/${entry}$`),
      replacement: here(source)
    }))
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    // A few processes, not one for each file: loading the library 200 times costs a third of the run. Tests therefore share no
    // module state that another file could see; what is shared is made in the test. There are more processes than processors, since
    // many tests wait for a socket, a child or a timer.
    pool: "forks",
    isolate: false,
    // All from the start: with fewer the pool ends workers that still run.
    poolOptions: { forks: { minForks: forks, maxForks: forks } },
    globals: false,
    // Tests of live runtimes have the default logger. Nothing else is held back.
    onConsoleLog: (text) => !/^timestamp=\S+ level=[A-Z]+ fiber=/.test(text),
    typecheck: { enabled: false },
    // npm run coverage: all tests, about ten minutes. Measured: statements and lines 98.0, branches 95.6, functions 97.5; the floor is one
    // to two points below. What tests run in processes of their own (src/cli above all) does not count.
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      reportsDirectory: "coverage",
      reporter: ["text-summary", "json-summary", "html"],
      thresholds: { statements: 97, lines: 97, branches: 94, functions: 96 }
    },
    // Far above what any test takes on an idle machine: a busy one is slower, and not at fault.
    testTimeout: 120_000 * times,
    hookTimeout: 120_000 * times,
    teardownTimeout: 30_000
  }
})

/**
 * The package as its users get it: packed, and installed from its file by npm into an empty folder for each use that `installs.ts` lists,
 * with the packages of that list and no others. A program of each use runs there.
 *
 * Needs a build (`npm run build`) and a registry. Install scripts do not run: SQLite's binding is taken from this repository's
 * `node_modules` where the versions are the same, and compiled where they are not.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Install, installs } from "./installs.js"

const root = fileURLToPath(new URL("../", import.meta.url))
const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string
  readonly version: string
}

const minute = 60_000

interface Ran {
  readonly out: string
  readonly err: string
}

/** Runs a program to its end, within a bound; fails where it does not exit with 0. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string, timeout = minute): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], timeout, killSignal: "SIGKILL" })
    let out = ""
    let err = ""
    child.stdout.on("data", (data) => (out += data))
    child.stderr.on("data", (data) => (err += data))
    child.on("error", reject)
    child.on("close", (code, signal) => {
      if (code === 0) resolve({ out, err })
      else reject(new Error(`${command} ${args.join(" ")}: ${signal ?? `exit ${code}`}\n${out}${err}`))
    })
  })

const base = mkdtempSync(join(tmpdir(), "arcp-install-"))

const has = (folder: string, dependency: string): boolean => existsSync(join(folder, "node_modules", dependency))

/** SQLite's binding, which the install script of its package would fetch or compile. */
const binding = async (folder: string): Promise<void> => {
  const inside = (modules: string) => join(modules, "node_modules/better-sqlite3")
  const versionIn = (modules: string): unknown => {
    const manifest = join(inside(modules), "package.json")
    return existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : undefined
  }
  const built = "build/Release/better_sqlite3.node"
  if (versionIn(folder) === versionIn(root) && existsSync(join(inside(root), built))) {
    mkdirSync(join(inside(folder), "build/Release"), { recursive: true })
    cpSync(join(inside(root), built), join(inside(folder), built))
  } else {
    await run("npm", ["rebuild", "better-sqlite3", "--foreground-scripts"], folder, 10 * minute)
  }
}

/** An empty folder in which the package and the packages of one use are installed. */
const installed = async (use: string, { packages }: Install): Promise<string> => {
  const folder = join(base, use)
  mkdirSync(folder)
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }))
  const tarball = join(base, `${name}-${version}.tgz`)
  const flags = ["--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]
  await run("npm", ["install", ...flags, tarball, ...packages], folder, 5 * minute)
  if (has(folder, "better-sqlite3")) await binding(folder)
  cpSync(join(root, "scripts/install"), folder, { recursive: true })
  return folder
}

const program = (folder: string, use: string, ...args: ReadonlyArray<string>): Promise<Ran> =>
  run(process.execPath, [`${use}.mjs`, ...args], folder)

/** What must not be there for a use, or the use would not show that it does without. */
const absent = (folder: string, ...names: ReadonlyArray<string>): void => {
  for (const dependency of names) {
    if (has(folder, dependency)) throw new Error(`${dependency} is installed for a use that does not name it`)
  }
}

const expected = (what: boolean, message: string): void => {
  if (!what) throw new Error(message)
}

/** `arcp serve --demo` on a free port: its URL, once it listens. */
const serving = (folder: string): Promise<{ readonly child: ChildProcess; readonly url: string }> =>
  new Promise((resolve, reject) => {
    const bin = `node_modules/${name}/dist/cli/bin.js`
    const child = spawn(process.execPath, [bin, "serve", "--demo", "--anonymous", "--port", "0"], {
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 2 * minute,
      killSignal: "SIGKILL"
    })
    let err = ""
    child.stderr.on("data", (data) => {
      err += data
      const url = /listening on (\S+)/.exec(err)?.[1]
      if (url !== undefined) resolve({ child, url })
    })
    child.on("error", reject)
    child.on("close", () => reject(new Error(`arcp serve ended: ${err}`)))
  })

/** Each use, in its folder. */
const uses: { readonly [Use in keyof typeof installs]: (folder: string) => Promise<unknown> } = {
  browser: (folder) => {
    absent(folder, "ws", "jose", "@effect/platform-node", "@effect/sql", "@effect/cli", "better-sqlite3")
    return program(folder, "browser")
  },
  host: (folder) => {
    absent(folder, "jose", "@effect/cli", "better-sqlite3")
    return program(folder, "host")
  },
  durable: (folder) => {
    absent(folder, "jose", "@effect/cli")
    return program(folder, "durable")
  },
  jwt: (folder) => {
    absent(folder, "@effect/cli", "better-sqlite3")
    return program(folder, "jwt")
  },
  stdio: (folder) => {
    absent(folder, "jose", "better-sqlite3")
    // @effect/platform-node brings one of its own, which nothing here may use.
    rmSync(join(folder, "node_modules/ws"), { recursive: true, force: true })
    return program(folder, "stdio")
  },
  command: async (folder) => {
    absent(folder, "jose", "better-sqlite3")
    const { out } = await run("npx", ["--no-install", "arcp", "version"], folder)
    expected(out.startsWith(`${name} ${version} (ARCP `), `arcp version printed ${out}`)
    const { child, url } = await serving(folder)
    try {
      const submit = ["--no-install", "arcp", "submit", "echo", "--url", url, "--input", '{"said":"hello"}', "--json"]
      const submitted = await run("npx", submit, folder)
      expected(submitted.out.includes('{"type":"result","result":{"said":"hello"}}'), `submit: ${submitted.out}`)
    } finally {
      child.kill("SIGTERM")
    }
  },
  client: async (folder) => {
    absent(folder, "jose", "@effect/platform-node", "@effect/sql", "@effect/cli", "better-sqlite3")
    // Its runtime is that of another installation.
    const { child, url } = await serving(join(base, "command"))
    try {
      await program(folder, "client", url)
    } finally {
      child.kill("SIGTERM")
    }
  }
}

try {
  if (!existsSync(join(root, "dist"))) throw new Error("there is no dist: npm run build")
  await run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", base], root)
  for (const [use, check] of Object.entries(uses)) {
    const started = performance.now()
    const install = installs[use as keyof typeof installs]
    const folder = await installed(use, install)
    await check(folder)
    console.log(`ok install: ${install.use} (${((performance.now() - started) / 1000).toFixed(0)} s)`)
  }
} catch (cause) {
  console.error(`FAILED install: ${cause instanceof Error ? cause.message : String(cause)}`)
  process.exitCode = 1
} finally {
  rmSync(base, { recursive: true, force: true })
}

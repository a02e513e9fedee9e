/** The program without one of its peers: it says what to install, and only where it needs it. */
import { describe, expect, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type PeerName, peers } from "../../src/cli/peers.js"
import { bundle } from "../bundle.js"
import { scratch } from "../support/scratch.js"

const root = fileURLToPath(new URL("../../", import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly peerDependencies: Readonly<Record<string, string>>
}

/** The program as it is published: what is not its own is imported when it runs. */
const program = bundle({ "dist/cli/bin": "src/cli/bin.ts", "dist/examples/agents": "examples/agents.ts" }, [
  "effect",
  "@effect/*",
  "ws",
  "jose"
])

/** Every package of a folder of modules, scoped ones too. */
const packagesOf = (modules: string): ReadonlyArray<string> =>
  readdirSync(modules).flatMap((name) =>
    name.startsWith(".")
      ? []
      : name.startsWith("@")
        ? readdirSync(join(modules, name)).map((inner) => `${name}/${inner}`)
        : [name]
  )

/** A folder in which the program is installed, but these packages are not. */
const without = (...absent: ReadonlyArray<string>): string => {
  const folder = scratch("arcp-peers-")
  const modules = join(folder, "node_modules")
  for (const name of packagesOf(join(root, "node_modules"))) {
    if (absent.includes(name)) continue
    mkdirSync(join(modules, name, ".."), { recursive: true })
    symlinkSync(join(root, "node_modules", name), join(modules, name))
  }
  cpSync(program, join(modules, "effect-arcp"), { recursive: true })
  writeFileSync(join(modules, "effect-arcp/package.json"), JSON.stringify({ name: "effect-arcp", type: "module" }))
  return folder
}

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the program to its end. `input` is all of its stdin, which ends after a first line of stdout; SIGTERM once stderr has `until`. */
const arcp = (folder: string, args: ReadonlyArray<string>, input = "", until?: string): Promise<Ran> =>
  new Promise((resolve) => {
    // Packages see the modules of this folder, and not those that their links lead to.
    const child = spawn(
      process.execPath,
      ["--preserve-symlinks", join(folder, "node_modules/effect-arcp/dist/cli/bin.js"), ...args],
      { cwd: folder, timeout: 60_000, killSignal: "SIGKILL" }
    )
    let out = ""
    let err = ""
    child.stdout.on("data", (data) => {
      out += data
      if (out.includes("\n")) child.stdin.end()
    })
    child.stderr.on("data", (data) => {
      err += data
      if (until !== undefined && err.includes(until)) child.kill("SIGTERM")
    })
    child.stdin.on("error", () => {})
    child.stdin.write(input)
    child.on("close", (code) => resolve({ code, out, err }))
  })

const install = (...names: ReadonlyArray<PeerName>): string => names.map((name) => `${name}@${peers[name]}`).join(" ")

const hello = `${JSON.stringify({
  arcp: "1.1",
  id: "m_1",
  type: "session.hello",
  payload: { client: { name: "test", version: "1" }, capabilities: { features: [] } }
})}\n`
const stdio = ["serve", "--stdio", "--demo", "--anonymous"]
const socket = ["serve", "--demo", "--anonymous", "--port", "0"]
// Nothing listens there.
const submit = ["submit", "echo", "--url", "ws://127.0.0.1:9/arcp", "--connect-timeout", "5"]

describe("arcp without a peer", () => {
  it("names the ranges of package.json, and those of the peers that ask for others", () => {
    const cli = createRequire(import.meta.url)("@effect/cli/package.json") as typeof manifest
    const asked = { ...cli.peerDependencies, ...manifest.peerDependencies }
    expect(peers).toEqual(asked)
  })

  for (const name of [
    "effect",
    "@effect/platform",
    "@effect/platform-node",
    "@effect/cli",
    "@effect/printer"
  ] as const) {
    it(`${name}: every command says what to install`, async () => {
      const ran = await arcp(without(name), ["version"])
      expect(ran).toEqual({ code: 2, out: "", err: `arcp: ${name} is not installed: npm install ${install(name)}\n` })
    })
  }

  it("without several, one command installs them all", async () => {
    const absent = ["@effect/cli", "@effect/platform-node", "@effect/printer"] as const
    const { code, err } = await arcp(without(...absent), ["version"])
    expect(code).toBe(2)
    expect(err).toMatch(/^arcp: \S+, \S+ and \S+ are not installed: npm install (\S+ ){2}\S+\n$/)
    for (const name of absent) expect(err).toContain(install(name))
  })

  it("ws: serve on a port and submit say what to install; serve --stdio and version do not need it", async () => {
    const folder = without("ws")
    const refused = { code: 2, out: "", err: `arcp: ws is not installed: npm install ${install("ws")}\n` }
    expect(await arcp(folder, submit)).toEqual(refused)
    expect(await arcp(folder, socket)).toEqual(refused)
    expect((await arcp(folder, ["version"])).code).toBe(0)
    const served = await arcp(folder, stdio, hello)
    expect([served.code, served.out]).toEqual([0, expect.stringContaining('"type":"session.welcome"')])
  })

  it("packages of SQLite: serve --store says what to install; nothing else needs them", async () => {
    const all = ["@effect/sql-sqlite-node", "@effect/sql", "@effect/experimental"] as const
    for (const name of all) {
      expect(await arcp(without(name), [...stdio, "--store", "jobs.db"], hello)).toEqual({
        code: 2,
        out: "",
        err: `arcp: ${name} is not installed: npm install ${install(name)}\n`
      })
    }
    const folder = without(...all, "better-sqlite3", "jose")
    const { code, err } = await arcp(folder, [...stdio, "--store", "jobs.db"], hello)
    expect(code).toBe(2)
    for (const name of all) expect(err).toContain(install(name))
    const served = await arcp(folder, stdio, hello)
    expect([served.code, served.out]).toEqual([0, expect.stringContaining('"type":"session.welcome"')])
    expect((await arcp(folder, socket, "", "listening on")).code).toBe(0)
    // It looked for the runtime.
    expect((await arcp(folder, submit)).code).toBe(3)
  })

  it("a user's module that is not found, or does not find a package, is not taken for a peer", async () => {
    const folder = without("ws")
    writeFileSync(join(folder, "agents.mjs"), 'import "ws"\n')
    for (const [path, package_] of [
      ["agents.mjs", "'ws'"],
      ["absent.mjs", "absent.mjs"]
    ] as const) {
      const { code, err } = await arcp(folder, ["serve", "--stdio", "--anonymous", "--agents", path])
      expect([code, err]).toEqual([2, expect.stringMatching(`^arcp: --agents ${path} cannot be loaded: .*${package_}`)])
      expect(err).not.toContain("npm install")
    }
  })

  it("a file of the program that is missing is reported as such", async () => {
    const folder = without()
    const bin = join(folder, "node_modules/effect-arcp/dist/cli/bin.js")
    writeFileSync(bin, readFileSync(bin, "utf8").replaceAll(/import\("[^"]*run[^"]*"\)/g, 'import("./gone.js")'))
    const { code, err } = await arcp(folder, ["version"])
    expect([code, err]).toEqual([1, expect.stringContaining("gone.js")])
    expect(err).not.toContain("npm install")
  })
})

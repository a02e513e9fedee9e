/**
 * The page for beginners, as a reader follows it: its files in a folder of their own beside the packages, checked by its own
 * configuration; its host is started, its client and its test run, and they print what the page says. The package is its sources.
 */
import { describe, expect, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import ts from "typescript"
import { entriesOf, type Manifest } from "../../scripts/manifest.js"
import { scratch } from "../support/scratch.js"
import { blocksOf } from "./pages.js"

const path = "docs/getting-started.md"
const page = readFileSync(path, "utf8")
const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest

/** The page's files, by their names. */
const files = new Map(
  blocksOf(page).flatMap(({ language, text, words }) =>
    language === "ts" && words[0] === "file"
      ? [[words[1] ?? "", text] as const]
      : language === "json"
        ? [[words[0] ?? "", text] as const]
        : []
  )
)

/** What the page says that a program prints. */
const printedBy = (program: string): string | undefined =>
  blocksOf(page).find(({ language, words }) => language === "text" && words[0] === program && words[1] === "prints")
    ?.text

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** A folder with the page's files, and the packages that the page installs; this one as its sources. */
const installed = (port: number): string => {
  const folder = scratch("arcp-started-")
  for (const [name, text] of files)
    writeFileSync(join(folder, name), text.replaceAll(":7777", `:${port}`).replaceAll("port: 7777", `port: ${port}`))
  const modules = join(folder, "node_modules")
  mkdirSync(join(modules, manifest.name), { recursive: true })
  for (const entry of readdirSync("node_modules")) {
    if (!entry.startsWith(".") && entry !== manifest.name)
      symlinkSync(join(process.cwd(), "node_modules", entry), join(modules, entry))
  }
  symlinkSync(join(process.cwd(), "src"), join(modules, manifest.name, "src"))
  const exports = Object.fromEntries([...entriesOf(manifest)].map(([entry, source]) => [`./${entry}`, `./${source}`]))
  writeFileSync(
    join(modules, manifest.name, "package.json"),
    JSON.stringify({ name: manifest.name, version: "0.0.0", type: "module", exports })
  )
  return folder
}

const start = (folder: string, ...args: ReadonlyArray<string>): ChildProcess =>
  spawn(process.execPath, args, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", VITEST: undefined, NODE_ENV: undefined },
    timeout: 100_000,
    killSignal: "SIGKILL"
  })

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** How a program ends, and what it prints; `onOut` is called with all that it has printed so far. */
const ended = (child: ChildProcess, onOut: (out: string) => void = () => {}): Promise<Ran> =>
  new Promise((resolve) => {
    let out = ""
    let err = ""
    child.stdout?.on("data", (data) => onOut((out += data)))
    child.stderr?.on("data", (data) => (err += data))
    child.on("close", (code) => resolve({ code, out, err }))
  })

/** What the compiler says of the page's files under the page's own configuration. */
const problems = (folder: string): ReadonlyArray<string> => {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(folder, "tsconfig.json"), ts.sys.readFile).config,
    ts.sys,
    folder
  )
  expect(config.errors).toEqual([])
  expect(config.fileNames.map((name) => name.slice(folder.length + 1)).toSorted()).toEqual(
    [...files.keys()].filter((name) => name.endsWith(".ts")).toSorted()
  )
  const program = ts.createProgram(config.fileNames, config.options)
  return config.fileNames.flatMap((name) => {
    const file = program.getSourceFile(name)!
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
      ({ messageText }) => `${name}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`
    )
  })
}

/** The packages that a line of the page installs, with their ranges. */
const installs = new Map(
  [...page.matchAll(/(@?[a-z][a-z0-9/-]*)@(\^[0-9.]+)/g)].map(([, name = "", range = ""]) => [name, range])
)

describe(path, () => {
  it("names the ranges of package.json", () => {
    const named = Object.entries(manifest.peerDependencies ?? {})
    expect(named.length).toBeGreaterThan(5)
    for (const [name, range] of named) expect([name, installs.get(name)]).toEqual([name, range])
  })

  it("has files whose first line is their name", () => {
    for (const [name, text] of files) if (name.endsWith(".ts")) expect(text.split("\n")[0]).toBe(`// ${name}`)
  })

  it("its files compile; the host serves, the client and the test print what the page says", async () => {
    const port = await freePort()
    const folder = installed(port)
    expect(problems(folder)).toEqual([])

    const host = start(folder, "--import", "tsx", "host.ts")
    let listening: (out: string) => void = () => {}
    const heard = new Promise<string>((resolve) => (listening = (out) => void (out.includes("\n") && resolve(out))))
    const stopped = ended(host, listening)
    try {
      const said = await Promise.race([heard, stopped.then(({ err, out }) => `the host ended: ${out}${err}`)])
      expect(said.replace(String(port), "7777")).toBe(printedBy("host.ts"))

      const client = await ended(start(folder, "--import", "tsx", "client.ts"))
      expect(client).toEqual({ code: 0, out: printedBy("client.ts"), err: "" })
    } finally {
      host.kill("SIGTERM")
    }
    expect((await stopped).code).not.toBeNull()

    const tested = await ended(start(folder, "node_modules/vitest/vitest.mjs", "run"))
    expect(tested.out).toMatch(/Tests +2 passed/)
    expect(tested.code).toBe(0)
  })
})

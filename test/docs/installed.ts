/** The files of a page in a folder of their own beside the packages, as a reader has them. This package is there as its sources. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { entriesOf, type Manifest } from "../../scripts/manifest.js"
import { scratch } from "../support/scratch.js"
import { blocksOf } from "./pages.js"

export const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest

/** The files that a page shows, by their names: blocks of `ts file NAME` and `json NAME`. */
export const filesOf = (page: string): ReadonlyMap<string, string> =>
  new Map(
    blocksOf(page).flatMap(({ language, text, words }) => {
      const name = language === "ts" && words[0] === "file" ? words[1] : language === "json" ? words[0] : undefined
      return name === undefined ? [] : [[name, text] as const]
    })
  )

/** A free port of this machine. */
export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** A folder with these files, in which `port` stands for the page's 7777. */
export const installed = (files: ReadonlyMap<string, string>, port: number): string => {
  const folder = scratch("arcp-page-")
  for (const [name, text] of files) {
    writeFileSync(
      join(folder, name),
      text.replace(/(:|port: |listen\()7777\b/g, (_, before: string) => `${before}${port}`)
    )
  }
  if (!files.has("package.json")) writeFileSync(join(folder, "package.json"), '{"type": "module"}')
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

/** Starts a program in a folder; it is killed after some minutes. */
export const start = (
  folder: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  command = process.execPath
): ChildProcess =>
  spawn(command, args, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", VITEST: undefined, NODE_ENV: undefined, ...env },
    timeout: 280_000,
    killSignal: "SIGKILL"
  })

/** Starts `host.ts`, runs `client.ts` once the host has printed a line, and then the folder's tests; the host is stopped. */
export const walked = async (
  folder: string
): Promise<{ readonly said: string; readonly client: Ran; readonly tested: Ran }> => {
  const host = start(folder, ["--import", "tsx", "host.ts"])
  let listening: (out: string) => void = () => {}
  const heard = new Promise<string>((resolve) => (listening = (out) => void (out.includes("\n") && resolve(out))))
  const stopped = ended(host, listening)
  try {
    const said = await Promise.race([heard, stopped.then(({ err, out }) => `the host ended: ${out}${err}`)])
    const client = await ended(start(folder, ["--import", "tsx", "client.ts"]))
    const tested = await ended(start(folder, ["node_modules/vitest/vitest.mjs", "run"]))
    return { said, client, tested }
  } finally {
    host.kill("SIGTERM")
    await stopped
  }
}

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** How a program ends, and what it prints; `onOut` is called with all that it has printed to stdout so far. */
export const ended = (child: ChildProcess, onOut: (out: string) => void = () => {}): Promise<Ran> =>
  new Promise((resolve, reject) => {
    let out = ""
    let err = ""
    child.stdout?.on("data", (data) => onOut((out += data)))
    child.stderr?.on("data", (data) => (err += data))
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, out, err }))
  })

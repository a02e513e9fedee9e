/**
 * Which packages a use of this package needs: one list for the README's install lines, and for `npm run test:install`, which installs
 * each into an empty folder and runs a program of that use.
 */
import { readFileSync } from "node:fs"
import type { Manifest } from "./manifest.js"

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as Manifest
const ranges = manifest.peerDependencies ?? {}

/** A peer with the range of `package.json`, as it is typed: `effect@^3.22.2`. */
const peer = (name: string): string => {
  const range = ranges[name]
  if (range === undefined) throw new Error(`${name} is no peer of ${manifest.name}`)
  return `${name}@${range}`
}

export interface Install {
  /** What for. */
  readonly use: string
  /** The packages beside this one, each with its range. */
  readonly packages: ReadonlyArray<string>
}

const core = ["effect", "@effect/platform"]
const sqlite = ["@effect/sql-sqlite-node", "@effect/sql", "@effect/experimental"]

const install = (use: string, names: ReadonlyArray<string>): Install => ({
  use,
  packages: [...core, ...names].map(peer)
})

/** The fewest packages of each use. */
export const installs = {
  browser: install("client in a browser", []),
  client: install("client over WebSocket on Node", ["ws"]),
  host: install("host over WebSocket", ["@effect/platform-node", "ws"]),
  durable: install("host over WebSocket with a SQLite store", ["@effect/platform-node", "ws", ...sqlite]),
  stdio: install("client and host over stdio", ["@effect/platform-node", "@effect/cli"]),
  command: install("the arcp command", ["@effect/platform-node", "@effect/cli", "ws"]),
  jwt: install("host with signed JWTs", ["@effect/platform-node", "ws", "jose"])
} as const satisfies Readonly<Record<string, Install>>

/** The line that installs a use. */
export const installLine = ({ packages }: Install): string => ["npm install", manifest.name, ...packages].join(" ")

/** The versions of Node that `package.json` names are versions that its packages accept. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import * as semver from "semver"

const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "")

interface Package {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly engines?: { readonly node?: string }
}

const read = (folder: string): Package => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Package

/** The folder of a package, as one in `from` finds it. */
const folderOf = (name: string, from: string): string | undefined => {
  for (let at = from; at.startsWith(root); at = join(at, "..")) {
    const folder = join(at, "node_modules", name)
    if (existsSync(join(folder, "package.json"))) return folder
  }
  return undefined
}

const manifest = read(root)
const ours = manifest.engines?.node ?? ""

/** What a package of `node_modules` needs to be there. */
const needed = ({ dependencies, peerDependencies, peerDependenciesMeta }: Package): ReadonlyArray<string> => [
  ...Object.keys(dependencies ?? {}),
  ...Object.keys(peerDependencies ?? {}).filter((name) => peerDependenciesMeta?.[name]?.optional !== true)
]

/** These packages and all that they need: the range of Node of each that names one. */
const enginesOf = (names: ReadonlyArray<string>): ReadonlyMap<string, string> => {
  const engines = new Map<string, string>()
  const seen = new Set<string>()
  const visit = (name: string, from: string): void => {
    const folder = folderOf(name, from)
    if (folder === undefined || seen.has(folder)) return
    seen.add(folder)
    const found = read(folder)
    if (found.engines?.node !== undefined) engines.set(name, found.engines.node)
    for (const next of needed(found)) visit(next, folder)
  }
  for (const name of names) visit(name, root)
  return engines
}

const peers = enginesOf(Object.keys(manifest.peerDependencies ?? {}))
const tools = enginesOf(Object.keys(manifest.devDependencies ?? {}))

/** The least version of each part of a range, such as 20.19.0 and 22.12.0. */
const least = (range: string): ReadonlyArray<string> =>
  range.split("||").map((part) => semver.minVersion(part)?.version ?? `no version in ${part}`)

describe("engines", () => {
  it("each peer, and all that it needs, accepts the least version of Node that is named, and this one", () => {
    // Without these two the walk has not seen what is below the peers.
    expect([...peers.keys()]).toEqual(expect.arrayContaining(["undici", "better-sqlite3"]))
    const versions = [...least(ours), process.versions.node]
    expect(versions.filter((version) => !semver.satisfies(version, ours))).toEqual([])
    for (const [name, range] of peers) {
      expect([name, versions.filter((version) => !semver.satisfies(version, range))]).toEqual([name, []])
    }
  })

  it("so does each tool: what is named is what this repository is tested with", () => {
    expect([...tools.keys()]).toEqual(expect.arrayContaining(["oxlint", "vitest"]))
    for (const [name, range] of tools) {
      expect([name, least(ours).filter((version) => !semver.satisfies(version, range))]).toEqual([name, []])
    }
  })

  it("no version in between is named that the linter, the tool with the narrowest range, refuses", () => {
    expect(semver.subset(ours, tools.get("oxlint") ?? "")).toBe(true)
  })
})

/** What each command of the program loads: no more than it uses, since loading is most of the time until it listens. */
import { describe, expect, it } from "@effect/vitest"
import { buildSync, type Metafile } from "esbuild"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))

const loaded = (path: string): ReadonlyArray<string> => {
  const { metafile } = buildSync({
    absWorkingDir: root,
    entryPoints: [path],
    bundle: true,
    write: false,
    metafile: true,
    packages: "external",
    platform: "node",
    format: "esm",
    logLevel: "silent"
  })
  return reached(metafile.inputs, path)
}

/** What a module loads when it is imported, itself included; what it imports later, when it runs, is not followed. */
const reached = (inputs: Metafile["inputs"], from: string): ReadonlyArray<string> => {
  const all = new Set([from])
  for (const path of all) {
    for (const { external, kind, path: to } of inputs[path]?.imports ?? []) {
      if (kind !== "dynamic-import") all.add(external === true ? (/^(?:@[^/]+\/)?[^/]+/.exec(to)?.[0] ?? to) : to)
    }
  }
  return [...all]
}

/** Rooms and packages; what is part of Node is there anyway. */
const rooms = (paths: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...new Set(paths.map((path) => /^src\/([^/]+)/.exec(path)?.[1] ?? path))]
    .filter((name) => !name.startsWith("node:"))
    .toSorted()

describe("arcp loads", () => {
  const run = loaded("src/cli/run.ts")

  it("for its help, its version and the parsing of each command, no runtime and no client", () => {
    expect(rooms(run)).toEqual([
      "@effect/cli",
      "@effect/platform",
      "@effect/platform-node",
      "cli",
      "effect",
      "protocol"
    ])
    expect(run.filter((path) => path.startsWith("src/protocol/")).length).toBeLessThan(10)
  })

  it("for serve no client, and no package that a port or a store needs", () => {
    const serving = loaded("src/cli/serving.ts")
    expect(serving).toContain("src/runtime/ArcpRuntime.ts")
    expect(rooms(serving)).toEqual([
      "@effect/platform",
      "agent",
      "auth",
      "authority",
      "cli",
      "effect",
      "protocol",
      "runtime",
      "store",
      "transport"
    ])
    // It loads `undici`: only for the first request of an agent.
    expect(serving).not.toContain("src/agent/PinnedHttpClient.ts")
    expect(run).not.toContain("src/agent/PinnedHttpClient.ts")
  })

  it("for submit no runtime", () => {
    const submitting = loaded("src/cli/submitting.ts")
    expect(submitting).toContain("src/client/ArcpClient.ts")
    expect(rooms(submitting)).toEqual([
      "@effect/platform",
      "auth",
      "authority",
      "cli",
      "client",
      "effect",
      "protocol",
      "transport"
    ])
  })
})

import { describe, expect, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { countOf, inEach, named, type Passed, type Paths, ranIn, targets } from "../../scripts/passed.js"

const root = `${process.cwd().replaceAll("\\", "/")}/`

const pathsOf = (files: ReadonlyArray<Passed>) => files.map(({ path }) => path)

/** The files under a folder that ran a function of a name, and declare it. */
const declaring = (files: ReadonlyArray<Passed>, folder: string, name: string) =>
  files.filter(
    ({ functions, path }) =>
      path.startsWith(folder) &&
      functions.includes(name) &&
      new RegExp(`\\b${name}\\b`).test(readFileSync(path, "utf8"))
  )

const file = (path: string, ...functions: ReadonlyArray<string>): Passed => ({ path, functions, unnamed: 0 })

describe("the measurement of paths", () => {
  // In a process of its own: V8 counts the functions of everything that a process has loaded.
  it("sees the files that an event and a submit cannot do without, and no more of the runtime's than the targets allow", () => {
    const program = ["--import", "tsx", "scripts/paths.ts", "--json"]
    const { event, submit } = JSON.parse(
      execFileSync(process.execPath, program, { encoding: "utf8", timeout: 100_000 })
    ) as Paths
    expect(declaring(event, "src/runtime/", "log")).not.toEqual([])
    expect(declaring(event, "src/runtime/", "emit")).not.toEqual([])
    expect(declaring(event, "src/store/", "commitNow")).toHaveLength(1)
    expect(declaring(event, "src/protocol/", "fromText")).toEqual([])
    expect(declaring(submit, "src/protocol/", "fromText")).toHaveLength(1)
    expect(declaring(submit, "src/runtime/", "submit")).not.toEqual([])
    expect(declaring(submit, "src/store/", "commitNow")).toHaveLength(1)
    for (const passed of [event, submit]) {
      expect(pathsOf(passed)).toContain("src/transport/MemoryTransport.ts")
      expect(pathsOf(passed).filter((path) => !path.startsWith("src/"))).toEqual([])
      // Neither a handshake nor another store is part of them.
      expect(pathsOf(passed)).not.toContain("src/auth/Authenticator.ts")
      expect(pathsOf(passed)).not.toContain("src/store/SqlStore.ts")
    }
    // The files are named where there are too many.
    const counted = (act: keyof Paths, passed: ReadonlyArray<Passed>) => {
      const { runtime } = countOf(passed)
      return runtime <= targets[act] ? [] : pathsOf(passed).filter((path) => /^src\/runtime\/(?!kernel\/)/.test(path))
    }
    expect(counted("event", event)).toEqual([])
    expect(counted("submit", submit)).toEqual([])
  })

  const ran = (functionName: string, count: number, inner: ReadonlyArray<number> = []) => ({
    functionName,
    isBlockCoverage: true,
    ranges: [count, ...inner].map((n) => ({ startOffset: 0, endOffset: 8, count: n }))
  })
  const at = (path: string) => pathToFileURL(`${root}${path}`).href

  it("takes the files of src that ran something, by calls or by what went on", () => {
    const scripts = [
      { scriptId: "1", url: at("src/a.ts"), functions: [ran("called", 2), ran("idle", 0, [0])] },
      { scriptId: "2", url: `${at("src/b.ts")}?loaded`, functions: [ran("resumed", 0, [0, 1])] },
      { scriptId: "3", url: at("src/c.ts"), functions: [ran("idle", 0), ran("__name", 3)] },
      { scriptId: "4", url: at("scripts/d.ts"), functions: [ran("called", 1)] },
      { scriptId: "5", url: at("node_modules/src/e.js"), functions: [ran("called", 1)] },
      { scriptId: "6", url: "node:internal/src/f", functions: [ran("called", 1)] }
    ]
    expect(named(ranIn(scripts, root), () => "")).toEqual([file("src/a.ts", "called"), file("src/b.ts", "resumed")])
  })

  it("names functions as the loader does, and counts those that have no name", () => {
    const scripts = [{ scriptId: "1", url: at("src/a.ts"), functions: [ran("", 1)] }]
    expect(named(ranIn(scripts, root), () => `(x)=>{ },"kept");`)).toEqual([file("src/a.ts", "kept")])
    expect(named(ranIn(scripts, root), () => `(x)=>{ };`)).toEqual([{ path: "src/a.ts", functions: [], unnamed: 1 }])
  })

  it("counts the runtime without its kernel, and keeps what is in every measurement", () => {
    const files = ["src/runtime/a.ts", "src/runtime/kernel/b.ts", "src/runtime/log/c.ts", "src/store/d.ts"].map(
      (path) => file(path)
    )
    expect(countOf(files)).toEqual({ runtime: 2, kernel: 1, all: 4 })
    expect(pathsOf(inEach([files, files.slice(0, 3), files.slice(1)]))).toEqual([
      "src/runtime/kernel/b.ts",
      "src/runtime/log/c.ts"
    ])
    expect(inEach([])).toEqual([])
  })
})

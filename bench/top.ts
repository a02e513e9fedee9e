/**
 * Where a CPU profile's time went: the self time of functions, then of packages.
 *
 * `node bench/dist/top.js FILE.cpuprofile... [--top N]`
 */
import { readFileSync } from "node:fs"
import { basename, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

interface Profile {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly children?: ReadonlyArray<number>
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

const root = fileURLToPath(new URL("../../", import.meta.url))

/** Whose code a file is: a package's, Node's, this package's by its folder, or the engine's. */
const packageOf = (url: string): string => {
  if (url === "") return "engine"
  if (url.startsWith("node:")) return "node"
  const inside = url.split("/node_modules/").at(-1)!
  if (inside !== url)
    return inside
      .split("/")
      .slice(0, inside.startsWith("@") ? 2 : 1)
      .join("/")
  const own = relative(root, fileURLToPath(url)).split("/")
  return own.slice(0, Math.min(2, own.length - 1)).join("/")
}

const fileOf = (url: string): string =>
  url.startsWith("file:")
    ? url.split("/node_modules/").at(-1) === url
      ? relative(root, fileURLToPath(url))
      : url.split("/node_modules/").at(-1)!
    : url

const print = (title: string, times: ReadonlyMap<string, number>, total: number, top: number): void => {
  console.log(`\n${title}`)
  for (const [name, time] of [...times].toSorted((a, b) => b[1] - a[1]).slice(0, top)) {
    console.log(
      `${((time / total) * 100).toFixed(1).padStart(6)} %  ${(time / 1000).toFixed(0).padStart(7)} ms  ${name}`
    )
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { top: { type: "string", default: "40" } }
})
for (const path of positionals) {
  const profile = JSON.parse(readFileSync(path, "utf8")) as Profile
  const frames = new Map(profile.nodes.map(({ callFrame, id }) => [id, callFrame]))
  const callers = new Map(profile.nodes.flatMap(({ children, id }) => (children ?? []).map((child) => [child, id])))
  const titleOf = (id: number): string => {
    const { functionName, lineNumber, url } = frames.get(id)!
    const name = functionName === "" ? "(anonymous)" : functionName
    if (url !== "") return `${name}  ${fileOf(url)}:${lineNumber + 1}`
    // What has no file is told by who calls it.
    const caller = callers.get(id)
    return caller === undefined || frames.get(caller)!.functionName === "(root)" ? name : `${name} < ${titleOf(caller)}`
  }
  const functions = new Map<string, number>()
  const packages = new Map<string, number>()
  let busy = 0
  let idle = 0
  for (const [i, id] of profile.samples.entries()) {
    const time = profile.timeDeltas[i] ?? 0
    const { functionName, url } = frames.get(id)!
    if (functionName === "(idle)") {
      idle += time
      continue
    }
    busy += time
    const name = titleOf(id)
    functions.set(name, (functions.get(name) ?? 0) + time)
    const owner =
      url === "" ? (functionName === "(garbage collector)" ? "garbage collector" : "engine") : packageOf(url)
    packages.set(owner, (packages.get(owner) ?? 0) + time)
  }
  console.log(`${basename(path)}: busy ${(busy / 1000).toFixed(0)} ms, idle ${(idle / 1000).toFixed(0)} ms`)
  print("by package", packages, busy, Number.POSITIVE_INFINITY)
  print("by function", functions, busy, Number(values.top))
}

/** A tree that changes while it is used: by the job itself with guarded calls, and by another process. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import type { Check, Observed, Tools } from "./check.js"
import type { Peer } from "./peer.js"
import { answerOf } from "./values.js"

const item = "races in the tree"
const secret = "OUTSIDE"

interface Step {
  readonly op: string
  readonly path: string
  readonly to?: string
}

interface Scene {
  readonly peer: Peer
  /** Another session of the same principal. */
  readonly other: Peer
  /** The root of the lease. */
  readonly inside: string
  readonly outside: string
  readonly lease: Readonly<Record<string, ReadonlyArray<string>>>
}

const start = async (tools: Tools): Promise<Scene> => {
  const folder = tools.folder()
  const inside = join(folder, "in")
  const outside = join(folder, "outside")
  for (const directory of [inside, outside, join(outside, "sub")]) mkdirSync(directory)
  for (const name of ["data", "victim", "target", "sub/data", `name-${secret}`])
    writeFileSync(join(outside, name), secret)
  const child = tools.child({ program: "guarded", args: ["asked"] })
  const url = await child.address()
  const [peer, other] = [await tools.peer(url), await tools.peer(url)]
  return { peer, other, inside, outside, lease: { "fs.read": [`${inside}/**`], "fs.write": [`${inside}/**`] } }
}

/** What stands outside: names, sizes, modes and times. */
const outsideOf = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true })
    .map(String)
    .sort()
    .map((name) => {
      const { mode, mtimeMs, nlink, size } = lstatSync(join(directory, name))
      // A directory's time changes with what is made in it, which shows by itself.
      return existsSync(join(directory, name)) && lstatSync(join(directory, name)).isDirectory()
        ? name
        : `${name} ${size} bytes ${mode.toString(8)} ${nlink} links ${mtimeMs}`
    })

const changes = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...after.filter((one) => !before.includes(one)).map((one) => `made or changed outside: ${one}`),
  ...before
    .filter((one) => !after.some((other) => other.split(" ")[0] === one.split(" ")[0]))
    .map((one) => `removed outside: ${one}`)
]

/** A directory so deep that to check a path in it takes long. */
const deep = (inside: string): string => {
  const path = `${inside}/slow${"/s".repeat(400)}`
  mkdirSync(path, { recursive: true })
  return path
}

/**
 * The checked directory `a` is moved away; a link takes its place that leads inside when it is made; then the directory that
 * the link goes through is another one, and it leads outside.
 */
const swap = (inside: string): ReadonlyArray<Step> => [
  { op: "rename", path: `${inside}/a`, to: `${inside}/a2` },
  { op: "symlink", path: `${inside}/a`, to: "p/../../outside" },
  { op: "rename", path: `${inside}/p`, to: `${inside}/p2` },
  { op: "makeDirectory", path: `${inside}/p` }
]

/** One race of a job with itself, five times. `first` is what must not reach through the swapped directory. */
const itself = (
  name: string,
  first: (inside: string, slow: string) => Step,
  leaked: (scene: Scene, slow: string) => boolean,
  quick: boolean,
  together = true
): Check => ({
  item,
  name,
  quick,
  seconds: 25,
  run: async (tools) => {
    const scene = await start(tools)
    const { inside, lease, other, outside, peer } = scene
    const far = deep(inside)
    const before = outsideOf(outside)
    let reached = 0
    const ends: Array<string> = []
    for (let round = 0; round < 5; round++) {
      for (const left of ["a", "a2", "p", "p2", "tree"]) {
        if (existsSync(join(inside, left)) || readdirSync(inside).includes(left)) {
          renameSync(join(inside, left), join(inside, `${left}.${round}`))
        }
      }
      const slow = `${far}/${round}`
      mkdirSync(slow)
      mkdirSync(join(inside, "a"))
      writeFileSync(join(inside, "a/data"), "inside")
      mkdirSync(join(inside, "d1/d2/d3"), { recursive: true })
      mkdirSync(join(inside, "d1/outside"), { recursive: true })
      symlinkSync("d1/d2/d3", join(inside, "p"))
      mkdirSync(join(inside, "tree"))
      for (let i = 0; i < 60; i++) writeFileSync(join(inside, `tree/${i}`), "planted")
      // One job with two fibers, or two jobs whose roots overlap.
      const steps = [[first(inside, slow)], swap(inside)] as const
      const end = together
        ? await peer.run("races", { first: steps[0], second: steps[1] }, { lease }, 5_000)
        : (
            await Promise.all([
              peer.run("does", steps[0], { lease }, 5_000),
              other.run("does", steps[1], { lease }, 5_000)
            ])
          )[0]
      const outcomes = end?.type === "job.result" ? (end.payload.result as ReadonlyArray<unknown>) : [answerOf(end)]
      ends.push(String(outcomes.flat()[0]))
      if (leaked(scene, slow)) reached++
    }
    const wrong = changes(before, outsideOf(outside))
    return {
      held: reached === 0 && wrong.length === 0,
      observed:
        reached > 0 || wrong.length > 0
          ? `${reached} of 5 reached outside; ${wrong.slice(0, 3).join("; ")}`
          : `0 of 5 reached outside; the last outcome: ${ends.at(-1)}`
    }
  }
})

const contentOf = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "")

/** Another process swaps `sw` while a job uses it for 2.5 seconds. */
const swapped = (
  name: string,
  ops: (inside: string) => ReadonlyArray<Step>,
  judge: (scene: Scene, read: Readonly<Record<string, number>>) => ReadonlyArray<string>,
  quick: boolean
): Check => ({
  item,
  name,
  quick,
  run: async (tools) => {
    const scene = await start(tools)
    const { inside, lease, outside, peer } = scene
    mkdirSync(join(inside, "sw/sub"), { recursive: true })
    for (const file of ["data", "victim", "target", "sub/data"]) writeFileSync(join(inside, "sw", file), "inside")
    writeFileSync(join(inside, "own"), "own")
    symlinkSync(outside, join(inside, "waiting"))
    const before = outsideOf(outside)
    const swapper = tools.child({
      program: "swapper",
      args: [join(inside, "sw"), join(inside, "waiting"), "3500"],
      memory: 64
    })
    await swapper.report("ready", 5_000)
    const end = await peer.run("loops", { millis: 2_500, ops: ops(inside) }, { lease }, 8_000)
    if (end?.type !== "job.result") return { held: false, observed: `the job: ${answerOf(end)}` }
    const { done, read, refused } = end.payload.result as {
      readonly done: number
      readonly refused: number
      readonly read: Readonly<Record<string, number>>
    }
    const found = [...judge(scene, read), ...changes(before, outsideOf(outside))]
    const observed: Observed = {
      held: found.length === 0 && done > 0,
      observed: `${done} done, ${refused} refused; ${found.length === 0 ? "none outside" : found.slice(0, 3).join("; ")}`
    }
    return found.length > 3 ? { ...observed, observed: `${observed.observed}; ${found.length} in all` } : observed
  }
})

const leakedTexts = (_: Scene, read: Readonly<Record<string, number>>): ReadonlyArray<string> =>
  Object.entries(read)
    .filter(([text]) => text.includes(secret) || text === String(secret.length))
    .map(([text, times]) => `${JSON.stringify(text)} is read ${times} times`)

/** Copies of what is outside that came to stand inside. */
const leakedCopies = ({ inside }: Scene): ReadonlyArray<string> =>
  readdirSync(inside, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("/waiting") && entry.name.startsWith("got"))
    .filter((entry) => contentOf(join(entry.parentPath, entry.name)) === secret)
    .map((entry) => `a copy of what is outside: ${entry.name}`)

export const races: ReadonlyArray<Check> = [
  itself(
    "a job renames the directory away that its own copyFile has checked",
    (inside, slow) => ({ op: "copyFile", path: `${inside}/a/data`, to: `${slow}/copied` }),
    (_, slow) => contentOf(`${slow}/copied`) === secret,
    true
  ),
  itself(
    "a job renames the directory away that another job's copyFile has checked",
    (inside, slow) => ({ op: "copyFile", path: `${inside}/a/data`, to: `${slow}/copied` }),
    (_, slow) => contentOf(`${slow}/copied`) === secret,
    false,
    false
  ),
  itself(
    "a job renames a tree into the directory that it swaps meanwhile",
    (inside) => ({ op: "rename", path: `${inside}/tree`, to: `${inside}/a/planted` }),
    ({ outside }) => existsSync(join(outside, "planted")),
    false
  ),
  itself(
    "a job links a file of the directory that it swaps meanwhile",
    (inside, slow) => ({ op: "link", path: `${inside}/a/data`, to: `${slow}/linked` }),
    (_, slow) => contentOf(`${slow}/linked`) === secret,
    false
  ),
  swapped(
    "another process swaps a directory for a link; the job reads",
    (inside) =>
      ["readFile", "stream", "readFile", "readDirectory", "stat", "readFile"].map((op) => ({
        op,
        path: op === "readDirectory" ? `${inside}/sw` : `${inside}/sw/data`
      })),
    leakedTexts,
    true
  ),
  swapped(
    "another process swaps a directory for a link; the job copies out of it",
    (inside) => [
      { op: "copyFile", path: `${inside}/sw/data`, to: `${inside}/got-a#` },
      { op: "link", path: `${inside}/sw/target`, to: `${inside}/got-b#` },
      { op: "rename", path: `${inside}/sw/victim`, to: `${inside}/got-c#` },
      { op: "copy", path: `${inside}/sw/sub`, to: `${inside}/got-d#` }
    ],
    leakedCopies,
    false
  ),
  swapped(
    "another process swaps a directory for a link; the job writes, makes and renames into it",
    (inside) => [
      { op: "writeFile", path: `${inside}/sw/w#` },
      { op: "makeDirectory", path: `${inside}/sw/m#` },
      { op: "copyFile", path: `${inside}/own`, to: `${inside}/sw/c#` },
      { op: "symlink", path: `${inside}/sw/l#`, to: "data" },
      { op: "link", path: `${inside}/own`, to: `${inside}/sw/h#` },
      { op: "rename", path: `${inside}/got`, to: `${inside}/sw/r#` },
      { op: "writeFile", path: `${inside}/got` }
    ],
    () => [],
    false
  ),
  swapped(
    "another process swaps a directory for a link; the job removes, truncates and changes",
    (inside) => [
      { op: "truncate", path: `${inside}/sw/target` },
      { op: "chmod", path: `${inside}/sw/data` },
      { op: "utimes", path: `${inside}/sw/data` },
      { op: "sink", path: `${inside}/sw/target` },
      { op: "remove", path: `${inside}/sw/victim` },
      { op: "remove", path: `${inside}/sw/sub` }
    ],
    () => [],
    false
  )
]

import { createHash } from "node:crypto"
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { it } from "@effect/vitest"
import { Effect, type Scope, Stream } from "effect"
import { GuardedFileSystem } from "../../src/agent/index.js"
import { NodeFiles } from "../../src/agent/node.js"
import type { WireLease } from "../../src/protocol/Fields.js"
import { gateOf } from "./gates.js"

/** Where Node's driver runs. */
export const isLinux: boolean = process.platform === "linux"

/** A real directory that goes with the scope, by its real path. */
export const temporaryRoot = Effect.acquireRelease(
  Effect.sync(() => realpathSync(mkdtempSync(join(tmpdir(), "arcp-guard-")))),
  (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
)

/** Everything below a directory: what it is, what it holds, when and how it was changed. */
export const snapshot = (root: string): string => {
  const lines: Array<string> = []
  const visit = (path: string) => {
    const info = lstatSync(path)
    const what = info.isSymbolicLink()
      ? `-> ${readlinkSync(path)}`
      : info.isDirectory()
        ? "directory"
        : createHash("sha256").update(readFileSync(path)).digest("hex")
    lines.push(`${path} ${info.mode} ${info.uid} ${info.nlink} ${info.mtimeMs} ${what}`)
    if (info.isDirectory()) for (const name of readdirSync(path).toSorted()) visit(join(path, name))
  }
  visit(root)
  return lines.join("\n")
}

/**
 * `in`, which the lease is to cover, and `out`, which it is not, with every kind of link from one to the other.
 */
export const makeTree = (root: string): void => {
  for (const directory of ["in/sub/deep", "in/more", "out/sub", "in-look-alike"])
    mkdirSync(join(root, directory), { recursive: true })
  const files = {
    "in/a": "alpha",
    "in/sub/b": "beta",
    "in/sub/deep/c": "gamma",
    "out/secret": "secret",
    "out/sub/s": "deep secret",
    "in-look-alike/x": "x"
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text)
  const links = {
    "in/to-a": "a",
    "in/to-sub": "sub",
    "in/to-secret": join(root, "out/secret"),
    "in/to-out": join(root, "out"),
    "in/relative-out": "../out",
    "in/twice-out": "relative-out/sub",
    "in/through": "to-out/../out/secret",
    "in/dangling-out": join(root, "out/missing"),
    "in/dangling-in": "missing",
    "in/dangling-through": "to-out/sub/../missing",
    "in/loop": "loop",
    "in/loop-a": "loop-b",
    "in/loop-b": "loop-a"
  }
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(root, name))
}

/** A watch that ends at once, where it is not about what is seen. */
export const watchesNothing = (raw: FileSystem.FileSystem): FileSystem.FileSystem => ({
  ...raw,
  watch: (path) => Stream.drain(Stream.fromEffect(raw.stat(path)))
})

/** A way to guard a file system. */
export type Guarding = typeof GuardedFileSystem.make

/** A guarded file system over a real tree. `$` in patterns is the tree's root. */
export const world = (
  lease: WireLease = { "fs.read": ["$/in/**"], "fs.write": ["$/in/**"] },
  options?: GuardedFileSystem.GuardedFileSystemOptions,
  wrap: (raw: FileSystem.FileSystem) => FileSystem.FileSystem = watchesNothing,
  make: Guarding = GuardedFileSystem.make
) =>
  Effect.gen(function* () {
    const root = yield* temporaryRoot
    makeTree(root)
    const raw = yield* FileSystem.FileSystem
    const gate = gateOf(
      Object.fromEntries(
        Object.entries(lease).map(([key, globs]) => [key, globs.map((glob) => glob.replace("$", root))])
      )
    )
    return { root, raw, gate, fs: make(wrap(raw), gate, { cwd: join(root, "in"), ...options }) }
  })

/** Both ways to guard a file system; where there is no driver, the portable one. */
export const guardings: ReadonlyArray<readonly [name: string, make: Guarding]> = [
  ["GuardedFileSystem", GuardedFileSystem.make],
  ...(isLinux ? [["NodeFiles", NodeFiles.make] as const] : [])
]

/** How many descriptors this process has open. */
export const descriptors = (): number => readdirSync("/proc/self/fd").length

/** A test with the scope and the real file system that {@link world} needs. */
export const run = (
  name: string,
  body: Effect.Effect<void, unknown, FileSystem.FileSystem | Scope.Scope>,
  timeout?: number
) => it.scopedLive(name, () => body.pipe(Effect.provide(NodeFileSystem.layer)), timeout)

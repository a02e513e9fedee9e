import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { describe, expect } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, type Scope, Stream } from "effect"
import type { Gate } from "../../src/agent/index.js"
import { gateOf } from "./gates.js"
import { descriptors, guardings, isLinux, makeTree, run, snapshot, temporaryRoot } from "./trees.js"

type Operation = (fs: FileSystem.FileSystem) => Effect.Effect<unknown, PlatformError, Scope.Scope>

const bytes = new TextEncoder().encode("planted")

/** What is done below `race` while it is swapped. The path goes by a link, so that the gate is asked twice. */
const operations: Readonly<Record<string, Operation>> = {
  readFile: (fs) => fs.readFileString("to-race/s"),
  stream: (fs) => Stream.mkString(Stream.decodeText(fs.stream("to-race/s"))),
  "open and read": (fs) =>
    Effect.flatMap(fs.open("to-race/s"), (file) =>
      Effect.map(file.readAlloc(100), (read) => new TextDecoder().decode(Option.getOrUndefined(read)))
    ),
  "writeFile of what exists": (fs) => fs.writeFile("to-race/s", bytes),
  "writeFile of what is new": (fs) => fs.writeFile("to-race/new", bytes),
  append: (fs) => fs.writeFile("to-race/s", bytes, { flag: "a" }),
  "open and write": (fs) => Effect.flatMap(fs.open("to-race/s", { flag: "r+" }), (file) => file.writeAll(bytes)),
  sink: (fs) => Stream.run(Stream.make(bytes), fs.sink("to-race/new")),
  truncate: (fs) => fs.truncate("to-race/s"),
  chmod: (fs) => fs.chmod("to-race/s", 0o600),
  chown: (fs) => fs.chown("to-race/s", process.getuid?.() ?? 0, process.getgid?.() ?? 0),
  utimes: (fs) => fs.utimes("to-race/s", 5, 5),
  stat: (fs) => Effect.map(fs.stat("to-race/s"), ({ size }) => (size === 13n ? "a deep secret" : "mine")),
  exists: (fs) => fs.exists("to-race/s"),
  readDirectory: (fs) => Effect.map(fs.readDirectory("to-race"), (names) => names.toSorted().join()),
  "recursive readDirectory": (fs) =>
    Effect.map(fs.readDirectory("to-race", { recursive: true }), (names) => names.join()),
  realPath: (fs) => fs.realPath("to-race/s"),
  readLink: (fs) => fs.readLink("to-race/l"),
  "copyFile from it": (fs) => Effect.zipRight(fs.copyFile("to-race/s", "copied"), fs.readFileString("copied")),
  "copyFile into it": (fs) => fs.copyFile("a", "to-race/new"),
  "copy from it": (fs) => Effect.zipRight(fs.copy("to-race", "tree"), fs.readFileString("tree/s")),
  "copy into it": (fs) => fs.copy("sub", "to-race/tree"),
  "rename from it": (fs) => Effect.zipRight(fs.rename("to-race/s", "moved"), fs.readFileString("moved")),
  "rename into it": (fs) => fs.rename("sub", "to-race/tree"),
  "link from it": (fs) => Effect.zipRight(fs.link("to-race/s", "linked"), fs.readFileString("linked")),
  "link into it": (fs) => fs.link("a", "to-race/new"),
  symlink: (fs) => fs.symlink("s", "to-race/new"),
  makeDirectory: (fs) => fs.makeDirectory("to-race/new"),
  "recursive makeDirectory": (fs) => fs.makeDirectory("to-race/new/deep", { recursive: true }),
  remove: (fs) => fs.remove("to-race/s"),
  "recursive remove": (fs) => fs.remove("to-race/d", { recursive: true }),
  makeTempDirectory: (fs) => fs.makeTempDirectory({ directory: "to-race" }),
  makeTempFile: (fs) => fs.makeTempFile({ directory: "to-race" })
}

/** `in/race` that is harmless, and outside what would be reached if it were a link to `out/sub`. */
const prepare = (root: string): void => {
  makeTree(root)
  mkdirSync(join(root, "in/race/d"), { recursive: true })
  mkdirSync(join(root, "out/sub/d"))
  for (const [directory, text] of [
    ["in/race", "mine"],
    ["out/sub", "a deep secret"]
  ] as const) {
    writeFileSync(join(root, directory, "s"), text)
    writeFileSync(join(root, directory, "d/x"), text)
    symlinkSync(text === "mine" ? "s" : "secret-target", join(root, directory, "l"))
  }
  writeFileSync(join(root, "out/sub/secret-name"), "")
  symlinkSync("race", join(root, "in/to-race"))
}

/** What an operation has returned tells nothing of the outside. */
const tellsNothing = (exit: Exit.Exit<unknown, unknown>): void => {
  const text = Exit.isSuccess(exit) ? String(exit.value) : ""
  expect(text).not.toContain("secret")
  expect(text).not.toContain("/out")
}

for (const [name, make] of guardings) {
  describe(`${name}, a job that races itself`, () => {
    for (const [what, operation] of Object.entries(operations)) {
      run(
        `1.0 §14 ${what}: a directory that is swapped by guarded calls between check and use leads nowhere outside`,
        Effect.gen(function* () {
          const root = yield* temporaryRoot
          prepare(root)
          const raw = yield* FileSystem.FileSystem
          const lease = { "fs.read": [`${root}/in/**`], "fs.write": [`${root}/in/**`] }
          const gate = gateOf(lease)
          const other = make(raw, gateOf(lease), { cwd: join(root, "in") })
          // A link that leads inside as long as `way` is a link, and to the outside once it is a directory.
          yield* other.symlink("sub/deep", "way")
          yield* other.symlink("way/../../out/sub", "leak")
          const checking = yield* Deferred.make<void>()
          const swapped = yield* Deferred.make<void>()
          const slow: Gate = {
            ...gate,
            // The check of what the link leads to takes as long as the others need.
            authorize: (capability, target) =>
              target.startsWith(`${root}/in/race`)
                ? Effect.zipRight(
                    Effect.zipRight(Deferred.succeed(checking, undefined), Deferred.await(swapped)),
                    gate.authorize(capability, target)
                  )
                : gate.authorize(capability, target)
          }
          const fs = make(raw, slow, { cwd: join(root, "in") })
          const before = snapshot(join(root, "out"))
          const racing = yield* Effect.fork(Effect.exit(Effect.scoped(operation(fs))))
          yield* Deferred.await(checking)
          yield* other.rename("race", "away")
          yield* other.rename("leak", "race")
          yield* other.rename("way", "gone")
          yield* other.makeDirectory("way")
          expect(readFileSync(join(root, "in/race/s"), "utf8")).toBe("a deep secret")
          yield* Deferred.succeed(swapped, undefined)
          tellsNothing(yield* Fiber.join(racing))
          expect(snapshot(join(root, "out"))).toBe(before)
        })
      )
    }
  })
}

/** Swaps `in/race` and a link to `out/sub`, and `in/race/s` and a link to `out/sub/s`, until it is told to end. */
const swapper = `
const fs = require("node:fs"), { join } = require("node:path")
const root = process.argv[1], end = Date.now() + 60_000
const race = join(root, "in/race"), away = join(root, "in/away"), link = join(root, "in/link")
const file = join(race, "s"), kept = join(race, "kept"), toFile = join(race, "to-file")
const quietly = (act) => { try { act() } catch {} }
fs.symlinkSync(join(root, "out/sub"), link)
process.stdout.write("ready")
for (let turn = 0; turn < 1e7 && Date.now() < end; turn++) {
  // An operation may have made the directory anew while it was away.
  try { fs.renameSync(race, away) } catch { quietly(() => fs.lstatSync(away) && fs.rmSync(race, { recursive: true })) }
  quietly(() => fs.renameSync(link, race))
  quietly(() => fs.renameSync(race, link))
  quietly(() => fs.renameSync(away, race))
  if (turn % 4 === 0) {
    quietly(() => fs.symlinkSync(join(root, "out/sub/s"), toFile))
    quietly(() => fs.renameSync(toFile, file))
    quietly(() => fs.writeFileSync(kept, "mine"))
    quietly(() => fs.renameSync(kept, file))
  }
}
`

const swapping = (root: string) =>
  Effect.acquireRelease(
    Effect.async<ChildProcess>((resume) => {
      const child = spawn(process.execPath, ["-e", swapper, root], { stdio: ["ignore", "pipe", "ignore"] })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
    }),
    (child) =>
      Effect.async<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )

/** Each of these so often beside the process that swaps. */
const rounds = 20

describe.skipIf(!isLinux)("NodeFiles, beside a process that swaps directories and links", () => {
  run(
    "1.0 §14 no content leaks, nothing lands outside, and no descriptor is left open",
    Effect.gen(function* () {
      const root = yield* temporaryRoot
      prepare(root)
      const [, make] = guardings.at(-1)!
      const gate = gateOf({ "fs.read": [`${root}/in/**`], "fs.write": [`${root}/in/**`] })
      const fs = make(yield* FileSystem.FileSystem, gate, { cwd: join(root, "in") })
      const before = snapshot(join(root, "out"))
      const open = descriptors()
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* swapping(root)
          for (let round = 0; round < rounds; round++) {
            for (const [what, operation] of Object.entries(operations)) {
              const exit = yield* Effect.exit(Effect.scoped(operation(fs)))
              expect([what, String(Exit.isSuccess(exit) ? exit.value : "")].join()).not.toContain("secret")
            }
            for (const made of ["tree", "copied", "moved", "linked"])
              rmSync(join(root, "in", made), { recursive: true, force: true })
            for (const name of ["d", "sub"]) mkdirSync(join(root, "in/sub", name), { recursive: true })
          }
        })
      )
      expect(snapshot(join(root, "out"))).toBe(before)
      expect(descriptors()).toBe(open)
    }),
    120_000
  )
})

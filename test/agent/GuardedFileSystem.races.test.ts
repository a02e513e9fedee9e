import { existsSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { FileSystem } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, type Scope, Stream } from "effect"
import { refused } from "./gates.js"
import { run, snapshot, world } from "./trees.js"
import { runs, within } from "../support/properties.js"

const bytes = new TextEncoder().encode("new")

describe("GuardedFileSystem, races", () => {
  run(
    "1.0 §14 a file that was swapped for a link while it was opened is neither read nor written",
    Effect.gen(function* () {
      const open = new Set<FileSystem.File>()
      // Between check and use, somebody puts a link to the outside in the file's place.
      const swap = (path: string) => {
        rmSync(path, { force: true })
        symlinkSync(`${path.slice(0, path.indexOf("/in/"))}/out/secret`, path)
      }
      const { fs, root } = yield* world(undefined, undefined, (raw) => ({
        ...raw,
        open: (path, options) =>
          Effect.suspend(() => (swap(path), raw.open(path, options))).pipe(
            Effect.tap((file) =>
              Effect.zipRight(
                Effect.sync(() => open.add(file)),
                Effect.addFinalizer(() => Effect.sync(() => open.delete(file)))
              )
            )
          )
      }))
      const before = snapshot(join(root, "out"))
      const uses: ReadonlyArray<Effect.Effect<unknown, PlatformError, Scope.Scope>> = [
        fs.readFile("a"),
        fs.readFileString("sub/b"),
        fs.writeFile("a", bytes),
        fs.writeFileString("new", "x"),
        Stream.runDrain(fs.stream("a")),
        fs.open("a", { flag: "r+" }),
        fs.open("a", { flag: "a" })
      ]
      for (const effect of uses) {
        yield* refused(effect)
        // Closed at once, though the scope of this test is open.
        expect(open.size).toBe(0)
      }
      expect(snapshot(join(root, "out"))).toBe(before)
    })
  )

  run(
    "1.0 §14 a directory that was swapped for a link while a file was opened is noticed, also when it is swapped back",
    Effect.gen(function* () {
      const { fs, root } = yield* world(undefined, undefined, (raw) => ({
        ...raw,
        open: (path, options) =>
          Effect.suspend(() => {
            renameSync(join(root, "in/sub"), join(root, "in/kept"))
            symlinkSync("../out/sub", join(root, "in/sub"))
            return raw.open(path, options)
          }).pipe(
            Effect.ensuring(
              Effect.sync(() => {
                rmSync(join(root, "in/sub"))
                renameSync(join(root, "in/kept"), join(root, "in/sub"))
              })
            )
          )
      }))
      writeFileSync(join(root, "in/sub/s"), "mine")
      const before = readFileSync(join(root, "out/sub/s"), "utf8")
      yield* refused(fs.readFile("sub/s"))
      yield* refused(fs.writeFile("sub/s", bytes))
      expect(readFileSync(join(root, "out/sub/s"), "utf8")).toBe(before)
    })
  )
})

describe("GuardedFileSystem, random programs", () => {
  const name = fc.constantFrom(
    "a",
    "b",
    "sub",
    "more",
    "x",
    "to-out",
    "to-secret",
    "to-sub",
    "dangling-out",
    "loop",
    "deep",
    "..",
    ".",
    "t"
  )
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"))
  const target = fc.oneof(
    path,
    path.map((text) => `../${text}`),
    fc.constantFrom("../out", "../out/secret", "/etc", "to-out/sub", "to-out/../out")
  )
  const command = fc.record({
    kind: fc.constantFrom(
      "write",
      "append",
      "mkdir",
      "symlink",
      "link",
      "rename",
      "copy",
      "copyFile",
      "remove",
      "chmod",
      "utimes",
      "truncate",
      "sink",
      "temp"
    ),
    one: path,
    two: target
  })

  const perform = (fs: FileSystem.FileSystem, { kind, one, two }: { kind: string; one: string; two: string }) => {
    switch (kind) {
      case "write":
        return fs.writeFileString(one, two)
      case "append":
        return fs.writeFileString(one, two, { flag: "a" })
      case "mkdir":
        return fs.makeDirectory(one, { recursive: true })
      case "symlink":
        return fs.symlink(two, one)
      case "link":
        return fs.link(one, two)
      case "rename":
        return fs.rename(one, two)
      case "copy":
        return fs.copy(one, two, { overwrite: true })
      case "copyFile":
        return fs.copyFile(one, two)
      case "remove":
        return fs.remove(one, { recursive: true })
      case "chmod":
        return fs.chmod(one, 0o700)
      case "utimes":
        return fs.utimes(one, 5, 5)
      case "truncate":
        return fs.truncate(one)
      case "sink":
        return Stream.run(Stream.make(bytes), fs.sink(one))
      default:
        return fs.makeTempFile({ directory: one })
    }
  }

  it("1.0 §14 no sequence of operations touches anything outside of the lease", { timeout: within(120_000) }, () =>
    fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 25 }), (commands) =>
        Effect.gen(function* () {
          const { fs, root } = yield* world()
          const outside = () => snapshot(join(root, "out")) + snapshot(join(root, "in-look-alike"))
          const before = outside()
          for (const one of commands) yield* Effect.exit(perform(fs, one))
          expect(outside()).toBe(before)
          // Nor does anything that can be read now hold what was outside.
          const names = yield* Effect.orElseSucceed(fs.readDirectory(".", { recursive: true }), () => [])
          for (const file of names) {
            const text = yield* Effect.orElseSucceed(fs.readFileString(file), () => "")
            expect(["secret", "deep secret"]).not.toContain(text)
          }
        }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer), Effect.runPromise)
      ),
      { numRuns: runs(150) }
    )
  )

  it("1.0 §14 links that somebody else strews change nothing about it", { timeout: within(120_000) }, () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(command, path, target), { minLength: 3, maxLength: 12 }), (steps) =>
        Effect.gen(function* () {
          const { fs, root } = yield* world()
          const outside = () => snapshot(join(root, "out"))
          const before = outside()
          for (const [one, where, to] of steps) {
            // Where a stranger's links come to stand inside; what they lead to is another matter.
            const place = join(root, "in", where)
            const parent = existsSync(dirname(place)) ? realpathSync.native(dirname(place)) : ""
            if (`${parent}/`.startsWith(`${root}/in/`)) yield* Effect.ignore(Effect.try(() => symlinkSync(to, place)))
            yield* Effect.exit(perform(fs, one))
          }
          expect(outside()).toBe(before)
        }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer), Effect.runPromise)
      ),
      { numRuns: runs(100) }
    )
  )
})

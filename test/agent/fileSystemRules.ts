import {
  appendFileSync,
  existsSync,
  lstatSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { FileSystem } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { describe, expect } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Queue, type Scope, Stream } from "effect"
import { deniedCause } from "../../src/agent/Denied.js"
import { failure, gateOf, refused } from "./gates.js"
import { type Guarding, makeTree, run, snapshot, temporaryRoot, watchesNothing, world as worldWith } from "./trees.js"

type Operation = (fs: FileSystem.FileSystem, path: string) => Effect.Effect<unknown, PlatformError, Scope.Scope>

const bytes = new TextEncoder().encode("new")

/** What a method does to one path; `creates` where the path must not exist before. */
const methods: Readonly<
  Record<
    Exclude<keyof FileSystem.FileSystem, symbol>,
    { readonly op: Operation; readonly creates?: boolean; readonly directory?: boolean }
  >
> = {
  access: { op: (fs, path) => fs.access(path) },
  copy: { op: (fs, path) => fs.copy(path, `${path}.copy`) },
  copyFile: { op: (fs, path) => fs.copyFile(path, `${path}.copy`) },
  chmod: { op: (fs, path) => fs.chmod(path, 0o600) },
  chown: { op: (fs, path) => fs.chown(path, process.getuid?.() ?? 0, process.getgid?.() ?? 0) },
  exists: { op: (fs, path) => fs.exists(path) },
  link: { op: (fs, path) => fs.link(path, `${path}.link`) },
  makeDirectory: { op: (fs, path) => fs.makeDirectory(path), creates: true },
  makeTempDirectory: { op: (fs, directory) => fs.makeTempDirectory({ directory, prefix: "t-" }), directory: true },
  makeTempDirectoryScoped: { op: (fs, directory) => fs.makeTempDirectoryScoped({ directory }), directory: true },
  makeTempFile: { op: (fs, directory) => fs.makeTempFile({ directory, suffix: ".txt" }), directory: true },
  makeTempFileScoped: { op: (fs, directory) => fs.makeTempFileScoped({ directory }), directory: true },
  open: { op: (fs, path) => fs.open(path) },
  readDirectory: { op: (fs, path) => fs.readDirectory(path, { recursive: true }), directory: true },
  readFile: { op: (fs, path) => fs.readFile(path) },
  readFileString: { op: (fs, path) => fs.readFileString(path) },
  readLink: {
    op: (fs, path) =>
      Effect.catchTag(fs.readLink(path), "SystemError", (e) => (e.reason === "Unknown" ? Effect.void : Effect.fail(e)))
  },
  realPath: { op: (fs, path) => fs.realPath(path) },
  remove: { op: (fs, path) => fs.remove(path) },
  rename: { op: (fs, path) => fs.rename(path, `${path}.moved`) },
  sink: { op: (fs, path) => Stream.run(Stream.make(bytes), fs.sink(path)) },
  stat: { op: (fs, path) => fs.stat(path) },
  stream: { op: (fs, path) => Stream.runDrain(fs.stream(path)) },
  symlink: { op: (fs, path) => fs.symlink("a", path), creates: true },
  truncate: { op: (fs, path) => fs.truncate(path, 1) },
  utimes: { op: (fs, path) => fs.utimes(path, 1, 1) },
  watch: { op: (fs, path) => Stream.runDrain(fs.watch(path)) },
  writeFile: { op: (fs, path) => fs.writeFile(path, bytes) },
  writeFileString: { op: (fs, path) => fs.writeFileString(path, "new") }
}

/** Methods whose path is the entry itself: what a link leads to does not matter to them. */
const onTheEntry = new Set(["readLink", "remove", "rename", "symlink"])

/** The rules of the guarded file system, which hold however it reaches its files. */
export const fileSystemRules = (name: string, make: Guarding): void => {
  const world = (
    lease?: Parameters<typeof worldWith>[0],
    options?: Parameters<typeof worldWith>[1],
    wrap: Parameters<typeof worldWith>[2] = watchesNothing
  ) => worldWith(lease, options, wrap, make)

  describe(`${name}, every method`, () => {
    run(
      "§9.3 the table of methods is the platform's interface",
      Effect.gen(function* () {
        expect(Object.keys(methods).toSorted()).toEqual(Object.keys(yield* FileSystem.FileSystem).toSorted())
        const { fs } = yield* world()
        expect(Object.keys(fs).toSorted()).toEqual(Object.keys(methods).toSorted())
      })
    )

    for (const [name, { creates, directory, op }] of Object.entries(methods)) {
      const inside = creates ? "in/new" : directory ? "in/more" : "in/a"

      run(
        `§9.3 ${name} works inside, by absolute, relative and roundabout paths`,
        Effect.gen(function* () {
          const { fs, gate, root } = yield* world()
          yield* op(fs, join(root, inside))
          expect(gate.denied).toEqual([])
          expect(gate.allowed.length).toBeGreaterThan(0)
          for (const path of [inside.slice(3), `./sub/..//${inside.slice(3)}`]) {
            const other = yield* world()
            yield* op(other.fs, path)
            expect(other.gate.denied).toEqual([])
          }
        })
      )

      run(
        `§9.3 ${name} is refused outside and leaves no trace`,
        Effect.gen(function* () {
          const { fs, gate, root } = yield* world()
          const before = snapshot(root)
          const target = creates ? "out/new" : directory ? "out/sub" : "out/secret"
          for (const path of [
            join(root, target),
            `../${target}`,
            `${root}/in/../${target}`,
            `${root}/in-look-alike/x`,
            "/"
          ]) {
            const error = (yield* refused(Effect.scoped(op(fs, path)))) as PlatformError
            expect(error).toMatchObject({ _tag: "SystemError", reason: "PermissionDenied", module: "FileSystem" })
            if (error._tag === "SystemError") expect(error.pathOrDescriptor).toContain(directory ? "" : path)
          }
          // Whether something is there makes no difference.
          const there = yield* refused(Effect.scoped(op(fs, `${root}/out/secret`)))
          const notThere = yield* refused(Effect.scoped(op(fs, `${root}/out/nothing`)))
          expect(String(notThere).replaceAll("nothing", "secret")).toBe(String(there))
          expect(gate.denied.length).toBeGreaterThan(6)
          expect(snapshot(root)).toBe(before)
        })
      )

      run(
        `1.0 §14 ${name} is refused through links and by odd spellings`,
        Effect.gen(function* () {
          const { fs, root } = yield* world()
          const before = snapshot(root)
          const through = [
            "in/to-out/secret",
            "in/relative-out/sub/s",
            "in/twice-out/s",
            "in/to-out/nothing",
            "in/dangling-out/x",
            "in/to-out/new/deeper"
          ]
          const final = [
            "in/to-secret",
            "in/to-out",
            "in/twice-out",
            "in/through",
            "in/dangling-out",
            "in/dangling-through"
          ]
          for (const path of onTheEntry.has(name) ? through : [...through, ...final]) {
            yield* refused(Effect.scoped(op(fs, join(root, path))))
          }
          for (const path of [
            "in/\0a",
            "in/..\\out\\secret",
            "in/%2e%2e/out/secret",
            "in/..%2fout",
            "in/%252e%252e/out",
            "in/．．/out",
            "in/‥/out/\ud800"
          ]) {
            yield* refused(Effect.scoped(op(fs, `${root}/${path}`)))
          }
          yield* refused(Effect.scoped(op(fs, `${root}/in/${"x".repeat(5000)}`)))
          expect(snapshot(root)).toBe(before)
        })
      )

      run(
        `§9.3 ${name} needs a capability that the lease names`,
        Effect.gen(function* () {
          const empty = yield* world({})
          yield* refused(Effect.scoped(op(empty.fs, join(empty.root, inside))))
          expect(empty.gate.denied).toHaveLength(1)
          expect(empty.gate.denied[0]).toMatch(/^fs\.(read|write) fs\.(read|write) is not in the lease$/)
          const expired = yield* world()
          expired.gate.expired = true
          const error = failure(yield* Effect.exit(Effect.scoped(op(expired.fs, join(expired.root, inside)))))
          expect(deniedCause(error)?.code).toBe("LEASE_EXPIRED")
        })
      )
    }

    const needs: Readonly<Record<string, "r" | "w" | "rw">> = {
      access: "r",
      copy: "rw",
      copyFile: "rw",
      chmod: "w",
      chown: "w",
      exists: "r",
      link: "rw",
      makeDirectory: "w",
      makeTempDirectory: "w",
      makeTempDirectoryScoped: "w",
      makeTempFile: "w",
      makeTempFileScoped: "w",
      open: "r",
      readDirectory: "r",
      readFile: "r",
      readFileString: "r",
      readLink: "r",
      realPath: "r",
      remove: "w",
      rename: "rw",
      sink: "w",
      stat: "r",
      stream: "r",
      symlink: "rw",
      truncate: "w",
      utimes: "w",
      watch: "r",
      writeFile: "w",
      writeFileString: "w"
    }

    for (const [name, need] of Object.entries(needs)) {
      run(
        `§9.2 ${name} needs ${{ r: "fs.read", w: "fs.write", rw: "fs.read and fs.write" }[need]}`,
        Effect.gen(function* () {
          const { creates, directory, op } = methods[name as keyof typeof methods]
          const path = creates ? "new" : directory ? "more" : "a"
          const reading = yield* world({ "fs.read": ["$/in/**"] })
          const writing = yield* world({ "fs.write": ["$/in/**"] })
          const outcome = (effect: Effect.Effect<unknown, PlatformError, Scope.Scope>) =>
            Effect.map(Effect.exit(effect), Exit.isSuccess)
          expect(yield* outcome(op(reading.fs, path))).toBe(need === "r")
          expect(yield* outcome(op(writing.fs, path))).toBe(need === "w")
        })
      )
    }

    run(
      "§9.2 open needs what its flag lets it do",
      Effect.gen(function* () {
        const flags: ReadonlyArray<readonly [string, "r" | "w" | "rw"]> = [
          ["r", "r"],
          ["r+", "rw"],
          ["w", "w"],
          ["wx", "w"],
          ["w+", "rw"],
          ["wx+", "rw"],
          ["a", "w"],
          ["ax", "w"],
          ["a+", "rw"],
          ["ax+", "rw"],
          ["rs+", "rw"],
          ["as", "rw"]
        ]
        for (const [flag, need] of flags) {
          const options = { flag: flag as FileSystem.OpenFlag }
          const path = flag.includes("x") ? "new" : "a"
          const reading = yield* world({ "fs.read": ["$/in/**"] })
          const writing = yield* world({ "fs.write": ["$/in/**"] })
          const both = yield* world()
          for (const { allowed, fs } of [
            { fs: reading.fs, allowed: need === "r" },
            { fs: writing.fs, allowed: need === "w" },
            { fs: both.fs, allowed: true }
          ]) {
            expect(Exit.isSuccess(yield* Effect.exit(Effect.scoped(fs.open(path, options)))), flag).toBe(allowed)
          }
          expect(Exit.isSuccess(yield* Effect.exit(reading.fs.writeFile(path, bytes, options))), flag).toBe(false)
        }
      })
    )
  })

  describe(`${name}, what is meant is what happens`, () => {
    run(
      "§9.3 reads and writes as the file system itself does",
      Effect.gen(function* () {
        const { fs, root } = yield* world()
        const big = new Uint8Array(700_000).map((_, index) => index % 251)
        yield* fs.writeFile("big", big, { mode: 0o640 })
        // not by toEqual, which takes half a minute over so many elements
        expect(Buffer.compare(yield* fs.readFile("big"), big)).toBe(0)
        expect((yield* fs.stat("big")).mode & 0o777).toBe(0o640)
        yield* fs.writeFileString("big", "short")
        expect(yield* fs.readFileString("big")).toBe("short")
        yield* fs.writeFileString("big", " and more", { flag: "a" })
        expect(yield* fs.readFileString("big")).toBe("short and more")
        yield* fs.writeFileString("big", "S", { flag: "r+" })
        expect(yield* fs.readFileString("big")).toBe("Short and more")
        yield* fs.writeFileString("big", "", { flag: "w+" })
        expect(yield* fs.readFile("big")).toEqual(new Uint8Array(0))
        expect(yield* fs.exists("big")).toBe(true)
        expect(yield* fs.exists("nothing")).toBe(false)
        const text = yield* Stream.mkString(Stream.decodeText(fs.stream("to-a", { offset: 1, chunkSize: 2 })))
        expect(text).toBe("lpha")
        const file = yield* fs.open("a", { flag: "r+" })
        yield* file.writeAll(bytes)
        expect(readFileSync(join(root, "in/a"), "utf8")).toBe("newha")
      })
    )

    run(
      "§9.3 errors of the file system come through where the lease covers the path",
      Effect.gen(function* () {
        const { fs } = yield* world()
        const reason = (effect: Effect.Effect<unknown, PlatformError, Scope.Scope>) =>
          Effect.map(Effect.exit(Effect.scoped(effect)), (exit) => {
            const error = failure(exit)
            expect(deniedCause(error)).toBeUndefined()
            return error._tag === "SystemError"
              ? `${error.reason} ${error.method} ${error.pathOrDescriptor}`
              : error._tag
          })
        expect(yield* reason(fs.readFile("nothing"))).toBe("NotFound readFile nothing")
        expect(yield* reason(fs.readFile("dangling-in"))).toBe("NotFound readFile dangling-in")
        expect(yield* reason(fs.readFile("sub"))).toBe("BadResource readFile sub")
        expect(yield* reason(fs.writeFile("sub", bytes))).toBe("BadResource writeFile sub")
        expect(yield* reason(fs.writeFile("a", bytes, { flag: "wx" }))).toBe("AlreadyExists writeFile a")
        expect(yield* reason(fs.readFile("a/b"))).toBe("BadResource readFile a/b")
        expect(yield* reason(fs.stat("loop"))).toBe("BadResource stat loop")
        expect(yield* reason(fs.stat("loop-a/x"))).toBe("BadResource stat loop-a/x")
        expect(yield* reason(fs.rename("nothing", "else"))).toBe("NotFound rename nothing")
        expect(yield* reason(fs.copy("nothing", "else"))).toMatch(/^NotFound copy/)
        expect(yield* reason(fs.remove("nothing"))).toMatch(/^NotFound remove/)
        yield* fs.remove("nothing", { force: true })
      })
    )

    run(
      "1.0 §14 what is opened is what a link inside leads to",
      Effect.gen(function* () {
        const { fs, gate, root } = yield* world({
          "fs.read": ["$/in/to-*", "$/in/a", "$/in/sub/b"],
          "fs.write": ["$/in/dangling-in", "$/in/missing"]
        })
        expect(yield* fs.readFileString("to-a")).toBe("alpha")
        expect(gate.allowed).toEqual([`fs.read ${root}/in/to-a`, `fs.read ${root}/in/a`])
        yield* refused(fs.readFileString("to-sub/b"))
        yield* fs.writeFileString("dangling-in", "made")
        expect(readFileSync(join(root, "in/missing"), "utf8")).toBe("made")
        expect(lstatSync(join(root, "in/dangling-in")).isSymbolicLink()).toBe(true)
      })
    )

    run(
      "1.0 §14 operations on a link act on the link",
      Effect.gen(function* () {
        const { fs, root } = yield* world()
        const before = snapshot(join(root, "out"))
        expect(yield* fs.readLink("to-secret")).toBe(join(root, "out/secret"))
        yield* fs.remove("to-secret")
        yield* fs.remove("to-out", { recursive: true })
        expect(existsSync(join(root, "in/to-out"))).toBe(false)
        yield* fs.rename("dangling-in", "sub/dangling")
        expect(readlinkSync(join(root, "in/sub/dangling"))).toBe("missing")
        expect(snapshot(join(root, "out"))).toBe(before)
      })
    )

    run(
      "1.0 §14 no link is made or moved that leads outside",
      Effect.gen(function* () {
        const { fs, root } = yield* world()
        const before = snapshot(root)
        for (const target of [
          join(root, "out"),
          "../out/secret",
          "/etc/passwd",
          "to-out/sub",
          "sub/../../out",
          "to-sub/../../out",
          "..",
          "/",
          "dangling-out",
          "%2e%2e"
        ]) {
          yield* refused(fs.symlink(target, "new"))
        }
        // As text it stays inside; as the system walks it, it does not.
        yield* refused(fs.symlink("to-out/../missing", "new"))
        yield* refused(fs.link("to-secret", "new"))
        yield* refused(fs.link(join(root, "out/secret"), "new"))
        yield* refused(fs.link("a", join(root, "out/new")))
        yield* refused(fs.rename("to-secret", "sub/renamed"))
        yield* refused(fs.rename("a", "to-out/a"))
        yield* refused(fs.copy("to-out", "copied"))
        expect(snapshot(root)).toBe(before)
        yield* fs.symlink("sub/b", "new")
        yield* fs.symlink("not/yet", "new-dangling")
        yield* fs.symlink(join(root, "in/a"), "sub/absolute")
        expect(yield* fs.readFileString("new")).toBe("beta")
        expect(yield* fs.readFileString("sub/absolute")).toBe("alpha")
        expect(readlinkSync(join(root, "in/new"))).toBe("sub/b")
        yield* fs.rename("new", "renamed")
        expect(yield* fs.readFileString("renamed")).toBe("beta")
        // The same text leads outside from elsewhere.
        writeFileSync(join(root, "in/sub/out-b"), "")
        yield* fs.symlink("../a", "sub/up")
        yield* refused(fs.rename("sub/up", "up"))
      })
    )

    run(
      "1.0 §14 a hard link needs the right to write what it names",
      Effect.gen(function* () {
        const { fs, root } = yield* world({ "fs.read": ["$/in/**", "$/out/**"], "fs.write": ["$/in/**"] })
        yield* refused(fs.link(join(root, "out/secret"), "mine"))
        yield* fs.link("a", "mine")
        expect(lstatSync(join(root, "in/a")).nlink).toBe(2)
      })
    )

    run(
      "§9.3 trees are copied, moved and removed only whole, and only where everything is covered",
      Effect.gen(function* () {
        const lease = {
          "fs.read": ["$/in/*", "$/in/sub/*"],
          "fs.write": ["$/in/*", "$/in/sub/*", "$/in/else/*", "$/in/more/**"]
        }
        const { fs, root } = yield* world(lease)
        const before = snapshot(root)
        for (const effect of [
          fs.copy("sub", "else"),
          fs.rename("sub", "else"),
          fs.remove("sub", { recursive: true })
        ]) {
          yield* refused(effect)
        }
        const flat = yield* world({ "fs.read": ["$/in", "$/in/*"] })
        yield* refused(flat.fs.readDirectory(".", { recursive: true }))
        expect(yield* flat.fs.readDirectory("sub")).toEqual(["b", "deep"])
        expect(snapshot(root)).toBe(before)
        const whole = yield* world()
        yield* whole.fs.copy("sub", "else", { preserveTimestamps: true })
        expect(yield* whole.fs.readFileString("else/deep/c")).toBe("gamma")
        yield* whole.fs.rename("else", "moved")
        expect(yield* whole.fs.readFileString("moved/deep/c")).toBe("gamma")
        yield* whole.fs.remove("moved", { recursive: true })
        expect(existsSync(join(whole.root, "in/moved"))).toBe(false)
        expect(existsSync(join(whole.root, "in/sub/deep/c"))).toBe(true)
      })
    )

    run(
      "1.0 §14 a copy neither takes what links lead to nor writes through links that are in its way",
      Effect.gen(function* () {
        const { fs, root } = yield* world()
        const before = snapshot(join(root, "out"))
        symlinkSync(join(root, "out"), join(root, "in/sub/leak"))
        yield* refused(fs.copy("sub", "else"))
        rmSync(join(root, "in/sub/leak"))
        symlinkSync(join(root, "out/sub"), join(root, "in/more/deep"))
        symlinkSync(join(root, "out/secret"), join(root, "in/more/b"))
        yield* refused(fs.copy("sub", "more", { overwrite: true }))
        expect(snapshot(join(root, "out"))).toBe(before)
        expect(existsSync(join(root, "in/else"))).toBe(false)
      })
    )

    run(
      "1.0 §14 a recursive listing names links and does not follow them",
      Effect.gen(function* () {
        const { fs } = yield* world()
        const names = yield* fs.readDirectory(".", { recursive: true })
        expect(names.filter((name) => name.startsWith("sub")).toSorted()).toEqual([
          "sub",
          "sub/b",
          "sub/deep",
          "sub/deep/c"
        ])
        expect(names).toContain("to-out")
        expect(names.some((name) => /^(to-|relative|twice|loop)[^/]*\//.test(name))).toBe(false)
        expect((yield* fs.readDirectory(".")).toSorted()).toEqual(
          names.filter((name) => !name.includes("/")).toSorted()
        )
      })
    )

    run(
      "§9.3 parents that have to be made are written too",
      Effect.gen(function* () {
        const { fs, root } = yield* world({
          "fs.read": ["$/in/**"],
          "fs.write": ["$/in/x/y/**", "$/in/p", "$/in/p/**"]
        })
        yield* refused(fs.makeDirectory("x/y/z", { recursive: true }))
        expect(existsSync(join(root, "in/x"))).toBe(false)
        yield* refused(fs.copy("sub", "x/y/z"))
        expect(existsSync(join(root, "in/x"))).toBe(false)
        yield* fs.makeDirectory("p/q/r", { recursive: true })
        yield* fs.makeDirectory("p/q/r", { recursive: true })
        expect(existsSync(join(root, "in/p/q/r"))).toBe(true)
      })
    )

    run(
      "§9.3 temporary files are made where the lease covers them, and nowhere else",
      Effect.gen(function* () {
        const { fs, root } = yield* world()
        const before = snapshot(root)
        for (const effect of [
          fs.makeTempDirectory(),
          fs.makeTempFile(),
          fs.makeTempDirectory({ directory: "more", prefix: "../../out/t-" }),
          fs.makeTempFile({ directory: "more", prefix: "../../out/t-" }),
          fs.makeTempFile({ directory: "more", suffix: "/../../../../out/x" }),
          fs.makeTempFile({ directory: "more", suffix: "\0" }),
          fs.makeTempDirectory({ directory: "to-out" }),
          fs.makeTempDirectory({ directory: "more", prefix: "%2e%2e" })
        ]) {
          yield* refused(effect)
        }
        expect(snapshot(root)).toBe(before)
        const made = yield* fs.makeTempFile({ directory: "to-sub", prefix: "t-", suffix: ".txt" })
        expect(made.startsWith(`${root}/in/sub/t-`) && made.endsWith(".txt")).toBe(true)
        yield* fs.writeFileString(made, "held")
        const prefixed = yield* fs.makeTempDirectory({ directory: ".", prefix: "sub/t-" })
        expect(dirname(prefixed)).toBe(`${root}/in/sub`)
        const paths = yield* Effect.scoped(
          Effect.gen(function* () {
            const directory = yield* fs.makeTempDirectoryScoped({ directory: "." })
            const file = yield* fs.makeTempFileScoped({ directory: "." })
            yield* fs.writeFileString(`${directory}/x`, "x")
            expect(existsSync(file) && existsSync(directory)).toBe(true)
            return [directory, dirname(file)]
          })
        )
        expect(paths.map(existsSync)).toEqual([false, false])
        const own = yield* world(undefined, { tempDirectory: join(root, "in/more") })
        yield* refused(own.fs.makeTempDirectory())
      })
    )

    run(
      "§9.3 a temporary directory that turns out not to be covered is removed",
      Effect.gen(function* () {
        const { fs, root } = yield* world({ "fs.write": ["$/in", "$/in/t-XXXXXX", "$/in/t-XXXXXX/**"] })
        yield* refused(fs.makeTempDirectory({ directory: ".", prefix: "t-" }))
        yield* refused(fs.makeTempFile({ directory: ".", prefix: "t-" }))
        expect(
          (yield* (yield* FileSystem.FileSystem).readDirectory(join(root, "in"))).filter((name) =>
            name.startsWith("t-")
          )
        ).toEqual([])
      })
    )

    run(
      "§9.3 a watch tells what changes inside, and ends where it would tell more",
      Effect.gen(function* () {
        const root = yield* temporaryRoot
        makeTree(root)
        const events = yield* Queue.unbounded<FileSystem.WatchEvent>()
        const raw = { ...(yield* FileSystem.FileSystem), watch: () => Stream.fromQueue(events) }
        const gate = gateOf({ "fs.read": [`${root}/in`, `${root}/in/*`] })
        const fs = make(raw, gate, { cwd: root })
        const seen: Array<string> = []
        const fiber = yield* Effect.fork(
          Stream.runForEach(fs.watch("in", { recursive: true }), ({ path }) => Effect.sync(() => seen.push(path)))
        )
        for (const path of ["a", "sub/b", `${root}/in/sub/b`, "sub/deep/c", "after"]) {
          yield* Queue.offer(events, FileSystem.WatchEventUpdate({ path }))
        }
        expect(deniedCause(failure(yield* Fiber.await(fiber)))?.code).toBe("PERMISSION_DENIED")
        expect(seen).toEqual(["a", "sub/b", `${root}/in/sub/b`])
      })
    )

    run(
      "§9.3 a watch sees real changes",
      Effect.gen(function* () {
        const { fs, root } = yield* world(undefined, undefined, (raw) => raw)
        const ready = yield* Effect.fork(Stream.runHead(fs.watch("more")))
        const written = yield* Effect.fork(
          Effect.forever(
            Effect.zipRight(
              Effect.sync(() => appendFileSync(join(root, "in/more/w"), "x")),
              Effect.sleep("5 millis")
            )
          )
        )
        const event = yield* Fiber.join(ready)
        yield* Fiber.interrupt(written)
        expect(Option.map(event, ({ path }) => path)).toEqual(Option.some("w"))
      })
    )
  })
}

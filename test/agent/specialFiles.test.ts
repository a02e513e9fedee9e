import { execFileSync } from "node:child_process"
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { describe, expect } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, Scope, Stream } from "effect"
import { deniedCause } from "../../src/agent/Denied.js"
import { type Gate } from "../../src/agent/index.js"
import { failure, refused } from "./gates.js"
import { descriptors, guardings, isLinux, run, world } from "./trees.js"

const bytes = new TextEncoder().encode("new")

type Operation = (fs: FileSystem.FileSystem, path: string) => Effect.Effect<unknown, PlatformError, Scope.Scope>

/** Every way to read or write a file, or to give it another name. */
const uses: Readonly<Record<string, Operation>> = {
  readFile: (fs, path) => fs.readFile(path),
  readFileString: (fs, path) => fs.readFileString(path),
  stream: (fs, path) => Stream.runDrain(fs.stream(path)),
  "open r": (fs, path) => fs.open(path),
  "open r+": (fs, path) => fs.open(path, { flag: "r+" }),
  "open w": (fs, path) => fs.open(path, { flag: "w" }),
  "open a": (fs, path) => fs.open(path, { flag: "a" }),
  writeFile: (fs, path) => fs.writeFile(path, bytes),
  writeFileString: (fs, path) => fs.writeFileString(path, "new", { flag: "a" }),
  sink: (fs, path) => Stream.run(Stream.make(bytes), fs.sink(path)),
  truncate: (fs, path) => fs.truncate(path),
  "copyFile from it": (fs, path) => fs.copyFile(path, "copied"),
  "copyFile to it": (fs, path) => fs.copyFile("a", path),
  copy: (fs, path) => fs.copy(path, "copied"),
  "copy of the directory": (fs) => fs.copy(".", "../in-copied"),
  link: (fs, path) => fs.link(path, "linked"),
  rename: (fs, path) => fs.rename(path, "renamed")
}

const lease = {
  "fs.read": ["$/in/**", "$/in-copied/**", "/dev/zero"],
  "fs.write": ["$/in/**", "$/in-copied/**", "/dev/zero"]
}

/** A pipe, a socket and a link to a device, made by others. */
const specialWorld = (make: (typeof guardings)[number][1]) =>
  Effect.gen(function* () {
    const scene = yield* world(lease, undefined, (raw) => raw, make)
    const inside = join(scene.root, "in")
    for (const name of ["loop", "loop-a", "loop-b", "to-secret", "to-out", "relative-out", "twice-out", "through"]) {
      execFileSync("rm", [join(inside, name)])
    }
    execFileSync("rm", [join(inside, "dangling-out"), join(inside, "dangling-through")])
    execFileSync("mkfifo", [join(inside, "pipe")])
    yield* Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer()
        server.listen(join(inside, "socket"), () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
    return { ...scene, inside }
  })

describe.skipIf(process.platform === "win32")("special files", () => {
  for (const [name, make] of guardings) {
    for (const [what, use] of Object.entries(uses)) {
      run(
        `§9.3 ${name}: ${what} of a pipe, a socket or a device is refused at once`,
        Effect.gen(function* () {
          const { fs, inside } = yield* specialWorld(make)
          // More pipes at a time than the pool of threads could wait for.
          const paths = ["pipe", "pipe", "pipe", "pipe", "pipe", "pipe", "socket", "/dev/zero"]
          yield* Effect.forEach(paths, (path) => refused(Effect.scoped(use(fs, path))), { concurrency: "unbounded" })
          expect(existsSync(join(inside, "copied"))).toBe(false)
          expect(existsSync(join(inside, "linked"))).toBe(false)
          expect(statSync(join(inside, "pipe")).isFIFO()).toBe(true)
          expect(yield* fs.readFileString("a")).toBe("alpha")
        }),
        120_000
      )
    }

    run(
      `§9.3 ${name}: a special file can be looked at, listed and removed`,
      Effect.gen(function* () {
        const { fs, inside } = yield* specialWorld(make)
        expect((yield* fs.stat("pipe")).type).toBe("FIFO")
        expect((yield* fs.stat("socket")).type).toBe("Socket")
        expect(yield* fs.exists("pipe")).toBe(true)
        expect(yield* fs.readDirectory(".")).toContain("pipe")
        yield* fs.remove("pipe")
        expect(existsSync(join(inside, "pipe"))).toBe(false)
      })
    )
  }
})

describe("bounded reads", () => {
  for (const [name, make] of guardings) {
    run(
      `${name}: readFile takes fileBytes and no more; a larger file can be streamed`,
      Effect.gen(function* () {
        const { fs, root } = yield* world(undefined, { fileBytes: 3_000_000 }, undefined, make)
        writeFileSync(join(root, "in/most"), new Uint8Array(3_000_000).fill(7))
        writeFileSync(join(root, "in/larger"), new Uint8Array(3_000_001).fill(7))
        expect((yield* fs.readFile("most")).length).toBe(3_000_000)
        for (const [method, read] of [
          ["readFile", fs.readFile("larger")],
          ["readFile", fs.readFileString("larger")]
        ] as const) {
          const error = failure(yield* Effect.exit(Effect.asVoid<unknown, PlatformError, never>(read)))
          expect(error).toMatchObject({
            _tag: "SystemError",
            reason: "BadResource",
            method,
            pathOrDescriptor: "larger"
          })
          expect(error.message).toContain("3000000")
        }
        const streamed = yield* Stream.runFold(fs.stream("larger"), 0, (size, chunk) => size + chunk.length)
        expect(streamed).toBe(3_000_001)
        const file = yield* fs.open("larger")
        expect(Option.getOrThrow(yield* file.readAlloc(10_000_000)).length).toBe(3_000_000)
        const sparse = openSync(join(root, "in/sparse"), "w")
        ftruncateSync(sparse, 2 ** 40)
        closeSync(sparse)
        expect(failure(yield* Effect.exit(fs.readFile("sparse")))).toMatchObject({ reason: "BadResource" })
      })
    )

    run(
      `${name}: a file that claims no size is read to its end, and no further than fileBytes`,
      Effect.gen(function* () {
        if (!isLinux) return
        const raw = yield* FileSystem.FileSystem
        const everything: Gate = {
          authorize: (_, target) => Effect.succeed(target as never),
          refuse: () => Effect.die("nothing is refused here")
        }
        const path = "/proc/version"
        expect(statSync(path).size).toBe(0)
        expect(yield* make(raw, everything).readFileString(path)).toBe(readFileSync(path, "utf8"))
        expect(failure(yield* Effect.exit(make(raw, everything, { fileBytes: 10 }).readFile(path)))).toMatchObject({
          reason: "BadResource"
        })
      })
    )

    run(
      `§7.4 ${name}: an interruption ends a read, a write and a copy between two pieces`,
      Effect.gen(function* () {
        const { fs, gate, root } = yield* world(undefined, undefined, undefined, make)
        const big = openSync(join(root, "in/big"), "w")
        ftruncateSync(big, 64 * 1024 * 1024)
        closeSync(big)
        const open = isLinux ? descriptors() : 0
        const content = new Uint8Array(32 * 1024 * 1024)
        for (const operation of [
          fs.readFile("big"),
          fs.writeFile("new", content),
          Stream.runDrain(fs.stream("big", { chunkSize: 4 * 1024 * 1024, bufferSize: 1 })),
          Effect.scoped(Effect.flatMap(fs.open("big"), (file) => file.read(content))),
          Effect.scoped(Effect.flatMap(fs.open("big"), (file) => file.readAlloc(64 * 1024 * 1024))),
          Effect.scoped(Effect.flatMap(fs.open("new", { flag: "w" }), (file) => file.writeAll(content))),
          ...(name === "NodeFiles" ? [fs.copyFile("big", "new"), fs.copy("big", "newer")] : [])
        ]) {
          const third = yield* Deferred.make<void>()
          let pieces = 0
          gate.onLive = () => {
            if (++pieces === 3) Deferred.unsafeDone(third, Exit.void)
          }
          const fiber = yield* Effect.fork(operation)
          yield* Deferred.await(third)
          const exit = yield* Fiber.interrupt(fiber)
          expect(Exit.isInterrupted(exit)).toBe(true)
          expect(pieces).toBeLessThan(20)
        }
        if (isLinux) expect(descriptors()).toBe(open)
      })
    )
  }
})

describe("open files", () => {
  for (const [name, make] of guardings) {
    run(
      `§9.3 ${name}: what is open does nothing more once the job may do nothing more`,
      Effect.gen(function* () {
        const { fs, gate } = yield* world(undefined, undefined, undefined, make)
        const file = yield* fs.open("a", { flag: "r+" })
        yield* file.writeAll(bytes)
        gate.expired = true
        for (const operation of [
          file.stat,
          file.sync,
          file.read(new Uint8Array(3)),
          file.readAlloc(3),
          file.truncate(1),
          file.write(bytes),
          file.writeAll(bytes),
          file.writeAll(new Uint8Array(0))
        ]) {
          expect(deniedCause(failure(yield* Effect.exit(operation)))?.code).toBe("LEASE_EXPIRED")
        }
        gate.expired = false
        yield* file.seek(0, "start")
        expect(new TextDecoder().decode(Option.getOrUndefined(yield* file.readAlloc(10)))).toBe("newha")
      })
    )

    run(
      `§9.3 ${name}: what goes on in pieces ends between two of them once the job may do nothing more`,
      Effect.gen(function* () {
        const { fs, gate, root } = yield* world(undefined, undefined, undefined, make)
        writeFileSync(join(root, "in/big"), new Uint8Array(8 * 1024 * 1024))
        for (const operation of [
          fs.readFile("big"),
          fs.writeFile("new", new Uint8Array(8 * 1024 * 1024)),
          Stream.runDrain(fs.stream("big")),
          Stream.run(Stream.fromIterable(Array.from({ length: 8 }, () => new Uint8Array(1024 * 1024))), fs.sink("new")),
          ...(name === "NodeFiles" ? [fs.copyFile("big", "newer"), fs.copy("big", "newest")] : [])
        ]) {
          let pieces = 0
          gate.onLive = () => {
            if (++pieces === 3) gate.expired = true
          }
          expect(deniedCause(failure(yield* Effect.exit(operation)))?.code).toBe("LEASE_EXPIRED")
          gate.onLive = () => undefined
          gate.expired = false
        }
        for (const made of ["new", ...(name === "NodeFiles" ? ["newer", "newest"] : [])]) {
          expect(statSync(join(root, "in", made)).size).toBeLessThan(8 * 1024 * 1024)
        }
      })
    )

    run(
      `§9.3 ${name}: a file that is closed is not used again, though its descriptor is another file's by then`,
      Effect.gen(function* () {
        const { fs, root } = yield* world(undefined, undefined, undefined, make)
        const scope = yield* Scope.make()
        const file = yield* Scope.extend(fs.open("a", { flag: "r+" }), scope)
        yield* Scope.close(scope, Exit.void)
        const other = openSync(join(root, "out/secret"), constants.O_RDWR)
        yield* Effect.addFinalizer(() => Effect.sync(() => closeSync(other)))
        for (const operation of [
          file.readAlloc(10),
          file.read(new Uint8Array(10)),
          file.stat,
          file.sync,
          file.truncate(0),
          file.write(bytes),
          file.writeAll(bytes)
        ]) {
          expect(failure(yield* Effect.exit(operation))).toMatchObject({ reason: "BadResource", pathOrDescriptor: "a" })
        }
        expect(readFileSync(join(root, "out/secret"), "utf8")).toBe("secret")
      })
    )
  }
})

import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, TestClock } from "effect"
import * as PathLock from "../../src/agent/internal/pathLock.js"

/** A lock, and a way to hold it until told otherwise. */
const scene = Effect.sync(() => {
  const lock = PathLock.make()
  const log: Array<string> = []
  const hold = (name: string, paths: ReadonlyArray<string>, how: "exclusive" | "shared" = "exclusive") =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        lock[how](paths)(
          Effect.zipRight(
            Effect.sync(() => log.push(name)),
            Deferred.await(go)
          )
        )
      )
      yield* Effect.yieldNow()
      const end = Effect.zipRight(Deferred.succeed(go, undefined), Fiber.join(fiber))
      // Those that it let go on run before the test looks.
      return { fiber, end: Effect.zipLeft(end, Effect.repeatN(Effect.yieldNow(), 5)) }
    })
  return { hold, lock, log }
})

describe("§9.3 structural changes", () => {
  it.effect("of a path wait for those of it, below it and above it, and for no others", () =>
    Effect.gen(function* () {
      const { hold, log } = yield* scene
      const first = yield* hold("first", ["/a/b", "/z"])
      const waiting = [
        yield* hold("same", ["/a/b"]),
        yield* hold("below", ["/a/b/c"]),
        yield* hold("above", ["/a"]),
        yield* hold("root", ["/"])
      ]
      expect(log).toEqual(["first"])
      yield* first.end
      expect(log).toEqual(["first", "same"])
      for (const { end } of waiting) yield* end
      expect(log).toEqual(["first", "same", "below", "above", "root"])
      yield* hold("one", ["/a/b"])
      yield* hold("beside", ["/a/bc", "/a/c"])
      expect(log.slice(5)).toEqual(["one", "beside"])
    })
  )

  it.effect("come in the order of their arrival, and looks at one path come together", () =>
    Effect.gen(function* () {
      const { hold, log } = yield* scene
      const one = yield* hold("one", ["/a"], "shared")
      const two = yield* hold("two", ["/a/b"], "shared")
      const change = yield* hold("change", ["/a/b"])
      const late = yield* hold("late", ["/a/b"], "shared")
      expect(log).toEqual(["one", "two"])
      yield* one.end
      yield* two.end
      expect(log).toEqual(["one", "two", "change"])
      yield* change.end
      yield* late.end
      expect(log).toEqual(["one", "two", "change", "late"])
    })
  )

  it.effect("that are interrupted, fail or die let the next one go on", () =>
    Effect.gen(function* () {
      const { hold, lock, log } = yield* scene
      const held = yield* hold("held", ["/a"])
      const waiting = yield* hold("waiting", ["/a"])
      const last = yield* hold("last", ["/a"])
      yield* Fiber.interrupt(waiting.fiber)
      expect(log).toEqual(["held"])
      yield* Fiber.interrupt(held.fiber)
      yield* Effect.yieldNow()
      yield* last.end
      expect(log).toEqual(["held", "last"])
      yield* Effect.exit(lock.exclusive(["/a"])(Effect.fail("no")))
      yield* Effect.exit(lock.exclusive(["/a"])(Effect.die("no")))
      expect(yield* lock.exclusive(["/a"])(Effect.succeed("free"))).toBe("free")
    })
  )

  it.effect("do not wait for ever", () =>
    Effect.gen(function* () {
      const { hold, log } = yield* scene
      const held = yield* hold("held", ["/a"])
      const waiting = yield* hold("waiting", ["/a"])
      yield* TestClock.adjust(PathLock.patience)
      expect(yield* Fiber.await(waiting.fiber)).toEqual(Exit.fail(new PathLock.LockTimeout()))
      yield* held.end
      const next = yield* hold("next", ["/a"])
      yield* next.end
      expect(log).toEqual(["held", "next"])
    })
  )
})

/**
 * Whole trees of Node's file system: list, remove and copy them by descriptors.
 *
 * A tree is first listed and every entry checked, so that an operation is refused before it has changed anything. Then exactly what
 * was listed is removed or copied: each step locates the directory that it acts in anew and requires that it lies where it should.
 * One or two descriptors are open at a time, however deep the tree is. A link is an entry and never a way.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Changed } from "./fileChecks.js"
import * as Calls from "./nodeCalls.js"
import { join, nameOf, parentOf } from "./realTree.js"

/** Names of a tree in all, in characters: it is held in memory while it is worked on. */
const maxListing = 64 * 1024 * 1024

/** Something in a tree. */
export interface Entry {
  /** Relative to the root; empty for the root itself. */
  readonly name: string
  readonly kind: "directory" | "file" | "link" | "special"
  /** What a link says. */
  readonly target: string | undefined
  readonly dev: bigint
  readonly ino: bigint
}

type Failure = Calls.CallFailed | Changed

const entryOf = (directory: Calls.Located, base: string, name: string): Effect.Effect<Entry, Calls.CallFailed> =>
  Effect.gen(function* () {
    const path = Calls.below(directory, base)
    const info = yield* Calls.lstat(path)
    const kind = info.isDirectory() ? "directory" : info.isSymbolicLink() ? "link" : info.isFile() ? "file" : "special"
    const target = kind === "link" ? yield* Calls.readlink(path) : undefined
    return { name, kind, target, dev: info.dev, ino: info.ino }
  })

/** Uses a directory that must lie where its path says. */
const inside = <A, E>(
  path: string,
  use: (directory: Calls.Located) => Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<A, E | Failure> => Effect.scoped(Effect.flatMap(Calls.directoryAt(path), use))

/** Uses the directory that an entry lies in. */
const around = <A, E>(
  path: string,
  use: (directory: Calls.Located, name: string) => Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<A, E | Failure> => inside(parentOf(path), (directory) => use(directory, nameOf(path)))

/**
 * Everything in the tree at a real path, the root first and parents before what they hold. `enter` is asked before a directory is
 * read.
 */
export const entries = <E>(
  root: string,
  enter: (entry: Entry) => Effect.Effect<unknown, E>
): Effect.Effect<ReadonlyArray<Entry>, E | Failure> =>
  Effect.gen(function* () {
    const top = yield* root === "/"
      ? inside(root, ({ info: { dev, ino } }) =>
          Effect.succeed<Entry>({ name: "", kind: "directory", target: undefined, dev, ino })
        )
      : around(root, (directory, name) => entryOf(directory, name, ""))
    const found: Array<Entry> = [top]
    let size = 0
    const list = (entry: Entry) =>
      inside(join(root, entry.name), (directory) =>
        Effect.gen(function* () {
          for (const name of yield* Calls.readdir(Calls.at(directory.fd))) {
            const inTree = entry.name === "" ? name : `${entry.name}/${name}`
            size += inTree.length
            if (size > maxListing) return yield* Calls.failed("E2BIG", "the tree holds too many names")
            const one = yield* Effect.option(entryOf(directory, name, inTree))
            // What has gone meanwhile is no part of it.
            if (Option.isSome(one)) found.push(one.value)
          }
        })
      )
    for (let index = 0; index < found.length; index++) {
      const entry = found[index]!
      if (entry.kind !== "directory") continue
      yield* enter(entry)
      yield* list(entry)
    }
    return found
  })

/** Whether two listings of a tree are of the same things. */
export const isSame = (one: ReadonlyArray<Entry>, other: ReadonlyArray<Entry>): boolean =>
  one.length === other.length &&
  one.every((entry, index) => {
    const { dev, ino, kind, name, target } = other[index]!
    return (
      entry.name === name && entry.kind === kind && entry.target === target && entry.ino === ino && entry.dev === dev
    )
  })

/** How the steps of a change are run: alone among those that touch the path, below a directory that is where it was. */
export type Changing = <A, E, R>(
  path: string,
  directories: ReadonlyArray<Calls.Located>,
  change: Effect.Effect<A, E, R>
) => Effect.Effect<A, E | Failure, R>

/** Removes what was listed of a tree, and nothing else. */
export const remove = <E>(
  root: string,
  listed: ReadonlyArray<Entry>,
  changing: Changing,
  between: Effect.Effect<void, E>
): Effect.Effect<void, E | Failure> =>
  Effect.forEach(
    listed.toReversed(),
    ({ kind, name }) => {
      const path = join(root, name)
      return Effect.zipRight(
        between,
        around(path, (directory, base) => {
          const entry = Calls.below(directory, base)
          return changing(path, [directory], kind === "directory" ? Calls.rmdir(entry) : Calls.unlink(entry))
        })
      ).pipe(Effect.catchIf(Calls.isCode("ENOENT"), () => Effect.void))
    },
    { discard: true }
  )

/** How a tree is copied. */
export interface CopyOptions {
  readonly overwrite?: boolean | undefined
  readonly preserveTimestamps?: boolean | undefined
}

const permissions = (mode: bigint): number => Number(mode & 0o7777n)

/** Moves the bytes of one open file to another, in pieces. */
export const pump = <E>(
  from: number,
  to: number,
  size: number,
  between: Effect.Effect<void, E>
): Effect.Effect<void, E | Calls.CallFailed> =>
  Effect.gen(function* () {
    const buffer = new Uint8Array(size)
    for (;;) {
      yield* between
      const length = yield* Calls.readInto(from, buffer, null)
      if (length === 0) return
      yield* Calls.writeAll(to, buffer.subarray(0, length), null)
    }
  })

/** Copies what was listed of a tree. `to` and the directories above it are made where they do not exist. */
export const copy = <E>(
  tree: { readonly from: string; readonly to: string; readonly listed: ReadonlyArray<Entry> },
  options: CopyOptions & { readonly piece: number },
  changing: Changing,
  between: Effect.Effect<void, E>
): Effect.Effect<void, E | Failure> => {
  /** Whether something is in the way that stays. */
  const makeRoom = (path: string, entry: string) =>
    Effect.gen(function* () {
      const there = yield* Effect.option(Calls.lstat(entry))
      if (Option.isNone(there)) return true
      if (there.value.isDirectory()) return yield* Calls.failed("EISDIR", `a directory is in the way: ${path}`)
      if (options.overwrite !== true) return false
      yield* Calls.unlink(entry)
      return true
    })

  const directory = (source: string, target: string) =>
    Effect.gen(function* () {
      const info = yield* inside(source, ({ info }) => Effect.succeed(info))
      const made = yield* around(target, (parent, name) =>
        changing(target, [parent], Calls.mkdir(Calls.below(parent, name))).pipe(
          Effect.as(true),
          Effect.catchIf(Calls.isCode("EEXIST"), () => Effect.succeed(false))
        )
      )
      yield* inside(target, () => Effect.void)
      return made ? permissions(info.mode) : undefined
    })

  const file = (source: string, target: string, { dev, ino }: Entry) =>
    around(source, (from, name) =>
      Effect.gen(function* () {
        const located = yield* Calls.locate(Calls.below(from, name), Calls.noFollow)
        const { info, path } = located
        if (path !== source || !info.isFile() || info.ino !== ino || info.dev !== dev) return yield* new Changed()
        const input = yield* Calls.reopen(located.fd, Calls.forReading)
        yield* around(target, (to, base) =>
          Effect.gen(function* () {
            const entry = Calls.below(to, base)
            const present = yield* Effect.option(Calls.lstat(entry))
            if (Option.isSome(present) && Calls.isSame(present.value, info)) return
            const output = yield* changing(
              target,
              [to],
              Effect.flatMap(makeRoom(target, entry), (room) =>
                room
                  ? Effect.asSome(Calls.create(to, base, Calls.creating, permissions(info.mode) & 0o777))
                  : Effect.succeedNone
              )
            )
            if (Option.isNone(output)) return
            if ((yield* Calls.where(output.value)) !== target) {
              // The directory has gone elsewhere: not even an empty file is left there.
              yield* Effect.ignore(Calls.unlink(entry))
              return yield* new Changed()
            }
            yield* pump(input, output.value, options.piece, between)
            yield* Calls.fchmod(output.value, permissions(info.mode))
            if (options.preserveTimestamps === true) yield* Calls.futimes(output.value, info.atime, info.mtime)
          })
        )
      })
    )

  const link = (source: string, target: string, text: string) =>
    around(target, (to, base) => {
      const entry = Calls.below(to, base)
      // Relative to where it was, as Node copies links.
      const absolute = text.startsWith("/") ? text : `${parentOf(source)}/${text}`
      return changing(
        target,
        [to],
        Effect.flatMap(makeRoom(target, entry), (room) => (room ? Calls.symlink(absolute, entry) : Effect.void))
      )
    })

  return Effect.gen(function* () {
    const modes: Array<readonly [path: string, mode: number]> = []
    for (const entry of tree.listed) {
      const source = join(tree.from, entry.name)
      const target = join(tree.to, entry.name)
      yield* between
      if (entry.kind === "directory") {
        const mode = yield* directory(source, target)
        if (mode !== undefined) modes.push([target, mode])
      } else if (entry.target !== undefined) yield* link(source, target, entry.target)
      else yield* file(source, target, entry)
    }
    // Only now: a directory may be one that nothing can be written to.
    for (const [path, mode] of modes.toReversed()) {
      yield* inside(path, ({ fd }) => Calls.chmod(Calls.at(fd), mode))
    }
  })
}

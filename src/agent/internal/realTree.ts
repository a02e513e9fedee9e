/**
 * Where a path leads in the real tree, for files that exist and for files that do not.
 *
 * `realPath` answers for what exists. For the rest it says only that something is missing, and the last step may be a link
 * that dangles: to create "the file" then would create what the link points to. So what `realPath` cannot answer is walked
 * step by step as the system would walk it, with every link followed, until nothing exists any more.
 */
import { type PlatformError, SystemError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"

/** As many as Linux follows. */
const maxLinks = 40

/** Where a path leads. */
export interface Real {
  /** Absolute, without links as far as it exists. */
  readonly path: string
  /** The deepest part of `path` that exists. */
  readonly existing: string
  /** Why nothing can be done with it, other than that it does not exist. */
  readonly failure: PlatformError | undefined
}

/** The directory that an absolute canonical path lies in; `/` lies in itself. */
export const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/"

/** The last segment of an absolute canonical path. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)

/** An entry of a directory. */
export const join = (directory: string, name: string): string =>
  directory === "/" ? `/${name}` : name === "" ? directory : `${directory}/${name}`

const isNotFound = (error: PlatformError): boolean => error._tag === "SystemError" && error.reason === "NotFound"

interface Walked extends Omit<Real, "failure"> {
  /** Why the walk led nowhere: too many links, or a `..` out of what does not exist. */
  readonly astray: string | undefined
}

/**
 * Walks `text` from `base`, a real directory, as the system does: `..` leads out of where a link led to. `realPath` would not
 * do: some platforms resolve `..` as text first.
 */
const walk = (fs: FileSystem.FileSystem, base: string, text: string): Effect.Effect<Walked> =>
  Effect.gen(function* () {
    let at = text.startsWith("/") ? "/" : base
    let existing = at
    let missing = false
    let astray: string | undefined
    let links = 0
    const ahead = text.split("/").toReversed()
    while (ahead.length > 0) {
      const segment = ahead.pop()!
      if (segment === "" || segment === ".") continue
      if (segment === "..") {
        if (missing) astray = "it leads out of a directory that does not exist"
        at = parentOf(at)
        continue
      }
      at = join(at, segment)
      if (missing) continue
      const link = yield* Effect.either(fs.readLink(at))
      if (link._tag === "Left") {
        // Anything but NotFound says that it is there and no link.
        missing = isNotFound(link.left)
        if (!missing) existing = at
        continue
      }
      if (++links > maxLinks) return { path: at, existing, astray: "too many links" }
      at = link.right.startsWith("/") ? "/" : parentOf(at)
      for (const step of link.right.split("/").toReversed()) ahead.push(step)
    }
    return { path: at, existing: missing ? existing : at, astray }
  })

/** Where a canonical path leads, with every link followed. */
export const follow = (fs: FileSystem.FileSystem, path: string): Effect.Effect<Real> =>
  fs.realPath(path).pipe(
    Effect.map((real): Real => ({ path: real, existing: real, failure: undefined })),
    Effect.catchAll((error) =>
      Effect.map(walk(fs, "/", path), ({ astray, existing, path }): Real => {
        const failure = astray === undefined && isNotFound(error) ? undefined : error
        return { path, existing, failure }
      })
    )
  )

/** Where a canonical path leads when what stands there is meant, though it be a link: links before the last step are followed. */
export const itself = (fs: FileSystem.FileSystem, path: string): Effect.Effect<Real> =>
  path === "/"
    ? follow(fs, path)
    : Effect.map(follow(fs, parentOf(path)), (parent) => ({ ...parent, path: join(parent.path, nameOf(path)) }))

/** Where a link in `directory`, a real one, with this text would lead. */
export const linked = (fs: FileSystem.FileSystem, directory: string, text: string): Effect.Effect<Real> =>
  Effect.map(walk(fs, directory, text), ({ astray, existing, path }) => ({
    path,
    existing,
    failure:
      astray === undefined
        ? undefined
        : new SystemError({ reason: "BadResource", module: "FileSystem", method: "symlink", description: astray })
  }))

/** Something in a tree. */
export interface Entry {
  /** Relative to the root; empty for the root itself. */
  readonly name: string
  readonly kind: "directory" | "link" | "other" | "special"
}

/** What a file must not be to be read or written: reading it may never end, or does something. */
export const isSpecial = (type: FileSystem.File.Type): boolean =>
  type === "FIFO" || type === "Socket" || type === "BlockDevice" || type === "CharacterDevice"

/** What stands at a path whose parent is real. What has gone meanwhile, and whatever is reached by a link, is a `link`. */
export const kindOf = (fs: FileSystem.FileSystem, path: string): Effect.Effect<Entry["kind"]> =>
  fs.realPath(path).pipe(
    Effect.flatMap((real) =>
      real === path
        ? Effect.map(fs.stat(path), ({ type }): Entry["kind"] =>
            type === "Directory" ? "directory" : isSpecial(type) ? "special" : "other"
          )
        : Effect.succeed<Entry["kind"]>("link")
    ),
    Effect.orElseSucceed((): Entry["kind"] => "link")
  )

/**
 * Everything in the tree at `root` (which is real but for its last step), the root first. Links are entries, never ways. `enter`
 * is asked before a directory is read.
 */
export const entries = <E>(
  fs: FileSystem.FileSystem,
  root: string,
  enter: (entry: Entry) => Effect.Effect<unknown, E>
): Effect.Effect<ReadonlyArray<Entry>, E | PlatformError> =>
  Effect.gen(function* () {
    const found: Array<Entry> = [{ name: "", kind: yield* kindOf(fs, root) }]
    for (let index = 0; index < found.length; index++) {
      const entry = found[index]!
      if (entry.kind !== "directory") continue
      yield* enter(entry)
      const directory = join(root, entry.name)
      for (const name of yield* fs.readDirectory(directory)) {
        const inside = entry.name === "" ? name : `${entry.name}/${name}`
        found.push({ name: inside, kind: yield* kindOf(fs, join(root, inside)) })
      }
    }
    return found
  })

/**
 * Serialises changes of a tree by the paths that they touch (ARCP 1.1 §9.3).
 *
 * A claim names the paths of one operation. Two claims conflict if a path of one is a path of the other or lies below it, unless both
 * are shared. Conflicting claims hold one after the other, in the order of their arrival; others do not wait for each other, so
 * that a long removal of one tree does not stop a rename elsewhere. A claim ends with its effect, also by interruption.
 *
 * The process has one lock, {@link structural}, because all its jobs share one file system. Nothing but calls of that file system
 * may run while a claim holds: a refusal is reported to observers and may wait for them.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** A claim did not hold within {@link patience} because of other operations on the same paths. */
export class LockTimeout extends Data.TaggedError("LockTimeout") {}

/** How long a claim waits, in milliseconds. */
export const patience = 30_000

interface Claim {
  readonly paths: ReadonlyArray<string>
  readonly shared: boolean
  readonly grant: () => void
}

/** Runs effects while their paths are claimed. */
export interface PathLock {
  /** No other claim of these paths, of what is below them or of what they lie below holds meanwhile. */
  readonly exclusive: (
    paths: ReadonlyArray<string>
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LockTimeout, R>
  /** As {@link exclusive}, but beside other shared claims. */
  readonly shared: PathLock["exclusive"]
}

const contains = (path: string, other: string): boolean =>
  path === other || path === "/" || other.startsWith(`${path}/`)

const conflict = (one: Claim, other: Claim): boolean =>
  !(one.shared && other.shared) &&
  one.paths.some((path) => other.paths.some((mine) => contains(path, mine) || contains(mine, path)))

/** Makes a lock. */
export const make = (): PathLock => {
  const held = new Set<Claim>()
  const waiting = new Set<Claim>()

  const isFree = (claim: Claim): boolean => {
    for (const other of held) if (conflict(claim, other)) return false
    for (const earlier of waiting) {
      if (earlier === claim) return true
      if (conflict(claim, earlier)) return false
    }
    return true
  }

  const leave = (claim: Claim): void => {
    if (!held.delete(claim) && !waiting.delete(claim)) return
    for (const next of waiting) {
      if (!isFree(next)) continue
      waiting.delete(next)
      held.add(next)
      next.grant()
    }
  }

  const claiming =
    (shared: boolean) =>
    (paths: ReadonlyArray<string>) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | LockTimeout, R> =>
      Effect.suspend(() => {
        let resume = (): void => undefined
        const claim: Claim = { paths, shared, grant: () => resume() }
        if (isFree(claim)) {
          held.add(claim)
          return Effect.ensuring(
            effect,
            Effect.sync(() => leave(claim))
          )
        }
        waiting.add(claim)
        const granted = Effect.async<void>((done) => {
          if (held.has(claim)) done(Effect.void)
          else resume = () => done(Effect.void)
        })
        return Effect.timeoutFail(granted, { duration: patience, onTimeout: () => new LockTimeout() }).pipe(
          Effect.zipRight(effect),
          // Whether the claim was granted or not: an interruption may come in the same moment as the grant.
          Effect.ensuring(Effect.sync(() => leave(claim)))
        )
      })

  return { exclusive: claiming(false), shared: claiming(true) }
}

/** The lock of this process. */
export const structural: PathLock = make()

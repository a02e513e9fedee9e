/**
 * The folders of the operating system that hold no files but show processes, devices and the kernel: `/proc`, `/sys` and `/dev`
 * (ARCP 1.1 §9.2, 1.0 §14).
 *
 * Three rules, beside the pattern language and its subset proof, which do not know these folders:
 *
 * 1. A wildcard does not reach into them: `/**` covers no path there. Only a pattern whose first segment is the folder's own name
 *    does ({@link opens}), such as `/proc/cpuinfo` or `/proc/**`.
 * 2. A lease holds such a pattern only where a policy's lease has it ({@link restrict}), or, in a delegation, the parent's lease
 *    ({@link isSubset}).
 * 3. What leads back into the process that asks is in no lease ({@link isOwn}).
 *
 * Names are compared without regard to case, since some file systems do. macOS reaches any file also by `/.vol`, `/.nofollow` and
 * `/.resolve`, so these count as system folders on every platform.
 */
import * as Either from "effect/Either"
import { LeaseSubsetViolation } from "../protocol/Errors.js"
import { type Capability, quote } from "./Capability.js"
import * as Glob from "./Glob.js"
import { intersection } from "./internal/intersection.js"
import { assemble, type Lease } from "./Lease.js"

const folder = /^\/(?:proc|sys|dev|\.vol|\.nofollow|\.resolve)(?:\/|$)/iu

/** Whether an absolute canonical path is a system folder or lies in one; of a pattern, whether it names such a folder. */
export const contains = (path: string): boolean => folder.test(path)

const own = /^\/(?:proc\/(?:self|thread-self|mounts|net)|dev\/(?:fd|stdin|stdout|stderr))(?:\/|$)/iu

// In the folder of any process, these lead wherever that process stands; `/proc/<pid>/root/proc/self` is the reader again.
const through = /^\/proc\/\d+\/(?:task\/\d+\/)?(?:root|cwd|exe|fd\/[^/]*|map_files\/[^/]*)\/./iu

/**
 * Whether a canonical path leads back into the process that uses it, by its spelling alone: `/proc/self`, `/proc/thread-self`, the links
 * to them (`/proc/mounts`, `/proc/net`, `/dev/fd`, `/dev/stdin`, `/dev/stdout`, `/dev/stderr`), everything in them, and what is reached
 * through the `root`, `cwd`, `exe` or an open file of any process. A process's number says nothing here: see {@link processOf}.
 */
export const isOwn = (path: string): boolean => own.test(path) || through.test(path)

/** The number of the process or thread in whose folder of `/proc` a canonical path is. */
export const processOf = (path: string): string | undefined => /^\/proc\/(\d+)(?:\/|$)/iu.exec(path)?.[1]

const covered: ReadonlyArray<Capability> = ["fs.read", "fs.write"]

const namedOf = (lease: Lease | undefined, capability: Capability): Glob.GlobSet =>
  Glob.union(
    "path",
    (lease?.grants.get(capability)?.globs ?? []).filter(({ pattern }) => contains(pattern))
  )

/** Whether a pattern of the lease that names a system folder matches a canonical path in one. */
export const opens = (lease: Lease, capability: Capability, path: string): boolean =>
  Glob.matches(namedOf(lease, capability), path)

/**
 * The lease without the patterns that name a system folder, but for what the policy's lease (`allowed`) names too. Never wider than
 * `lease`.
 */
export const restrict = (lease: Lease, allowed: Lease | undefined): Lease => {
  if (lease.grants.size === 0) return lease
  const grants = new Map(lease.grants)
  let changed = false
  for (const capability of covered) {
    const named = namedOf(lease, capability)
    if (named.globs.length === 0) continue
    const kept = intersection(named, namedOf(allowed, capability), Glob.work())
    if (kept.globs.length === named.globs.length && kept.globs.every((glob) => named.globs.includes(glob))) continue
    changed = true
    const others = grants.get(capability)!.globs.filter(({ pattern }) => !contains(pattern))
    grants.set(capability, Glob.union("path", [...others, ...kept.globs]))
  }
  if (!changed) return lease
  return assemble({
    grants,
    budget: lease.budget,
    amounts: lease.wire["cost.budget"],
    expiresAt: lease.expiresAt,
    constraints: lease.constraints,
    order: Object.keys(lease.wire) as Array<Capability>
  })
}

/**
 * Whether each pattern of the child's lease that names a system folder is covered by those of the parent that do: a parent with
 * `/**` alone cannot hand on `/proc/cpuinfo`. `LEASE_SUBSET_VIOLATION` with `details.reason` `system_folder` otherwise.
 */
export const isSubset = (child: Lease, parent: Lease): Either.Either<void, LeaseSubsetViolation> => {
  const work = Glob.work()
  for (const capability of covered) {
    const answer = Glob.isSubset(namedOf(child, capability), namedOf(parent, capability), work)
    if (answer._tag === "Subset") continue
    const { source } = answer.glob
    return Either.left(
      new LeaseSubsetViolation({
        message: `lease_request.${capability}: ${quote(source)} names a system folder, which the parent's lease does not open`,
        details: { reason: "system_folder", capability, pattern: source.slice(0, 256) }
      })
    )
  }
  return Either.void
}

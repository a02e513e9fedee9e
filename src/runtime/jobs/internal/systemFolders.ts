/** Which paths in system folders a job may use: what its lease opens, and never what leads back into the runtime's process. */
import { existsSync } from "node:fs"
import type { Capability } from "../../../authority/Capability.js"
import type { Lease } from "../../../authority/Lease.js"
import * as SystemFolders from "../../../authority/SystemFolders.js"

/**
 * Whether a canonical path leads into the process of this runtime: by a link to it, by its number, or by the number of one of its
 * threads, which `/proc` accepts too. `/proc/self/task` is read, since `/proc` may number processes of another namespace.
 */
const isRuntime = (path: string): boolean => {
  if (SystemFolders.isOwn(path)) return true
  const id = SystemFolders.processOf(path)
  // edge: the check is synchronous, and these folders are in memory
  return id !== undefined && (id === String(process.pid) || existsSync(`/proc/self/task/${id}`))
}

/** Why a target that the lease's patterns cover is refused all the same, as the end of a sentence; undefined where it is not. */
export const closed = (lease: Lease, capability: Capability, target: string): string | undefined => {
  if ((capability !== "fs.read" && capability !== "fs.write") || !SystemFolders.contains(target)) return undefined
  return isRuntime(target)
    ? "leads into the runtime's own process, which no lease opens"
    : SystemFolders.opens(lease, capability, target)
      ? undefined
      : "is in a system folder, which wildcards do not reach and only the runtime's policy opens"
}

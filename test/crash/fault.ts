/**
 * Faults of the disk that a runtime process writes to: full, read-only, one that takes nothing for good, and a death at an exact call. They are
 * made by a library that is preloaded (`fault.c`), where the system is Linux and has a compiler; elsewhere there are none.
 */
import { spawnSync } from "node:child_process"
import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { scratch } from "../support/scratch.js"

/** What a disk does: nothing wrong, ENOSPC, EIO from fsync, EROFS, or it ends the process that calls it. */
const modes = { none: 0, full: 1, noSync: 2, readOnly: 3, die: 4 } as const

export type FaultMode = keyof typeof modes

/** What is said and counted, in bytes: the mode, the calls before it, the calls that came, the calls that failed. */
const size = 16

let library: string | false | undefined

/** The library; undefined where it cannot be made. */
const made = (): string | undefined => {
  if (library === undefined) {
    const file = join(scratch("arcp-fault-"), "fault.so")
    const source = fileURLToPath(new URL("fault.c", import.meta.url))
    const built =
      process.platform === "linux" &&
      spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", file, source, "-ldl"]).status === 0
    library = built ? file : false
  }
  return library === false ? undefined : library
}

/** Whether faults can be made here. */
export const canFault = (): boolean => made() !== undefined

let controls = 0

/** The faults of one process. */
export class Fault {
  /** What the process is started with. */
  readonly env: Readonly<Record<string, string>>
  private readonly control: number
  private ended = false
  private last = { calls: 0, failed: 0 }

  private constructor(library: string) {
    const path = join(scratch("arcp-fault-"), `control-${controls++}`)
    writeFileSync(path, Buffer.alloc(size))
    this.control = openSync(path, "r+")
    // The file of the store, its log and its index.
    this.env = { LD_PRELOAD: library, ARCP_FAULT_CONTROL: path, ARCP_FAULT_FILE: "arcp.db" }
  }

  /** Faults of a process that is to be started; undefined where there are none. */
  static make(): Fault | undefined {
    const library = made()
    return library === undefined ? undefined : new Fault(library)
  }

  /** From now on, behind so many calls. */
  set(mode: FaultMode, behind = 0): void {
    if (this.ended) return
    const words = Buffer.alloc(8)
    words.writeInt32LE(behind, 4)
    // The number first: the mode makes it count.
    writeSync(this.control, words, 4, 4, 4)
    words.writeInt32LE(modes[mode], 0)
    writeSync(this.control, words, 0, 4, 0)
  }

  /** How many calls came, and how many failed. */
  get counts(): { readonly calls: number; readonly failed: number } {
    if (this.ended) return this.last
    const words = Buffer.alloc(size)
    readSync(this.control, words, 0, size, 0)
    this.last = { calls: words.readInt32LE(8), failed: words.readInt32LE(12) }
    return this.last
  }

  /** Lets its control go; harmless when that is done already. */
  end(): void {
    if (this.ended) return
    void this.counts
    this.ended = true
    closeSync(this.control)
  }
}

/**
 * What an attack is, and how attacks are run: each within a time of its own, with everything that it started ended
 * afterwards. A check that does not return in time is not held.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Child, type ChildOptions } from "./child.js"
import { Peer, type PeerOptions } from "./peer.js"
import { line, within } from "./small.js"

/** What a check saw. */
export interface Observed {
  readonly held: boolean
  /** One line: what was observed, with its figures. */
  readonly observed: string
}

/** What a check may start. All of it ends with the check. */
export interface Tools {
  readonly child: (options: ChildOptions) => Child
  readonly peer: (url: string, options?: PeerOptions) => Promise<Peer>
  /** A new directory, deleted after the check. */
  readonly folder: () => string
  /** Runs after the check, also when it failed or took too long. */
  readonly after: (end: () => void) => void
}

/** One attack. */
export interface Check {
  /** The kind of fault, such as `values from user code`. */
  readonly item: string
  /** What is tried. */
  readonly name: string
  /** Seconds that it may take. Default 15. */
  readonly seconds?: number
  /** Whether it belongs to the short form that the unit tests run. */
  readonly quick?: boolean
  /** Whether it measures time, so that nothing may run beside it. */
  readonly alone?: boolean
  readonly run: (tools: Tools) => Promise<Observed>
}

/** A check's outcome. */
export interface Outcome extends Observed {
  readonly check: Check
  readonly millis: number
}

/** Runs one check. Never rejects, and never takes longer than the check's time and a second. */
export const runCheck = async (check: Check): Promise<Outcome> => {
  const ends: Array<() => void> = []
  const started = performance.now()
  const tools: Tools = {
    child: (options) => {
      const child = new Child(options)
      ends.push(() => child.kill())
      return child
    },
    peer: async (url, options) => {
      const peer = await Peer.open(url, options)
      ends.push(() => peer.destroy())
      return peer
    },
    folder: () => {
      const folder = mkdtempSync(join(tmpdir(), "arcp-attack-"))
      ends.push(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
      return folder
    },
    after: (end) => void ends.push(end)
  }
  const seconds = check.seconds ?? 15
  const seen = await within(
    seconds * 1000,
    check.run(tools).catch((error: unknown): Observed => {
      return { held: false, observed: `the check failed: ${error instanceof Error ? error.message : String(error)}` }
    }),
    { held: false, observed: `nothing decided it within ${seconds} s` }
  )
  for (const end of ends.toReversed()) {
    try {
      end()
    } catch {
      // what is gone already need not end
    }
  }
  return { ...seen, observed: line(seen.observed), check, millis: performance.now() - started }
}

/** The inventory of agents as a welcome shows it (ARCP 1.1 §6.2): cut where it would not fit a frame, and how much of it was left out. */
import { Buffer } from "node:buffer"
import type { AgentEntry } from "../../../agent/AgentRegistry.js"
import type { AgentInfo } from "../../../protocol/Session.js"

/** What is left of a frame for the rest of a welcome. */
const restBytes = 2_048

/** The agents of a welcome. */
export interface Inventory {
  readonly agents: ReadonlyArray<string | AgentInfo>
  /** How many agents are hosted and not named; absent where all are. */
  readonly agents_omitted?: number
}

/**
 * As many agents as fit into a frame of `frameBytes`, in their order: with versions where `versions` was negotiated, with the
 * default alone where all versions of an agent do not fit.
 */
export const inventory = (all: ReadonlyArray<AgentEntry>, versions: boolean, frameBytes: number): Inventory => {
  const agents: Array<string | AgentInfo> = []
  let left = frameBytes - restBytes
  const take = (row: string | AgentInfo): boolean => {
    const bytes = Buffer.byteLength(JSON.stringify(row)) + 1
    if (bytes > left) return false
    left -= bytes
    agents.push(row)
    return true
  }
  for (const entry of all) {
    const { default: standard, name } = entry
    const taken = versions
      ? take({ name, versions: entry.versions, default: standard }) ||
        take({ name, versions: [standard], default: standard })
      : take(name)
    if (!taken) break
  }
  return agents.length === all.length ? { agents } : { agents, agents_omitted: all.length - agents.length }
}

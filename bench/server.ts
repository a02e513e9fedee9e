/** A server in a process of its own: bare, or a runtime. Does what it is told over its channel. */
import { PerformanceObserver } from "node:perf_hooks"
import { Channel } from "./channel.js"
import type { BackendName } from "./processes.js"
import { startProfile, writeProfile } from "./profile.js"

/** What a server is told at its start. */
export interface ServerOrders {
  readonly kind: BackendName
  readonly filename: string | undefined
  readonly prefill: number | undefined
  readonly limits: object | undefined
  readonly synchronous: "NORMAL" | "FULL" | undefined
}

const collect = async () => {
  // A second collection takes what the first one's finalizers let go.
  for (let i = 0; i < 2; i++) {
    globalThis.gc!()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

let collections = 0
let observer: PerformanceObserver | undefined
/** Counts collections from the first time on that it is asked: what is not asked for costs nothing. */
const collected = (): number => {
  if (observer === undefined) {
    observer = new PerformanceObserver((list) => {
      collections += list.getEntries().length
    })
    observer.observe({ entryTypes: ["gc"] })
  }
  return collections
}

let more: { readonly [name: string]: (args: any) => unknown } = {}

void new Channel(process, {
  start: async (orders: ServerOrders) => {
    // Neither loads what the other needs.
    const { tasks, url } =
      orders.kind === "floor"
        ? await (await import("./floorServer.js")).floorServer()
        : await (await import("./arcpServer.js")).arcpServer(orders)
    more = tasks
    return url
  },
  /** Bytes that are held after a collection: of the heap with what it refers to outside, and of the process. */
  memory: async () => {
    await collect()
    const { external, heapUsed, rss } = process.memoryUsage()
    return { held: heapUsed + external, rss }
  },
  /** Bytes that are used, collected or not, and how many collections there have been. */
  allocated: async () => {
    const { external, heapUsed } = process.memoryUsage()
    // The collections of now are told in the next turn.
    await new Promise((resolve) => setTimeout(resolve, 1))
    return { bytes: heapUsed + external, collections: collected() }
  },
  /** Microseconds of processor time so far, where the system does not tell it of each thread. */
  cpu: () => {
    const { system, user } = process.cpuUsage()
    return user + system
  },
  open: (args) => more["open"]?.(args),
  emitted: (args) => more["emitted"]?.(args),
  sqliteLoop: (args) => more["sqliteLoop"]?.(args),
  startProfile,
  stop: async ({ profile }: { readonly profile?: string }) => {
    if (profile !== undefined) await writeProfile(profile)
    process.exit(0)
  }
})

// Nobody is left to ask for anything.
process.on("disconnect", () => process.exit(1))

/** A client in a process of its own. Does what it is told over its channel. */
import { otherToken, token } from "./tokens.js"
import { Channel, type Tasks } from "./channel.js"
import { startProfile, writeProfile } from "./profile.js"

/** Bare `ws` without the protocol; this package's; ARCP frames over bare `ws`, and the same as another principal. */
export type ClientKind = "floor" | "own" | "raw" | "other"

/** Asks the server's process, past the connection that is measured. */
export type AskServer = <A>(task: string, args?: unknown) => Promise<A>

interface ClientOrders {
  readonly kind: ClientKind
  readonly url: string
  /** Of a peer: what it takes. */
  readonly token?: string
}

let run: (task: string, args: any) => Promise<unknown>

/** None loads what the others need. */
const tasksOf = async ({ kind, token: given, url }: ClientOrders): Promise<Tasks> => {
  const ask: AskServer = (task, args) => channel.call("server", { task, args })
  switch (kind) {
    case "floor":
      return (await import("./floorClient.js")).floorClient(url)
    case "own":
      return (await import("./arcpClient.js")).arcpClient(url, ask)
    case "raw":
    case "other":
      return (await import("./rawClient.js")).rawClient(url, given ?? (kind === "raw" ? token : otherToken), ask)
  }
}

const channel: Channel = new Channel(process, {
  start: async (orders: ClientOrders) => {
    const tasks = await tasksOf(orders)
    run = async (task, args) => {
      const found = tasks[task]
      if (found === undefined) throw new Error(`the ${orders.kind} client has no task ${task}`)
      return found(args)
    }
  },
  run: ({ args, task }: { readonly task: string; readonly args: unknown }) => run(task, args),
  startProfile,
  stop: async ({ profile }: { readonly profile?: string }) => {
    if (profile !== undefined) await writeProfile(profile)
    process.exit(0)
  }
})

// Nobody is left to ask for anything.
process.on("disconnect", () => process.exit(1))

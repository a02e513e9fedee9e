/** A client in a process of its own: bare, or ARCP's. Does what it is told over its channel. */
import { Channel, type Tasks } from "./channel.js"
import { startProfile, writeProfile } from "./profile.js"

/** Asks the server's process, past the connection that is measured. */
export type AskServer = <A>(task: string, args?: unknown) => Promise<A>

let run: (task: string, args: any) => Promise<unknown>

const channel: Channel = new Channel(process, {
  start: async ({ kind, url }: { readonly kind: "floor" | "arcp"; readonly url: string }) => {
    const ask: AskServer = (task, args) => channel.call("server", { task, args })
    // Neither loads what the other needs.
    const tasks: Tasks =
      kind === "floor"
        ? await (await import("./floorClient.js")).floorClient(url)
        : await (await import("./arcpClient.js")).arcpClient(url, ask)
    run = async (task, args) => {
      const found = tasks[task]
      if (found === undefined) throw new Error(`the ${kind} client has no task ${task}`)
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
